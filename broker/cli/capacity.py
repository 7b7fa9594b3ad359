"""``broker capacity``: see it, raise it, go back. What would happen is shown before it does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from broker.cli.capacity_plan import plan
from broker.cli.capacity_words import Scale, raise_order, ramp_of, ramp_options
from broker.cli.finding import api_options
from broker.cli.main import DONE, REFUSED
from broker.cli.output import confirm, show_drawn, show_json
from broker.cli.trail import show_entries

if TYPE_CHECKING:
    from broker.cli.client import AdminClient

ACKNOWLEDGE = 5.0  # seconds that every worker has to take new limits into force
LOOK_EVERY = 0.02


@click.group("capacity")
def command() -> None:
    """Capacity: see it, raise it, go back.

    \b
    broker capacity raise 6x --open-to everyone --for 14d --reason "lockdown" --dry-run
    broker capacity raise 6x --open-to everyone --for 14d --reason "lockdown"
    broker capacity plan 6x --open-to everyone
    broker capacity show --watch
    broker capacity lower --reason "back in the office"
    """


command.add_command(plan)


_reason = click.option("--reason", default="", help="Why; stands in the audit trail.")
_pool = click.option("--pool", help="Only this pool, in place of the whole site.")
_yes = click.option("--yes", is_flag=True, help="Do not ask.")
_dry_run = click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")
_wait = click.option(
    "--wait", is_flag=True, help="Follow the ramp; exit code 1 if it is held or rolled back."
)


@command.command("show")
@click.option("--watch", is_flag=True, help="Again every second until Ctrl-C.")
@api_options
def show(api: AdminClient, *, watch: bool, as_json: bool) -> None:
    """Limits in force, what is taken, the level, raises and their ramps.

    With --watch and --json: one line of JSON a second; into a file or a pipe one after another.
    """
    from broker.cli import capacity_drawn, watching

    if watch:
        watching.watch(lambda: api.get("capacity"), capacity_drawn.shown, as_json=as_json)
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
@ramp_options
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
) -> int:
    """Multiply the configured numbers by SCALE (6x), step by step, with an end.

    6x twice is still 6x: a raise multiplies what is configured and replaces the raise before it.
    Each step is in force on every worker in under a second; the guard holds the ramp, or takes it
    back a step, when servers become slow or fail. At the end the level underneath returns.
    """
    order = raise_order(scale, open_to, pool, reason, ramp, guard, lasts, until, now=now)
    question = f"Raise {f'pool {pool}' if pool else 'the site'} to {scale:g}x?"
    return _carry_out(
        api, "raise", order, question, dry_run=dry_run, yes=yes, wait=wait, as_json=as_json
    )


@command.command("lower")
@click.argument("scale", type=Scale(), required=False)
@click.option(
    "--evict",
    type=click.Choice(["idle"]),
    help="End idle seats above the limit, the longest idle first; says first how many.",
)
@_pool
@_reason
@_dry_run
@_yes
@api_options
def lower(
    api: AdminClient,
    scale: float | None,
    *,
    evict: str | None,
    pool: str | None,
    reason: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """End the raise in force, or go down to SCALE. Nobody is thrown out: it drains.

    With --evict idle, seats without activity for longer than the idle time end at once, but only
    as many as are above the limit. Who is at work keeps the seat in any case.
    """
    order = {"scale": scale, "pool": pool, "reason": reason, "evict": evict}
    what = f"pool {pool}" if pool else "the site"
    question = f"End the raise of {what}?" if scale is None else f"Lower {what} to {scale:g}x?"
    _carry_out(api, "lower", order, question, dry_run=dry_run, yes=yes, wait=False, as_json=as_json)


@command.command("level")
@click.argument("name")
@_reason
@ramp_options
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
) -> int:
    """Put the configured level NAME in force; ``normal`` is as configured."""
    order = {"level": name, "reason": reason, "ramp": ramp_of(ramp, now=now), "guard": guard}
    question = f"Put level {name} in force?"
    return _carry_out(
        api, "level", order, question, dry_run=dry_run, yes=yes, wait=wait, as_json=as_json
    )


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
) -> int:
    from broker.cli import capacity_drawn, capacity_wait

    order = {key: value for key, value in order.items() if value is not None or key == "ramp"}
    expected = api.post(f"capacity/{what}", {**order, "dry_run": True})
    if dry_run:
        if as_json:
            show_json(expected)
        else:
            show_drawn(capacity_drawn.expected(expected))
            click.echo("\nNothing was changed.")
        return DONE
    if not as_json:
        show_drawn(capacity_drawn.expected(expected))
    confirm(question, yes=yes)
    began = time.monotonic()
    done = api.post(f"capacity/{what}", order, if_match=expected["version"])
    missing = _acknowledged(api, done["version"])
    took = time.monotonic() - began
    if as_json:
        ended = _ramp_ended(api, what, order, done, quiet=True) if wait else None
        told = {"acknowledged_seconds": round(took, 3), "missing": missing}
        show_json({**done, **told} | ({} if ended is None else {"ended": ended}))
        return DONE if ended is None or capacity_wait.arrived(ended) else REFUSED
    if missing:
        click.echo(
            f"Version {done['version']}; not yet in force on {', '.join(missing)}.", err=True
        )
    else:
        click.echo(f"In force on every worker after {took:.2f} s (version {done['version']}).")
    if "evicted" in done:
        click.echo(f"Idle seats ended: {done['evicted']}.")
    if not wait:
        return DONE
    ended = _ramp_ended(api, what, order, done, quiet=False)
    click.echo(capacity_wait.outcome(ended))
    return DONE if capacity_wait.arrived(ended) else REFUSED


def _ramp_ended(
    api: AdminClient, what: str, order: dict[str, Any], done: dict[str, Any], *, quiet: bool
) -> dict[str, Any]:
    from broker.cli import capacity_wait

    scope = "level" if what == "level" else order.get("pool") or "site"
    change = done["after"]["raises"].get(scope)
    if change is None:  # level normal: nothing climbs, it is as configured
        return {"state": "reached", "target": done["after"]["scale"]}
    return capacity_wait.follow(api, scope, change["raise"], quiet=quiet)


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
