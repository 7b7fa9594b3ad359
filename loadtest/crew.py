"""What all employees of one process share: the plan, the site, the recorder, and who comes next.

In a fleet each worker deals every n-th name, n the number of workers, so that no two processes log
in the same employee.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loadtest.measure.recorder import Recorder
from loadtest.site import deal

if TYPE_CHECKING:
    from loadtest.employee import Employee
    from loadtest.plan import Plan
    from loadtest.site import Site


@dataclass
class Crew:
    """``worker``: this process's number of ``workers``; set before the first employee comes."""

    plan: Plan
    site: Site
    worker: int = 0
    workers: int = 1
    recorder: Recorder = field(default_factory=Recorder)
    present: dict[int, Employee] = field(default_factory=dict)
    _free: list[int] = field(default_factory=list)
    _next: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self._people = deal(
            self.site, self.plan.employees, mobile_first=self.plan.scenario.mobile_first
        )

    def enter(self) -> tuple[int, str, str]:
        """(number, population, person) of who comes now: who left first comes back first."""
        number = heapq.heappop(self._free) if self._free else next(self._next)
        place = number * self.workers + self.worker
        population, person = self._people[place % len(self._people)]
        return number, population, person

    def leave(self, number: int) -> None:
        heapq.heappush(self._free, number)

    def cut(self) -> None:
        """The network goes away for everybody of this process."""
        for employee in list(self.present.values()):
            employee.cut()
