"""The cases: what is measured, against whom, and what must be reached."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bound:
    """The broker's median CPU per request may be at most ``factor`` times that of ``peer``."""

    peer: str
    factor: float


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    page_bytes: int
    connections: int
    must: tuple[Bound, ...]
    aim: tuple[Bound, ...]


CASES = {
    "page-1k": Case(
        name="page-1k",
        page_bytes=1024,
        connections=32,
        must=(Bound("nginx-auth", 1.5),),
        aim=(Bound("nginx-auth", 1.1),),
    ),
}
