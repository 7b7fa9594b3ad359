"""What the design's section 3 says of the small site: around each step, and when all is at rest.

``broken`` looks at a site before and after one action, from the outside: it counts people, it does
not ask the policy (but for invariant 5, which is about what ``may_take`` allows). Invariant numbers
are those of the design.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broker.policy.seats import may_take
from tests.support.seat_site import ABSENT_MS, CLAIM_MS, HOME, IDLE_MS, PEOPLE, Site

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.ledger.memory_seats import Ticket

ROUNDS = 8


def broken(before: Site, after: Site, label: str) -> str | None:
    """The first invariant that this step breaks, in words."""
    for check in (over_admitted, counted_twice, called_twice, thrown_out, overtaken, left_waiting):
        if said := check(before, after, label):
            return said
    return None


def over_admitted(before: Site, after: Site, label: str) -> str | None:
    """1 and 10: nobody more is inside while that is more than the limit, by trust or by ledger."""
    if label.startswith("redis"):
        return None  # what it remembers is no admission
    inside, were = after.inside(), before.inside()
    documents = after.in_force()
    most = max(document.seats_limit for document in documents)
    if len(inside) > max(len(were), most):
        return f"1: {len(inside)} are inside, {most} allowed"
    for name in ("c0", "c1"):
        own = {e for e in inside - were if HOME[PEOPLE.index(e)] == name}
        if own and not any(document.populations[name].admitted for document in documents):
            return f"1: {sorted(own)} came in, although {name} is not admitted"
    return None


def counted_twice(_before: Site, after: Site, label: str) -> str | None:
    """3: nobody has both a seat and a ticket; no two tickets of a population share a number."""
    seats = after.ledger.seats
    if both := seats._seats.keys() & seats._tickets.keys():
        return f"3: {sorted(both)} count twice"
    numbers = [(t.population, t.number) for t in seats._tickets.values() if not t.ended]
    return "3: two tickets with one number" if len(set(numbers)) < len(numbers) else None


def called_twice(before: Site, after: Site, label: str) -> str | None:
    """3: who is called is not called again while the call stands."""
    served = set(after.ledger.seats._seats) - set(before.ledger.seats._seats)
    for e, ticket in after.ledger.seats._tickets.items():
        was = before.ledger.seats._tickets.get(e)
        stood = was is not None and was.called_ms is not None and not _is_over(was, after.now)
        if ticket.called_ms is not None and not stood:
            served.add(e)
    calls = _calls(after) - _calls(before)
    if calls > len(served) and not label.startswith("redis"):
        return f"3: {calls} calls for {sorted(served)}: a ticket is called twice"
    return None


def _calls(site: Site) -> int:
    """So far, as the ledger has counted them for its estimates."""
    return sum(sum(calls.values()) for calls in site.ledger.seats._calls.values())


def _is_over(ticket: Ticket, now: int) -> bool:
    return ticket.called_ms is not None and now - ticket.called_ms >= CLAIM_MS


def thrown_out(before: Site, after: Site, label: str) -> str | None:
    """4: a seat goes only by its owner's leave, or idle while somebody waits; a call only when its
    window is over. What Redis forgets is another matter (``at_rest``)."""
    if label.startswith("redis"):
        return None
    now = after.now
    for e, seat in before.ledger.seats._seats.items():
        if e in after.ledger.seats._seats or e in after.gone:
            continue
        if now - seat.activity_ms <= IDLE_MS:
            return f"4: {e} is thrown out"
        if not _present(before, now) and " asks " not in label and " polls " not in label:
            return f"5: the seat of {e} is reclaimed for nobody"
    for e, ticket in before.ledger.seats._tickets.items():
        if ticket.called_ms is None or _is_over(ticket, now):
            continue
        kept = after.ledger.seats._tickets.get(e)
        called = kept is not None and kept.called_ms is not None
        limits = after.ledger.limits
        admitted = limits is not None and limits.populations[ticket.population].admitted
        if admitted and not called and e not in after.inside() | after.gone:
            return f"4: {e} was called and is not any more"
    return None


def overtaken(before: Site, after: Site, label: str) -> str | None:
    """6: nobody is called or seated past a present ticket with a lower number."""
    now = after.now
    for name in ("c0", "c1"):
        served, waiting = [0], []
        for e, ticket in before.ledger.seats._tickets.items():
            if not ticket.waits or ticket.population != name or now - ticket.seen_ms > ABSENT_MS:
                continue
            kept = after.ledger.seats._tickets.get(e)
            if e in after.ledger.seats._seats or (kept is not None and kept.called_ms is not None):
                served.append(ticket.number)
            elif kept is not None and kept.waits and kept.number == ticket.number:
                waiting.append(ticket.number)
        if waiting and max(served) > min(waiting):
            return f"6: number {min(waiting)} of {name} is overtaken"
    return None


def left_waiting(before: Site, after: Site, label: str) -> str | None:
    """5: after a call that runs the call script, free capacity and somebody present who may have it
    are never apart."""
    limits = after.ledger.limits
    runs = label.startswith(("sync", "raises", "lowers", "opens", "steward")) or "logs out" in label
    if after.ledger.learning or limits is None or not runs:
        return None
    held = {name: row[0] for name, row in after.ledger.seats.usage().items()}
    for ticket in after.ledger.seats._tickets.values():
        held[ticket.population] += ticket.called_ms is not None and not _is_over(ticket, after.now)
    for name in limits.populations:
        if name in _present(after, after.now) and may_take(limits, held, name):
            return f"5: {name} waits while a seat is free"
    return None


def _present(site: Site, now: int) -> set[str]:
    """The admitted populations of which somebody present waits."""
    limits = site.ledger.limits
    return {
        ticket.population
        for ticket in site.ledger.seats._tickets.values()
        if ticket.waits
        and now - ticket.seen_ms <= ABSENT_MS
        and limits is not None
        and limits.populations[ticket.population].admitted
    }


def at_rest(site: Site) -> str | None:
    """No more faults: who is interested asks again and again, workers sync, time passes. Then the
    seats are full, nobody who was let in is out, and the queue stands as it first stood."""
    rested = site.copy()
    free = dict.fromkeys(("asks", "polls", "syncs", "ends", "steps"), 10**6)
    rested.bounds, rested.left = replace(site.bounds, **free), {}
    let_in = {
        e
        for worker in site.workers
        if worker.alive
        for e, until in worker.trusted.items()
        if until > site.now and site.now / 1000 < worker.book.fence_at("p")
    }
    if site.bounds.forgets_last and site.bounds.lowers:
        let_in = set()  # written back into a book that survived, only as many seats as fit
    asking = set(site.first_told) | site.inside()
    order = sorted(site.first_told, key=lambda e: site.first_told[e])
    if said := _settle(rested, asking):
        return f"at rest, {said}"
    limits, seats = rested.ledger.limits, rested.ledger.seats
    if rested.ledger.learning or limits is None:
        return "at rest: still learning"
    if missing := let_in - seats._seats.keys():
        return f"4: at rest, {sorted(missing)} who was let in is out"
    able = {e for e in asking if limits.populations[HOME[PEOPLE.index(e)]].admitted}
    seated = seats._seats.keys() & able
    if len(seated) < min(limits.seats_limit, len(able)):
        return f"3: at rest, {len(seated)} seats of {limits.seats_limit} are taken: a leak"
    out = [e for e in order if e in able and e not in seats._seats]
    if out != [e for name in ("c0", "c1") for e, _ in seats._queue(name) if e in out]:
        return f"6: at rest, the queue is not {out} any more"
    return _reverted(rested)


def _settle(site: Site, asking: set[str]) -> str | None:
    for number in range(ROUNDS):
        for i, worker in enumerate(site.workers):
            if not worker.alive:
                site.replace_worker(i)
        if said := _sync_all(site):
            return said
        for i, worker in enumerate(site.workers):
            if site._end_is_due(worker):
                site.steward(i)
        # The last in the queue first: whoever lost a place would get a worse one.
        for e in sorted(asking, key=lambda e: -site.first_told.get(e, 0)):
            i = (number + PEOPLE.index(e)) % len(site.workers)
            if said := _checked(site, f"{e} asks {i}", _asks(i, e)):
                return said
        if said := _sync_all(site):  # touches go out within seconds, long before a step is over
            return said
        site.step()
    for e in sorted(asking):
        site.poll(0, e)
    return None


def _sync_all(site: Site) -> str | None:
    """Often enough to hear of an epoch, write back, be heard, and hear that learning is over."""
    for _ in range(3):
        for i in range(len(site.workers)):
            if said := _checked(site, f"sync {i}", _syncs(i)):
                return said
    return None


def _syncs(i: int) -> Callable[[Site], None]:
    return lambda site: site.sync(i)


def _asks(i: int, e: str) -> Callable[[Site], None]:
    return lambda site: site.ask(i, e)


def _checked(site: Site, label: str, act: Callable[[Site], None]) -> str | None:
    before = site.copy()
    act(site)
    return broken(before, site, label)


def _reverted(site: Site) -> str | None:
    """8: what has an end has ended exactly once (one that Redis forgot comes again)."""
    if site.bounds.ends == 0 or site.epochs > 1:
        return None
    assert site.ledger.limits is not None
    capacity = site.ledger.limits.capacity
    if capacity is not None and capacity.site is not None and capacity.site.ends_ms is not None:
        return "8: at rest, the raise has not ended"
    twice = [name for name, times in site.ended.items() if times > 1]
    return f"8: raise {twice[0]} ended twice" if twice else None
