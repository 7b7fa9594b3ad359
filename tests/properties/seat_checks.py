"""What the invariants of seats and tickets say about before and after one call of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.policy.seats import may_take, never_lent

if TYPE_CHECKING:
    from tests.properties.seat_world import SeatWorld


class Step:
    """Around one ledger call: what the invariants say about before and after. ``ran``: the call
    script was run (answers that need no calls run none; the next sync does)."""

    def __init__(self, world: SeatWorld, *, ran: bool, leaving: tuple[str, ...] = ()) -> None:
        self.world = world
        self.ran = ran
        self.leaving = leaving

    def __enter__(self) -> Step:
        world = self.world
        self.held = world.held()
        self.seated = {e: (s.population, s.activity_ms) for e, s in world.seats._seats.items()}
        self.queues = {name: world.seats._queue(name) for name in world.seats.populations()}
        self.waited = world.present_waiting()
        # who has sessions may lose the seat with the last of them
        self.logged_in = {record.employee for record in world.sessions._records.values()}
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None and not self.world.state.learning:
            for number in self.world.checked:
                getattr(self, f"invariant_{number}", lambda: None)()

    def invariant_1(self) -> None:
        """No step increases occupied + called beyond a limit, nor into what others never lend."""
        limits = self.world.limits()
        before, after = self.held, self.world.held()
        for name, count in after.items():
            if count > before.get(name, 0):
                assert limits.populations[name].admitted
                assert count <= limits.populations[name].seats_maximum

        def committed(held: dict[str, int]) -> int:
            kept = (never_lent(own, held.get(n, 0)) for n, own in limits.populations.items())
            return sum(held.values()) + sum(kept)

        if sum(after.values()) > sum(before.values()):
            assert sum(after.values()) <= limits.seats_limit
            assert committed(after) <= max(limits.seats_limit, committed(before))

    def invariant_4(self) -> None:
        """Whatever the limits became, only reclaimable seats go, and only while somebody waits."""
        gone = set(self.seated) - set(self.world.seats._seats) - set(self.leaving) - self.logged_in
        for employee in gone:
            idle_ms = self.world.state.now - self.seated[employee][1]
            assert idle_ms > self.world.limits().idle_ms
        if gone and not self.world.somebody_came:
            assert self.waited

    def invariant_5(self) -> None:
        """Free or reclaimable capacity and a present waiting employee never stay apart."""
        self.invariant_4()  # and nobody waiting: no seat is reclaimed
        world, limits = self.world, self.world.limits()
        if not self.ran:
            return
        held = world.held()
        for name in world.present_waiting():
            own = limits.populations[name]
            assert not may_take(limits, held, name)
            everything_is_lent = all(
                other.seats_guaranteed == 0 or other.lendable == 1.0
                for other in limits.populations.values()
            )
            if everything_is_lent and sum(held.values()) <= limits.seats_limit > 0:
                reachable = held[name] < own.seats_maximum
                for seat in world.seats._seats.values():
                    if reachable or (seat.population == name and own.seats_maximum == held[name]):
                        assert own.seats_maximum < 1 or (
                            world.state.now - seat.activity_ms <= limits.idle_ms
                        )

    def invariant_6(self) -> None:
        """FIFO: nobody was called or seated past a present ticket with a lower number."""
        seats = self.world.seats
        for queue in self.queues.values():
            waiting, served = [], []
            for employee, ticket in queue:
                now = seats._tickets.get(employee)
                if employee in seats._seats or (now is not None and now.called_ms is not None):
                    served.append(ticket.number)
                elif now is not None and now.waits and now.number == ticket.number:
                    waiting.append(ticket.number)
            if waiting and served:
                assert max(served) < min(waiting)
