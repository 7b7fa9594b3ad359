"""Where an address leads, by the gateway's own table."""

from __future__ import annotations

from typing import Any, cast

import pytest

from broker.gateway.plan import DoorPlan, GatewayPlan, HostPlan, PoolPlan, RoutePlan
from broker.gateway.route import RouteTable
from broker.policy.explaining import Place
from broker.wiring.explaining import place

PLAN = GatewayPlan(
    DoorPlan(),
    hosts=(
        HostPlan(b"https://home.test:8443", home=True),
        HostPlan(b"https://feed.test", (RoutePlan(b"/", "feed"), RoutePlan(b"/api", "api"))),
        HostPlan(b"https://wiki.test", (RoutePlan(b"/w", "wiki"),)),
    ),
    pools={name: PoolPlan(name, ()) for name in ("portal", "feed", "api", "wiki")},
)
TABLE = RouteTable(PLAN, cast("Any", {name: name for name in PLAN.pools}), lambda _: {})


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://feed.test/", Place("feed.test", "/", "/", "feed")),
        ("feed.test", Place("feed.test", "/", "/", "feed")),
        ("https://FEED.test:443/apis?q=1#x", Place("feed.test", "/apis", "/", "feed")),
        ("https://feed.test/a/../api/x", Place("feed.test", "/api/x", "/api", "api")),
        ("wss://feed.test/api/live", Place("feed.test", "/api/live", "/api", "api")),
        ("https://home.test:8443/.broker/me", Place("home.test:8443", "/.broker/me", portal=True)),
        ("https://feed.test/.broker/wait", Place("feed.test", "/.broker/wait", portal=True)),
        (
            "https://feed.test/.broker/wait/status",
            Place("feed.test", "/.broker/wait/status", portal=True),
        ),
    ],
)
def test_where_it_leads(url: str, found: Place) -> None:
    assert place(TABLE, url) == found


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://fed.test/", "there is no host fed.test; known: feed.test, home.test:8443, wiki"),
        ("https://home.test/", "there is no host home.test"),
        ("https://wiki.test/x", "no route of wiki.test leads to /x"),
        ("https://feed.test/.broker/secret", "/.broker/secret is reserved for the broker"),
        ("https://feed.test/a%2fb", "the door refuses"),
        ("https://feed.test/\u00e9", "is no address"),
        ("https://[feed/", "is no address"),
        ("ftp://feed.test/", "is no address of a page: say https://HOST/PATH"),
        ("https://anna@feed.test/", "is no address of a page"),
        ("https:///x", "is no address of a page"),
    ],
)
def test_what_the_door_turns_away(url: str, why: str) -> None:
    assert why in place(TABLE, url).refused
