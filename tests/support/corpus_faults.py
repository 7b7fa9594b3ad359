"""What must hold of exchanges that ``corpus_player`` has played: what the browser was told, what
the broker logged and what the backend logged agree one to one, and with the corpus.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from tests.support.corpus_backends import PATIENCE
from tests.support.corpus_player import EMPLOYEE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.support.corpus_backends import Received
    from tests.support.corpus_player import Played
    from tests.support.running_broker import RunningBroker

IDENTIFYING: Final = ("x-forwarded-for", "x-request-id")  # compared in another place
HEALTH: Final = "/healthz"  # what active checks ask for, beside all exchanges
OWN_FIELDS: Final = {
    "X-Forwarded-For": None,
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": None,
    "X-Request-Id": None,
    "traceparent": None,
    "X-Remote-User": EMPLOYEE,
    "X-Remote-Groups": "",
    "X-Remote-Population": "everyone",
    "X-Broker-Assertion": None,
}
_TRACE: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def browser_faults(played: Played) -> Iterable[str]:
    """What the browser saw that it should not have, or the other way round."""
    told, seen = played.told, played.seen
    if played.late:
        yield f"had to wait too long behind {told.head!r} {told.body!r} {played.rest!r}"
        return
    if played.case.then and played.case.partly:  # it left in the middle: an answer may be lost
        if told.end != "nothing" and told.status not in (seen.status, seen.or_status):
            yield f"answered {told.status}"
        return
    if seen.end == "broken":
        if (told.status, told.end) not in ((502, "whole"), (seen.status, "truncated")):
            yield f"a broken answer came {told.end}: {told.head!r} {told.body!r}"
        return
    if told.status not in (seen.status, seen.or_status):
        yield f"status {told.status}, not {seen.status}: {told.head!r} {told.body!r}"
        return
    head = _without_own_lines(told.head, dated=seen.head is None or b"\r\nDate:" in seen.head)
    if told.end != seen.end:
        yield f"the answer is {told.end}, not {seen.end}"
    if b"\r\ndate:" not in told.head.lower():
        yield f"an answer without a Date (RFC 9110 6.6.1): {told.head!r}"
    if seen.head is not None and head != seen.head:
        yield f"told {head!r}, not {seen.head!r}"
    if tuple(told.interim) != seen.interim:
        yield f"interim {told.interim}, not {list(seen.interim)}"
    body = seen.body
    if body is None and played.logged_in and played.case.forward is not None and seen.status == 200:
        asked = played.case.forward.split(b" ")
        body = b"" if asked[0] == b"HEAD" else b"%b %b\n" % (asked[0], asked[1])
    if seen.end == "truncated" and body is not None:
        body = body[: len(told.body)]  # a reset may take with it what was on its way
    if body is not None and told.body != body:
        yield f"body {told.body!r}, not {body!r}"
    if seen.end == "whole" and not played.keep:
        # Nothing of ours ends without saying so (RFC 9112 9.6).
        if b"\r\nConnection: close" not in told.head:
            yield f"ends without Connection: close: {told.head!r}"
        if played.rest:
            yield f"said after its end: {played.rest!r}"
    if played.follower is not None:
        wanted = (200, b"GET /follower\n") if played.logged_in else (401, None)
        got = played.follower
        if got.status != wanted[0] or (wanted[1] is not None and got.body != wanted[1]):
            yield f"the follower was told {got.head!r} {got.body!r}"


def _without_own_lines(head: bytes, *, dated: bool) -> bytes:
    """A head without the renewal of the broker's own cookie, and without the Date it gave to an
    answer that had none."""
    own = (rb"\r\nSet-Cookie: __Host-broker=eyJ[^\r]*", b"" if dated else rb"\r\nDate: [^\r]* GMT")
    for pattern in own:
        head = re.sub(pattern, b"", head) if pattern else head
    return head


def log_faults(played: Played, logged: list[dict[str, Any]]) -> Iterable[str]:
    """What is wrong with the broker's own log."""
    if len(logged) != played.lines:
        yield f"{played.lines} lines wanted in the access log: {logged}"
        return
    line, case = logged[0], played.case
    if played.told.head and line["status"] != played.told.status:
        yield f"logged as {line['status']}"
    known = {EMPLOYEE} if line["server"] else {EMPLOYEE, ""}
    if line["employee"] not in (known if played.logged_in else {""}):
        yield f"logged for {line['employee']!r}"
    if case.forward is None or not played.logged_in:
        scripted = played.logged_in and case.answer is not None
        if line["server"] and not case.partly and not scripted:
            yield f"went to {line['server']}"
        return
    method, target = case.forward.decode("latin-1").split(" ")[:2]
    wanted = {"method": method, "path": target.partition("?")[0], "received": len(case.body)}
    for name, value in wanted.items():
        if line[name] != value:
            yield f"logged {name} {line[name]!r}, not {value!r}"


