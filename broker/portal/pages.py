"""Turning a template into a response: one Jinja environment per language, and the page's headers.

Templates escape by default and contain no script and no inline style, so the content security
policy can forbid both; pages that wait alone may load ours. Nothing here knows what it is about.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from broker.portal.durations import duration
from broker.portal.error_texts import error_text
from broker.site.language import LANGUAGES, NAMES, gettext, ngettext

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.portal.plan import PortalPlan
    from broker.portal.style import Style
    from broker.portal.visit import Visit

ENDS_SOON = 3600  # seconds before its end from which pages warn
SOON = 5  # seconds until what failed for the moment is worth another try
LONGEST_SWITCH = 1000  # characters: the page carries it once for each language
TEMPLATES = Path(__file__).parent / "templates"


class Pages:
    """Renders pages. ``style``: where the style sheet and the script are; ``jitter``: 0..1, at
    random."""

    def __init__(self, plan: PortalPlan, style: Style, jitter: Callable[[], float]) -> None:
        self._plan = plan
        self._jitter = jitter
        self._environments = {
            language: self._environment(language, style) for language in LANGUAGES
        }
        # Chromium checks form-action on every redirect that follows a form: a login goes home ->
        # application host, a logout application host -> home. All our origins, and no other.
        targets = " ".join(("'self'", plan.home, *plan.applications))
        self._policy = (
            "default-src 'none'; style-src 'self'; img-src 'self' data:; "
            f"form-action {targets}; base-uri 'none'; frame-ancestors 'none'"
        )

    def _environment(self, language: str, style: Style) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            auto_reload=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        environment.policies["ext.i18n.trimmed"] = True  # as babel.cfg extracts
        environment.install_gettext_callables(  # type: ignore[attr-defined]
            gettext(language), ngettext(language), newstyle=True
        )
        environment.globals.update(
            company=self._plan.company,
            contact=self._plan.contact,
            home=self._plan.home,
            brand=self._plan.color,
            applications=[(urlsplit(o).hostname, o) for o in self._plan.applications],
            language=language,
            languages=NAMES,
            stylesheet=style.path,
            script=style.script,
            again=style.again,
            logo=style.logo,
        )
        return environment

    def page(
        self, visit: Visit, template: str, *, status: int = 200, **context: Any
    ) -> web.Response:
        """Render ``template``. ``switch`` in the context is the address (path and query) under
        which the same page can be had in another language; without it no switch is offered."""
        context.setdefault("switch", None)
        context.setdefault("refresh", None)
        context.setdefault("ending", self._ending(visit))
        text = self._environments[visit.language].get_template(template).render(context)
        response = web.Response(text=text, content_type="text/html", status=status)
        response.headers["Content-Language"] = visit.language
        return response

    def _ending(self, visit: Visit) -> str:
        """What is left of the session, once it is worth saying on every page; "" before."""
        left = visit.identity.left_seconds if visit.identity is not None else None
        if left is None or left > min(ENDS_SOON, self._plan.session_lifetime / 4):
            return ""
        return duration(left)

    def message(
        self,
        visit: Visit,
        status: int,
        title: str,
        sentence: str,
        *,
        link: tuple[str, str] | None = None,
        refresh: int | None = None,
        switch: str | None = None,
    ) -> web.Response:
        """A page of one title and one sentence, already translated; ``link`` is (address, text)."""
        response = self.page(
            visit,
            "message.html",
            status=status,
            title=title,
            sentence=sentence,
            link=link,
            refresh=refresh,
            switch=switch,
        )
        if refresh is not None:
            self.allow_script(response)
        return response

    def error(self, visit: Visit, status: int) -> web.Response:
        """The general page of an error status. What may pass is asked for again by the page itself,
        except where that would send a form twice."""
        translate = gettext(visit.language)
        text = error_text(status)
        passes = status == 503
        seconds = retry_seconds(SOON, self._jitter())
        response = self.message(
            visit,
            status,
            translate(text.title),
            translate(text.sentence),
            link=None if passes else ("/", translate("To the start page")),
            refresh=seconds if passes and visit.method in ("GET", "HEAD") else None,
            switch=switch_here(visit),
        )
        if passes:
            response.headers["Retry-After"] = str(seconds)
        return response

    def allow_script(self, response: web.Response) -> None:
        """This page loads the script, which speaks to its own host."""
        policy = f"{self._policy}; script-src 'self'; connect-src 'self'"
        response.headers["Content-Security-Policy"] = policy

    def secure(self, response: web.StreamResponse) -> None:
        """The headers that every answer of the portal carries, unless it has said otherwise."""
        headers = response.headers
        headers.setdefault("Content-Security-Policy", self._policy)
        headers.setdefault("Cache-Control", "no-store")
        # Not "no-referrer": that makes browsers send "Origin: null" with our own forms.
        headers.setdefault("Referrer-Policy", "same-origin")
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("X-Frame-Options", "DENY")
        headers.setdefault("Server", "broker")  # or aiohttp names itself, Python and both versions
        headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")


def switch_here(visit: Visit) -> str | None:
    """The address of the switch on a page that stands at the address wanted. None: a form was sent
    to it, which going back would lose, or it is too long."""
    if visit.method not in ("GET", "HEAD"):
        return None
    query = urlencode({"to": visit.return_path or "/"})
    return f"/.broker/language?{query}" if len(query) <= LONGEST_SWITCH else None


def retry_seconds(least: int, jitter: float) -> int:
    """``least`` and up to half as much again: whoever failed together comes back one by one."""
    return round(least * (1 + jitter / 2))


def redirect(address: str, status: int = 302) -> web.Response:
    """To an address made by us, in ASCII. 303 after a POST."""
    return web.Response(status=status, headers={"Location": address})
