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
    """Logged-in browsers: list, revoke, refresh."""


@command.command("list")
@click.argument("employee", required=False)
@click.option("--population", help="The youngest of this population.")
@click.option("--everybody", is_flag=True, help="The youngest of the site.")
@api_options
def list_sessions(
    api: AdminClient,
    employee: str | None,
    population: str | None,
    *,
    everybody: bool,
    as_json: bool,
) -> None:
    """The sessions of one EMPLOYEE (the canonical login name), a population or everybody."""
    if sum([bool(employee), bool(population), everybody]) != 1:
        raise click.UsageError("Say whose: EMPLOYEE, --population or --everybody.")
    if employee:
        answer = api.get("sessions", employee=employee)
    elif population:
        answer = api.get("sessions", population=population)
    else:
        answer = api.get("sessions", everybody="yes")
    if as_json:
        show_json(answer)
        return
    now = answer["ledger_ms"]
    rows = (
        (
            session["id"],
            session["employee"],
            session["display_name"],
            session["population"],
            _ago(now - session["last_seen_ms"]),
            session["address"],
            session["agent"][:60],
        )
        for session in answer["sessions"]
    )
    columns = ("session", "employee", "name", "population", "last used", "address", "browser")
    show_table(columns, rows, nothing=f"{employee or 'Nobody there'} is not logged in.")
    if answer["total"] > len(answer["sessions"]):
        click.echo(f"The youngest of {answer['total']}.")


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


@command.command("refresh")
@click.argument("employee", required=False)
@click.option("--session", help="The employee of this session.")
@click.option("--population", help="Everybody of this population.")
@click.option("--everybody", is_flag=True, help="Everybody of the site.")
@api_options
def refresh(
    api: AdminClient,
    employee: str | None,
    session: str | None,
    population: str | None,
    *,
    everybody: bool,
    as_json: bool,
) -> None:
    """Read the entry of an EMPLOYEE in the directory again, now and not within minutes.

    Other groups are in force at once; who is disabled is logged out.
    """
    chosen: list[tuple[str, str | bool | None]] = [
        ("employee", employee),
        ("session", session),
        ("population", population),
        ("everybody", everybody),
    ]
    named = {kind: value for kind, value in chosen if value}
    if len(named) != 1:
        raise click.UsageError("Say whose: EMPLOYEE, --session, --population or --everybody.")
    answer = api.post("rereadings", named)
    if as_json:
        show_json(answer)
        return
    click.echo(f"Employees whose entries are read again now: {answer['employees']}.")


def _ago(elapsed_ms: int) -> str:
    """The last use is known to within some minutes (``sessions.token_refresh``), so minutes do."""
    minutes = max(0, elapsed_ms) // 60_000
    return f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h ago"
