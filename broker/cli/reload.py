"""``broker reload``: the configuration anew, and on request its limits for the whole site."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from broker.cli.finding import api_options
from broker.cli.output import confirm, show_json

if TYPE_CHECKING:
    from broker.cli.client import AdminClient


@click.command("reload")
@click.option("--publish", is_flag=True, help="Make the limits in the file those of the site.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@api_options
def command(api: AdminClient, *, publish: bool, yes: bool, as_json: bool) -> None:
    """Make this host read its configuration again.

    A configuration with a fault changes nothing. Limits live in the ledger: those in the file stay
    a proposal until --publish, which is refused if somebody changed the limits meanwhile.
    """
    version = None
    if publish:
        confirm("Make the limits of this host's configuration those of the whole site?", yes=yes)
        version = api.get("capacity")["version"]
    answer = api.post("reload", {"publish": publish}, if_match=version)
    if as_json:
        show_json(answer)
    elif publish:
        click.echo(f"Reloaded; the site's limits are now version {answer['version']}.")
    else:
        click.echo("Reloaded; the limits in force are the ledger's, as before.")
    if not as_json and answer["needs_restart"]:
        changed = ", ".join(answer["needs_restart"])
        click.echo(f"Changed in the file, in force only after a restart: {changed}.")
