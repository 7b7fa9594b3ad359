"""``python -m loadtest simulate``: choose the size, run, write the report, say what came out."""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import click

from loadtest.model import LoadModel
from loadtest.simulate.capacity import RaisePlan
from loadtest.simulate.charts import effect_rows
from loadtest.simulate.outcome import Simulated, report
from loadtest.simulate.variants import (
    Outcome,
    Plan,
    demand_at_peak,
    lose_a_host,
    main_plan,
    run,
    sites,
    variants,
)

CASE = LoadModel(activity=1.25)  # the case the broker was born from


@click.command("simulate")
@click.option("--employees", default=CASE.employees, show_default=True, type=click.IntRange(min=50))
@click.option("--sites", "site_count", default=1, show_default=True, type=click.IntRange(1, 100),
              help="Independent sites, each with a ledger of its own.")  # fmt: skip
@click.option("--seed", default=1, show_default=True, help="All that is random follows from it.")
@click.option("--scale", default=CASE.crisis, show_default=True, type=click.FloatRange(1, 100),
              help="What capacity is raised to; 1: it is not raised.")  # fmt: skip
@click.option("--raise-at", default=35.0, show_default=True, type=click.FloatRange(0, 240),
              help="Minute at which the raise begins; the storm begins at 30.")  # fmt: skip
@click.option("--ramp", default="1.25/60s", show_default=True, help="FACTOR/SECONDSs, or now.")
@click.option("--idle", default=15.0, show_default=True, type=click.FloatRange(1, 720),
              help="Minutes after which an idle seat may be reclaimed.")  # fmt: skip
@click.option("--spread", default=60.0, show_default=True, type=click.FloatRange(0, 480),
              help="Minutes between the first and the last site's morning.")  # fmt: skip
@click.option("--wait-p90", default=600.0, show_default=True, type=click.FloatRange(min=1),
              help="Objective, in seconds, for nine in ten of those who have to wait.")  # fmt: skip
@click.option("--variants/--no-variants", "with_variants", default=True, show_default=True,
              help="Also other idle times, other ramps, and a host lost at the peak.")  # fmt: skip
@click.option("--processes", default=2, show_default=True, type=click.IntRange(1, 64))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of reports.")
def command(
    employees: int,
    site_count: int,
    seed: int,
    scale: float,
    raise_at: float,
    ramp: str,
    idle: float,
    spread: float,
    wait_p90: float,
    with_variants: bool,
    processes: int,
    out: Path | None,
) -> None:
    """Simulate the lockdown morning with the broker's own policy code.

    80,000 employees by default, one by one; with --employees 10000000 --sites 10 ten independent
    sites, aggregated. Exit code 1 when an objective is missed.
    """
    model = LoadModel(
        employees=employees,
        views_a_week=CASE.views_a_week * employees / CASE.employees,
        activity=CASE.activity,
        crisis=CASE.crisis,
    )
    plan = None if scale == 1 else _raise(raise_at, scale, ramp)
    mornings = (
        [main_plan(model, seed, plan, idle)]
        if site_count == 1
        else sites(model, site_count, seed, plan, idle, spread)
    )
    changed = variants(mornings[0]) if with_variants and site_count == 1 else []
    started = datetime.now(UTC)
    outcomes = _run_all([*mornings, *changed], processes)
    main, others = outcomes[: len(mornings)], outcomes[len(mornings) :]
    done = Simulated(main, others)
    if with_variants and site_count == 1 and plan is not None:
        peak, demand = demand_at_peak(main[0])
        done = Simulated(main, others, lose_a_host(main[0], demand), peak)
    result = report(
        done,
        started=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        command="python -m loadtest simulate " + " ".join(sys.argv[2:]),
        wait_p90=wait_p90,
    )
    from loadtest.report.writing import REPORTS, write

    place = write(result, REPORTS if out is None else out)
    _say(done)
    for each in result.objectives:
        click.echo(f"  {'met   ' if each.ok else 'MISSED'} {each.name}: {each.value:g}")
    click.echo(f"{done.cpu_seconds:.0f} s of computing. {place / 'report.html'}")
    click.get_current_context().exit(0 if result.ok else 1)


def _raise(at: float, scale: float, ramp: str) -> RaisePlan:
    if ramp == "now":
        return RaisePlan(at=at, scale=scale, factor=None)
    factor, _, every = ramp.partition("/")
    try:
        step, seconds = float(factor), float(every.removesuffix("s"))
    except ValueError:
        raise click.UsageError(f"--ramp {ramp}: say FACTOR/SECONDSs, as 1.25/60s, or now") from None
    if not 1 < step <= 100 or not 0 < seconds <= 86_400:
        raise click.UsageError(f"--ramp {ramp}: the factor is above 1, the seconds above 0")
    return RaisePlan(at=at, scale=scale, factor=step, every_seconds=seconds)


def _run_all(plans: list[Plan], processes: int) -> list[Outcome]:
    """The longest first; answers in the order of ``plans``, whatever finishes first."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
        ProcessPoolExecutor(min(processes, len(plans))) as pool,
    ):
        task = progress.add_task("simulating", total=len(plans))
        futures = [pool.submit(run, plan) for plan in plans]
        for future in futures:
            future.add_done_callback(lambda _: progress.advance(task))
        return [future.result() for future in futures]


def _say(done: Simulated) -> None:
    from broker.cli.output import show_table
    from loadtest.simulate.outcome import notes

    for note in notes(done):
        click.echo(note)
    columns = ("run", "idle", "ramp", "most waiting", "p50", "p90", "longest", "unserved",
               "stranded")  # fmt: skip
    show_table(columns, effect_rows([*done.sites, *done.variants]), nothing="Nothing was run.")
