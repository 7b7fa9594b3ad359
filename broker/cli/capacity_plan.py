"""``broker capacity plan --from RUN.json``: what a measured step load says about capacity."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from broker.cli.output import show_json
from broker.errors import Refused

_NEEDED = (
    "Fitting the scaling law needs scipy: pip install 'broker[capacity]' "
    "(in a checkout: lock/install demo capacity)."
)


@click.command("plan")
@click.option("--from", "run", required=True, type=click.Path(path_type=Path), metavar="RUN.json",
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
