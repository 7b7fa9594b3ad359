"""``broker capacity``: see it, raise it, go back. What would happen is shown before it does."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import click

from broker.cli.finding import api_options
from broker.cli.output import confirm, show_drawn, show_json, show_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.cli.client import AdminClient

ACKNOWLEDGE = 5.0  # seconds that every worker has to take new limits into force
LOOK_EVERY = 0.02


@click.group("capacity")
def command() -> None:
    """Capacity: see it, raise it, go back.

    \b
    broker capacity raise 6x --open-to everyone --for 14d --reason "lockdown" --dry-run
    broker capacity raise 6x --open-to everyone --for 14d --reason "lockdown"
    broker capacity show --watch
    broker capacity lower --reason "back in the office"
    """


class Scale(click.ParamType):  # type: ignore[type-arg]
    """``6x`` or ``6``: times the configured numbers."""

    name = "SCALE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            scale = float(str(value).removesuffix("x").removesuffix("X"))
        except ValueError:
            scale = math.nan
        if not math.isfinite(scale):
            self.fail(f"{value} is no scale; say 6x for six times the configured numbers")
        return scale


_reason = click.option("--reason", default="", help="Why; stands in the audit trail.")
_pool = click.option("--pool", help="Only this pool, in place of the whole site.")
_yes = click.option("--yes", is_flag=True, help="Do not ask.")
_dry_run = click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")
_wait = click.option("--wait", is_flag=True, help="Follow the ramp until it arrives or is held.")


def _ramp(made: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--guard",
            type=click.Choice(["rollback", "hold"]),
            default="rollback",
            show_default=True,
            help="After two bad windows: go back a step and hold, or only hold.",
        ),
        click.option("--now", is_flag=True, help="In one step, which nothing guards."),
        click.option(
            "--ramp",
            default="1.25/60s",
            show_default=True,
            help="Factor of a step / time between two.",
        ),
    ):
        made = option(made)
    return made


@command.command("show")
@click.option("--watch", is_flag=True, help="Again every second until interrupted.")
@api_options
def show(api: AdminClient, *, watch: bool, as_json: bool) -> None:
    """Limits in force, what is taken, the level, raises and their ramps."""
    from broker.cli import capacity_drawn

    if watch and not as_json:
        _follow(api, lambda _: False)
        return
    answer = api.get("capacity")
    if as_json:
        show_json(answer)
    else:
        show_drawn(capacity_drawn.shown(answer))


@command.command("raise")
@click.argument("scale", type=Scale())
@click.option("--open-to", multiple=True, help="Populations to admit besides, with commas.")
@_pool
@click.option("--for", "lasts", help="End after this time, such as 14d or 8h.")
@click.option("--until", help="End at this date or time, such as 2020-04-30 or 2020-04-30T18:00.")
@_reason
@_ramp
@_dry_run
@_wait
@_yes
@api_options
def raise_(
    api: AdminClient,
    scale: float,
    *,
    open_to: tuple[str, ...],
    pool: str | None,
    lasts: str | None,
    until: str | None,
    reason: str,
    ramp: str,
    now: bool,
    guard: str,
    dry_run: bool,
    wait: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Multiply the configured numbers by SCALE (6x), step by step, with an end.

    6x twice is still 6x: a raise multiplies what is configured and replaces the raise before it.
    Each step is in force on every worker in under a second; the guard holds the ramp, or takes it
    back a step, when servers become slow or fail. At the end the level underneath returns.
    """
    order: dict[str, Any] = {
        "scale": scale,
        "pool": pool,
        "open_to": [name.strip() for names in open_to for name in names.split(",") if name.strip()],
        "reason": reason,
        "ramp": _ramp_of(ramp, now=now),
        "guard": guard,
    }
    order |= _end(lasts, until)
    question = f"Raise {f'pool {pool}' if pool else 'the site'} to {scale:g}x?"
    _carry_out(api, "raise", order, question, dry_run=dry_run, yes=yes, wait=wait, as_json=as_json)


