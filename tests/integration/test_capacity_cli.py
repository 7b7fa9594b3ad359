"""``broker capacity`` against the real admin application and both ledgers: every command, and every
bad order, which changes nothing."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from broker.ledger.port import SyncReport
from broker.policy.capacity import Capacity
from broker.policy.levels import in_force, site_scale
from tests.support.admin_cli import TOKEN, command_line
from tests.support.capacities import BASE
from tests.support.ledgers import limits_document, redis_ledger
from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from broker.ledger.port import Ledger
    from tests.support.admin_cli import Run
    from tests.support.ledgers import LedgerClock

CIVIL = 1_584_338_400.0  # 2020-03-16T06:00Z
WHY = ("--reason", "lockdown")
NOW = ("--now", *WHY)


@pytest.fixture
async def broker(
    ledger: Ledger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> AsyncIterator[Run]:
    """The base of ``tests.support.capacities`` is in force, and a dry run needs no worker."""
    await ledger.publish(in_force(Capacity(BASE), limits_document()), if_match=1)
    async with command_line(ledger, tmp_path, monkeypatch, capsys, civil=lambda: CIVIL) as run:
        yield run


async def seats(ledger: Ledger) -> int:
    limits = await ledger.limits()
    assert limits is not None
    return limits.seats_limit


BAD = [
    (("raise", "0", *WHY), 1, "a scale is a number above 0, such as 6x"),
    (("raise", *WHY, "--", "-6x"), 1, "a scale is a number above 0, such as 6x"),
    (("raise", "six", *WHY), 2, "six is no scale; say 6x"),
    (("raise", "nan", *WHY), 2, "nan is no scale; say 6x"),
    (("raise", "infx", *WHY), 2, "infx is no scale; say 6x"),
    (("raise", "0.5x", *WHY), 1, "for less there is lower"),
    (("raise", "11x", *WHY), 1, "above the ceiling of the seats, 10x; raise to 10x, or set a"),
    (("raise", "5x", "--pool", "wiki", *WHY), 1, "above the ceiling of pool wiki, 4x"),
    (("raise", "6x"), 1, "say why: --reason TEXT"),
    (("raise", "6x", "--reason", "  "), 1, "say why: --reason TEXT"),
    (("raise", "6x", "--until", "2020-03-15", *WHY), 1, "the end lies in the past; say --for 14d"),
    (("raise", "6x", "--until", "soon", *WHY), 2, "--until is a date or time such as"),
    (("raise", "6x", "--for", "long", *WHY), 2, "--for is a time such as 14d or 8h, not long"),
    (("raise", "6x", "--for", "1d", "--until", "2020-04-01", *WHY), 2, "--for or --until, not bot"),
    (("raise", "6x", "--for", "0s", *WHY), 1, "lasts is a number of seconds above 0"),
    (("raise", "6x", "--open-to", "evryone", *WHY), 1, "no population evryone; known: everyone"),
    (("raise", "6x", "--pool", "feet", *WHY), 1, "there is no pool feet; known: feed"),
    (("raise", "2x", "--pool", "feed", "--open-to", "everyone", *WHY), 1, "admits nobody"),
    (("raise", "6x", "--ramp", "fast", *WHY), 2, "--ramp is FACTOR/TIME such as 1.25/60s"),
    (("raise", "6x", "--ramp", "1/60s", *WHY), 1, "multiplies by more than 1 and at most 10"),
    (("raise", "6x", "--ramp", "1.25/1ms", *WHY), 1, "lasts between 0.1s and 24h"),
    (("lower", *WHY), 1, "no raise is in force for the site: the level is normal"),
    (("lower", "3x", *WHY), 1, "1x is in force, and 3x is not lower; for more there is raise"),
    (("lower", "0.5x"), 1, "say why"),
    (("lower", "0.5x", "--pool", "wki", *WHY), 1, "there is no pool wki; known: wiki"),
    (("level", "crysis", *WHY), 1, "there is no level crysis; known: crisis"),
    (("level", "crisis"), 1, "say why"),
    (("hold",), 1, "no ramp is under way for the site"),
    (("hold", "--pool", "feet"), 1, "there is no pool feet; known: feed"),
    (("resume",), 1, "nothing is held for the site"),
]  # fmt: skip


@pytest.mark.parametrize(("order", "code", "sentence"), BAD, ids=[" ".join(b[0]) for b in BAD])
async def test_a_bad_order_says_how_to_do_it_right_and_changes_nothing(
    broker: Run, ledger: Ledger, order: tuple[str, ...], code: int, sentence: str
) -> None:
    before = await ledger.limits()
    asked = ("--yes",) if order[0] not in ("hold", "resume") else ()
    given = ("capacity", order[0], *asked, *order[1:])
    got, out = await broker(*given)
    assert (got, sentence in " ".join(out.split())) == (code, True), out
    assert await ledger.limits() == before
    assert not await ledger.audit(most=5)


async def test_a_raise_shows_what_it_will_do_and_is_in_force(broker: Run, ledger: Ledger) -> None:
    raised = ("raise", "6x", "--open-to", "everyone", "--for", "14d", *NOW)
    code, out = await broker("capacity", *raised, "--dry-run")
    assert code == 0, out
    assert "Nothing was changed." in out
    assert "Admitted from now on: everyone." in out
    assert "Capped: pool wiki at 4x instead of 6x" in out
    assert await seats(ledger) == 60
    code, out = await broker("capacity", *raised, "--yes")
    assert code == 0, out
    assert "In force on every worker" in out
    assert await seats(ledger) == 360
    code, out = await broker("capacity", *raised, "--yes")
    assert await seats(ledger) == 360  # 6x twice is 6x
    code, out = await broker("capacity", "show")
    assert "open to managers, sales, everyone" in out
    assert "reached, guard at rest, ends 2020-03-30T06:00:00Z" in out
    assert "ordered by admin token: lockdown" in out
    code, out = await broker("capacity", "lower", "--reason", "back", "--yes")
    assert code == 0, out
    assert await seats(ledger) == 60
    code, out = await broker("capacity", "history", "--json")
    entries = json.loads(out)["entries"]
    assert [(e["action"], e["reason"], e["author"]) for e in entries] == [
        ("raised", "lockdown", "admin token"),
        ("raised", "lockdown", "admin token"),
        ("lowered", "back", "admin token"),
    ]
    code, out = await broker("capacity", "history")
    did, capacity = out.splitlines()[-2:]
    assert re.fullmatch(r"3  [-\d]{10} [:\d]{8}Z  admin token lowered site: back", did)
    assert capacity == "     6x, open to managers, sales, everyone -> 1x, open to managers, sales"
    assert entries[-1]["before"] == "6x, open to managers, sales, everyone"
    assert entries[-1]["after"] == "1x, open to managers, sales"


async def test_a_ramp_is_held_resumed_and_replaced_by_a_level(broker: Run, ledger: Ledger) -> None:
    code, out = await broker("capacity", "raise", "6x", "--ramp", "1.5/60s", *WHY, "--yes")
    assert (code, await seats(ledger)) == (0, 90), out
    assert "Steps of the site: 1.5x 2.25x 3.38x 5.06x 6x; one each 60 s" in out
    code, out = await broker("capacity", "hold", "--reason", "lunch")
    assert code == 0
    assert "held: `broker capacity resume` climbs on" in out
    assert "lunch" in out
    code, out = await broker("capacity", "hold")
    assert code == 1
    code, out = await broker("capacity", "resume", "--json")
    assert code == 0
    assert json.loads(out)["after"]["raises"]["site"]["ramp"]["state"] == "climbing"
    code, out = await broker("audit")
    assert out.splitlines()[-1] == "     1.5x, open to managers, sales"  # as it was
    await broker("capacity", "lower", *WHY, "--yes")
    code, out = await broker("capacity", "level", "crisis", *NOW, "--yes", "--json")
    assert code == 0, out
    assert json.loads(out)["missing"] == []
    code, out = await broker("capacity", "show", "--json")
    shown = json.loads(out)
    assert (shown["level"], shown["connections"]["pools"]["wiki"]["limit"]) == ("crisis", 360)
    code, out = await broker("capacity", "lower", "3x", *WHY, "--yes")
    assert (code, await seats(ledger)) == (0, 180), out
    code, out = await broker("capacity", "level", "normal", *WHY, "--yes")
    assert code == 0
    await broker("capacity", "lower", *WHY, "--yes")
    assert await seats(ledger) == 60


async def test_who_has_not_taken_it_into_force_is_named(
    broker: Run, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.cli.capacity.ACKNOWLEDGE", 0.1)
    await ledger.sync(SyncReport("host/boot/1", 1, "", limits_known=1))
    code, out = await broker("capacity", "raise", "2x", *NOW, "--yes")
    assert code == 0
    assert "not yet in force on host/boot/1" in out


async def test_without_a_terminal_and_yes_nothing_changes(broker: Run, ledger: Ledger) -> None:
    for order in (("raise", "6x"), ("level", "crisis"), ("lower", "0.5x")):
        code, out = await broker("capacity", *order, *WHY)
        assert (code, "say --yes" in out) == (2, True), out
    assert await seats(ledger) == 60


async def test_wait_ends_with_the_ramp_and_its_exit_code(broker: Run, ledger: Ledger) -> None:
    code, out = await broker("capacity", "raise", "2x", *NOW, "--yes", "--wait")
    assert (code, "Arrived at 2x." in out) == (0, True), out
    code, out = await broker("capacity", "level", "normal", *NOW, "--yes", "--wait")
    assert code == 0, out
    waiting = asyncio.ensure_future(
        broker("capacity", "raise", "6x", *WHY, "--yes", "--wait", "--json")
    )
    async with asyncio.timeout(30):
        while await seats(ledger) != 150:  # 2x x 1.25
            await asyncio.sleep(0.02)
    present = await ledger.limits()
    assert present is not None
    status, _ = await post("hold", present.number, {"reason": "lunch"})
    assert status == 200
    code, out = await waiting
    assert code == 1, out
    ended = json.loads(out)["ended"]
    assert (ended["state"], ended["scale"], ended["why"]) == ("held", 2.5, "lunch")


async def post(path: str, version: int | None, body: Any) -> tuple[int, dict[str, Any]]:
    import os

    headers = {"Authorization": f"Bearer {TOKEN}"}
    if version is not None:
        headers["If-Match"] = f'"{version}"'
    url = f"{os.environ['BROKER_ADMIN_URL']}/api/v1/capacity/{path}"
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with aiohttp.ClientSession(headers=headers) as session, session.post(url, data=data) as r:
        told: dict[str, Any] = await r.json(content_type=None)
        return r.status, told


@pytest.mark.usefixtures("broker")
async def test_a_stale_version_and_none_at_all(ledger: Ledger) -> None:
    order = {"scale": 2.0, "reason": "x", "ramp": None}
    status, told = await post("raise", 1, order)
    assert (status, told["detail"]) == (412, "the limits are at version 2, not 1")
    status, told = await post("raise", None, order)
    assert status == 428
    assert "If-Match" in told["detail"]
    status, told = await post("raise", 2, order)
    assert (status, told["version"], told["after"]["seats"]) == (200, 3, 120)
    status, told = await post("raise", 2, order)
    assert status == 412
    assert await seats(ledger) == 120


@pytest.mark.usefixtures("broker")
async def test_two_at_once_of_the_same_version_are_not_both_right(ledger: Ledger) -> None:
    orders = [{"scale": float(n), "reason": "x", "ramp": None} for n in range(2, 8)]
    answers = await asyncio.gather(*(post("raise", 2, order) for order in orders))
    assert sorted(status for status, _ in answers) == [200] + [412] * 5
    assert len(await ledger.audit(most=10)) == 1


WRONG_BODIES = [
    (b"{", "the body does not fit"),
    (b"[]", "the body does not fit"),
    (b"\xff", "the body does not fit"),
    ({"reason": "x"}, "missing required field `scale`"),
    ({"scale": "6x", "reason": "x"}, "Expected `float`, got `str` - at `$.scale`"),
    ({"scale": True, "reason": "x"}, "Expected `float`, got `bool` - at `$.scale`"),
    ({"scale": 2, "reason": "x", "sclae": 3}, "unknown field `sclae`"),
    ({"scale": 2, "reason": "x", "ends": "2020-04-01T00:00:00"}, "ends needs a time zone"),
    ({"scale": 2, "reason": "x", "ends": "2020-01-01T00:00:00Z"}, "the end lies in the past"),
    ({"scale": 2, "reason": "x", "lasts": 1, "ends": "2021-01-01T00:00:00Z"}, "not both"),
    ({"scale": 2, "reason": "x", "lasts": 1e99}, "below ten years"),
    ({"scale": 2, "reason": "a\nb"}, "a reason is one line"),
    ({"scale": 2, "reason": "x", "guard": "off"}, "Invalid enum value 'off'"),
    ({"scale": 2, "reason": "x", "ramp": {"every": -1}}, "ramp.every is a number of seconds"),
]


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize(("body", "sentence"), WRONG_BODIES)
async def test_a_body_that_does_not_fit_is_told_with_its_place(
    ledger: Ledger, body: Any, sentence: str
) -> None:
    for sent in (body, *([] if isinstance(body, bytes) else [{**body, "dry_run": True}])):
        status, told = await post("raise", 2, sent)
        assert (status, sentence in told["detail"]) == (400, True), told
    assert await seats(ledger) == 60


async def test_limits_without_a_base_are_told(
    ledger: Ledger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with command_line(ledger, tmp_path, monkeypatch, capsys) as run:
        code, out = await run("capacity", "raise", "2x", *NOW, "--yes")
        assert (code, "broker reload --publish" in out) == (1, True), out


async def test_redis_away_is_refused_and_not_half_done(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ledger_clock: LedgerClock,
) -> None:
    """Frozen between what would happen and the order, and while somebody only looks."""
    server = RedisServer()
    try:
        with server.client() as client:
            ledger_clock.drive(client)
            ledger = await redis_ledger(server.url, ledger_clock)
            impatient = await type(ledger).connect(server.url, "test", deadline=0.2)
            published = await ledger.publish(
                in_force(Capacity(BASE), replace(limits_document(), number=0)),
                if_match=0,
                first_start=True,
            )
            async with command_line(impatient, tmp_path, monkeypatch, capsys) as run:
                server.freeze()
                code, out = await run("capacity", "raise", "6x", *NOW, "--yes")
                assert (code, "ledger did not answer" in out) == (3, True), out
                status, _ = await post("raise", 1, {"scale": 6, "reason": "x", "ramp": None})
                assert status == 503
                code, out = await run("capacity", "show")
                assert code == 3
                server.thaw()
                # What was cut off at its deadline may still be carried out, whole: then its line
                # stands in the trail. Here nothing had been sent but questions.
                assert await ledger.limits() == published
                assert not await ledger.audit(most=5)
                code, out = await run("capacity", "raise", "6x", *NOW, "--yes")
                assert code == 0, out
            present = await ledger.limits()
            assert present is not None
            assert present.capacity is not None
            assert site_scale(present.capacity) == 6.0
            await impatient.close()
            await ledger.close()
    finally:
        server.close()


async def test_a_plan_is_a_dry_run_and_says_who_gets_in(broker: Run, ledger: Ledger) -> None:
    """60 seats; 50 of sales (their maximum) and 10 managers hold them, 30 of sales wait."""
    for number in range(10):
        await ledger.admit(f"m{number}", "managers")
    for number in range(80):
        await ledger.admit(f"s{number}", "sales")
    plan = ("capacity", "plan", "2x", "--ramp", "1.25/60s")
    code, out = await broker(*plan)
    assert code == 0, out
    words = " ".join(out.split())
    for expected in (
        "at once 1.25x 75 13 sales 17 not known",
        "60 s 1.56x 94 16 sales 1 not known",
        "2 min 1.95x 118 1 sales 0 not known",
        "Nobody waits any more after 2 min.",
        "Connections when all 120 seats are taken:",
        "pool feed not known",
        "What runs out first: not known.",
        "Idle seats: 0 longer than 15 min, 0 longer than 10 min, 0 longer than 5 min.",
        "- what a seat uses of pool feed: the guard has not seen a whole window yet",
        "Nothing was changed.",
    ):
        assert expected in words, (expected, out)
    assert await seats(ledger) == 60
    assert not await ledger.audit(most=5)
    code, out = await broker(*plan, "--json")
    planned = json.loads(out)
    code, out = await broker(
        "capacity", "raise", "2x", "--ramp", "1.25/60s", *WHY, "--dry-run", "--json"
    )
    raised = json.loads(out)
    for each in (raised, planned):
        del each["forecast"]["ledger"]  # what a script takes is measured anew
    assert raised["forecast"] == planned["forecast"]
    code, out = await broker("capacity", "raise", "2x", "--ramp", "1.25/60s", *WHY)
    assert code == 2
    assert "Nobody waits any more after 2 min." in out, "said before the question"
    for order in (("lower", "0.5x"), ("level", "crisis")):
        code, out = await broker("capacity", *order, *WHY, "--dry-run", "--json")
        assert json.loads(out)["forecast"]["steps"], out


async def test_what_the_guard_measured_is_in_the_plan(broker: Run, ledger: Ledger) -> None:
    """30 exchanges of half a second and 8 WebSockets in use by 10 seats: 510 of wiki for 600 seats,
    and its ceiling is 480."""
    import msgspec

    from broker.policy.guard import Load, PoolWatch
    from broker.policy.stewardship import Notes

    for number in range(10):
        await ledger.admit(f"m{number}", "managers")
    load = Load(30, 1.0, 0.5, 8)
    watches = {name: PoolWatch(0, load=load) for name in ("feed", "wiki")}
    notes = msgspec.json.encode(Notes(watches))
    await ledger.steward("host/boot/1", {}, lease_ms=5000, notes=notes)
    code, out = await broker("capacity", "plan", "1x")
    assert code == 0, out
    words = " ".join(out.split())
    assert "pool feed 1 exchanges/s of 500 ms, 8 WebSockets 0.85 51 68 300" in words
    assert "the site 1.7 102 126 500" in words
    assert "pool wiki: 42 %" in words
    assert "every seat taken: pool wiki, at about 9.4" in words


async def pass_time(ledger: Ledger, clock: LedgerClock, seconds: int) -> None:
    for _ in range(seconds):
        clock.advance(1000)
        await ledger.usage()


async def test_idle_seats_end_only_when_asked_and_it_is_said_first_how_many(
    broker: Run, ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    """90 seats taken at 2x, 40 of them idle; back at 1x sales may have 50: all idle ones end."""
    await broker("capacity", "raise", "2x", *NOW, "--yes")
    for number in range(90):
        await ledger.admit(f"s{number}", "sales")
    await pass_time(ledger, ledger_clock, 901)
    for number in range(50):
        await ledger.admit(f"s{number}", "sales")
    down = ("capacity", "lower", "--evict", "idle", "--reason", "back")
    code, out = await broker(*down, "--dry-run")
    assert code == 0, out
    assert "Idle seats that end at once (--evict idle): 40." in out
    assert sum((await ledger.usage()).occupied.values()) == 90
    code, out = await broker(*down)
    assert code == 2
    assert "that end at once (--evict idle): 40." in out
    assert sum((await ledger.usage()).occupied.values()) == 90
    code, out = await broker(*down, "--yes")
    assert code == 0, out
    assert "Idle seats ended: 40." in out
    states = [(await ledger.look(f"s{number}")).state for number in range(90)]
    assert states == ["seated"] * 50 + ["gone"] * 40
    entries = await ledger.audit(most=2)
    assert [(e.action, e.subject, e.reason) for e in entries] == [
        ("lowered", "site", "back"), ("evicted", "40 idle seats", "back"),
    ]  # fmt: skip


async def test_lowering_alone_throws_nobody_out(
    broker: Run, ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    await broker("capacity", "raise", "2x", *NOW, "--yes")
    for number in range(90):
        await ledger.admit(f"s{number}", "sales")
    await pass_time(ledger, ledger_clock, 901)
    code, out = await broker("capacity", "lower", "--reason", "back", "--yes")
    assert code == 0
    assert "Who is at work is not thrown out" in out
    assert "Idle seats ended" not in out
    assert sum((await ledger.usage()).occupied.values()) == 90
    for wrong in (("--evict", "all"), ("--evict", "idle", "--pool", "feed")):
        code, out = await broker("capacity", "lower", "0.5x", *wrong, *WHY, "--yes")
        assert code != 0, out
    assert sum((await ledger.usage()).occupied.values()) == 90


async def test_a_viewer_may_plan_and_not_raise(
    broker: Run, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    from broker.admin.callers import digest
    from broker.ledger.port import AdminToken, AuditEntry

    token = AdminToken("vera", "viewer", digest("a viewer's token"), 0, "test")
    assert await ledger.put_token(token, AuditEntry("test", "created", "token vera"))
    monkeypatch.setenv("BROKER_ADMIN_TOKEN", "a viewer's token")
    code, out = await broker("capacity", "plan", "6x")
    assert (code, "Who gets in" in out) == (0, True), out
    for order in (("raise", "6x"), ("level", "crisis"), ("lower", "0.5x", "--evict", "idle")):
        code, out = await broker("capacity", *order, *WHY, "--yes")
        assert (code, "it takes one with the role operator" in out) == (1, True), out
    assert await seats(ledger) == 60
