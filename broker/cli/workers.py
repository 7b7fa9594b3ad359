"""``broker workers``: the processes that carry requests, on all hosts of the site."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from broker.cli.client import quoted
from broker.cli.finding import api_options
from broker.cli.output import confirm, show_json, show_table

if TYPE_CHECKING:
    from broker.cli.client import AdminClient

COLUMNS = ("worker", "pid", "limits", "granted", "in use", "silent", "restarts", "state")


@click.group("workers")
def command() -> None:
    """Worker processes: list, forget a lost one."""


@command.command("list")
@api_options
def list_workers(api: AdminClient, *, as_json: bool) -> None:
    """Every worker the ledger knows, and the limits it has acknowledged."""
    answer = api.get("workers")
    if as_json:
        show_json(answer)
        return
    show_table(COLUMNS, rows(answer), nothing="No worker has reported to the ledger yet.")


def rows(answer: dict[str, object]) -> list[tuple[object, ...]]:
    """A line for each worker of the API's answer."""
    workers = answer["workers"]
    assert isinstance(workers, list)
    return [
        (
            worker["id"],
            worker["pid"],
            worker["acknowledged"],
            worker["granted"],
            worker["in_use"],
            None if worker["silent_seconds"] is None else f"{worker['silent_seconds']:.1f} s",
            worker["restarts"],
            _state(worker, answer),
        )
        for worker in workers
    ]


def _state(worker: dict[str, object], answer: dict[str, object]) -> str:
    if worker["answers"] is False:
        return "does not answer"
    if not answer["ledger_up"]:
        return "ledger away"
    if worker["acknowledged"] is None:
        return "not in the ledger"
    if worker["acknowledged"] != answer["version"]:
        return "older limits"
    if worker["digest"] != answer["digest"]:
        return "other configuration"
    return "ok"


@command.command("forget")
@click.argument("worker")
@click.option("--yes", is_flag=True, help="Do not ask.")
@api_options
def forget(api: AdminClient, worker: str, *, yes: bool, as_json: bool) -> None:
    """Declare a WORKER dead whose host is lost; what it held goes back at once.

    Only for a host that is certainly down: a worker that still runs would go on spending what is
    then given to others.
    """
    confirm(f"Is {worker} certainly dead? What it holds is given to others.", yes=yes)
    answer = api.delete(f"workers/{quoted(worker)}")
    if as_json:
        show_json(answer)
    else:
        click.echo(f"Forgot {worker}.")
