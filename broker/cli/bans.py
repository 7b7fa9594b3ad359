"""``broker bans``: who may not log in for a while because of wrong passwords."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from broker.cli.finding import api_options
from broker.cli.output import confirm, show_json, show_table

if TYPE_CHECKING:
    from broker.cli.client import AdminClient

_KINDS = {
    "pair": "name from address",
    "address": "address",
    "browser": "known browser",
    "codes": "codes of the second factor",
}


@click.group("bans")
def command() -> None:
    """Bans by wrong passwords and codes: list, clear."""


@command.command("list")
@api_options
def list_bans(api: AdminClient, *, as_json: bool) -> None:
    """Bans in force. By passwords an employee as such is never banned, only a name from an address;
    by codes, everywhere but in known browsers."""
    answer = api.get("bans")
    if as_json:
        show_json(answer)
        return
    rows = (
        (
            _KINDS[ban["kind"]],
            ban["employee"],
            ban["address"],
            f"{ban['seconds_left'] / 60:.0f} min",
        )
        for ban in answer["bans"]
    )
    show_table(("banned", "employee", "address", "left"), rows, nothing="Nobody is banned.")


@command.command("clear")
@click.option("--employee", help="The bans of this name, and its delay.")
@click.option("--address", help="The bans of this address.")
@click.option("--all", "everything", is_flag=True, help="All bans of the site.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@api_options
def clear(
    api: AdminClient,
    employee: str | None,
    address: str | None,
    *,
    everything: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """End bans before their time."""
    if sum([bool(employee), bool(address), everything]) != 1:
        raise click.UsageError("Say which: --employee, --address or --all.")
    if employee:
        answer = api.delete("bans", employee=employee)
    elif address:
        answer = api.delete("bans", address=address)
    else:
        confirm("End all bans of the site?", yes=yes)
        answer = api.delete("bans", all="yes")
    if as_json:
        show_json(answer)
        return
    click.echo(f"Ended: {answer['cleared']}.")
