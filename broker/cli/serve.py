"""``broker serve``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("serve")
@click.option(
    "-c",
    "--config",
    "configuration",
    required=True,
    envvar="BROKER_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration file (or BROKER_CONFIG).",
)
@click.option(
    "--first-start",
    is_flag=True,
    help="This Redis has never been the site's ledger: nobody needs to be waited for.",
)
def command(configuration: Path, *, first_start: bool) -> int:
    """Run the broker on this host until it is stopped.

    SIGTERM and Ctrl-C stop it gracefully: no new exchanges, those in flight go on for stop_timeout.
    SIGHUP reads the configuration again, SIGUSR1 opens the access log again. A configuration with a
    fault starts nothing.
    """
    from broker.wiring.serve import serve

    return serve(configuration, first_start=first_start)
