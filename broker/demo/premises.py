"""Where a run of the demo may settle: a folder and ports that nobody else uses, and a place for its
sockets. What cannot be had is refused here, before anything is started.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_SOCKET = 90  # bytes; a Unix socket's path has 107, and the broker's names come behind it


class CannotStart(Exception):
    """Refused before anything was started; the text says what to do."""


def run_dir(state: Path) -> Path:
    """Where sockets lie: below the state folder, unless that makes their paths too long."""
    inside = state / "run"
    if len(os.fsencode(inside)) <= LONGEST_SOCKET:
        shutil.rmtree(inside, ignore_errors=True)
        inside.mkdir(mode=0o700)
        return inside
    return Path(tempfile.mkdtemp(prefix="broker-demo-"))


@contextlib.contextmanager
def folder_of_our_own(state: Path) -> Iterator[Path]:
    """The state folder, for one demo at a time. Raises CannotStart."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotStart(f"The folder {state} cannot be used: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CannotStart(
                f"A demo runs in {state} already: stop it, or give this one another folder with "
                "--state (and other ports)."
            ) from None
        yield state
    finally:
        os.close(lock)


def free_ports(public: int, admin: int) -> tuple[int, int]:
    """The ports to use. Raises CannotStart when one is taken."""
    with contextlib.ExitStack() as held:
        found = []
        for port, option in ((public, "--public-port"), (admin, "--admin-port")):
            probe = held.enter_context(socket.socket())
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                probe.listen(1)
            except OverflowError:
                raise CannotStart(f"{option} {port}: a port is 0 to 65535.") from None
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise CannotStart(
                        f"Port {port} is in use, perhaps by another demo: stop that, or choose "
                        f"another one with {option} ({option.strip('-').upper().replace('-', '_')}="
                        " with make)."
                    ) from None
                raise CannotStart(f"Port {port} cannot be used: {error.strerror}.") from error
            found.append(probe.getsockname()[1])
        return found[0], found[1]
