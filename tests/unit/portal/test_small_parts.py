"""The pure parts of the portal: plan, return paths, reload times, browsers' names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.portal.browsers import describe
from broker.portal.cookies import fresh, well_formed
from broker.portal.forms import belongs, form_token
from broker.portal.handover import Start, safe_path
from broker.portal.pages import retry_seconds
from broker.portal.plan import PortalPlan


def test_hosts_are_known_with_and_without_the_default_port() -> None:
    plan = PortalPlan("https://home.example", ("https://feed.example:8443",), ())
    assert plan.origins["home.example"] == "https://home.example"
    assert plan.origins["home.example:443"] == "https://home.example"
    assert plan.is_home("home.example:443")
    assert plan.origins["feed.example:8443"] == "https://feed.example:8443"
    assert "feed.example" not in plan.origins
    assert not plan.is_home("feed.example:8443")


@given(st.text())
def test_a_return_path_never_leaves_the_host_nor_breaks_a_header(wanted: str) -> None:
    path = safe_path(wanted)
    assert path.startswith("/")
    assert path.isascii()
    assert path.isprintable()
    assert " " not in path
    assert path in ("/", wanted)


@given(st.builds(Start, st.text(), st.text(), st.text(), st.integers(0, 9)))
def test_a_start_comes_back_as_it_was_stored(start: Start) -> None:
    assert Start.decode(start.encode()) == start


def test_random_values_are_told_from_anything_else() -> None:
    value = fresh()
    assert well_formed(value)
    assert fresh() != value
    for wrong in (None, "", value[:-1], value + "a", value[:-1] + "\n", "ä" * 43, "a" * 42 + "/"):
        assert not well_formed(wrong)


def test_a_form_token_belongs_to_one_cookie() -> None:
    one, other = fresh(), fresh()
    assert belongs(form_token(one), one)
    assert not belongs(form_token(one), other)
    assert not belongs("", one)
    assert not belongs("é\ufffd", one)


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:125.0) Gecko/20100101 Firefox/125.0",
         "Firefox, Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
         "Version/17.4 Safari/605.1.15", "Safari, macOS"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0 "
         "Safari/537.36 Edg/124.0", "Edge, Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
         "Gecko) CriOS/124.0 Mobile/15E148 Safari/604.1", "Chrome, iPhone"),
        ("Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/124.0 Mobile Safari/537.36",
         "Chrome, Android"),
        ("curl/8.5", "curl"),
        ("", ""),
        ("something else", ""),
    ],
)  # fmt: skip
def test_browsers_are_named_for_people(agent: str, name: str) -> None:
    assert describe(agent) == name


def test_those_who_failed_together_come_back_one_by_one() -> None:
    assert [retry_seconds(10, jitter) for jitter in (0, 0.5, 1)] == [10, 12, 15]
