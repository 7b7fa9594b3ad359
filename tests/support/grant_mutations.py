"""The production code with one of its safety rules left out: each must be found out."""

from __future__ import annotations

from broker.policy.grant_book import Answer, GrantBook, Told
from broker.policy.worker_book import Accepted, CellUse, Reply, WorkerBook
from tests.support.grant_world import Mutation


class DebitsLater(WorkerBook):
    """Reports a return, and goes on spending it until the reply is there."""

    def report(self, now: float, uses: list[CellUse], *, leaving: bool = False) -> Told:  # type: ignore[override]
        caps = dict(self._caps)
        told = WorkerBook.report(self, now, uses, leaving=leaving)
        self._caps = caps
        return told


class AcceptsAnyReply(WorkerBook):
    """Takes the reply to an earlier report too."""

    def accept(self, reply: Reply) -> Accepted:
        latest, self.sequence = self.sequence, reply.sequence
        accepted = WorkerBook.accept(self, reply)
        self.sequence = latest
        return accepted


class AddsCaps(WorkerBook):
    """Takes caps as something to add to what it has, not as absolute."""

    def accept(self, reply: Reply) -> Accepted:
        before = dict(self._caps)
        accepted = WorkerBook.accept(self, reply)
        if accepted is Accepted.CAPS:
            for cell, cap in before.items():
                if cap < self._caps.get(cell, 0):
                    self._caps[cell] += cap
        return accepted


class NoMargin(WorkerBook):
    """Stops only when its lease ends by its own clock."""

    def accept(self, reply: Reply) -> Accepted:
        self.margin = 0.0
        return WorkerBook.accept(self, reply)


class HearsLateReports(GrantBook):
    """Believes a report that arrives after a later one, or twice."""

    def sync(self, told: Told, now_ms: int) -> Answer:
        worker = self.workers.get(told.incarnation)
        if worker is not None and worker.epoch == told.epoch:
            worker.sequence = min(worker.sequence, told.sequence - 1)
        return GrantBook.sync(self, told, now_ms)


class NeverLearns(GrantBook):
    """Grants at once in a new epoch."""

    def begin_epoch(self, epoch: str, now_ms: int) -> None:
        GrantBook.begin_epoch(self, epoch, now_ms)
        self.learning = False


class LearnsFromOne(GrantBook):
    """Ends learning when the first of the workers that it remembers has reported."""

    def begin_epoch(self, epoch: str, now_ms: int) -> None:
        GrantBook.begin_epoch(self, epoch, now_ms)
        self.unheard = set(sorted(self.unheard)[:1])


class LearnsFromAnybody(GrantBook):
    """Remembers nobody, and takes the first who reports for everybody."""

    def begin_epoch(self, epoch: str, now_ms: int) -> None:
        GrantBook.begin_epoch(self, epoch, now_ms)
        self.remembered = True


class BelievesOldEpochs(GrantBook):
    """Takes a report of a former epoch for the worker's word in this one."""

    def sync(self, told: Told, now_ms: int) -> Answer:
        self.unheard.discard(told.incarnation)
        answer = GrantBook.sync(self, told, now_ms)
        self.unheard.discard(told.incarnation)
        return answer


class LowersAtOnce(GrantBook):
    """Books only what it answered, although the worker may still use more."""

    def sync(self, told: Told, now_ms: int) -> Answer:
        answer = GrantBook.sync(self, told, now_ms)
        worker = self.workers.get(told.incarnation)
        if worker is not None and told.epoch == self.epoch:
            worker.booked = dict(answer.caps)
        return answer


RULES_LEFT_OUT = {
    "debit before reporting": Mutation("debit before reporting", worker=DebitsLater),
    "only the latest sequence number": Mutation("any reply", worker=AcceptsAnyReply),
    "caps are absolute": Mutation("caps are absolute", worker=AddsCaps),
    "late reports change nothing": Mutation("late reports", book=HearsLateReports),
    "what is in use stays booked": Mutation("in use", book=LowersAtOnce),
    "learn in a new epoch": Mutation("learn in a new epoch", book=NeverLearns),
    "an old epoch's report is not this one's": Mutation("old epoch", book=BelievesOldEpochs),
    "learn from every worker": Mutation("learn from every worker", book=LearnsFromOne),
    "learn for the longest lease": Mutation("learn for the longest", book=LearnsFromAnybody),
    "reclaim only from the dead": Mutation("reclaim", buries_the_living=True),
    "stop before the lease ends": Mutation("margin", worker=NoMargin),
}
