"""What a case of the benchmark is, and what every case is given to run with.

A case is one module in ``cases`` that defines ``CASE``: a name, a unit, what must be reached, what
is aimed at, and ``run``. Cases with peers return figures by peer; cases of the broker alone return
one value for each repetition. To add one, add a module: ``cases.load`` finds it.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.bench.peers import PEERS, Missing, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from rich.console import Console

    from loadtest.bench.behind import Site

ROUNDS = 5
ROUND_SECONDS = 2
WARM_UP_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one proxy. ``cpu_us`` is per what the case counts, ``rps`` requests (or echoes)
    per second, latencies as the load generator saw them."""

    cpu_us: float
    rps: float
    p50_ms: float
    p99_ms: float


Versus = dict[str, list[Sample]]
"""Rounds by peer; the broker is one of them."""

Alone = list[float]
"""One value of the broker's for each repetition."""


@dataclass(frozen=True, slots=True)
class Case:
    """``must`` and ``aim``: with peers, how many times a peer's ``metric`` the broker's may be;
    without, the largest value (None: there is none). ``order``: place in the run and the table.
    ``only_named``: it takes long and has no must, so it runs only when it is asked for by name."""

    name: str
    unit: str
    must: Mapping[str, float] | float | None
    aim: Mapping[str, float] | float | None
    run: Callable[[Bench], Versus | Alone]
    metric: str = "cpu_us"
    order: int = 100
    only_named: bool = False


class Bench:
    """One case's place to work: a folder of its own, progress, and what was missing."""

    def __init__(self, folder: Path, console: Console, missing: list[str]) -> None:
        self.folder = folder
        self._console = console
        self.missing = missing

    def say(self, text: str) -> None:
        """Progress, for who waits."""
        self._console.print(text, style="dim", highlight=False)

    @contextmanager
    def peers(self, names: Iterable[str], site: Site) -> Iterator[list[Target]]:
        """Those that can be started, all running; the others are named as missing."""
        with ExitStack() as stack:
            targets = []
            for name in names:
                try:
                    target = stack.enter_context(PEERS[name](self.folder / name, site))
                except Missing as reason:
                    if str(reason) not in self.missing:
                        self.missing.append(str(reason))
                else:
                    targets.append(target)
            yield targets

    def alternate(
        self, targets: Iterable[Target], measure: Callable[[Target, int], Sample]
    ) -> Versus:
        """A warm-up, then ROUNDS rounds, one target after the other in each of them, so that a
        machine that drifts is fair to all."""
        rounds: Versus = {target.name: [] for target in targets}
        for number in range(ROUNDS + 1):
            for target in targets:
                sample = measure(target, ROUND_SECONDS if number else WARM_UP_SECONDS)
                if number:
                    rounds[target.name].append(sample)
            if number:
                medians = {
                    name: statistics.median(sample.cpu_us for sample in samples)
                    for name, samples in rounds.items()
                }
                shown = ", ".join(f"{name} {value:.1f}" for name, value in medians.items())
                self.say(f"  round {number}/{ROUNDS}, CPU us so far: {shown}")
        return rounds
