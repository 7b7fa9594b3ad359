"""Why somebody gets in or not: each finding by the numbers that make it, and the verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.policy import explaining
from broker.policy.explaining import Counted, FactorHeld, Finding, Place, Seat, ServerState
from broker.policy.populations import Match, PopulationRule, match
from broker.policy.second_factor import FactorRules
from tests.support.ledgers import limits_document

LIMITS = limits_document(seats=10)
NOTHING = Counted({}, {})


def seat(
    standing: Seat, name: str = "sales", *, held: int = 0, queue: int = 0, seats: int = 10
) -> tuple[bool | None, str]:
    limits = replace(LIMITS, seats_limit=seats)
    found = explaining.seat(limits, Counted({"sales": held}, {}), standing, name, queue)
    assert found.what == "seat"
    return found.passes, found.text


def test_the_rule_that_matched_is_named() -> None:
    rules = [
        PopulationRule("managers", groups=("CN=Bosses,DC=example",)),
        PopulationRule("sales", attributes={"department": "Sales"}),
        PopulationRule("everyone"),
    ]
    assert match(["cn=bosses, dc=example"], {}, rules) == Match(
        "managers", "member of CN=Bosses,DC=example"
    )
    assert match([], {"Department": "sales"}, rules) == Match("sales", "department is Sales")
    assert match([], {}, rules) == Match("everyone", "its rule matches everyone")
    assert match([], {}, rules[:2]) is None


def test_population() -> None:
    matched = explaining.population(Match("sales", "department is Sales"))
    assert (matched.passes, matched.text) == (None, "sales, because department is Sales")
    remembered = explaining.population(None, remembered="sales")
    assert (remembered.passes, remembered.text) == (None, "sales, as decided at the last login")
    assert explaining.population(None).passes is False


RULES = FactorRules(populations=("managers",), groups=("CN=Admins,DC=example",))
ABROAD = replace(RULES, except_from=("192.0.2.0/24", "2001:db8::/32"))
HAS = FactorHeld(enrolled=True, may_enrol=False)
MAY = FactorHeld(enrolled=False, may_enrol=True)
CLOSED = FactorHeld(enrolled=False, may_enrol=False)
KEPT = FactorHeld(enrolled=False, may_enrol=False, sessions=1)


@pytest.mark.parametrize(
    ("rules", "held", "passes", "known", "text"),
    [
        (RULES, HAS, True, True, "needed; has one: the login asks for a code"),
        (RULES, MAY, True, True, "needed; none yet: the login leads to setting one up"),
        (
            RULES, CLOSED, False, True,
            "needed; has none, and enrolment is closed: the login is refused",
        ),
        (
            RULES, KEPT, None, True,
            "needed; has none, and enrolment is closed: who is logged in goes on, a new login is "
            "refused",
        ),
        (
            ABROAD, CLOSED, None, False,
            "needed, except from 192.0.2.0/24, 2001:db8::/32; has none, and enrolment is closed: "
            "from elsewhere the login is refused",
        ),
        (RULES, None, None, False, "needed; not known whether there is one"),
    ],
)  # fmt: skip
def test_a_second_factor_that_is_needed(
    rules: FactorRules, held: FactorHeld | None, *, passes: bool | None, known: bool, text: str
) -> None:
    expected = Finding("second factor", passes, text, known=known)
    assert explaining.second_factor(rules, "managers", (), held) == expected
    assert explaining.second_factor(rules, "sales", ("cn=admins, dc=example",), held) == expected


def test_a_second_factor_that_is_not_needed() -> None:
    expected = Finding("second factor", None, "not needed")
    for held in (HAS, CLOSED, None):
        assert explaining.second_factor(RULES, "sales", ("cn=others",), held) == expected


def test_sessions() -> None:
    assert explaining.sessions(0).text == "none: the login page comes first"
    assert explaining.sessions(1).text == "1 logged-in browser"
    assert explaining.sessions(3).text == "3 logged-in browsers"


@pytest.mark.parametrize(
    ("found", "passes", "text"),
    [
        (seat(Seat("seated", "managers")), True, "has one, taken as managers"),
        (seat(Seat("called", "sales")), True, "is called"),
        (seat(Seat("learning")), False, "lost its memory"),
        (seat(Seat("waiting", "sales", 3), queue=7), False, "none yet: number 3 of 7 who wait"),
        (seat(Seat("not_admitted", "everyone")), False, "open at present to: managers, sales"),
        (seat(Seat("gone"), "everyone"), False, "everyone is not admitted; open at present"),
        (seat(Seat("gone"), ""), False, "none, without a population; open at present to"),
        (seat(Seat("gone")), True, "one is free: the next click takes it"),
        (seat(Seat("gone"), queue=2), False, "2 wait already and come first"),
        (seat(Seat("gone"), held=10), False, "none is free for sales: 1 must come back first"),
        (seat(Seat("gone"), held=12), False, "3 must come back first"),
        (seat(Seat("gone"), held=12, queue=9), False, "3 must come back first, and 9 wait already"),
        (seat(Seat("gone"), seats=0), False, "sales has no seats at all"),
    ],
)
def test_seat(found: tuple[bool | None, str], *, passes: bool, text: str) -> None:
    assert found[0] is passes
    assert text in found[1]


def test_nobody_is_admitted_at_all() -> None:
    closed = replace(
        LIMITS,
        populations={n: replace(p, admitted=False) for n, p in LIMITS.populations.items()},
    )
    found = explaining.seat(closed, NOTHING, Seat("gone"), "sales", 0)
    assert found.text == "sales is not admitted; open at present to: nobody"


def test_address() -> None:
    assert explaining.address(Place("x", refused="there is no host x")).passes is False
    own = explaining.address(Place("home.test", "/.broker/me", portal=True))
    assert (own.passes, own.text) == (True, "/.broker/me of home.test is the broker's own page")
    led = explaining.address(Place("wiki.test", "/a", "/", "wiki"))
    assert (led.passes, led.text) == (True, "wiki.test, route /, to pool wiki")


def test_servers() -> None:
    good = ServerState("a", healthy=True, draining=False, in_flight=3)
    ill = ServerState("b", healthy=False, draining=False, in_flight=0)
    drained = ServerState("c", healthy=True, draining=True, in_flight=1)
    assert explaining.servers([]).passes is None
    mixed = explaining.servers([good, ill, drained])
    assert mixed.passes is True
    assert mixed.text == (
        "a healthy with 3 in flight, b unhealthy with 0 in flight, c drained with 1 in flight"
    )
    none = explaining.servers([ill, drained])
    assert none.passes is False
    assert none.text.startswith("none can be used: b unhealthy")


def test_quotas_at_three_levels() -> None:
    counted = Counted({}, {("feed", "sales"): 100, ("feed", "managers"): 5, ("wiki", "sales"): 15})
    cell, pool, site = explaining.quotas(LIMITS, counted, "feed", "sales")
    assert (cell.passes, pool.passes, site.passes) == (False, False, False)
    assert cell.text.startswith("sales in feed: 100 of 100 connections in use; a request waits")
    assert pool.text.startswith("pool feed: 105 of 100")
    assert site.text.startswith("the site: 120 of 120")
    less = Counted({}, {("feed", "sales"): 99})
    assert [each.passes for each in explaining.quotas(LIMITS, less, "feed", "sales")] == [True] * 3
    (unknown,) = explaining.quotas(LIMITS, less, "fed", "sales")
    assert unknown.passes is False
    nobody, *_ = explaining.quotas(LIMITS, less, "feed", "gone")
    assert (nobody.passes, "0 of 0" in nobody.text) == (False, True)
    assert [each.passes for each in explaining.quotas(LIMITS, less, "feed", "")] == [True] * 2


def test_the_first_that_does_not_pass_is_the_reason() -> None:
    yes, no = Finding("address", True, "fine"), Finding("seat", False, "none")
    later, unknown = Finding("quota", False, "full"), Finding("servers", None, "?", known=False)
    said = Finding("population", None, "sales, because")
    assert explaining.verdict([yes, said, no, later]) == (False, "does not get in: seat: none")
    assert explaining.verdict([yes, said, unknown]) == (
        None, "gets in as far as is known; not known: servers",
    )  # fmt: skip
    assert explaining.verdict([yes, said]) == (True, "gets in")
