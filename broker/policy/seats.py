"""Whether a population may take one more seat: the arithmetic of limits, guarantees and lending.

*Held* is what counts against the limits: seats occupied plus seats reserved by called tickets. The
rules, for a population p that asks for one more while T are held on the whole site:

1. p is admitted at present, T is below the site's limit, and p is below its own maximum.
2. An *owner* (p holds less than its guarantee) takes its own back. It has to leave free only what
   other populations never lend: for each, guaranteed - floor(guaranteed x lendable), less what they
   hold. If p holds less than the part that *it* never lends, a free seat is its own by right.
3. A *borrower* (p holds its guarantee or more) has to leave free what is not lent at present: for
   each other population, unused - floor(unused x lendable), where unused is what its guarantee
   exceeds what it holds.

So a borrower never takes what ``lendable`` does not lend, an owner never waits for anything but
the return of what was lent, and free seats never stand idle because two reservations block each
other. A population that is not admitted reserves nothing: nobody could come to use it. The Lua of
``ledger/lua/lib_seats.lua`` repeats these rules (kept equal by a differential property test).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.policy.limits import LimitsDocument
    from broker.policy.shares import PopulationLimits

SeatState = Literal["seated", "waiting", "called", "not_admitted", "learning", "gone"]
"""Where an employee stands, as the ledger answers it."""


def guarantee(population: PopulationLimits) -> int:
    """Seats the guarantee is really worth: nothing while not admitted, never above the maximum."""
    if not population.admitted:
        return 0
    return min(population.seats_guaranteed, population.seats_maximum)


def never_lent(population: PopulationLimits, held: int) -> int:
    """Seats of the guarantee that no other population may ever use, as far as still unused."""
    guaranteed = guarantee(population)
    return max(0, guaranteed - math.floor(guaranteed * population.lendable) - held)


def not_lent_now(population: PopulationLimits, held: int) -> int:
    """Seats of the unused guarantee that borrowers have to leave free at present."""
    unused = max(0, guarantee(population) - held)
    return unused - math.floor(unused * population.lendable)


def is_owner(limits: LimitsDocument, held: Mapping[str, int], population: str) -> bool:
    """The population holds less than its guarantee: what it takes now is its own."""
    own = limits.populations.get(population)
    return own is not None and held.get(population, 0) < guarantee(own)


def shortage(limits: LimitsDocument, held: Mapping[str, int], population: str) -> int | None:
    """How many seats would have to come back before ``population`` may take one; 0: it may now.

    ``held``: occupied + called by population, also of populations no longer in the document. None:
    nothing that comes back would help, because the population is not admitted or has no seats.
    """
    own = limits.populations.get(population)
    if own is None or not own.admitted or own.seats_maximum < 1 or limits.seats_limit < 1:
        return None
    holds = held.get(population, 0)
    if holds >= own.seats_maximum:
        return holds - own.seats_maximum + 1
    others = {name: limit for name, limit in limits.populations.items() if name != population}
    if holds >= guarantee(own):
        kept = sum(not_lent_now(limit, held.get(name, 0)) for name, limit in others.items())
    elif never_lent(own, holds) > 0:
        kept = 0
    else:
        kept = sum(never_lent(limit, held.get(name, 0)) for name, limit in others.items())
    return max(0, sum(held.values()) + 1 + kept - limits.seats_limit)


def may_take(limits: LimitsDocument, held: Mapping[str, int], population: str) -> bool:
    """Whether one more seat may be occupied or reserved for ``population`` now."""
    return shortage(limits, held, population) == 0


def reclaimable(limits: LimitsDocument, activity_ms: int, now_ms: int) -> bool:
    """Idle for longer than ``idle_ms``: it may go, but only while somebody present waits."""
    return now_ms - activity_ms > limits.idle_ms
