"""The console blocks of README: what is typed, what is shown, and whether an output has that shape.

A line that is shown stands for every line with the same words in the same order: numbers may be
others, columns wider, rules longer. ``...`` on a line of its own stands for any lines, within a
line for any words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"\d[\d,.:]*")
_RULE = re.compile(r"[─━]{3,}")


@dataclass(frozen=True, slots=True)
class Typed:
    """``line``: without ``$`` and without the comment behind it; ``shown``: what README has under
    it."""

    line: str
    shown: list[str] = field(default_factory=list)


def blocks(language: str) -> list[str]:
    """The texts of README's fenced blocks of one kind, in their order."""
    text = README.read_text("utf-8")
    return [body for kind, body in _FENCED.findall(text) if kind == language]


def typed() -> list[Typed]:
    """Every command of the console blocks, in their order."""
    found: list[Typed] = []
    for block in blocks("console"):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Typed(re.sub(r"\s+# .*", "", line[2:]).strip()))
            elif found:
                found[-1].shown.append(line)
    return found


def misses(shown: list[str], said: str) -> list[str]:
    """Shown lines, in their order, that no line of the output matches; empty: it has the shape.
    Blank lines are not looked at. Without ``...`` between two shown lines, the second one has to
    follow the first at once."""
    lines = [line for line in said.splitlines() if line.strip()]
    at, free, missing = 0, True, []
    for wanted in (line for line in shown if line.strip()):
        if wanted.strip() == "...":
            free = True
            continue
        shape = _shape(wanted)
        far = len(lines) if free else min(at + 1, len(lines))
        hit = next((n for n in range(at, far) if shape.fullmatch(lines[n])), None)
        if hit is None:
            missing.append(wanted)
            free = True
        else:
            at, free = hit + 1, False
    return missing


def _shape(wanted: str) -> re.Pattern[str]:
    words = []
    for word in wanted.split():
        if _RULE.fullmatch(word):
            words.append(r"[─━]{3,}")
        elif word == "...":
            words.append(r".*")
        else:
            pieces = (re.escape(piece) for piece in _NUMBER.split(word))
            words.append(r"\d[\d,.:]*".join(pieces))
    return re.compile(r"\s*" + r"\s+".join(words) + r"\s*")
