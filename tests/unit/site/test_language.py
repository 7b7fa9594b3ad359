"""Which language is chosen, and that its texts are found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.site.language import LANGUAGES, gettext, negotiate, ngettext


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("pl", "pl"),
        ("fr-SN,fr;q=0.9,en;q=0.5", "fr"),
        ("FR-fr", "fr"),
        ("de,pl;q=0.8,en;q=0.7", "pl"),
        ("en;q=0.2,fr;q=0.8,pl;q=0.5", "fr"),
        ("fr;q=0.8,pl;q=0.8", "fr"),
        ("pl;q=0.8,fr;q=0.8", "pl"),
        ("de", "en"),
        ("*", "en"),
        ("*;q=0.5,pl;q=0.3", "en"),
        ("pl,*;q=0.1", "pl"),
        ("en;q=0,*", "fr"),
        ("en;q=0,fr;q=0,pl;q=0", "en"),
        ("fr;q=0, pl;q=0.001", "pl"),
        ("fr;q=2", "en"),
        ("fr;q=x,pl;q=0.1", "pl"),
        ("fr ; q=0.5 , pl;q=0.4", "fr"),
        (";;;,,=;q", "en"),
        (",".join(["de"] * 50) + ",fr", "en"),
    ],
)
def test_the_browsers_preference(header: str, language: str) -> None:
    assert negotiate(header) == language


def test_the_employees_choice_goes_before_the_browsers() -> None:
    assert negotiate("fr", "pl") == "pl"
    assert negotiate("fr", "xx") == "fr"
    assert negotiate("fr", "") == "fr"


def test_the_companys_language_is_what_is_left() -> None:
    assert negotiate("", default="pl") == "pl"
    assert negotiate("de", default="fr") == "fr"
    assert negotiate("*", default="pl") == "pl"
    assert negotiate("en", default="pl") == "en"


@given(st.text(), st.text())
def test_any_header_gives_a_language(header: str, cookie: str) -> None:
    assert negotiate(header, cookie) in LANGUAGES


def test_texts_are_translated() -> None:
    assert gettext("fr")("Password") == "Mot de passe"
    assert gettext("pl")("Password") == "Hasło"
    assert gettext("en")("Password") == "Password"
    assert gettext("fr")("a text nobody has translated") == "a text nobody has translated"
    assert gettext("xx")("Password") == "Password"


def test_polish_has_three_plurals() -> None:
    one = "This page looks again every %(count)s second and lets you in by itself."
    many = "This page looks again every %(count)s seconds and lets you in by itself."
    forms = [ngettext("pl")(one, many, number) for number in (1, 3, 7, 22, 25)]
    assert [form.partition("%(count)s ")[2].split()[0] for form in forms] == [
        "sekundę", "sekundy", "sekund", "sekundy", "sekund",
    ]  # fmt: skip
