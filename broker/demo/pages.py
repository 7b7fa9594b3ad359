"""Pages of the broker and of the sample applications as a browser reads them: the login form, what
became of a navigation, the assets. For whoever plays an employee: the demo, tests, load tests.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urljoin

if TYPE_CHECKING:
    from collections.abc import Iterator

Outcome = Literal["login", "seated", "waiting", "refused", "failed"]
PASSWORD_FIELD = 'name="password"'
AT_A_TIME = 6
"""Connections that a browser opens to a host."""
NAVIGATION = {
    "Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Site": "none",
    "Upgrade-Insecure-Requests": "1",
}
_INPUT = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')
_FORM = re.compile(r'<form method="post" action="([^"]*)"')
_POLL = re.compile(r'<div id="wait" data-poll="(\d+)"')
_ASSET = re.compile(r'(?:src|href)="(/(?:static|photos|avatars)/[^"]+)"')


@dataclass(frozen=True, slots=True)
class Page:
    """What a navigation ended with."""

    url: str
    status: int
    text: str
    retry_after: float | None = None

    @property
    def asks_for_login(self) -> bool:
        return PASSWORD_FIELD in self.text

    @property
    def outcome(self) -> Outcome:
        if self.status == 200:
            return "login" if self.asks_for_login else "seated"
        if self.status == 503 and _POLL.search(self.text):
            return "waiting"
        return "refused" if self.status == 403 else "failed"

    def poll_seconds(self) -> float | None:
        """When a waiting page asks to be asked again; else what Retry-After said."""
        found = _POLL.search(self.text)
        return float(found[1]) if found else self.retry_after

    def hidden(self) -> dict[str, str]:
        """The hidden inputs of its form."""
        return {name: html.unescape(value) for name, value in _INPUT.findall(self.text)}

    def form_address(self) -> str | None:
        found = _FORM.search(self.text)
        return urljoin(self.url, html.unescape(found[1])) if found else None

    def assets(self) -> Iterator[str]:
        for address in dict.fromkeys(_ASSET.findall(self.text)):
            yield urljoin(self.url, html.unescape(address))
