"""A run as values: what was measured, what was promised, and whether the promise was kept.

Times are seconds since the run began; durations are seconds, sizes are counts. The same structs
are ``report.json`` (``load`` and ``dump``), so that ``broker capacity plan --from`` and the page
read one form. Unknown fields in a file are ignored, so that older readers take newer files.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

FORMAT = 1
#: What a line may mean; the page gives each role one colour, in light and in dark.
Role = Literal["main", "second", "third", "fourth", "good", "bad", "warn", "limit", "quiet"]
Style = Literal["line", "step", "area", "dash", "dots", "bars"]
Kind = Literal["load", "simulation"]


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """A promise with a number. ``value`` None: it could not be measured, which is never ``ok``.
    ``at_least``: the value has to reach the limit, else it must not exceed it. ``why``: a sentence
    for people, in particular when it was missed."""

    name: str
    value: float | None
    limit: float
    ok: bool
    unit: str = ""
    at_least: bool = False
    why: str = ""

    @staticmethod
    def judge(
        name: str,
        value: float | None,
        limit: float,
        *,
        unit: str = "",
        at_least: bool = False,
        why: str = "",
    ) -> Objective:
        """The verdict follows from the two numbers alone."""
        ok = value is not None and (value >= limit if at_least else value <= limit)
        return Objective(
            name=name, value=value, limit=limit, ok=ok, unit=unit, at_least=at_least, why=why
        )


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a chart: points (x, y); y None is a gap."""

    name: str
    points: list[tuple[float, float | None]]
    role: Role = "main"
    style: Style = "line"


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """``id``: an HTML id. ``x`` "time": seconds since the run began, drawn on the axis that all
    such charts share; "number": an axis of its own, named ``x_label``. ``text``: what to look for.
    """

    id: str
    title: str
    unit: str
    series: list[Series]
    text: str = ""
    x: Literal["time", "number"] = "time"
    x_label: str = ""
    log: bool = False


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened: a raise, a step of it, a cut of the network."""

    at: float
    text: str


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """One employee's wait, or ``count`` alike. ``told_*``: the first estimate shown, in seconds;
    None: none was. ``ended``: seated, gave_up, refused, lost or waiting (at the end of the run)."""

    population: str
    seconds: float
    ended: str
    told_p50: float | None = None
    told_p90: float | None = None
    began: float = 0.0
    count: int = 1


class LimitUse(msgspec.Struct, frozen=True, kw_only=True):
    """A limit and the highest use of it. ``limit``: the highest in force during the run.
    ``broker``: as its own metrics say; ``counter``: as somebody independent counted (``counted_by``
    says who), None: nobody could. ``exceeded``: how often a use above what was in force *at that
    moment* was seen."""

    name: str
    limit: float
    broker: float | None
    counter: float | None
    counted_by: str = ""
    exceeded: int = 0


class ErrorCount(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    count: int
    first_at: float | None = None
    example: str = ""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A number to know, shown large."""

    name: str
    value: float | None
    unit: str = ""
    text: str = ""


class PoolStep(msgspec.Struct, frozen=True, kw_only=True):
    """One interval of one pool under load: ``seconds`` long from ``at``. ``in_flight``: mean;
    ``per_second``: exchanges that ended; ``errors``: how many of them were 5xx; latencies in
    seconds, of all its exchanges, None where too few ended."""

    at: float
    seconds: float
    in_flight: float
    per_second: float
    errors: int = 0
    p50: float | None = None
    p95: float | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Everything. ``over_admissions``: all uses above a limit in force, of ``limits`` together.
    ``pools``: what capacity planning fits its curves to. ``notes``: what a reader must know to
    believe the figures, such as what was not verified."""

    name: str
    kind: Kind
    title: str
    started: str
    seconds: float
    objectives: list[Objective]
    over_admissions: int
    format: int = FORMAT
    question: str = ""
    command: str = ""
    parameters: dict[str, Any] = {}
    figures: list[Figure] = []
    charts: list[Chart] = []
    marks: list[Mark] = []
    waits: list[Wait] = []
    limits: list[LimitUse] = []
    errors: list[ErrorCount] = []
    pools: dict[str, list[PoolStep]] = {}
    notes: list[str] = []

    @property
    def ok(self) -> bool:
        """Every objective is met; a run without objectives proves nothing."""
        return bool(self.objectives) and all(each.ok for each in self.objectives)

    def missed(self) -> list[Objective]:
        return [each for each in self.objectives if not each.ok]


def dump(run: Run) -> bytes:
    """``report.json``: indented, so that a diff of two runs can be read."""
    return msgspec.json.format(msgspec.json.encode({"ok": run.ok, **msgspec.to_builtins(run)}))


def load(text: bytes) -> Run:
    """Raises ValueError with the place when it is no report, or one of a later format."""
    run = msgspec.json.decode(text, type=Run)
    if run.format > FORMAT:
        raise ValueError(f"a report of format {run.format}; this version reads up to {FORMAT}")
    return run
