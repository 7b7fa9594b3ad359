"""The page around the gateway's own answers: one file, so that it comes when nothing else does.

It looks like the portal's pages (``portal/static/portal.css``) but asks nobody for style sheet or
logo: where it is shown something is amiss, perhaps the portal. Its one style is named by its hash
in the policy, so nothing else on the page would be obeyed.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from string import Template
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from broker.site import language
from broker.site.language import mark

if TYPE_CHECKING:
    from broker.gateway.plan import Look

LONGEST_SWITCH: Final = 2048  # bytes of an address that the switch of languages leads back to

_STYLE: Final = Template("""
:root { color-scheme: light dark; --ground: #eef1f5; --card: #fff; --text: #1a1f29; --soft: #566072;
  --line: #d5dbe5; --accent: $accent_light; }
@media (prefers-color-scheme: dark) { :root { --ground: #11141a; --card: #1b1f27; --text: #e8ebf0;
  --soft: #a3adbd; --line: #333a47; --accent: $accent_dark; } }
* { box-sizing: border-box; }
html { font: 100%/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
body { margin: 0 auto; min-height: 100vh; max-width: 29rem; display: flex; flex-direction: column;
  padding: clamp(1rem, 6vh, 4rem) 1rem 1.5rem; background: var(--ground); color: var(--text); }
header { display: flex; align-items: center; gap: .65rem; margin: 0 .25rem 1.1rem; }
svg { width: 2rem; height: 2rem; flex: none; }
rect { fill: $brand; }
path { fill: none; stroke: $on_brand; stroke-width: 1.6; stroke-linecap: round;
  stroke-linejoin: round; }
header span { font-weight: 600; font-size: 1.05rem; overflow-wrap: anywhere; }
main { background: var(--card); border: 1px solid var(--line); border-radius: .9rem;
  padding: clamp(1.25rem, 5vw, 2.1rem); }
h1 { font-size: 1.35rem; line-height: 1.25; margin: 0 0 .6rem; }
p { margin: 0; }
footer { margin: 1.1rem .25rem 0; color: var(--soft); font-size: .9rem; }
ul { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: .4rem 0 0;
  padding: 0; }
a { color: var(--accent); display: inline-block; min-height: 24px; }
a:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
""")

_PAGE: Final = Template("""<!doctype html>
<html lang="$language">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>$title · $company</title>
<style>$style</style>
</head>
<body>
<header><svg viewBox="0 0 16 16" aria-hidden="true"><rect width="16" height="16" rx="4"/>\
<path d="M5 12V4h6v8M8 8.5h.01"/></svg><span>$company</span></header>
<main><h1>$title</h1><p>$text</p></main>
<footer><p>$questions</p>
$switch</footer>
</body>
</html>
""")
_SWITCH: Final = "<!--switch-->"


class Pages:
    """``policy``: the Content-Security-Policy that goes with each."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._style = _STYLE.substitute(
            accent_light=look.accent_light,
            accent_dark=look.accent_dark,
            brand=look.brand,
            on_brand=look.on_brand,
        )
        digest = b64encode(sha256(self._style.encode()).digest()).decode("ascii")
        self.policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        )

    def render(self, tag: str, text: str) -> tuple[bytes, bytes]:
        """Before and after the place of the switch. ``text``: a message id."""
        translate = language.gettext(tag)
        questions = translate(mark("Questions? Ask %(contact)s."))
        whole = _PAGE.substitute(
            language=tag,
            company=escape(self._look.company),
            title=escape(translate(mark("Remote access"))),
            style=self._style,
            text=escape(translate(text)),
            questions=escape(questions % {"contact": self._look.contact}),
            switch=_SWITCH,
        )
        before, _, after = whole.partition(_SWITCH)
        return before.encode(), after.encode()


def switch(tag: str, here: bytes) -> bytes:
    """Links to the same page in other languages. ``here``: path and query of the page, which the
    portal leads back to; empty, or a long one: none."""
    if not here or len(here) > LONGEST_SWITCH:
        return b""
    to = quote(here, safe="/")
    entries = "".join(
        f'<li><span aria-current="true">{name}</span></li>'
        if code == tag
        else f'<li><a href="/.broker/language?to={to}&amp;lang={code}" lang="{code}" '
        f'hreflang="{code}">{name}</a></li>'
        for code, name in language.NAMES.items()
    )
    translate = language.gettext(tag)
    label = escape(translate(mark("Language")))
    return f'<nav aria-label="{label}"><ul>{entries}</ul></nav>\n'.encode()
