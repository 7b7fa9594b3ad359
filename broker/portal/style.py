"""The one style sheet, with the company's colours put in, the scripts of pages that wait, the
company's logo: each under a name that changes with its content."""

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
    """``path``, ``script``, ``again`` and ``logo`` ("" for none) are where pages link to; the names
    hold a hash of the content."""

    def __init__(self, plan: PortalPlan) -> None:
        style = Template((STATIC / "portal.css").read_text("utf-8"))
        text = style.substitute(palette(plan.color)).encode()
        script, again = ((STATIC / name).read_bytes() for name in ("wait.js", "again.js"))
        self._files = {
            f"portal.{_hash(text)}.css": ("text/css", text),
            f"wait.{_hash(script)}.js": ("text/javascript", script),
            f"again.{_hash(again)}.js": ("text/javascript", again),
        }
        self.path, self.script, self.again = (f"/.broker/static/{name}" for name in self._files)
        self.logo = ""
        if plan.logo is not None:
            name = f"logo.{_hash(plan.logo[1])}"
            self._files[name] = plan.logo
            self.logo = f"/.broker/static/{name}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """A page of another release of this site may ask for another name: it is served what there
        is, but may not keep it."""
        name = request.match_info["name"]
        current = name in self._files
        if not current:
            kind = name.partition(".")[0]
            alike = (other for other in self._files if other.partition(".")[0] == kind)
            name = next(alike, next(iter(self._files)))
        media, content = self._files[name]
        charset = "utf-8" if media.startswith("text/") else None
        response = web.Response(body=content, content_type=media, charset=charset)
        response.headers["Cache-Control"] = FOR_EVER if current else "no-store"
        return response


def _hash(content: bytes) -> str:
    return sha256(content).hexdigest()[:16]
