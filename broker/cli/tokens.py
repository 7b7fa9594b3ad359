"""``broker tokens``: who may use the admin API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from broker.cli.client import quoted
from broker.cli.finding import api_options
from broker.cli.output import confirm, show_json, show_table

if TYPE_CHECKING:
    from broker.cli.client import AdminClient


@click.group("tokens")
def command() -> None:
    """Tokens of the admin API: create, list, revoke. Their names stand in the audit trail."""


@command.command("create")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["viewer", "operator"]),
    default="viewer",
    show_default=True,
    help="A viewer sees everything and changes nothing.",
)
@click.option("--for", "lasts", help="End after this time, such as 90d; without it never.")
@api_options
def create(api: AdminClient, name: str, *, role: str, lasts: str | None, as_json: bool) -> None:
    """Let somebody in under NAME. The token is shown once and kept nowhere."""
    wanted: dict[str, Any] = {"name": name, "role": role}
    if lasts:
        from broker.settings.scalars import duration

        try:
            wanted["lasts"] = float(duration(lasts))
        except ValueError:
            raise click.UsageError(f"--for is a time such as 90d or 8h, not {lasts}") from None
    made = api.post("tokens", wanted)
    if as_json:
        show_json(made)
        return
    click.echo(made["token"])
    click.echo(
        f"This is {name} ({role}). It is not shown again; send it as Authorization: Bearer TOKEN, "
        "or set BROKER_ADMIN_TOKEN.",
        err=True,
    )


@command.command("list")
@api_options
def list_(api: AdminClient, *, as_json: bool) -> None:
    """Names and roles; the configured admin token is not among them."""
    answer = api.get("tokens")
    if as_json:
        show_json(answer)
        return
    show_table(
        ("name", "role", "created", "by", "ends"),
        [
            (
                each["name"],
                each["role"],
                each["created"],
                each["author"],
                "over" if each["over"] else each["ends"] or "never",
            )
            for each in answer["tokens"]
        ],
        nothing="Only the admin token of the configuration.",
    )


@command.command("revoke")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@api_options
def revoke(api: AdminClient, name: str, *, yes: bool, as_json: bool) -> None:
    """Let token NAME in no more, on every host within a second."""
    confirm(f"Revoke token {name}?", yes=yes)
    done = api.delete(f"tokens/{quoted(name)}")
    if as_json:
        show_json(done)
    else:
        click.echo(f"Token {name} is revoked.")
