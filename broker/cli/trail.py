"""Lines of the audit trail as people read a story: when, who did what, why, from what to what."""

from __future__ import annotations

from typing import Any

import click

from broker.cli.output import cell


def show_entries(entries: list[dict[str, Any]]) -> None:
    """Oldest first; a second line where capacity is concerned."""
    if not entries:
        click.echo("Nothing was changed yet.")
    width = len(str(entries[-1]["number"])) if entries else 0
    for entry in entries:
        when = cell(entry["time"]).replace("T", " ")
        why = f": {cell(entry['reason'])}" if entry["reason"] else ""
        did = f"{cell(entry['author'])} {cell(entry['action'])} {cell(entry['subject'])}"
        click.echo(f"{entry['number']:>{width}}  {when}  {did}{why}")
        before, after = cell(entry["before"]), cell(entry["after"])
        if after:
            changed = f"{before} -> " if before and before != after else ""
            click.echo(" " * (width + 4) + changed + after)
