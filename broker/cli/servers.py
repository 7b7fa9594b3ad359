"""``broker servers``: the applications' servers as this host's workers see and use them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from broker.cli.finding import api_options
from broker.cli.output import confirm, show_json, show_table

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


@command.command("drain")
@click.argument("server")
@click.option("--yes", is_flag=True, help="Do not ask.")
@api_options
def drain_server(api: AdminClient, server: str, *, yes: bool, as_json: bool) -> None:
    """Give SERVER (its address as configured) no new exchanges; those in flight go on.

    Holds for this host until the server is enabled, over restarts of the broker too.
    """
    if not yes:
        meant = consequences(api.get("pools"), server)
        if meant:  # else the API says that there is no such server, or nobody to ask
            confirm(meant, yes=yes)
    _switch(api, server, "drain", as_json=as_json)


@command.command("enable")
@click.argument("server")
@click.option("--yes", is_flag=True, help="Nothing is asked here: for scripts that always say it.")
@api_options
def enable_server(api: AdminClient, server: str, *, yes: bool, as_json: bool) -> None:
    """Give a drained SERVER exchanges again, little by little."""
    _switch(api, server, "enable", as_json=as_json)


def _switch(api: AdminClient, server: str, what: str, *, as_json: bool) -> None:
    answer = api.post(f"servers/{what}", {"server": server})
    if as_json:
        show_json(answer)
        return
    done = "drained" if what == "drain" else "enabled"
    where = ", ".join(answer["workers"]) or "no worker, for none has it any more"
    click.echo(f"{server} is {done} on {where}.")
    if answer["missing"]:
        click.echo(f"Did not answer: {', '.join(answer['missing'])}.", err=True)


def consequences(answer: dict[str, Any], server: str) -> str:
    """What draining it means, as a question; empty when no pool has it."""
    told = []
    for name, pool in answer["pools"].items():
        this = [each for each in pool["servers"] if each["server"] == server]
        others = [each for each in pool["servers"] if each["server"] != server]
        left = sum(each["healthy"] and not each["draining"] for each in others)
        if this:
            keeps = f"{left} of {len(others)} others" if others else "no other"
            told.append(
                f"{this[0]['in_flight']} in flight go on; pool {name} has {keeps} to take new"
            )
            if not left:
                told[-1] += ", so that its pages FAIL from now on"
    return f"No new exchanges for {server}: {'; '.join(told)}. Drain it?" if told else ""


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
