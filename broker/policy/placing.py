"""Which server of a sticky pool a session belongs to.

Rendezvous hashing (Thaler and Ravishankar 1998; with weights: Schindelhauer and Schomaker 2005):
each server draws a number from the session's id and its own name, and the highest one wins. All
workers find the same order without talking; a server that leaves moves only its own sessions, and
they come back when it does.
"""

from __future__ import annotations

from hashlib import blake2b
from math import log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def order(session: str, servers: Sequence[tuple[str, float]]) -> tuple[int, ...]:
    """Indices of ``servers`` (name, weight above 0), the one the session belongs to first, then the
    one it goes to while that is out of use, and so on."""
    scores = [(weight / -log(_draw(session, name)), name) for name, weight in servers]
    return tuple(sorted(range(len(servers)), key=lambda index: scores[index], reverse=True))


def _draw(session: str, server: str) -> float:
    """A number in (0, 1), even over sessions and independent between servers."""
    seed = blake2b(f"{server}\n{session}".encode(), digest_size=6).digest()
    return (int.from_bytes(seed, "big") + 0.5) / 2**48  # 48 bits: exact in a float, never 0 or 1
