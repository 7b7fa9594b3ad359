"""``python -m loadtest.bench [--cases page-1k,...]``: run, show the table, write ``bench.json``.

Exit code 1 when a must is missed, 2 when a peer that a must names is missing.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from loadtest.bench import broker_peer, machine, peers
from loadtest.bench.cases import CASES, Case
from loadtest.bench.load import BROWSER_HEADERS, run_wrk

if TYPE_CHECKING:
    from loadtest.bench.peers import Target

ROUNDS = 5
ROUND_SECONDS = 3.0
WARM_UP_SECONDS = 2.0
STARTERS = (
    broker_peer.broker,
    peers.nginx,
    peers.nginx_auth,
    peers.envoy,
    peers.aiohttp_proxy,
)


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 2),
        "min": round(min(values), 2),
        "max": round(max(values), 2),
    }


def run_case(case: Case, folder: Path, console: Console) -> tuple[dict[str, Any], list[str]]:
    """One case over all peers in alternating rounds: figures by peer, and what is missing."""
    missing: list[str] = []
    with ExitStack() as stack:
        backend = stack.enter_context(peers.backend(folder / "backend", case.page_bytes))
        targets: list[Target] = []
        for starter in STARTERS:
            name = starter.__name__.replace("_", "-").replace("aiohttp-proxy", "aiohttp")
            try:
                targets.append(stack.enter_context(starter(folder / name, backend)))
            except peers.Missing as reason:
                missing.append(str(reason))
        rounds: dict[str, list[tuple[float, Any]]] = {target.name: [] for target in targets}
        for number in range(ROUNDS + 1):
            for target in targets:
                rounds[target.name].append(_round(case, target, folder, warm_up=number == 0))
            console.print(f"{case.name}: round {number}/{ROUNDS} done", style="dim")
    figures = {}
    for name, measured in rounds.items():
        kept = measured[1:]
        figures[name] = {
            "cpu_us": _spread([cpu for cpu, _ in kept]),
            "rps": round(statistics.median(load.requests / load.seconds for _, load in kept)),
            "p50_ms": round(statistics.median(load.p50_ms for _, load in kept), 3),
            "p99_ms": round(statistics.median(load.p99_ms for _, load in kept), 3),
        }
    return figures, missing


def _round(case: Case, target: Target, folder: Path, *, warm_up: bool) -> tuple[float, Any]:
    processes = machine.tree(target.pid)
    before = machine.cpu_seconds(processes)
    load = run_wrk(
        target.url,
        {**BROWSER_HEADERS, **target.headers},
        seconds=WARM_UP_SECONDS if warm_up else ROUND_SECONDS,
        connections=case.connections,
        folder=folder,
    )
    if load.errors or not load.requests:
        raise RuntimeError(f"{target.name}: {load.errors} errors in {load.requests} requests")
    spent = machine.cpu_seconds(processes) - before
    return spent / load.requests * 1e6, load


def judge(case: Case, figures: dict[str, Any]) -> tuple[list[dict[str, Any]], bool]:
    """Each bound with must, aim and got; whether all musts hold."""
    mine = figures["broker"]["cpu_us"]["median"]
    aims = {bound.peer: bound.factor for bound in case.aim}
    verdicts = []
    for bound in case.must:
        theirs = figures.get(bound.peer)
        got = round(mine / theirs["cpu_us"]["median"], 2) if theirs else None
        verdicts.append(
            {
                "peer": bound.peer,
                "must": bound.factor,
                "aim": aims.get(bound.peer),
                "got": got,
                "ok": got is not None and got <= bound.factor,
            }
        )
    return verdicts, all(verdict["ok"] for verdict in verdicts)


def show(console: Console, name: str, figures: dict[str, Any], verdicts: list[Any]) -> None:
    table = Table(title=f"{name}: CPU of the proxy's processes per request, median of {ROUNDS}")
    for column in ("proxy", "CPU us", "min", "max", "req/s", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "proxy" else "right")
    for peer, figure in figures.items():
        cpu = figure["cpu_us"]
        cells = (cpu["median"], cpu["min"], cpu["max"], figure["rps"])
        table.add_row(peer, *map(str, cells), str(figure["p50_ms"]), str(figure["p99_ms"]))
    console.print(table)
    for verdict in verdicts:
        word = "ok" if verdict["ok"] else "MISSED"
        console.print(
            f"{name}: {verdict['got']} x {verdict['peer']} "
            f"(must {verdict['must']}, aim {verdict['aim']}): {word}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description=__doc__)
    parser.add_argument("--cases", default="", help="comma-separated; all when left out")
    parser.add_argument("--output", type=Path, default=Path("bench.json"))
    options = parser.parse_args()
    wanted = [name for name in options.cases.replace(" ", ",").split(",") if name] or list(CASES)
    unknown = [name for name in wanted if name not in CASES]
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}; there are: {', '.join(CASES)}")
    console = Console()
    report: dict[str, Any] = {"cases": {}, "verdicts": {}, "missing": []}
    all_ok = True
    for name in wanted:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            figures, missing = run_case(CASES[name], Path(folder), console)
        verdicts, ok = judge(CASES[name], figures)
        all_ok = all_ok and ok
        report["cases"][name] = figures
        report["verdicts"][name] = verdicts
        report["missing"] += [peer for peer in missing if peer not in report["missing"]]
        show(console, name, figures, verdicts)
    for peer in report["missing"]:
        console.print(f"missing peer: {peer}", style="bold red")
    report["date"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    report["commit"] = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    report["machine"] = machine.description()
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    console.print(f"written: {options.output}")
    return 0 if all_ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
