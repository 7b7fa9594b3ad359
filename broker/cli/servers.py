"""``broker servers``: the applications' servers as this host's workers see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from broker.cli.finding import api_options
from broker.cli.output import show_json, show_table

if TYPE_CHECKING:
    from broker.cli.client import AdminClient

COLUMNS = ("server", "pool", "in flight", "state")


@click.group("servers")
def command() -> None:
    """The applications' servers and their health."""


@command.command("list")
@api_options
def list_servers(api: AdminClient, *, as_json: bool) -> None:
    """Every server, its pool, what is in flight to it and whether it is healthy."""
    answer = api.get("pools")
    if as_json:
        show_json(answer)
        return
    show_table(COLUMNS, rows(answer), nothing="No worker of this host answers.")


def rows(answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    """A line for each server of the API's answer."""
    return [
        (server["server"], name, server["in_flight"], _state(server))
        for name, pool in answer["pools"].items()
        for server in pool["servers"]
    ]


def _state(server: dict[str, Any]) -> str:
    if server["draining"]:
        return "draining"
    if server["healthy"]:
        return "healthy"
    if server["healthy_on"]:
        return f"healthy for {server['healthy_on']} of {server['seen_by']} workers"
    return "unhealthy"
