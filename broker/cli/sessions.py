"""``broker sessions``: logged-in browsers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from broker.cli.client import quoted
from broker.cli.finding import api_options
from broker.cli.output import confirm, show_json, show_table

if TYPE_CHECKING:
    from broker.cli.client import AdminClient


@click.group("sessions")
def command() -> None:
    """Logged-in browsers: list, revoke."""


@command.command("list")
@click.argument("employee")
@api_options
def list_sessions(api: AdminClient, employee: str, *, as_json: bool) -> None:
    """The sessions of one EMPLOYEE (the canonical login name)."""
    answer = api.get("sessions", employee=employee)
    if as_json:
        show_json(answer)
        return
    rows = (
        (
            session["id"],
            session["display_name"],
            session["population"],
            session["address"],
            session["agent"][:60],
        )
        for session in answer["sessions"]
    )
    columns = ("session", "name", "population", "address", "browser")
    show_table(columns, rows, nothing=f"{employee} is not logged in.")


@command.command("revoke")
@click.argument("session", required=False)
@click.option("--employee", help="All sessions of this employee.")
@click.option("--population", help="All sessions of this population.")
@click.option("--everybody", is_flag=True, help="Every session of the site.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@api_options
def revoke(
    api: AdminClient,
    session: str | None,
    employee: str | None,
    population: str | None,
    *,
    everybody: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """End one SESSION, or those of an employee, a population or everybody.

    Their WebSockets and streams close within a second and their seats are free.
    """
    chosen = [bool(session), bool(employee), bool(population), everybody]
    if sum(chosen) != 1:
        raise click.UsageError("Say whose: one SESSION, --employee, --population or --everybody.")
    if session:
        answer = api.delete(f"sessions/{quoted(session)}")
    elif employee:
        confirm(f"Log {employee} out of every browser?", yes=yes)
        answer = api.delete("sessions", employee=employee)
    elif population:
        confirm(f"Log everybody of population {population} out?", yes=yes)
        answer = api.delete("sessions", population=population)
    else:
        confirm("Log EVERYBODY out?", yes=yes)
        answer = api.delete("sessions", everybody="yes")
    if as_json:
        show_json(answer)
        return
    click.echo(f"Revoked (number {answer['revocation']}).")
    if answer.get("known") is False:
        click.echo("The ledger did not know that session; it is refused from now on all the same.")
