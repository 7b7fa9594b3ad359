"""What is typed after ``broker capacity``: scales, ramps and ends, read into the API's orders."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable


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


def ramp_options(made: Callable[..., Any]) -> Callable[..., Any]:
    """``--ramp``, ``--now``, ``--guard``."""
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


def raise_order(
    scale: float,
    open_to: tuple[str, ...],
    pool: str | None,
    reason: str,
    ramp: str,
    guard: str,
    lasts: str | None,
    until: str | None,
    *,
    now: bool,
) -> dict[str, Any]:
    """The body of ``POST capacity/raise``. Raises UsageError."""
    return {
        "scale": scale,
        "pool": pool,
        "open_to": [name.strip() for names in open_to for name in names.split(",") if name.strip()],
        "reason": reason,
        "ramp": ramp_of(ramp, now=now),
        "guard": guard,
    } | _end(lasts, until)


def ramp_of(text: str, *, now: bool) -> dict[str, float] | None:
    """``1.25/60s``; None: in one step. Raises UsageError."""
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
