"""The Universal Scalability Law (N. Gunther, "Guerrilla Capacity Planning", Springer 2007).

    X(n) = alone n / (1 + contention (n - 1) + coherency n (n - 1))

``n``: exchanges in flight; ``X``: exchanges a second. Contention: the part of the work that all do
in turn (Amdahl's law is coherency 0). Coherency: what each pair costs to agree; with any of it,
throughput falls beyond a peak.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Law:
    """``alone``: exchanges a second that a single one in flight would make; the two others 0..1."""

    alone: float
    contention: float
    coherency: float

    def throughput(self, n: float) -> float:
        return self.alone * n / self._loss(n)

    def seconds(self, n: float) -> float:
        """Mean time of an exchange (Little 1961: n = X R)."""
        return self._loss(n) / self.alone

    def efficiency(self, n: float) -> float:
        """Of what ``n`` would make if none hindered another."""
        return 1.0 / self._loss(n)

    def _loss(self, n: float) -> float:
        return 1.0 + self.contention * (n - 1.0) + self.coherency * n * (n - 1.0)

    def knee(self) -> float:
        """Where X/R is greatest: beyond it an exchange more costs all others more time than it
        adds throughput (L. Kleinrock, "Power and deterministic rules of thumb", ICC 1979). The
        root of 3 k n^2 + (s - k) n - (1 - s) = 0; infinite when nothing hinders."""
        s, k = self.contention, self.coherency
        if k == 0.0:
            return math.inf if s == 0.0 else (1.0 - s) / s
        root = math.sqrt((s - k) ** 2 + 12.0 * k * (1.0 - s))
        # Not (root - (s - k)) / 6k, which loses all digits where k is tiny.
        return 2.0 * (1.0 - s) / (root + (s - k))

    def peak(self) -> float:
        """Where throughput is greatest; infinite without coherency, when it only levels off."""
        if self.coherency == 0.0:
            return math.inf
        return math.sqrt((1.0 - self.contention) / self.coherency)

    def ceiling(self) -> float:
        """The throughput that is never exceeded."""
        if self.coherency == 0.0:
            return math.inf if self.contention == 0.0 else self.alone / self.contention
        return self.throughput(max(1.0, self.peak()))
