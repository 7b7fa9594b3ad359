"""Why one employee gets in at one address, or does not: the rules of admission, in words. Pure.

Each step of a request's way becomes a *finding*: whether it lets the employee through (None: not
known, or of no account) and a sentence. The first that does not is the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.policy.seats import shortage
from broker.policy.second_factor import asked, wants_factor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from broker.policy.limits import LimitsDocument
    from broker.policy.populations import Match
    from broker.policy.seats import SeatState
    from broker.policy.second_factor import FactorRules


@dataclass(frozen=True, slots=True)
class Finding:
    """``what``: the step. ``passes``: None where it decides nothing, or is not ``known``."""

    what: str
    passes: bool | None
    text: str
    known: bool = True


@dataclass(frozen=True, slots=True)
class Seat:
    """As the ledger knows the employee; ``position`` 1 is next."""

    standing: SeatState
    population: str = ""
    position: int | None = None


@dataclass(frozen=True, slots=True)
class FactorHeld:
    """``may_enrol``: whether one may be set up at present. ``sessions``: logged-in browsers that go
    on, for it was used there, or their network is excepted; the others end soon."""

    enrolled: bool
    may_enrol: bool
    sessions: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address leads. ``refused``: why the door turns it away, empty: it does not.
    ``portal``: the broker's own pages, which need no seat."""

    host: str
    path: str = ""
    route: str = ""
    pool: str = ""
    portal: bool = False
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """What is in use by (pool, population), and what is held of seats by population."""

    seats: Mapping[str, int]
    used: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class ServerState:
    """One server as this host's workers see it."""

    name: str
    healthy: bool
    draining: bool
    in_flight: int


def population(match: Match | None, *, remembered: str = "") -> Finding:
    """Which rule decided; ``remembered``: from a session, when the directory was not asked."""
    if match is not None:
        return Finding("population", None, f"{match.name}, because {match.by}")
    if remembered:
        return Finding("population", None, f"{remembered}, as decided at the last login")
    return Finding("population", False, "no rule matches: belongs to no population, cannot log in")


def second_factor(
    rules: FactorRules, name: str, groups: Sequence[str], held: FactorHeld | None
) -> Finding:
    """Whether the login asks for one, and whether it can be had. ``name``: the population;
    ``held`` None: the ledger does not say."""
    what = "second factor"
    if not wants_factor(rules, name, groups):
        return Finding(what, None, "not needed")
    needed = "needed"
    if rules.except_from:
        needed += f", except from {', '.join(rules.except_from)}"
    if held is None:
        return Finding(what, None, f"{needed}; not known whether there is one", known=False)
    then = asked(enrolled=held.enrolled, may_enrol=held.may_enrol)
    if then == "code":
        return Finding(what, True, f"{needed}; has one: the login asks for a code")
    if then == "enrol":
        return Finding(what, True, f"{needed}; none yet: the login leads to setting one up")
    text = f"{needed}; has none, and enrolment is closed"
    if held.sessions:
        return Finding(what, None, f"{text}: who is logged in goes on, a new login is refused")
    if rules.except_from:
        return Finding(what, None, f"{text}: from elsewhere the login is refused", known=False)
    return Finding(what, False, f"{text}: the login is refused")


def sessions(count: int) -> Finding:
    """A browser without a session is sent to the login."""
    if not count:
        return Finding("sessions", None, "none: the login page comes first")
    return Finding("sessions", None, f"{count} logged-in {'browser' if count == 1 else 'browsers'}")


def seat(
    limits: LimitsDocument, counted: Counted, standing: Seat, name: str, queue: int
) -> Finding:
    """``name``: the population; ``queue``: how many of it wait. A seat or ticket keeps the
    population it was taken under."""
    own = limits.populations.get(standing.population or name)
    if standing.standing == "seated":
        return Finding("seat", True, f"has one, taken as {standing.population}")
    if standing.standing == "called":
        return Finding("seat", True, "is called: the next click or poll takes the reserved seat")
    if standing.standing == "learning":
        return Finding("seat", False, "the ledger lost its memory and admits nobody new meanwhile")
    if own is None or not own.admitted:
        admitted = [each for each, limit in limits.populations.items() if limit.admitted]
        who = ", ".join(admitted) or "nobody"
        standing_now = f"{name} is not admitted" if name else "none, without a population"
        return Finding("seat", False, f"{standing_now}; open at present to: {who}")
    if standing.standing == "waiting":
        return Finding("seat", False, f"none yet: number {standing.position} of {queue} who wait")
    lacking = shortage(limits, counted.seats, name)
    if lacking == 0 and not queue:
        return Finding("seat", True, "none yet, and one is free: the next click takes it")
    if lacking == 0:
        return Finding("seat", False, f"none yet: {queue} wait already and come first")
    if lacking is None:
        return Finding("seat", False, f"{name} has no seats at all")
    more = f", and {queue} wait already" if queue else ""
    return Finding(
        "seat", False, f"none, and none is free for {name}: {lacking} must come back first{more}"
    )


def address(place: Place) -> Finding:
    """Host and route."""
    if place.refused:
        return Finding("address", False, place.refused)
    if place.portal:
        return Finding("address", True, f"{place.path} of {place.host} is the broker's own page")
    return Finding("address", True, f"{place.host}, route {place.route}, to pool {place.pool}")


def servers(seen: Sequence[ServerState]) -> Finding:
    """Of the pool, on this host."""
    if not seen:
        return Finding("servers", None, "not known: no worker of this host answers", known=False)
    told = ", ".join(f"{each.name} {_state(each)} with {each.in_flight} in flight" for each in seen)
    usable = any(each.healthy and not each.draining for each in seen)
    return Finding("servers", usable, told if usable else f"none can be used: {told}")


def quotas(limits: LimitsDocument, counted: Counted, pool: str, name: str) -> Iterator[Finding]:
    """Connections at the three levels: cell, pool, site; without a population, at two."""
    whole = limits.pools.get(pool)
    if whole is None:
        yield Finding("quota", False, f"the limits in force know no pool {pool}")
        return
    cell = whole.cells.get(name)
    of_pool = sum(count for (each, _), count in counted.used.items() if each == pool)
    levels = [
        (f"{name} in {pool}", counted.used.get((pool, name), 0), cell.limit if cell else 0),
        (f"pool {pool}", of_pool, whole.connections.limit),
        ("the site", sum(counted.used.values()), limits.connections_limit),
    ]
    for what, used, limit in levels if name else levels[1:]:
        text = f"{what}: {used} of {limit} connections in use"
        if used >= limit:
            text += "; a request waits for one to come back, then gets 503"
        yield Finding("quota", used < limit, text)


def verdict(findings: Sequence[Finding]) -> tuple[bool | None, str]:
    """Whether the employee gets in, and the sentence. None: what decides is not known."""
    for finding in findings:
        if finding.passes is False:
            return False, f"does not get in: {finding.what}: {finding.text}"
    unknown = [finding.what for finding in findings if not finding.known]
    if unknown:
        return None, f"gets in as far as is known; not known: {', '.join(unknown)}"
    return True, "gets in"


def _state(server: ServerState) -> str:
    if server.draining:
        return "drained"
    return "healthy" if server.healthy else "unhealthy"
