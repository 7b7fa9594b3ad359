"""The corpus of raw exchanges in ``tests/corpus``: one YAML file per chapter, read into cases.

What the files may say is written in ``tests/corpus/README.md``. Here texts become bytes: lines end
with CRLF, backslash escapes stand for the bytes that YAML cannot show, ``$host`` and ``$token`` are
filled in when a case is played.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

FOLDER: Final = Path(__file__).resolve().parents[1] / "corpus"
COOKIE_LINE: Final = b"Cookie: __Host-broker=$token"

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, where there is one
_KEEP: Final = {"keep": True, "close": False, "either": None}
_REPEAT = re.compile(r"\$repeat\((\d+),([^)]*)\)")
_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|([rnt0\\]))")
_SHORT: Final = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}
_KEYS: Final = frozenset(
    ("rule", "says", "each", "head", "body", "then", "host", "answer", "after", "refuse", "in",
     "forward", "browser", "own", "logged_out", "seen", "backends", "trace")
)  # fmt: skip
_ANSWER_KEYS: Final = frozenset(["head", "body", "then", "server"])
_BROWSER_KEYS: Final = frozenset(["interim", "head", "body", "end"])


@dataclass(frozen=True)
class Answer:
    """What a scripted backend says (``said``, in order) and does then: ``keep`` the connection or
    ``close`` it. ``kept``: whether the broker uses the connection again."""

    said: tuple[bytes, ...]
    then: str
    kept: bool


@dataclass(frozen=True)
class Seen:
    """What a browser is told. ``or_status``: will do as well, for it depends on timing. ``end``:
    ``whole``; ``truncated`` when it must notice that something is missing; ``broken`` when that or
    502 will do, for it depends on how much the broker had seen. A None is not compared."""

    status: int
    or_status: int | None = None
    interim: tuple[bytes, ...] = ()
    head: bytes | None = None
    body: bytes | None = None
    end: str = "whole"


@dataclass(frozen=True)
class Case:
    """One exchange. ``request`` is the head and the body; ``forward`` the request line and fields
    that the backend gets beside the broker's own, None when it gets nothing; ``partly``: it may
    have got a head before the fault was found. ``keep``: the browser's connection serves on; None:
    when the answer does not say otherwise. ``stranger...``: the same logged out."""

    name: str
    rule: str
    request: bytes
    seen: Seen
    keep: bool | None
    stranger: Seen
    stranger_keep: bool | None
    forward: bytes | None = None
    body: bytes = b""
    partly: bool = False
    answer: Answer | None = None
    then: str = ""
    host: str = ""
    trace: str = ""
    backends: tuple[str, ...] = ()


@dataclass
class Chapter:
    """One file: ``title`` and its cases, in their order."""

    path: Path
    title: str
    cases: list[Case] = field(default_factory=list)


def raw(text: str) -> bytes:
    """Text with escapes as the bytes it stands for."""

    def byte(match: re.Match[bytes]) -> bytes:
        return bytes.fromhex(match[1].decode()) if match[1] else _SHORT[match[2]]

    text = _REPEAT.sub(lambda match: match[2] * int(match[1]), text)
    return _ESCAPE.sub(byte, text.encode("latin-1"))


def lines(text: str) -> bytes:
    """Lines as they stand in a head, joined by CRLF and without a last one. A backslash at the end
    of a line: no CRLF follows there."""
    return raw(text.replace("\\\n", "").removesuffix("\n").replace("\n", "\r\n"))


def chapters() -> list[Path]:
    return sorted(FOLDER.glob("*.yaml"))


def read(path: Path) -> Chapter:
    """Raises ValueError for what is not a chapter, naming the case."""
    written = yaml.load(path.read_text("utf-8"), Loader=_LOADER)
    chapter = Chapter(path, written["chapter"])
    for entry in written["cases"]:
        if unknown := set(entry) - _KEYS:
            raise ValueError(f"{path.name}: {entry.get('says')}: unknown {unknown}")
        for values in entry.get("each", [None]):
            case = _case(_filled(entry, values))
            chapter.cases.append(case)
    names = [case.name for case in chapter.cases]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{path.name}: said twice: {sorted(twice)}")
    return chapter


def _filled(entry: Any, values: Any) -> Any:
    """The entry with ``$1``, ``$2``... replaced by what stands in one item of ``each``."""
    if values is None:
        return entry
    if isinstance(entry, dict):
        return {key: _filled(value, values) for key, value in entry.items() if key != "each"}
    if isinstance(entry, list):
        return [_filled(value, values) for value in entry]
    if isinstance(entry, str):
        for number, value in enumerate(values if isinstance(values, list) else [values], 1):
            entry = entry.replace(f"${number}", str(value))
    return entry


def _request(entry: dict[str, Any]) -> bytes:
    head = lines(entry["head"])
    if b"$token" not in head:
        head += b"\r\n" + COOKIE_LINE
    return head + b"\r\n\r\n" + raw(entry.get("body", ""))


def _case(entry: dict[str, Any]) -> Case:
    name = f"{entry['rule']}: {entry['says']}"
    request = _request({"head": "GET / HTTP/1.1\nHost: $host", **entry})
    given: dict[str, Any] = {"then": entry.get("then", ""), "host": entry.get("host", "")}
    given["trace"] = entry.get("trace", "")
    given["backends"] = tuple(entry.get("backends", ()))
    refused = entry.get("refuse")
    keep = _KEEP[entry.get("after", "close" if refused else "keep")]
    stranger_keep = keep
    if "answer" in entry:
        given["answer"] = _answer(entry["answer"], name)
    if refused is not None:
        seen = stranger = Seen(int(refused))
        if entry.get("in") == "body":
            # Answered before, between or after the pieces of its body.
            stranger = Seen(401, or_status=int(refused))
            keep = False if int(refused) == 400 else None
            stranger_keep = None
            given["partly"] = True
    elif "own" in entry:
        seen = stranger = Seen(int(entry["own"]))
    else:
        given["forward"] = lines(entry["forward"]) if "forward" in entry else None
        seen, stranger = Seen(200), Seen(401)
        given["body"] = raw(entry.get("seen", entry.get("body", "")))
        if "answer" in entry or (entry.get("body") and keep):
            # Not the scripted answer's doing; and a body may be here or not when we know who asks.
            stranger_keep = None
    if "browser" in entry:
        seen = _seen(entry["browser"], name)
    if "logged_out" in entry:
        stranger = Seen(int(entry["logged_out"]))
    return Case(name, entry["rule"], request, seen, keep, stranger, stranger_keep, **given)


def _answer(said: dict[str, Any], name: str) -> Answer:
    if unknown := set(said) - _ANSWER_KEYS:
        raise ValueError(f"{name}: unknown {unknown}")
    heads = said["head"] if isinstance(said["head"], list) else [said["head"]]
    pieces = [lines(head) + b"\r\n\r\n" if head else b"" for head in heads]
    pieces[-1] += raw(said.get("body", ""))
    then = said.get("then", "keep")
    kept = said.get("server", "kept" if then == "keep" else "dropped") == "kept"
    return Answer(tuple(pieces), then, kept)


def _seen(seen: dict[str, Any], name: str) -> Seen:
    if unknown := set(seen) - _BROWSER_KEYS:
        raise ValueError(f"{name}: unknown {unknown}")
    head = lines(seen["head"]) if isinstance(seen["head"], str) else None
    status = int(head.split(b" ", 2)[1]) if head is not None else int(seen["head"])
    body = raw(seen["body"]) if "body" in seen else None
    interim = tuple(lines(text) for text in seen.get("interim", ()))
    return Seen(status, None, interim, head, body, seen.get("end", "whole"))
