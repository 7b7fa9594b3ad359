"""``/api/v1/capacity/...``: what operators order of capacity, and the audit trail.

A body is read by its types; what is wrong with it is told with its place. The checks that need the
capacity in force are ``policy.orders``'; every order can be asked for without being carried out
(``dry_run``), by the same code.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
from aiohttp import web

from broker.admin import capacity_views, guard
from broker.admin.asking import version
from broker.admin.guard import problem
from broker.admin.operations import Operation, Parameter
from broker.errors import Refused
from broker.policy import orders as policy
from broker.policy import ramp

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.ledger.port import Ledger
    from broker.policy.capacity import Capacity
    from broker.site.orders import Orders

Text = Annotated[str, msgspec.Meta(max_length=1000)]
MOST_ENTRIES = 500


class Ramp(msgspec.Struct, forbid_unknown_fields=True):
    """Each step multiplies by ``factor`` and is followed by the next after ``every`` seconds."""

    factor: float = 1.25
    every: float = 60.0


class _Order(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    reason: Text = ""
    dry_run: bool = False


class RaiseOrder(_Order, kw_only=True):
    """``ends``: civil time with its zone (RFC 3339); ``lasts``: seconds from now instead."""

    scale: float
    pool: Text | None = None
    open_to: list[Text] = []
    ends: datetime | None = None
    lasts: float | None = None
    ramp: Ramp | None = msgspec.field(default_factory=Ramp)
    guard: Literal["rollback", "hold"] = "rollback"


class LowerOrder(_Order, kw_only=True):
    """Without ``scale`` the raise ends."""

    scale: float | None = None
    pool: Text | None = None


class LevelOrder(_Order, kw_only=True):
    level: Text
    ramp: Ramp | None = msgspec.field(default_factory=Ramp)
    guard: Literal["rollback", "hold"] = "rollback"


class RampOrder(_Order, kw_only=True):
    pool: Text | None = None


Body = TypeVar("Body", bound=_Order)


class CapacityOrders:
    """The handlers, and their rows in the table of operations."""

    def __init__(self, orders: Orders, ledger: Ledger) -> None:
        self._orders = orders
        self._ledger = ledger

    async def raise_(self, request: web.Request) -> web.Response:
        body = await _read(request, RaiseOrder)

        def decide(capacity: Capacity, now_ms: int, civil_ms: int) -> Capacity:
            return policy.raise_to(
                capacity,
                _order(request, body, now_ms, civil_ms, ramp=body.ramp, guard_mode=body.guard),
                body.scale,
                pool=body.pool,
                open_to=body.open_to,
                ends_ms=_end(body, civil_ms),
            )

        return await self._carry_out(request, body, decide, "raised", body.pool or "site")

    async def lower(self, request: web.Request) -> web.Response:
        body = await _read(request, LowerOrder)

        def decide(capacity: Capacity, now_ms: int, civil_ms: int) -> Capacity:
            order = _order(request, body, now_ms, civil_ms)
            return policy.lower(capacity, order, body.scale, pool=body.pool)

        return await self._carry_out(request, body, decide, "lowered", body.pool or "site")

    async def level(self, request: web.Request) -> web.Response:
        body = await _read(request, LevelOrder)

        def decide(capacity: Capacity, now_ms: int, civil_ms: int) -> Capacity:
            order = _order(request, body, now_ms, civil_ms, ramp=body.ramp, guard_mode=body.guard)
            return policy.level(capacity, order, body.level)

        return await self._carry_out(request, body, decide, "level", body.level)

    async def hold(self, request: web.Request) -> web.Response:
        body = await _read(request, RampOrder)

        def decide(capacity: Capacity, _now: int, _civil: int) -> Capacity:
            scope = policy.scope_to_steer(capacity, body.pool)
            move = ramp.hold(capacity, scope, body.reason or f"held by {guard.author(request)}")
            if move is None:
                raise Refused(f"no ramp is under way for {body.pool or 'the site'}")
            return move.capacity

        return await self._carry_out(request, body, decide, "held", body.pool or "site")

    async def resume(self, request: web.Request) -> web.Response:
        body = await _read(request, RampOrder)

        def decide(capacity: Capacity, now_ms: int, _civil: int) -> Capacity:
            scope = policy.scope_to_steer(capacity, body.pool)
            move = ramp.resume(capacity, scope, now_ms)
            if move is None:
                raise Refused(f"nothing is held for {body.pool or 'the site'}")
            return move.capacity

        return await self._carry_out(request, body, decide, "resumed", body.pool or "site")

    async def audit(self, request: web.Request) -> web.Response:
        if not request.query.keys() <= {"most", "before"}:
            raise Refused("this knows the parameters most and before")
        most = _whole(request, "most", 50)
        if not 1 <= most <= MOST_ENTRIES:
            raise Refused(f"most is between 1 and {MOST_ENTRIES}")
        entries = await self._ledger.audit(most=most, before=_whole(request, "before", 0))
        return web.json_response({"entries": [capacity_views.entry(each) for each in entries]})

    async def _carry_out(
        self,
        request: web.Request,
        body: _Order,
        decide: Callable[[Capacity, int, int], Capacity],
        action: str,
        subject: str,
    ) -> web.Response:
        seen = version(request)
        if seen is None and not body.dry_run:
            return problem(428, 'this needs If-Match: "VERSION" as seen in /api/v1/capacity')
        outcome = await self._orders.carry_out(
            decide,
            author=guard.author(request),
            action=action,
            subject=subject,
            reason=body.reason.strip(),
            if_match=seen,
            dry_run=body.dry_run,
        )
        etag = {"ETag": f'"{outcome.after.number}"'}
        return web.json_response(capacity_views.outcome(outcome), headers=etag)

    def operations(self) -> tuple[Operation, ...]:
        """The rows of the table."""
        matched = Parameter(
            "If-Match", "header", "the version seen in /capacity; only a dry run goes without"
        )
        answers = {
            200: "what was in force, what is now, and the way there",
            400: "refused, with how to do it right; nothing was changed",
            404: "no such population, pool or level; the nearest are named",
            412: "the limits have changed since that version",
            428: "neither If-Match nor dry_run",
        }

        def order(path: str, summary: str, handler: Any, body: type[msgspec.Struct]) -> Operation:
            return Operation(
                "POST", f"/capacity/{path}", summary, handler, answers, (matched,), _schema(body)
            )

        return (
            order("raise", "Multiply the configured numbers, with an end", self.raise_, RaiseOrder),
            order("lower", "End a raise, or go down", self.lower, LowerOrder),
            order("level", "Make a level the one in force", self.level, LevelOrder),
            order("hold", "Keep a ramp at the step in force", self.hold, RampOrder),
            order("resume", "Let a held ramp climb on", self.resume, RampOrder),
            Operation(
                "GET", "/audit", "Who changed what, why and how it ended", self.audit,
                {200: "the latest entries, oldest first", 400: "a parameter makes no sense"},
                (
                    Parameter("most", "query", f"how many entries, at most {MOST_ENTRIES}"),
                    Parameter("before", "query", "only entries with lower numbers than this"),
                ),
            ),
        )  # fmt: skip


async def _read(request: web.Request, form: type[Body]) -> Body:
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"the body does not fit: {error}") from error


def _order(
    request: web.Request,
    body: _Order,
    now_ms: int,
    civil_ms: int,
    *,
    ramp: Ramp | None = None,
    guard_mode: Literal["rollback", "hold"] = "rollback",
) -> policy.Order:
    seen = version(request)
    return policy.Order(
        author=guard.author(request),
        reason=body.reason,
        version=0 if seen is None else seen,
        now_ms=now_ms,
        civil_ms=civil_ms,
        factor=None if ramp is None else ramp.factor,
        every_ms=60_000 if ramp is None else _ms(ramp.every, "ramp.every"),
        guard=guard_mode,
    )


def _end(body: RaiseOrder, civil_ms: int) -> int | None:
    if body.ends is not None and body.lasts is not None:
        raise Refused("give ends or lasts, not both")
    if body.lasts is not None:
        return civil_ms + _ms(body.lasts, "lasts")
    if body.ends is None:
        return None
    if body.ends.tzinfo is None:
        raise Refused("ends needs a time zone, such as 2020-03-30T08:00:00+02:00")
    return round(body.ends.astimezone(UTC).timestamp() * 1000)


def _ms(seconds: float, what: str) -> int:
    if not 0 < seconds < 10 * 366 * 86_400:
        raise Refused(f"{what} is a number of seconds above 0 and below ten years")
    return round(seconds * 1000)


def _whole(request: web.Request, name: str, otherwise: int) -> int:
    given = request.query.getall(name, [])
    if not given:
        return otherwise
    if len(given) > 1 or not given[0].isascii() or not given[0].isdigit() or len(given[0]) > 15:
        raise Refused(f"{name} is one whole number")
    return int(given[0])


def _schema(body: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema of a body, whole: nested parts stand where they are used."""
    schema = msgspec.json.schema(body)
    parts = schema.get("$defs", {})

    def inlined(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                return inlined(parts[value["$ref"].rpartition("/")[2]])
            return {key: inlined(each) for key, each in value.items() if key != "$defs"}
        return [inlined(each) for each in value] if isinstance(value, list) else value

    made: dict[str, Any] = inlined(schema)
    return made
