"""``broker demo``: the whole system on loopback, and employees who arrive in it."""

from __future__ import annotations

from pathlib import Path

import click

from broker.errors import Refused

_STATE = Path(".demo")


@click.group("demo", invoke_without_command=True)
@click.option("--public-port", type=click.IntRange(1, 65_535), default=8443, show_default=True)
@click.option("--admin-port", type=click.IntRange(1, 65_535), default=8444, show_default=True)
@click.option("--seats", type=click.IntRange(1), default=200, show_default=True)
@click.option("--workers", type=click.IntRange(1, 256), default=2, show_default=True)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=_STATE,
    show_default=True,
    help="Folder for keys, data and logs.",
)
@click.pass_context
def command(
    context: click.Context, public_port: int, admin_port: int, seats: int, workers: int, state: Path
) -> int | None:
    """Run Redis, an LDAP server, two applications and the broker on loopback until Ctrl-C."""
    if context.invoked_subcommand is not None:
        context.obj = state
        return None
    try:
        from broker.demo import runner
    except ModuleNotFoundError as error:
        raise _incomplete(error) from None
    return runner.main(
        public_port=public_port, admin_port=admin_port, seats=seats, workers=workers, state=state
    )


@command.command("arrive")
@click.argument("count", metavar="N", type=click.IntRange(1))
@click.option(
    "--from",
    "populations",
    default="managers,sales",
    show_default=True,
    metavar="POPULATION,...",
    help="Whose employees arrive: managers, sales, everyone.",
)
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True,
    help="Arrivals a second.",
)  # fmt: skip
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), default=900.0, show_default=True,
    help="Stay so long after the last one came; Ctrl-C ends it sooner.",
)  # fmt: skip
@click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), help="The demo's folder."
)
@click.pass_obj
def arrive(
    demo: Path, count: int, populations: str, rate: float, seconds: float, state: Path | None
) -> int:
    """Log N employees in to the running demo and let them browse; whoever finds no seat waits."""
    try:
        from broker.demo import arrive as arrivals
    except ModuleNotFoundError as error:
        raise _incomplete(error) from None
    names = tuple(name for part in populations.split(",") if (name := part.strip()))
    return arrivals.main(count, populations=names, rate=rate, state=state or demo, seconds=seconds)


def _incomplete(error: ModuleNotFoundError) -> Refused:
    return Refused(
        f"the demo's libraries are not installed ({error.name}): pip install 'broker[demo]', "
        "or run `make demo` in a checkout"
    )
