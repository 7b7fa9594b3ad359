"""What the portal believes of a request."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from broker.portal.visit import Identity, Visit, same_origin

ORIGIN = "https://home.example"


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({}, False),
        ({"Origin": ORIGIN}, True),
        ({"Origin": ORIGIN + ":443"}, False),
        ({"Origin": ORIGIN + ".evil.example"}, False),
        ({"Origin": ORIGIN.upper()}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"}, False),
        ({"Referer": ORIGIN + "/"}, False),
    ],
)
def test_only_the_own_origin_may_change_anything(headers: dict[str, str], own: bool) -> None:
    assert same_origin(CIMultiDictProxy(CIMultiDict(headers)), ORIGIN) is own


def visit(**claims: object) -> Visit:
    return Visit.from_claims(
        {"host": "home.example:443", **claims},
        origins={"home.example:443": ORIGIN},
        home=ORIGIN,
        language="en",
    )


def test_nobody_is_logged_in_without_name_and_session() -> None:
    assert visit().identity is None
    assert visit(sub="a").identity is None
    assert visit(sid="s").identity is None
    assert visit(sub=1, sid=2).identity is None
    who = visit(sub="a", sid="s").identity
    assert who is not None
    assert who == Identity("a", "s", "", "a")
    who = visit(sub="a", sid="s", left=90).identity
    assert who is not None
    assert who.left_seconds == 90


def test_an_unknown_host_is_nobodys() -> None:
    with pytest.raises(KeyError):
        Visit.from_claims({"host": "evil.example"}, origins={}, home=ORIGIN, language="en")
