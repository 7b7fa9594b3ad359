"""``broker keys``: the key ring that signs sessions and assertions, and seals second factors.

``rotate`` needs two steps, with a reload between them that every process has taken: see
``site/key_rotation.py``.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from broker.cli.finding import api_options
from broker.cli.output import confirm, show_json

if TYPE_CHECKING:
    from typing import TextIO

    from broker.cli.client import AdminClient

YOUNG = 12 * 3600
"""Seconds: the longest that a session's token may lie about unused and still be good."""


@click.group("keys")
def command() -> None:
    """The key ring for sessions, assertions and second factors: make one, rotate it."""


@command.command("generate")
@click.option(
    "--after",
    type=click.File("r", encoding="utf-8"),
    help="The ring in use: its newest keys go on verifying, so that nobody is logged out.",
)
def generate(after: TextIO | None) -> None:
    """Write a fresh key ring to standard output, for `sessions.keys`.

    Keep it secret and give every host of the site the same one.
    """
    from broker.site.tokens import KeyRing

    previous = after.read() if after is not None else None
    if previous is not None:
        KeyRing.from_json(previous)
    click.echo(KeyRing.generate(previous))


@command.command("rotate")
@click.argument("ring", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--yes", is_flag=True, help="Do not ask.")
@api_options
def rotate(api: AdminClient, ring: Path, *, yes: bool, as_json: bool) -> None:
    """Let new keys sign, without logging anybody out. RING is the file that sessions.keys names.

    First the new keys are added, and this host reloads: they verify and sign nothing yet. Where the
    site has other hosts it ends there: copy RING to each of them, reload each, and rotate again.
    Then the new keys sign, and the former ones go on verifying until the next rotation.
    """
    from broker.site.key_rotation import is_prepared, prepared, promoted, signing_since
    from broker.site.tokens import KeyRing

    text = ring.read_text("utf-8")
    KeyRing.from_json(text)
    again = is_prepared(text)
    if not again:
        age = time.time() - signing_since(text)
        if age < YOUNG:
            confirm(
                f"The keys sign since {age / 3600:.1f} h only: who has not used a browser since "
                "will be logged out in it. Rotate all the same?",
                yes=yes,
            )
        text = prepared(text)
        _write(ring, text)
        api.post("reload", {})
    here = socket.gethostname()
    others = sorted({each["host"] for each in api.get("workers")["workers"]} - {here})
    if others and not again:
        step = "prepared"
        told = (
            f"The new keys verify on this host. Copy {ring} to {', '.join(others)}, run `broker "
            "reload` on each, and then `broker keys rotate` here again."
        )
    else:
        if again and others:
            confirm(f"Do {', '.join(others)} have this file, and have reloaded?", yes=yes)
        _write(ring, promoted(text, int(time.time())))
        api.post("reload", {})
        step = "rotated"
        told = "The new keys sign; the former ones still verify."
        if others:
            told += f" Copy {ring} to {', '.join(others)} and reload each, at leisure."
    if as_json:
        show_json({"step": step, "other_hosts": others})
        return
    click.echo(told)


def _write(ring: Path, text: str) -> None:
    """All or nothing, and never readable to more people than before."""
    fresh = ring.with_name(f".{ring.name}.new")
    mode = ring.stat().st_mode & 0o777
    fresh.unlink(missing_ok=True)  # of a run that was killed, and may be anybody's to read
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(ring)
