"""A forecast as people read it: who gets in when, what runs out first, what is not known."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding

from broker.cli.output import table

Json = dict[str, Any]


def forecast(told: Json) -> Group:
    """``forecast`` of the answer to a dry run."""
    seats = told["seats"]
    lines: list[RenderableType] = [
        "Who gets in, if every step proves itself:" if len(told["steps"]) > 1 else "Who gets in:",
        table(
            ("after", "scale", "seats", "get in", "still wait", "nearest to its limit"),
            [_step(step) for step in told["steps"]],
        ),
        *_queue(told),
        "",
        f"Connections when all {seats} seats are taken:",
        table(
            ("", "as measured", "a seat", "on average", "peak (99 %)", "limit"),
            [
                *(_need(f"pool {pool}", need) for pool, need in told["pools"].items()),
                _need("the site", told["connections"]),
            ],
        ),
        _first(told["saturation"]),
        *_carriers(told),
    ]
    if told["not_known"]:
        lines += ["Not known:", *(Padding(f"- {each}", (0, 0, 0, 2)) for each in told["not_known"])]
    return Group(*lines)


def duration(seconds: float) -> str:
    """``at once``, ``40 s``, ``8.5 min``, ``3 h``."""
    if seconds < 0.5:
        return "at once"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h"


def _step(step: Json) -> tuple[str, ...]:
    called = ", ".join(f"{count} {name}" for name, count in step["called"].items())
    nearest = "not known"
    if step["fullest"] is not None:
        # msgspec writes an infinite share as null: there is no limit above 0.
        share = step["fullest_share"]
        nearest = f"{step['fullest']}: {'over' if share is None else f'{100 * share:.0f} %'}"
    return (
        duration(step["at_seconds"]),
        f"{step['scale']:.3g}x",
        str(step["seats"]),
        called or "nobody",
        str(sum(step["waiting"].values())),
        nearest,
    )


def _queue(told: Json) -> list[str]:
    lines = []
    if told["left_waiting"]:
        lines.append(
            f"{told['left_waiting']} wait on when the last step is in force: all of them need "
            f"{told['seats_needed']} seats, and there will be {told['seats']}."
        )
    elif any(step["called"] for step in told["steps"]):
        when = duration(told["drained_seconds"])
        lines.append(f"Nobody waits any more {when if when == 'at once' else f'after {when}'}.")
    else:
        lines.append("Nobody waits.")
    if told["turned_away"]:
        lines.append(f"{told['turned_away']} who wait are told that it is not their turn.")
    return lines


def _need(what: str, need: Json) -> tuple[str, ...]:
    if need["mean"] is None:
        return (what, "not known", "-", "-", "-", str(need["limit"]))
    measured = ""
    if need["exchanges"] is not None:
        measured = (
            f"{need['per_second']:.3g} exchanges/s of {1000 * need['seconds']:.0f} ms, "
            f"{need['websockets']} WebSockets"
        )
    return (
        what,
        measured,
        f"{need['per_seat']:.3g}",
        f"{need['mean']:.0f}",
        str(need["peak"]),
        str(need["limit"]),
    )


def _first(saturation: Json | None) -> str:
    if saturation is None:
        return "What runs out first: not known."
    if saturation["what"] is None:
        return f"Nothing that was measured runs out up to {saturation['upto']:g}x (ceiling)."
    return (
        f"What runs out first, with every seat taken: {saturation['what']}, at about "
        f"{saturation['scale']:.3g}x."
    )


def _carriers(told: Json) -> list[str]:
    lines = []
    if told["idle"]:
        idle = ", ".join(f"{seats} longer than {minutes:g} min" for minutes, seats in told["idle"])
        lines.append(f"Idle seats: {idle}.")
    ledger, descriptors = told["ledger"], told["descriptors"]
    if ledger is not None:
        lines.append(
            f"The ledger can admit about {ledger['admissions_per_second']:,.0f} a second beside "
            f"the workers' syncs."
        )
    if descriptors is not None:
        lines.append(
            f"File descriptors of the fullest worker here: {descriptors['open']} open now, about "
            f"{descriptors['needed']} then, of {descriptors['limit']}."
        )
        if descriptors["needed"] > descriptors["limit"]:
            lines.append("That is more than its limit: raise LimitNOFILE, or add workers.")
    return lines
