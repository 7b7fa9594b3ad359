"""``python -m loadtest.bench [--cases page-1k,...]``: run, show the tables, write ``bench.json``.

Exit code 1 when a must is missed, or cannot be judged because its peer is missing.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from broker.wiring import compiled
from loadtest.bench import machine, report
from loadtest.bench.case import Bench
from loadtest.bench.cases import load
from loadtest.bench.peers import Missing


def main() -> int:
    cases = load()
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description=__doc__)
    usual = [name for name, case in cases.items() if not case.only_named]
    told = f"of: {', '.join(cases)}; without it {', '.join(usual)}"
    parser.add_argument("--cases", default="", help=told)
    parser.add_argument("--output", type=Path, default=Path("bench.json"))
    options = parser.parse_args()
    wanted = [name for name in options.cases.replace(" ", ",").split(",") if name] or usual
    unknown = [name for name in wanted if name not in cases]
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}; there are: {', '.join(cases)}")
    machine.descriptors()
    console = Console(soft_wrap=True)
    document: dict[str, Any] = {"cases": {}, "verdicts": {}, "missing": [], "failed": {}}
    verdicts: list[report.Verdict] = []
    began = time.monotonic()
    for number, name in enumerate(wanted, 1):
        case = cases[name]
        took = time.monotonic() - began
        console.print(f"[{number}/{len(wanted)}, {took:.0f} s] {name} ...", highlight=False)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            Path(folder).chmod(0o711)  # nginx started by root reads files as somebody else
            try:
                result = case.run(Bench(Path(folder), console, document["missing"]))
            except (Missing, RuntimeError, OSError) as error:
                # The other cases are worth their time all the same.
                document["failed"][name] = str(error)
                verdicts.append(report.Verdict(name, "", case.unit, 0.0, None, None))
                console.print(f"  failed: {error}", style="bold red", highlight=False)
                continue
        judged = report.judge(case, result)
        verdicts += judged
        document["cases"][name] = report.figures(case, result)
        document["verdicts"][name] = [verdict.as_json() for verdict in judged]
        report.show_case(console, case, document["cases"][name])
    report.show_verdicts(console, verdicts)
    for peer in document["missing"]:
        console.print(f"missing peer: {peer}", style="bold red")
    document |= _about()
    options.output.write_text(json.dumps(document, indent=1) + "\n")
    console.print(f"written: {options.output}, after {time.monotonic() - began:.0f} s")
    return 0 if all(verdict.ok for verdict in verdicts) else 1


def _about() -> dict[str, str]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "machine": machine.description(),
        "data_path": "compiled" if compiled.is_wanted() else "Python",
    }


if __name__ == "__main__":
    raise SystemExit(main())
