"""What came out: figures as ``bench.json`` has them, verdicts, and tables for people."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from loadtest.bench.case import Alone, Case, Versus


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bound: ``got`` is None when the peer is missing, and then the must is not met."""

    case: str
    peer: str
    unit: str
    must: float | None
    aim: float | None
    got: float | None

    @property
    def ok(self) -> bool:
        return self.must is None or (self.got is not None and self.got <= self.must)

    def as_json(self) -> dict[str, Any]:
        return {
            "peer": self.peer, "must": self.must, "aim": self.aim, "got": self.got, "ok": self.ok,
        }  # fmt: skip


def figures(case: Case, result: Versus | Alone) -> dict[str, Any]:
    """The case as it stands in ``bench.json``."""
    if isinstance(result, dict):
        return {
            peer: {
                "cpu_us": _spread(sample.cpu_us for sample in samples),
                "rps": round(statistics.median(sample.rps for sample in samples), 1),
                "p50_ms": round(statistics.median(sample.p50_ms for sample in samples), 3),
                "p99_ms": round(statistics.median(sample.p99_ms for sample in samples), 3),
            }
            for peer, samples in result.items()
        }
    (verdict,) = judge(case, result)
    return {
        "value": _spread(result),
        "unit": case.unit,
        "must": case.must,
        "aim": case.aim,
        "ok": verdict.ok,
    }


def judge(case: Case, result: Versus | Alone) -> list[Verdict]:
    """Each bound of the case with what was reached."""
    if not isinstance(result, dict):
        assert not isinstance(case.must, dict)
        assert not isinstance(case.aim, dict)
        got = round(statistics.median(result), 3)
        return [Verdict(case.name, "", case.unit, case.must, case.aim, got)]  # type: ignore[arg-type]
    assert isinstance(case.must, dict)
    assert isinstance(case.aim, dict)
    medians = {
        peer: statistics.median(getattr(sample, case.metric) for sample in samples)
        for peer, samples in result.items()
    }
    mine = medians["broker"]
    return [
        Verdict(
            case.name,
            peer,
            "x " + peer,
            must,
            case.aim.get(peer),
            round(mine / medians[peer], 2) if peer in medians else None,
        )
        for peer, must in case.must.items()
    ]


def _spread(values: Iterable[float]) -> dict[str, float]:
    values = list(values)
    return {
        "median": round(statistics.median(values), 2),
        "min": round(min(values), 2),
        "max": round(max(values), 2),
    }


def show_case(console: Console, case: Case, found: dict[str, Any]) -> None:
    """One case's figures."""
    if "value" in found:
        value = found["value"]
        console.print(
            f"{case.name}: {value['median']} {case.unit} ({value['min']} to {value['max']})"
        )
        return
    table = Table(title=f"{case.name}: CPU {case.unit} of all the proxy's processes")
    for column in ("proxy", "CPU us", "min", "max", "per s", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "proxy" else "right")
    for peer, figure in found.items():
        cpu = figure["cpu_us"]
        cells = (cpu["median"], cpu["min"], cpu["max"], figure["rps"])
        table.add_row(peer, *map(str, cells), str(figure["p50_ms"]), str(figure["p99_ms"]))
    console.print(table)


def show_verdicts(console: Console, verdicts: list[Verdict]) -> None:
    """Must, aim and got of everything that was run."""
    table = Table(title="must, aim, got")
    for column in ("case", "unit", "must", "aim", "got", ""):
        table.add_column(column, justify="right" if column in ("must", "aim", "got") else "left")
    for verdict in verdicts:
        cells = ("-" if x is None else f"{x:g}" for x in (verdict.must, verdict.aim, verdict.got))
        word = "ok" if verdict.ok else "MISSED" if verdict.got is not None else "peer missing"
        table.add_row(
            verdict.case, verdict.unit, *cells, word, style=None if verdict.ok else "bold red"
        )
    console.print(table)
