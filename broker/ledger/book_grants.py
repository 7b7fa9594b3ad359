"""Escrow grants and workers in Redis: one script call per sync, and the reading of its answer.

The rules are in ``lua/lib_grants.lua`` and once more, as plain Python, in ``policy/grants.py`` and
``policy/grant_book.py``. This module only translates; it holds no state and must not decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from broker.ledger.book_seats import text
from broker.ledger.port import QueueView, Revocation, SyncReply, SyncReport, WorkerView
from broker.ledger.stored_limits import decoded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from broker.ledger.scripts import Scripts
    from broker.policy.grants import Cell


class WorkerRecord(msgspec.Struct, frozen=True):
    """A worker as ``lib_grants.lua`` stores it; cells are written "pool population"."""

    epoch: str
    sequence: int
    seen: int
    limits_known: int
    digest: str
    booked: dict[str, int]
    caps: dict[str, int]
    used: dict[str, int]
    idle_until: int

    @staticmethod
    def cells(counts: Mapping[str, int]) -> dict[Cell, int]:
        return {cell(name): count for name, count in counts.items()}


class BookGrants:
    """Methods answer as the port's of the same name."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def sync(self, report: SyncReport) -> SyncReply:
        answer = await self._scripts.run("sync", _encode(report))
        (
            epoch,
            learning,
            now,
            caps,
            leases,
            starved,
            lost,
            revocations,
            document,
            queues,
            bases,
            lost_tickets,
        ) = answer
        return SyncReply(
            sequence=report.sequence,
            epoch=text(epoch),
            learning=bool(learning),
            ledger_ms=now,
            caps={cell(text(name)): cap for name, cap in _rows(caps, 2)},
            leases={text(pool): lease for pool, lease in _rows(leases, 2)},
            lost_seats=tuple(map(text, lost)),
            revocations=tuple(
                Revocation(number, text(kind), text(subject), int(ms))  # type: ignore[arg-type]
                for number, kind, subject, ms in _rows(revocations[1:], 4)
            ),
            revocations_upto=revocations[0],
            limits=decoded(document),
            queues=queue_views(queues),
            starved=tuple(cell(text(name)) for name in starved),
            bases={cell(text(name)): count for name, count in _rows(bases, 2)},
            lost_tickets=tuple(map(text, lost_tickets)),
        )

    async def tombstone(self, incarnation: str) -> bool:
        return bool(await self._scripts.run("remove_worker", incarnation, 1))

    async def forget_worker(self, incarnation: str) -> bool:
        return bool(await self._scripts.run("remove_worker", incarnation, 0))

    async def workers(self) -> Sequence[WorkerView]:
        records = worker_records(await self._scripts.run("workers"))
        return tuple(
            WorkerView(
                incarnation=incarnation,
                last_seen_ms=record.seen,
                limits_known=record.limits_known,
                digest=record.digest,
                held=sum(record.booked.values()),
                used=sum(record.used.values()),
            )
            for incarnation, record in sorted(records.items())
        )


def cell(name: str) -> Cell:
    """ "pool population" as Lua writes it."""
    pool, population = name.split(" ")
    return pool, population


def queue_views(rows: Sequence[Any]) -> dict[str, QueueView]:
    """What Lua's ``seats.queues`` answers."""
    return {
        text(name): QueueView(
            waiting,
            upto,
            tuple((rank, number) for rank, number in _rows(marks, 2)),
            {stretch: count for stretch, count in _rows(calls, 2)},  # noqa: C416  # rows, not pairs
        )
        for name, waiting, upto, marks, calls in rows
    }


def worker_records(answer: Sequence[Any]) -> dict[str, WorkerRecord]:
    """Flat [incarnation, JSON, ...]."""
    return {
        text(incarnation): msgspec.json.decode(record, type=WorkerRecord)
        for incarnation, record in _rows(answer, 2)
    }


def _encode(report: SyncReport) -> bytes:
    return msgspec.json.encode(
        {
            "incarnation": report.incarnation,
            "sequence": report.sequence,
            "epoch": report.epoch,
            "cells": [
                {
                    "cell": f"{row.pool} {row.population}",
                    "held": row.held,
                    "used": row.used,
                    "want": row.want,
                    "age": row.want_age_ms,
                }
                for row in report.cells
            ],
            "touches": [value for t in report.touches for value in (t.employee, t.idle_ms)],
            "present": report.present,
            "sessions_used": report.sessions_used,
            "revocations_known": report.revocations_known,
            "limits_known": report.limits_known,
            "digest": report.digest,
            "leaving": report.leaving,
            "promises": [value for each in report.promises for value in (each.employee, each.ms)],
            "calls_known": report.calls_known,
        }
    )


def _rows(flat: Sequence[Any], width: int) -> Iterator[Sequence[Any]]:
    return (flat[start : start + width] for start in range(0, len(flat), width))
