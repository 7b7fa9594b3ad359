"""``broker waiting``: the waiting room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from broker.cli.client import quoted
from broker.cli.finding import api_options
from broker.cli.output import confirm, show_json, show_table

if TYPE_CHECKING:
    from broker.cli.client import AdminClient


@click.group("waiting")
def command() -> None:
    """The waiting room: list, remove."""


@command.command("list")
@click.argument("employee", required=False)
@api_options
def list_waiting(api: AdminClient, employee: str | None, *, as_json: bool) -> None:
    """How many employees wait, and how many are called, by population.

    With an EMPLOYEE (the canonical login name): where that one stands.
    """
    answer = api.get("waiting" if employee is None else f"waiting/{quoted(employee)}")
    if as_json:
        show_json(answer)
    elif employee is None:
        _show_room(answer)
    else:
        click.echo(_sentence(answer))


@command.command("remove")
@click.argument("employee")
@click.option("--yes", is_flag=True, help="Do not ask.")
@api_options
def remove(api: AdminClient, employee: str, *, yes: bool, as_json: bool) -> None:
    """Take the ticket of an EMPLOYEE away; a seat is not touched.

    Whoever is still looking at the waiting page gets a new place, at the end of the line.
    """
    confirm(f"Take the place in the waiting room away from {employee}?", yes=yes)
    answer = api.delete(f"waiting/{quoted(employee)}")
    if as_json:
        show_json(answer)
    else:
        click.echo(f"{employee} does not wait any more.")


def _show_room(answer: dict[str, Any]) -> None:
    rows = ((name, each["waiting"], each["called"]) for name, each in answer["populations"].items())
    show_table(("population", "waiting", "called"), rows, nothing="There is no population.")
    shown, kept = answer["estimates"]["shown"], answer["estimates"]["kept"]
    if shown:
        click.echo(f"Called by the p90 shown: {kept} of {shown} ({100 * kept / shown:.0f} %).")


def _sentence(answer: dict[str, Any]) -> str:
    employee, population = answer["employee"], answer["population"]
    if answer["state"] == "waiting":
        return f"{employee} waits at place {answer['position']} of {population}."
    if answer["state"] == "called":
        return f"{employee} is called; the seat is kept for {answer['claim_seconds']:.0f} s more."
    if answer["state"] == "seated":
        return f"{employee} has a seat of {population}."
    return f"{employee}: {answer['state']}."
