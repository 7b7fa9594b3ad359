"""The one style sheet, with the company's colours put in, and the waiting page's script: each under
a name that changes with its content."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from aiohttp import web

from broker.portal.palette import palette

if TYPE_CHECKING:
    from broker.portal.plan import PortalPlan

STATIC = Path(__file__).parent / "static"
FOR_EVER = "public, max-age=31536000, immutable"


class Style:
    """``path`` and ``script`` are where pages link to; the names hold a hash of the content."""

    def __init__(self, plan: PortalPlan) -> None:
        style = Template((STATIC / "portal.css").read_text("utf-8"))
        self._style = style.substitute(palette(plan.color))
        self._script = (STATIC / "wait.js").read_text("utf-8")
        self._style_name = f"portal.{_hash(self._style)}.css"
        self._script_name = f"wait.{_hash(self._script)}.js"
        self.path = f"/.broker/static/{self._style_name}"
        self.script = f"/.broker/static/{self._script_name}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """A page of another release of this site may ask for another name: it is served what there
        is, but may not keep it."""
        name = request.match_info["name"]
        if name.endswith(".js"):
            text, kind = self._script, "text/javascript"
        else:
            text, kind = self._style, "text/css"
        response = web.Response(text=text, content_type=kind, charset="utf-8")
        current = name in (self._style_name, self._script_name)
        response.headers["Cache-Control"] = FOR_EVER if current else "no-store"
        return response


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
