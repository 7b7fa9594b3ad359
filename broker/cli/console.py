"""``broker console``: a link that opens the console once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from broker.cli.finding import api_options
from broker.cli.output import show_json

if TYPE_CHECKING:
    from broker.cli.client import AdminClient


@click.command("console")
@api_options
def command(api: AdminClient, *, as_json: bool) -> None:
    """Print a link that opens the console as you: once, and within an hour."""
    made = api.post("console-links", {})
    if as_json:
        show_json(made)
    else:
        click.echo(made["url"])
