"""``--wait``: follow one ramp until it arrives, is held or rolled back, or somebody ends it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from broker.cli.main import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.cli.client import AdminClient

Json = dict[str, Any]
LOOK_EVERY = 0.5  # seconds
PATIENCE = 60.0
"""Seconds without an answer: a ledger that fails over is no reason to stop looking."""
GONE: Json = {"state": "gone", "why": "somebody ended or replaced this raise", "rolled_back": False}


def follow(api: AdminClient, scope: str, name: int, *, quiet: bool) -> Json:
    """The ramp of raise ``name`` as it ended: reached, held (perhaps rolled back) or gone.
    ``quiet``: nothing is drawn. Raises UnreachableError after PATIENCE."""
    from rich.console import Console

    console = Console()
    if quiet:
        *_, last = _looks(api, scope, name)
        return last
    if not console.is_terminal:
        return _lines(api, scope, name)
    return _bar(console, api, scope, name)


def arrived(ramp: Json) -> bool:
    """Whether it is what was ordered."""
    return bool(ramp["state"] == "reached")


def outcome(ramp: Json) -> str:
    """The last word."""
    if ramp["state"] == "reached":
        return f"Arrived at {ramp['target']:g}x."
    if ramp["state"] == "gone":
        return f"Not arrived: {ramp['why']}."
    done = "Rolled back to" if ramp["rolled_back"] else "Held at"
    why = f": {ramp['why']}" if ramp["why"] else ""
    return f"{done} {ramp['scale']:.3g}x{why}. `broker capacity resume` climbs on."


def _looks(api: AdminClient, scope: str, name: int) -> Iterator[Json]:
    """The ramp every LOOK_EVERY seconds; the last is how it ended."""
    silent_since = None
    while True:
        try:
            change = api.get("capacity")["raises"].get(scope)
            silent_since = None
        except UnreachableError:
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > PATIENCE:
                raise
            time.sleep(LOOK_EVERY)
            continue
        ramp: Json = GONE if change is None or change["raise"] != name else change["ramp"]
        yield ramp
        if ramp["state"] in ("reached", "held", "gone"):
            return
        time.sleep(LOOK_EVERY)


def _lines(api: AdminClient, scope: str, name: int) -> Json:
    """Into a file or a pipe: a line for each change."""
    import click

    said, ramp = "", GONE
    for ramp in _looks(api, scope, name):
        if ramp["state"] not in ("reached", "held", "gone") and (text := _text(ramp)) != said:
            click.echo(text)
            said = text
    return ramp


def _bar(console: Any, api: AdminClient, scope: str, name: int) -> Json:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    ramp = GONE
    columns = (
        BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=None)
        for ramp in _looks(api, scope, name):
            if ramp["state"] != "gone":
                progress.update(
                    task, total=len(ramp["steps"]), completed=ramp["step"], description=_text(ramp)
                )
    return ramp


def _text(ramp: Json) -> str:
    text = f"{ramp['scale']:.3g}x of {ramp['target']:g}x"
    if ramp["state"] == "paused":
        return f"{text}, paused by the guard: {ramp['why']}"
    if ramp["step"] == len(ramp["steps"]):
        return f"{text}, the last step proves itself"
    return text