def backend_faults(
    played: Played, received: list[Received], logged: list[dict[str, Any]]
) -> Iterable[str]:
    """What a logging backend received that it should not have, or the other way round."""
    case = played.case
    if played.logged_in and case.forward is not None:
        wanted = 1 + (played.follower is not None)
    else:
        wanted = int(played.logged_in and played.follower is not None)
        if case.partly and played.logged_in:
            begun = [each for each in received if each.target != "/follower"]
            if any(each.whole for each in begun) or len(begun) > 1:
                yield f"a body that is broken came whole: {begun}"
            wanted += len(begun)
    if len(received) != wanted:
        yield f"the backend received {len(received)}, not {wanted}: {received}"
        return
    ids = {line["id"] for line in logged}
    for each in received:
        if each.request_id not in ids:
            yield f"received under {each.request_id}, logged under {ids}"
    if not played.logged_in or case.forward is None:
        return
    lines = case.forward.replace(b"$host", played.authority.encode()).split(b"\r\n")
    first, fields = received[0], [line.decode("latin-1") for line in lines[1:]]
    line = f"{first.method} {first.target} {first.version}"
    if line.encode("latin-1") != lines[0]:
        yield f"received {line!r}, not {lines[0]!r}"
    if first.body.encode("latin-1") != case.body or not first.whole:
        yield f"received the body {first.body!r}"
    if first.named is None or first.fields:
        yield from _all_fields(played, first, fields)
    else:
        yield from _named_fields(played, first.named, fields)


def _own_values(played: Played, request_id: str) -> dict[str, str | None]:
    return OWN_FIELDS | {
        "X-Forwarded-For": played.address,
        "X-Forwarded-Host": played.authority,
        "X-Request-Id": request_id,
        "traceparent": played.case.trace or None,
    }


def _all_fields(played: Played, received: Received, fields: list[str]) -> Iterable[str]:
    """Field by field, in order: Host, the browser's, the broker's."""
    own = _own_values(played, received.request_id)
    got = list(received.fields)
    tail = got[-len(own) :]
    if [name for name, _ in tail] != list(own):
        yield f"the broker's own fields are {tail}"
    for (name, value), wanted in zip(tail, own.values(), strict=False):
        if wanted is not None and value != wanted:
            yield f"{name} is {value!r}, not {wanted!r}"
        if name == "traceparent" and not _TRACE.fullmatch(value):
            yield f"traceparent is {value!r}"
    if got[0] != ("Host", played.authority):
        yield f"begins with {got[0]}"
    middle = [f"{name}: {value}" for name, value in got[1 : -len(own)]]
    if middle != [_tidied(line) for line in fields]:
        yield f"fields {middle}, not {fields}"


def _named_fields(played: Played, named: dict[str, str], fields: list[str]) -> Iterable[str]:
    """What nginx has names for; of repeated fields it knows the first."""
    wanted: dict[str, str] = {"host": played.authority}
    for line in fields:
        name, _, value = _tidied(line).partition(": ")
        if re.fullmatch(r"[a-z0-9-]+", name.lower()):
            wanted.setdefault(name.lower(), value)
    own = {name.lower(): said for name, said in _own_values(played, "").items()}
    for name, said in own.items():
        if name in IDENTIFYING or said is None:
            continue
        if named.get(name, "") != said:
            yield f"{name} is {named.get(name)!r}, not {said!r}"
    got = {name: value for name, value in named.items() if name not in own}
    if got != {name: value for name, value in wanted.items() if value}:
        yield f"fields {got}, not {wanted}"


def _tidied(line: str) -> str:
    """A field as parsers log it: without the spaces around its value (RFC 9112 5.1)."""
    name, _, value = line.partition(":")
    return name + ": " + value.strip(" \t")


def compared(
    played: Iterable[Played],
    logged: list[dict[str, Any]],
    received: dict[str, Callable[[], list[Received]]],
) -> list[str]:
    """All faults, each with its case's name; the logs are compared one to one."""
    by_address: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in logged:
        by_address[line["address"]].append(line)
    seen: dict[str, defaultdict[str, list[Received]]] = {}
    for name, read in received.items():
        seen[name] = defaultdict(list)
        for each in read():
            seen[name][each.address].append(each)
    faults = []
    for one in played:
        lines = by_address[one.address]
        found = [*browser_faults(one)]
        if not one.late:
            found += log_faults(one, lines)
        if one.backend in seen and not one.late:
            found += backend_faults(one, seen[one.backend].pop(one.address, []), lines)
        faults += [f"{one}\n      {fault}" for fault in found]
    for name, left in seen.items():
        ids = Counter(line["id"] for line in logged if line["pool"] == name)
        got = Counter(
            each.request_id
            for rest in left.values()
            for each in rest
            if each.request_id or each.target != HEALTH
        )
        faults += [f"{name} received what nobody logged: {got - ids}"] * bool(got - ids)
    return faults


async def access_log(broker: RunningBroker, played: list[Played]) -> list[dict[str, Any]]:
    """The access log as soon as it has all that is to come; the broker writes it once a second."""
    wanted = Counter({each.address: each.lines for each in played if not each.late})
    path = broker.folder / "access.log"
    loop = asyncio.get_running_loop()
    ends = loop.time() + PATIENCE
    while True:
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        if not wanted - Counter(line["address"] for line in lines) or loop.time() > ends:
            return lines
        await asyncio.sleep(0.05)
