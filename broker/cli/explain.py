"""``broker explain USER URL``: why this person gets in, or does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from broker.cli.finding import api_options
from broker.cli.output import cell, show_drawn, show_json, table

if TYPE_CHECKING:
    from broker.cli.client import AdminClient

_MARKS = {True: "yes", False: "NO", None: "-"}


@click.command("explain")
@click.argument("user")
@click.argument("url")
@api_options
def command(api: AdminClient, user: str, url: str, *, as_json: bool) -> int:
    """Why USER (a login name) gets in at URL, or does not.

    Rule and population, second factor, seat or place in the queue, sessions, route, pool, quota and
    servers.
    Nothing is changed and no password is needed. Exit code 1 when the person does not get in.
    """
    answer = api.get("explain", employee=user, url=url)
    if as_json:
        show_json(answer)
    else:
        rows = [
            (finding["what"], _MARKS[finding["passes"]], cell(finding["text"]))
            for finding in answer["findings"]
        ]
        show_drawn(table(("", "passes", ""), rows))
        click.echo(f"\n{cell(answer['employee'])} {cell(answer['why'])}.")
    return 1 if answer["gets_in"] is False else 0
