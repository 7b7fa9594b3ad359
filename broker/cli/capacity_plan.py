"""``broker capacity plan``: what a raise would do now, or what a load test says of scales."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from broker.cli.capacity_words import Scale, raise_order, ramp_options
from broker.cli.finding import find_api
from broker.cli.output import show_drawn, show_json
from broker.errors import Refused

if TYPE_CHECKING:
    from broker.cli.client import AdminClient

_NEEDED = (
    "Fitting the scaling law needs scipy: pip install 'broker[capacity]' "
    "(in a checkout: lock/install demo capacity)."
)

_OF_THE_BROKER = {
    "open_to": "--open-to", "pool": "--pool", "lasts": "--for", "until": "--until",
    "ramp": "--ramp", "now": "--now", "guard": "--guard", "configuration": "-c",
}  # fmt: skip
_OF_A_RUN = {"scale": "--scale", "bases": "--base", "chart": "--chart"}


@click.command("plan")
@click.argument("asked", metavar="[SCALE]", type=Scale(), required=False)
@click.option("--open-to", multiple=True, help="Populations to admit besides, with commas.")
@click.option("--pool", help="Only this pool, in place of the whole site.")
@click.option("--for", "lasts", help="End after this time, such as 14d or 8h.")
@click.option("--until", help="End at this date or time, such as 2020-04-30 or 2020-04-30T18:00.")
@ramp_options
@click.option("-c", "--config", "configuration", type=click.Path(path_type=Path, dir_okay=False),
              help="Find the broker by this configuration.")  # fmt: skip
@click.option("--from", "run", type=click.Path(path_type=Path), metavar="RUN.json",
              help="The report.json of a load test that raised the load in steps.")  # fmt: skip
@click.option("--scale", default=6.0, show_default=True, type=click.FloatRange(0, min_open=True),
              help="What the pools are wanted to carry, as a factor on their base.")  # fmt: skip
@click.option("--base", "bases", multiple=True, metavar="POOL=N",
              help="Exchanges in flight of a pool at scale 1; without it nothing is said in terms "
              "of scale.")  # fmt: skip
@click.option("--chart", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.svg",
              help="Draw the measured points and the fitted curves.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def plan(
    asked: float | None,
    *,
    open_to: tuple[str, ...],
    pool: str | None,
    lasts: str | None,
    until: str | None,
    ramp: str,
    now: bool,
    guard: str,
    configuration: Path | None,
    run: Path | None,
    scale: float,
    bases: tuple[str, ...],
    chart: Path | None,
    as_json: bool,
) -> int:
    """Say what a raise to SCALE (6x) would do, or what a load test says about scales.

    With SCALE, of the running broker, as raise --dry-run: who is let in at which step, how long the
    queue takes to drain, which connections that needs and what runs out first, from what is
    measured at present. Nothing is changed.

    With --from, of a load test: what scale is safe, what breaks first and what to add; --scale,
    --base and --chart are for that alone.
    """
    if run is not None:
        _refuse_given(_OF_THE_BROKER, "of a raise of the running broker; --from plans none")
        if asked is not None:
            _refuse_given({"scale": "--scale"}, "the same as SCALE: give one of them")
        return _measured(run, scale if asked is None else asked, bases, chart, as_json=as_json)
    if asked is None:
        raise click.UsageError(
            "Say SCALE, such as 6x, for the running broker, or --from RUN.json for a load test."
        )
    _refuse_given(_OF_A_RUN, "of a load test: it needs --from RUN.json")
    order = raise_order(asked, open_to, pool, "what if", ramp, guard, lasts, until, now=now)
    _foresee(find_api(configuration, os.environ, Path.cwd()), order, as_json=as_json)
    return 0


def _refuse_given(options: dict[str, str], why: str) -> None:
    """What would be ignored is not taken. ``options``: names by parameter. Raises UsageError."""
    source = click.get_current_context().get_parameter_source
    typed = click.core.ParameterSource.COMMANDLINE
    given = [name for parameter, name in options.items() if source(parameter) is typed]
    if given:
        raise click.UsageError(f"{', '.join(given)}: {why}.")


def _foresee(api: AdminClient, order: dict[str, Any], *, as_json: bool) -> None:
    expected = api.post("capacity/raise", {**order, "dry_run": True})
    if as_json:
        show_json(expected)
        return
    from broker.cli import capacity_drawn

    show_drawn(capacity_drawn.expected(expected))
    click.echo("\nNothing was changed.")


def _measured(
    run: Path, scale: float, bases: tuple[str, ...], chart: Path | None, *, as_json: bool
) -> int:
    """Say what scale is safe, what breaks first and what to add.

    Fits the Universal Scalability Law to the step load of each pool. Where the figures do not carry
    an answer it says so and what to measure instead; exit code 1 when no pool has one.
    """
    if importlib.util.find_spec("scipy") is None:
        raise Refused(_NEEDED)
    from broker.scaling.answer import answers
    from broker.scaling.measured import read
    from broker.scaling.words import about, breaks_first
    from broker.scaling.words import as_json as in_json

    measured = read(run)
    known = _bases(bases, measured.pools)
    found = answers(measured.pools, known)
    if chart is not None:
        from broker.scaling.chart import svg

        chart.write_text(svg(found), "utf-8")
    if as_json:
        show_json({"run": measured.name, "started": measured.started, **in_json(found, scale)})
    else:
        for each in found:
            click.echo(click.style(each.pool, bold=True))
            for sentence in about(each, scale):
                click.echo(click.wrap_text(sentence, 100, "  ", "  "))
            click.echo()
        click.echo(breaks_first(found))
    return 0 if any(each.answered for each in found) else 1


def _bases(given: tuple[str, ...], pools: object) -> dict[str, float]:
    """POOL=N as numbers. Raises UsageError."""
    names = list(pools) if isinstance(pools, dict) else []
    found: dict[str, float] = {}
    for text in given:
        pool, _, number = text.partition("=")
        if pool not in names:
            raise click.UsageError(f"--base {text}: the run has {', '.join(names)}")
        try:
            found[pool] = float(number)
        except ValueError:
            found[pool] = 0.0
        if not 0 < found[pool] < float("inf"):
            raise click.UsageError(f"--base {text}: say how many in flight, as {pool}=40")
    return found
