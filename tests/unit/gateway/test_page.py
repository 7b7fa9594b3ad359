"""The page around the gateway's own answers: the company's, in three languages, one file."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from broker.gateway.answers import NO_SERVER, REASONS, Answers
from broker.gateway.plan import Look
from broker.site.language import LANGUAGES

LOOK = Look(
    "Sons & <Daughters>", "it@example.com", "#111111", "#eeeeee", "#222222", "#fafafa", "pl"
)


def shown(
    answers: Answers, here: bytes = b"", accept_language: bytes = b"", chosen: bytes = b""
) -> tuple[str, str]:
    whole = answers.answer(
        NO_SERVER, page=True, accept_language=accept_language, chosen=chosen, here=here, close=True
    )
    head, _, body = whole.decode().partition("\r\n\r\n")
    assert f"Content-Length: {len(body.encode())}\r\n" in head
    return head, body


def test_it_is_the_companys() -> None:
    _, body = shown(Answers(LOOK))
    assert "<span>Sons &amp; &lt;Daughters&gt;</span>" in body
    assert "it@example.com" in body
    for colour in ("#111111", "#eeeeee", "#222222", "#fafafa"):
        assert colour in body


def test_only_its_own_style_is_obeyed() -> None:
    head, body = shown(Answers(LOOK))
    (style,) = re.findall(r"<style>(.*?)</style>", body, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}';" in head
    assert "unsafe" not in head
    assert "style=" not in body


@pytest.mark.parametrize(
    ("accepted", "chosen", "language"),
    [
        (b"fr", b"", "fr"),
        (b"fr", b"en", "en"),  # who has switched knows better than the browser
        (b"fr", b"xx", "fr"),
        (b"de", b"", "pl"),  # the company's
    ],
)
def test_languages(accepted: bytes, chosen: bytes, language: str) -> None:
    head, body = shown(Answers(LOOK), accept_language=accepted, chosen=chosen)
    assert f'<html lang="{language}">' in body
    assert f"Content-Language: {language}\r\n" in head


def test_every_reason_in_every_language() -> None:
    answers = Answers()
    bodies = {
        answers.answer(reason, page=True, accept_language=tag.encode(), close=False)
        for reason in REASONS
        for tag in LANGUAGES
    }
    assert len(bodies) == len(REASONS) * len(LANGUAGES)
    assert max(map(len, bodies)) < 30 * 1024


def test_the_switch_leads_back_to_where_one_is() -> None:
    _, body = shown(Answers(), here=b"/news?page=2&q=\"%3Cb%3E'")
    links = re.findall(r'href="([^"]*)"', body)
    assert links == [
        f"/.broker/language?to=/news%3Fpage%3D2%26q%3D%22%253Cb%253E%27&amp;lang={tag}"
        for tag in ("fr", "pl")
    ]
    assert '<span aria-current="true">English</span>' in body


@pytest.mark.parametrize("here", [b"", b"/" + b"x" * 3000])
def test_without_a_way_back_there_is_no_switch(here: bytes) -> None:
    _, body = shown(Answers(), here=here)
    assert "<nav" not in body
    assert "<!--" not in body