@command.command("lower")
@click.argument("scale", type=Scale(), required=False)
@_pool
@_reason
@_dry_run
@_yes
@api_options
def lower(
    api: AdminClient,
    scale: float | None,
    *,
    pool: str | None,
    reason: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """End the raise in force, or go down to SCALE. Nobody is thrown out: it drains."""
    order = {"scale": scale, "pool": pool, "reason": reason}
    what = f"pool {pool}" if pool else "the site"
    question = f"End the raise of {what}?" if scale is None else f"Lower {what} to {scale:g}x?"
    _carry_out(api, "lower", order, question, dry_run=dry_run, yes=yes, wait=False, as_json=as_json)


@command.command("level")
@click.argument("name")
@_reason
@_ramp
@_dry_run
@_wait
@_yes
@api_options
def level(
    api: AdminClient,
    name: str,
    *,
    reason: str,
    ramp: str,
    now: bool,
    guard: str,
    dry_run: bool,
    wait: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Put the configured level NAME in force; ``normal`` is as configured."""
    order = {"level": name, "reason": reason, "ramp": _ramp_of(ramp, now=now), "guard": guard}
    question = f"Put level {name} in force?"
    _carry_out(api, "level", order, question, dry_run=dry_run, yes=yes, wait=wait, as_json=as_json)


@command.command("hold")
@_pool
@_reason
@api_options
def hold(api: AdminClient, *, pool: str | None, reason: str, as_json: bool) -> None:
    """Keep the ramp at the step in force until somebody resumes it."""
    _steer(api, "hold", pool, reason, as_json=as_json)


@command.command("resume")
@_pool
@_reason
@api_options
def resume(api: AdminClient, *, pool: str | None, reason: str, as_json: bool) -> None:
    """Let a held ramp climb on from the step in force."""
    _steer(api, "resume", pool, reason, as_json=as_json)


@command.command("history")
@click.option("--most", default=20, show_default=True, help="How many entries.")
@api_options
def history(api: AdminClient, *, most: int, as_json: bool) -> None:
    """What became of capacity: raises, steps, holds, ends, with who and why."""
    answer = api.get("audit", most=str(most))
    entries = [entry for entry in answer["entries"] if entry["after"] or entry["before"]]
    if as_json:
        show_json({"entries": entries})
    else:
        show_entries(entries)


def show_entries(entries: list[dict[str, Any]]) -> None:
    """Lines of the audit trail as a table."""
    show_table(
        ("no", "time", "who", "did", "to", "why", "after"),
        [
            (
                entry["number"],
                entry["time"],
                entry["author"],
                entry["action"],
                entry["subject"],
                entry["reason"],
                entry["after"],
            )
            for entry in entries
        ],
        nothing="Nothing was changed yet.",
    )


def _carry_out(
    api: AdminClient,
    what: str,
    order: dict[str, Any],
    question: str,
    *,
    dry_run: bool,
    yes: bool,
    wait: bool,
    as_json: bool,
) -> None:
    from broker.cli import capacity_drawn

    order = {key: value for key, value in order.items() if value is not None or key == "ramp"}
    expected = api.post(f"capacity/{what}", {**order, "dry_run": True})
    if dry_run:
        if as_json:
            show_json(expected)
        else:
            show_drawn(capacity_drawn.expected(expected))
            click.echo("\nNothing was changed.")
        return
    if not as_json:
        show_drawn(capacity_drawn.expected(expected))
    confirm(question, yes=yes)
    began = time.monotonic()
    done = api.post(f"capacity/{what}", order, if_match=expected["version"])
    missing = _acknowledged(api, done["version"])
    took = time.monotonic() - began
    if as_json:
        show_json({**done, "acknowledged_seconds": round(took, 3), "missing": missing})
    elif missing:
        click.echo(
            f"Version {done['version']}; not yet in force on {', '.join(missing)}.", err=True
        )
    else:
        click.echo(f"In force on every worker after {took:.2f} s (version {done['version']}).")
    if wait:
        _follow(api, _arrived)


def _steer(api: AdminClient, what: str, pool: str | None, reason: str, *, as_json: bool) -> None:
    from broker.cli import capacity_drawn

    order = {"reason": reason} | ({"pool": pool} if pool else {})
    seen = api.get("capacity")["version"]
    done = api.post(f"capacity/{what}", order, if_match=seen)
    if as_json:
        show_json(done)
    else:
        show_drawn(capacity_drawn.ramps(done["after"]["raises"]))


def _acknowledged(api: AdminClient, version: int) -> list[str]:
    """Who has not taken this version into force when the time is over."""
    ends = time.monotonic() + ACKNOWLEDGE
    while True:
        workers = api.get("workers")["workers"]
        missing = [each["id"] for each in workers if (each["acknowledged"] or 0) < version]
        if not missing or time.monotonic() > ends:
            return missing
        time.sleep(LOOK_EVERY)


def _arrived(answer: dict[str, Any]) -> bool:
    ramps = [change["ramp"] for change in answer["raises"].values()]
    return all(ramp["state"] in ("reached", "held") for ramp in ramps)


def _follow(api: AdminClient, done: Callable[[dict[str, Any]], bool]) -> None:
    """Show capacity again every second until it is ``done``."""
    from rich.console import Console
    from rich.live import Live

    from broker.cli import capacity_drawn

    console = Console()
    with Live(console=console, auto_refresh=False) as live:
        while True:
            answer = api.get("capacity")
            live.update(capacity_drawn.shown(answer), refresh=True)
            if done(answer):
                return
            time.sleep(1.0)


def _ramp_of(text: str, *, now: bool) -> dict[str, float] | None:
    if now:
        return None
    factor, _, every = text.partition("/")
    try:
        return {"factor": float(factor.removesuffix("x")), "every": _seconds(every or "60s")}
    except ValueError:
        raise click.UsageError(f"--ramp is FACTOR/TIME such as 1.25/60s, not {text}") from None


def _end(lasts: str | None, until: str | None) -> dict[str, Any]:
    if lasts and until:
        raise click.UsageError("Give --for or --until, not both.")
    if lasts:
        try:
            return {"lasts": _seconds(lasts)}
        except ValueError:
            raise click.UsageError(f"--for is a time such as 14d or 8h, not {lasts}") from None
    if until:
        from datetime import datetime

        try:
            return {"ends": datetime.fromisoformat(until).astimezone().isoformat()}
        except ValueError:
            raise click.UsageError(
                f"--until is a date or time such as 2020-04-30T18:00, not {until}"
            ) from None
    return {}


def _seconds(text: str) -> float:
    from broker.settings.scalars import duration

    return float(duration(text))
