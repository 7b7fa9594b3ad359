"""``broker status``: the site at a glance, once or live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from broker.cli import servers, watching, workers
from broker.cli.finding import api_options
from broker.cli.output import WIDTH, cell, show_json, table

if TYPE_CHECKING:
    from broker.cli.client import AdminClient

LEDGER_AWAY = (
    "The ledger (Redis) is away: whoever has a seat goes on, nobody new is admitted."
    " Seats and limits cannot be shown."
)


@click.command("status")
@click.option("--watch", is_flag=True, help="Refresh every second until Ctrl-C.")
@api_options
def command(api: AdminClient, *, watch: bool, as_json: bool) -> None:
    """Seats, waiting room, connections, servers and workers at a glance.

    With --watch and --json: one line of JSON a second; into a file or a pipe one status after
    another.
    """
    if watch:
        watching.watch(lambda: _ask(api), _drawn, as_json=as_json)
    elif as_json:
        show_json(_ask(api))
    else:
        from rich.console import Console

        console = Console()
        if not console.is_terminal:
            console = Console(width=WIDTH)
        console.print(_drawn(_ask(api)))


def _ask(api: AdminClient) -> dict[str, Any]:
    """The answers by question. ``capacity`` is None while the ledger is away: what this host knows
    by itself is shown all the same."""
    known = {question: api.get(question) for question in ("pools", "workers")}
    capacity = api.get("capacity") if known["workers"]["ledger_up"] else None
    return {"capacity": capacity, **known}


def _drawn(known: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.text import Text

    from broker.cli import capacity_drawn

    processes = (
        "",
        _table(servers.COLUMNS, servers.rows(known["pools"])),
        "",
        _table(workers.COLUMNS, workers.rows(known["workers"])),
    )
    capacity = known["capacity"]
    if capacity is None:
        return Group(Text(LEDGER_AWAY, style="bold red"), *processes)
    seats, connections = capacity["seats"], capacity["connections"]
    headline = Text(
        f"limits version {capacity['version']}, scale {capacity['scale']:g}x"
        f"   seats {seats['occupied']} of {seats['limit']}"
        f"   called {seats['called']}   waiting {seats['waiting']}"
        f"   connections {connections['in_use']} of {connections['limit']}",
        style="bold",
    )
    level = Text(f"level {capacity['level']}, open to {', '.join(capacity['open_to']) or 'nobody'}")
    parts: list[Any] = [headline, level]
    if capacity["raises"]:
        style = "bold red" if _is_stopped(capacity["raises"]) else ""
        parts.append(Text(capacity_drawn.ramps(capacity["raises"]), style=style))
    if capacity["learning"]:
        parts.append(Text("The ledger lost its memory and is learning: no new seats.", "bold red"))
    return Group(
        *parts,
        "",
        _table(("population", "admitted", "seats", "of", "guaranteed", "called", "waiting"), [
            (name, each["admitted"], each["occupied"], each["limit"], each["guaranteed"],
             each["called"], each["waiting"])
            for name, each in seats["populations"].items()
        ]),
        "",
        _table(("pool", "in use", "granted", "of", "guaranteed"), [
            (name, each["in_use"], each["granted"], each["limit"], each["guaranteed"])
            for name, each in connections["pools"].items()
        ]),
        *processes,
    )  # fmt: skip


def _is_stopped(raises: dict[str, Any]) -> bool:
    """A ramp that the guard or somebody stopped is what an operator looks for."""
    return any(change["ramp"]["state"] in ("held", "paused") for change in raises.values())


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Any:
    return table(columns, [[cell(value) for value in row] for row in rows])
