"""Who the broker says is asking: the plain identity headers, as an application reads them.

An application may trust these because only the broker can reach it; one that wants proof verifies
``X-Broker-Assertion`` instead, as the wiki does (``assertion.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from aiohttp import web


@dataclass(frozen=True, slots=True)
class Visitor:
    """The employee behind a request; ``name`` is "" when it did not come through the broker. Values
    are percent-encoded on the wire, groups separated by ``;``."""

    name: str
    population: str
    groups: tuple[str, ...]

    @classmethod
    def of(cls, request: web.Request) -> Visitor:
        groups = request.headers.get("X-Remote-Groups", "")
        return cls(
            name=unquote(request.headers.get("X-Remote-User", "")),
            population=request.headers.get("X-Remote-Population", ""),
            groups=tuple(unquote(part.strip()) for part in groups.split(";") if part.strip()),
        )

    @property
    def shown(self) -> str:
        """A name for the page: ``anna.nowak2`` becomes ``Anna Nowak``."""
        return self.name.rstrip("0123456789").replace(".", " ").title() or "Somebody"
