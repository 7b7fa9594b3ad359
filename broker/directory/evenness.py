"""Names that nobody has take as long to refuse as wrong passwords.

A directory may hash a password slowly, count the failure, or look elsewhere first, only where there
is an entry: then the time tells who exists. What either kind of refusal took lately is kept, and
the faster one is held back to the median of the slower. Bookkeeping only: who asks does the wait.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Literal

KEPT = 33

Kind = Literal["wrong", "nobody"]


class Evenness:
    """Times are seconds."""

    def __init__(self) -> None:
        self._took: dict[Kind, deque[float]] = {
            "wrong": deque(maxlen=KEPT),
            "nobody": deque(maxlen=KEPT),
        }

    def hold_back(self, kind: Kind, took: float) -> float:
        """Note what a refusal took, and how much longer it has to wait."""
        self._took[kind].append(took)
        slower = max(median(times) for times in self._took.values() if times)
        return max(0.0, slower - took)
