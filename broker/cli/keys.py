"""``broker keys``: the key ring that signs sessions and assertions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from typing import TextIO


@click.group("keys")
def command() -> None:
    """Make a key ring for sessions and assertions."""


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
