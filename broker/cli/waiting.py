"""``broker waiting``: the waiting room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from broker.cli.finding import api_options
from broker.cli.output import show_json, show_table

if TYPE_CHECKING:
    from broker.cli.client import AdminClient


@click.group("waiting")
def command() -> None:
    """The waiting room."""


@command.command("list")
@api_options
def list_waiting(api: AdminClient, *, as_json: bool) -> None:
    """How many employees wait, and how many are called, by population."""
    answer = api.get("waiting")
    if as_json:
        show_json(answer)
        return
    rows = ((name, each["waiting"], each["called"]) for name, each in answer["populations"].items())
    show_table(("population", "waiting", "called"), rows, nothing="There is no population.")
