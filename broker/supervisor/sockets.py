"""Listening sockets, opened once by the supervisor and inherited by its children.

One ``SO_REUSEPORT`` socket per worker slot: the kernel spreads new connections over them by hash
(socket(7)), and since the supervisor keeps each one open, a worker that dies leaves its accept
queue to its successor; nobody in it is refused. The price of SO_REUSEPORT is that a second broker
on the same port would silently take half of the traffic: so the port is probed without it first.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import socket
from dataclasses import dataclass
from pathlib import Path

from broker.errors import ConfigurationError

_BACKLOG = 4096  # the kernel lowers it to net.core.somaxconn


@dataclass(frozen=True, slots=True)
class Place:
    """A resolved address: what ``socket.socket`` and ``bind`` take."""

    family: socket.AddressFamily
    address: tuple[str, int] | str

    def __str__(self) -> str:
        if isinstance(self.address, str):
            return f"unix:{self.address}"
        host, port = self.address
        return f"[{host}]:{port}" if self.family == socket.AF_INET6 else f"{host}:{port}"


def resolve(address: str) -> tuple[Place, ...]:
    """The places of ``host:port``, ``[v6]:port`` or ``unix:PATH``; several when the host name has
    several addresses. Raises ConfigurationError."""
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        if len(os.fsencode(path)) > 107:
            raise ConfigurationError(f"the path of a Unix socket has at most 107 bytes: {path}")
        return (Place(socket.AF_UNIX, path),)
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(f"not an address (host:port, [v6]:port or unix:PATH): {address}")
    try:
        found = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise ConfigurationError(f"cannot listen on {address}: {error.strerror}") from error
    places = (Place(family, (str(where[0]), int(where[1]))) for family, _, _, _, where in found)
    return tuple(dict.fromkeys(places))


def open_group(address: str, count: int) -> list[list[socket.socket]]:
    """Listening sockets for ``count`` slots: for each slot, one socket per place of the address.

    With port 0 the system chooses once and all slots share the choice. A Unix socket cannot be
    opened twice: its slots share one. Raises ConfigurationError naming the address: in use, not
    allowed, not one of this machine's.
    """
    slots: list[list[socket.socket]] = [[] for _ in range(count)]
    missing: ConfigurationError | None = None
    chosen = 0
    try:
        for place in resolve(address):
            try:
                chosen = _open_place(_with_port(place, chosen), slots) or chosen
            except ConfigurationError as problem:
                if not _is_missing_family(problem):
                    raise
                missing = problem
        if missing is not None and not slots[0]:
            raise missing
    except BaseException:
        close_all(slots)
        raise
    return slots


def _open_place(place: Place, slots: list[list[socket.socket]]) -> int:
    """Add a socket for this place to each slot; returns its port (0 for a Unix socket)."""
    _probe(place)
    if isinstance(place.address, str):
        first = _listen(place, share=False)
        for number, slot in enumerate(slots):
            slot.append(first if number == 0 else first.dup())
        return 0
    port = place.address[1]
    for slot in slots:
        opened = _listen(_with_port(place, port), share=True)
        slot.append(opened)
        port = int(opened.getsockname()[1])
    return port


def _with_port(place: Place, port: int) -> Place:
    """The place with the port chosen before, if it asks for any."""
    if isinstance(place.address, str) or place.address[1]:
        return place
    return Place(place.family, (place.address[0], port))


def close_all(slots: list[list[socket.socket]]) -> None:
    """Close every socket of a group. The file of a Unix socket stays: ``forget_file``."""
    for slot in slots:
        for listening in slot:
            listening.close()


def names_of(slot: list[socket.socket]) -> tuple[str, ...]:
    """The addresses really listened on, with the chosen port."""
    return tuple(
        str(Place(one.family, name if isinstance(name, str) else name[:2]))
        for one in slot
        for name in (one.getsockname(),)
    )


def forget_file(address: str) -> None:
    """Remove the file of a ``unix:`` address, after its last use."""
    if address.startswith("unix:"):
        Path(address.removeprefix("unix:")).unlink(missing_ok=True)


def claim_run_dir(run_dir: Path) -> int:
    """Make the directory of the Unix sockets (0700) and lock it for this process.

    Returns the descriptor that holds the lock. Raises ConfigurationError when another broker has
    it, or when it cannot be made.
    """
    try:
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(run_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"cannot use run_dir {run_dir}: {error.strerror}") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(held)
        raise ConfigurationError(f"another broker is running with run_dir {run_dir}") from error
    return held


def raise_file_limit() -> int:
    """Raise RLIMIT_NOFILE to what the system allows this process; returns it. Children inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _probe(place: Place) -> None:
    """Find out that nobody listens there. Port 0 needs no probe."""
    if isinstance(place.address, str):
        _probe_file(place)
    elif place.address[1]:
        _bound(place, share=False).close()


def _probe_file(place: Place) -> None:
    """A socket file that answers is in use; one that does not is left over and is removed."""
    path = Path(str(place.address))
    if not path.is_socket():
        if path.exists():
            raise ConfigurationError(f"cannot listen on {place}: a file is in the way")
        return
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.settimeout(1.0)
        try:
            visitor.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {place}: {error}") from error
    raise ConfigurationError(f"cannot listen on {place}: address already in use")


def _listen(place: Place, *, share: bool) -> socket.socket:
    listening = _bound(place, share=share)
    listening.listen(_BACKLOG)
    listening.setblocking(False)
    return listening


def _bound(place: Place, *, share: bool) -> socket.socket:
    opened: socket.socket | None = None
    try:
        opened = socket.socket(place.family, socket.SOCK_STREAM)
        if isinstance(place.address, str):
            mask = os.umask(0o177)
            try:
                opened.bind(place.address)
            finally:
                os.umask(mask)
            return opened
        # Restarting must not wait for TIME_WAIT; on Linux this does not allow a second listener.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if place.family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(place.address)
    except OSError as error:
        if opened is not None:
            opened.close()
        what = os.strerror(error.errno or 0).lower()
        raise ConfigurationError(f"cannot listen on {place}: {what}") from error
    return opened


def _is_missing_family(problem: ConfigurationError) -> bool:
    """``localhost`` may resolve to ::1 on a machine without IPv6: the other address will do."""
    cause = problem.__cause__
    missing = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return isinstance(cause, OSError) and cause.errno in missing


def close_descriptor(descriptor: int) -> None:
    """Close one that may be closed already."""
    with contextlib.suppress(OSError):
        os.close(descriptor)
