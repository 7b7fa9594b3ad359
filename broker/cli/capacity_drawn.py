"""Capacity as people read it: what would change, what is in force, how far a ramp has come."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType

from broker.cli.forecast_drawn import duration, forecast
from broker.cli.output import table

Json = dict[str, Any]
BAR = 24
"""Characters of a ramp's bar."""


def expected(answer: Json) -> Group:
    """What an order changes: now, at its first step, at its end."""
    before, first, last = answer["before"], answer["after"], answer["at_target"]
    rows = [
        (what, str(before[what]), str(first[what]), str(last[what]))
        for what in ("seats", "connections")
    ]
    rows += [
        (f"pool {pool}", str(before["pools"].get(pool, 0)), str(limit), str(last["pools"][pool]))
        for pool, limit in first["pools"].items()
    ]
    lines = []
    newly = [name for name in last["admitted"] if name not in before["admitted"]]
    gone = [name for name in before["admitted"] if name not in last["admitted"]]
    if newly:
        lines.append(f"Admitted from now on: {', '.join(newly)}.")
    if gone:
        lines.append(
            f"No longer admitted: {', '.join(gone)}. Who has a seat keeps it until it is idle; "
            "tickets end."
        )
    occupied = sum(answer["occupied"].values())
    if occupied > last["seats"]:
        lines.append(
            f"{occupied} seats are occupied: {occupied - last['seats']} more than then. Who is at "
            "work is not thrown out; nobody new comes in until enough have left."
        )
    if "evicts" in answer:
        lines.append(f"Idle seats that end at once (--evict idle): {answer['evicts']}.")
    lines += [
        f"Capped: {cap['what']} at {cap['ceiling']:g}x instead of {cap['asked']:g}x (ceiling)."
        for cap in first["caps"]
    ]
    lines += [
        _way(scope, change)
        for scope, change in first["raises"].items()
        if change["ramp"]["state"] == "climbing"
    ]
    return Group(
        table(("limit of", "now", "at once", "at the end"), rows),
        "",
        *lines,
        "",
        forecast(answer["forecast"]),
    )


def shown(answer: Json) -> Group:
    """``GET /capacity``: the level, what is taken of what, raises and ramps."""
    seats, connections = answer["seats"], answer["connections"]
    lines: list[RenderableType] = [
        f"Level {answer['level']}, {answer['scale']:g}x, open to "
        f"{', '.join(answer['open_to']) or 'nobody'} (version {answer['version']})."
    ]
    if answer["learning"]:
        lines.append("The ledger is learning: nobody new is admitted until it has heard all.")
    rows = [
        (
            "seats",
            str(seats["limit"]),
            str(seats["occupied"]),
            str(seats["called"]),
            str(seats["waiting"]),
        )
    ]
    rows += [
        (
            f"  {name}" + ("" if each["admitted"] else " (not admitted)"),
            str(each["limit"]),
            str(each["occupied"]),
            str(each["called"]),
            str(each["waiting"]),
        )
        for name, each in seats["populations"].items()
    ]
    rows.append(("connections", str(connections["limit"]), str(connections["in_use"]), "-", "-"))
    rows += [
        (f"  pool {name}", str(each["limit"]), str(each["in_use"]), "-", "-")
        for name, each in connections["pools"].items()
    ]
    lines.append(table(("", "limit", "taken", "called", "waiting"), rows))
    if answer["raises"]:
        lines += ["", ramps(answer["raises"])]
    return Group(*lines)


def ramps(raises: Json) -> str:
    """Each raise in force with its ramp."""
    return "\n".join(_ramp(scope, change) for scope, change in raises.items())


def _way(scope: str, change: Json) -> str:
    ramp = change["ramp"]
    steps = " ".join(f"{scale:.3g}x" for scale in ramp["steps"])
    finish = duration(ramp["finish_seconds"])
    return (
        f"Steps of {_scope(scope)}: {steps}; one each {ramp['pace_seconds']:g} s, so the last "
        f"in {finish} if every step proves itself."
    )


def _ramp(scope: str, change: Json) -> str:
    ramp = change["ramp"]
    done = round(BAR * ramp["step"] / len(ramp["steps"]))
    bar = "#" * done + "-" * (BAR - done)
    name = f"level {change['level']}" if change["level"] else f"raise {change['raise']}"
    end = f", ends {change['ends']}" if change["ends"] else ""
    lines = [
        f"{name} of {_scope(scope)} [{bar}] {ramp['scale']:.3g}x of {ramp['target']:g}x, "
        f"{_state(ramp)}, {_guard(change)}{end}",
        f"  ordered by {change['author']}: {change['reason']}",
    ]
    if ramp["why"]:
        lines.append(f"  {ramp['why']}")
    return "\n".join(lines)


def _guard(change: Json) -> str:
    """What the guard does; once a ramp has arrived it looks no longer."""
    if change["ramp"]["state"] == "reached":
        return "guard at rest"
    return "guard holds" if change["guard"] == "hold" else "guard rolls back"


def _state(ramp: Json) -> str:
    if ramp["rolled_back"]:
        return "rolled back and held: `broker capacity resume` climbs on"
    if ramp["state"] == "held":
        return "held: `broker capacity resume` climbs on"
    if ramp["state"] == "paused":
        return "paused by the guard until a good window"
    if ramp["state"] == "reached":
        return "reached"
    if ramp["step"] == len(ramp["steps"]):
        return "at the target, which proves itself"
    return f"next step within {ramp['pace_seconds']:g} s if this one proves itself"


def _scope(scope: str) -> str:
    return "the site" if scope in ("site", "level") else f"pool {scope}"
