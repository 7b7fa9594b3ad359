"""Which language an employee reads, and the texts in it: shared by the portal and the gateway.

Texts are written in English in the code and the templates (they are the message ids) and translated
by the compiled catalogues in ``broker/locales``. Nothing here knows a request or does I/O after the
catalogues are loaded; a missing translation falls back to the English text, never to an error.
"""

from __future__ import annotations

import re
from functools import cache
from gettext import GNUTranslations, NullTranslations, translation
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LANGUAGES = ("en", "fr", "pl")
NAMES = {"en": "English", "fr": "Français", "pl": "Polski"}
COOKIE = "__Host-broker-lang"
LOCALES = Path(__file__).resolve().parent.parent / "locales"
DOMAIN = "broker"

MOST_RANGES = 20  # an Accept-Language longer than this is no browser's
QUALITY = re.compile(r"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\Z", re.IGNORECASE)


def negotiate(accept_language: str, cookie: str = "", default: str = LANGUAGES[0]) -> str:
    """The language to answer in: what the employee chose, else what the browser prefers.

    ``accept_language`` is the header's raw value (RFC 9110, 12.5.4), matched by basic filtering on
    the primary tag (RFC 4647, 3.3.1): ``fr-SN`` is served ``fr``. The highest quality wins, the
    first named among equals; quality 0 excludes; ``*`` stands for what is not named and gives
    ``default`` when that is allowed. Malformed ranges are skipped.
    """
    if cookie in LANGUAGES:
        return cookie
    wanted: dict[str, float] = {}
    for item in accept_language.split(",", MOST_RANGES)[:MOST_RANGES]:
        tag, _, weight = (part.strip() for part in item.partition(";"))
        match = QUALITY.match(weight) if weight else None
        if weight and match is None:
            continue
        quality = float(match[1]) if match else 1.0
        primary = tag.split("-", 1)[0].lower()
        wanted[primary] = max(quality, wanted.get(primary, 0.0))
    anything = wanted.get("*", 0.0)
    position = {tag: -index for index, tag in enumerate(wanted)}

    def rank(language: str) -> tuple[float, int, bool]:
        unnamed = -MOST_RANGES
        return (
            wanted.get(language, anything),
            position.get(language, unnamed),
            language == default,
        )

    best = max(LANGUAGES, key=rank)
    return best if rank(best)[0] > 0 else default


@cache
def catalogue(language: str) -> NullTranslations:
    """The translations of one language; English as written for a language we do not have."""
    found: GNUTranslations | NullTranslations
    found = translation(DOMAIN, LOCALES, [language], fallback=True)
    return found


def gettext(language: str) -> Callable[[str], str]:
    """The function that translates a message id into ``language``."""
    return catalogue(language).gettext


def ngettext(language: str) -> Callable[[str, str, int], str]:
    """The same for texts with a number: (singular, plural, number)."""
    return catalogue(language).ngettext


def mark(text: str) -> str:
    """Mark a text for extraction where it is only *named* (a table), to be translated later."""
    return text
