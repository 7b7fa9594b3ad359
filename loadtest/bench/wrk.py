"""HTTP load from wrk: closed loop on keep-alive connections, a browser's headers.

wrk is C, in Debian, and asks for about 5 us of CPU per request, a fraction of what the cheapest of
the proxies needs: so the proxy is what is saturated, which is what CPU per request should be
measured at. Python generators and ab stay below that; h2load would do as well but knows no
scripts, which ``growth`` needs.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.bench import machine
from loadtest.bench.case import Bench, Sample, Versus

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from loadtest.bench.behind import Site
    from loadtest.bench.peers import Target

BROWSER_HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "Accept-Language": "fr,fr-FR;q=0.8,en-US;q=0.5,en;q=0.3",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "https://feed.localhost:8443/",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-User": "?1",
    "Upgrade-Insecure-Requests": "1",
    "Priority": "u=0, i",
    "DNT": "1",
    "Cache-Control": "max-age=0",
}

REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests": %d, "seconds": %.6f, "p50_ms": %.4f, "p99_ms": %.4f, "errors": %d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
"""

UPLOAD = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/octet-stream"
wrk.body = string.rep("x", %d)
"""


@dataclass(frozen=True, slots=True)
class Load:
    """One round as wrk saw it. ``errors``: socket errors and statuses of 400 and above."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask for. ``upload``: bytes of body to POST; ``close``: a new connection for each
    request; ``per``: what one request counts as (MiB, ...); ``script``: more Lua for wrk, run by
    each of ``threads``."""

    path: str = "/"
    connections: int = 32
    upload: int = 0
    close: bool = False
    per: float = 1.0
    script: str = ""
    threads: int = 1


def run(url: str, headers: dict[str, str], plan: Plan, seconds: int, folder: Path) -> Load:
    """One round. Raises RuntimeError with wrk's own words when it fails."""
    script = folder / "wrk.lua"
    upload = UPLOAD % plan.upload if plan.upload else ""
    script.write_text(REPORT + upload + plan.script)
    command = [
        "wrk",
        f"-t{plan.threads}",
        f"-c{plan.connections}",
        f"-d{seconds}s",
        "-s",
        str(script),
    ]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    if plan.close:
        command += ["-H", "Connection: close"]
    done = subprocess.run(
        [*command, url + plan.path],
        capture_output=True, text=True, timeout=seconds + 60, check=False,
    )  # fmt: skip
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return Load(**json.loads(line.removeprefix("RESULT ")))
    raise RuntimeError(f"wrk: {done.stderr or done.stdout}")


def measure(target: Target, plan: Plan, seconds: int, folder: Path) -> Sample:
    """One round: what the proxy's processes spent for each request that was answered."""
    processes = machine.tree(target.pid)
    before = machine.cpu_seconds(processes)
    load = run(target.url, {**BROWSER_HEADERS, **target.headers}, plan, seconds, folder)
    spent = machine.cpu_seconds(processes) - before
    if load.errors or not load.requests:
        raise RuntimeError(f"{target.name}: {load.errors} errors in {load.requests} requests")
    cpu_us = spent / load.requests / plan.per * 1e6
    return Sample(cpu_us, load.requests / load.seconds, load.p50_ms, load.p99_ms)


def against(bench: Bench, names: Iterable[str], site: Site, plan: Plan) -> Versus:
    """The broker and these peers in alternating rounds."""
    with bench.peers(names, site) as targets:
        return bench.alternate(
            targets, lambda target, seconds: measure(target, plan, seconds, bench.folder)
        )
