"""``broker capacity``: how much there is, and how much there could be."""

from __future__ import annotations

import click

from broker.cli.capacity_plan import plan


@click.group("capacity")
def command() -> None:
    """How much capacity there is, and could be."""


command.add_command(plan)
