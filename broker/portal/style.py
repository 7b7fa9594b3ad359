"""The one style sheet, with the company's colours put in, under a name that changes with it."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from aiohttp import web

from broker.portal.palette import palette

if TYPE_CHECKING:
    from broker.portal.plan import PortalPlan

SOURCE = Path(__file__).parent / "static" / "portal.css"
FOR_EVER = "public, max-age=31536000, immutable"


class Style:
    """``path`` is where pages link to; its name holds a hash of the content."""

    def __init__(self, plan: PortalPlan) -> None:
        self._text = Template(SOURCE.read_text("utf-8")).substitute(palette(plan.color))
        self._name = f"portal.{sha256(self._text.encode()).hexdigest()[:16]}.css"
        self.path = f"/.broker/static/{self._name}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """A page of another release of this site may ask for another name: it is served what there
        is, but may not keep it."""
        current = request.match_info["name"] == self._name
        response = web.Response(text=self._text, content_type="text/css", charset="utf-8")
        response.headers["Cache-Control"] = FOR_EVER if current else "no-store"
        return response
