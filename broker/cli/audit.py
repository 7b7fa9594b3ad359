"""``broker audit``: the audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from broker.cli.finding import api_options
from broker.cli.output import show_json
from broker.cli.trail import show_entries

if TYPE_CHECKING:
    from broker.cli.client import AdminClient


@click.command("audit")
@click.option("--most", default=50, show_default=True, help="How many entries.")
@click.option("--before", help="Only entries with lower numbers than this.")
@api_options
def command(api: AdminClient, *, most: int, before: str | None, as_json: bool) -> None:
    """Who changed what, when, why and how it ended. Nothing is ever taken out of it."""
    query = {"most": str(most)} | ({"before": before} if before else {})
    answer = api.get("audit", **query)
    if as_json:
        show_json(answer)
    else:
        show_entries(answer["entries"])
