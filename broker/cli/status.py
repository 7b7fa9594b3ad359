"""``broker status``: the site at a glance, once or live."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import click

from broker.cli import servers, workers
from broker.cli.finding import api_options
from broker.cli.main import UnreachableError
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
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how a watch ends
            if as_json:
                _stream(api)
            elif sys.stdout.isatty():
                _live(api)
            else:
                _repeat(api)
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


def _stream(api: AdminClient) -> None:
    import json
    import time

    while True:
        sys.stdout.write(json.dumps(_ask(api)) + "\n")
        sys.stdout.flush()
        time.sleep(1.0)


def _repeat(api: AdminClient) -> None:
    """Nobody looks at a pipe: one status after another, until the broker stops answering."""
    import time

    from rich.console import Console

    console = Console(width=WIDTH)
    while True:
        console.print(_drawn(_ask(api)), "")
        sys.stdout.flush()
        time.sleep(1.0)


def _live(api: AdminClient) -> None:
    """A broker that stops answering is said so on the screen; the watch goes on."""
    import time

    from rich.live import Live
    from rich.text import Text

    with Live(_drawn(_ask(api)), screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(1.0)
            try:
                live.update(_drawn(_ask(api)), refresh=True)
            except UnreachableError as error:
                live.update(Text(error.reason, style="bold red"), refresh=True)


def _drawn(known: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.text import Text

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
    parts: list[Any] = [headline]
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


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Any:
    return table(columns, [[cell(value) for value in row] for row in rows])
