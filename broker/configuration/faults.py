"""What is wrong with a value, as a sentence an operator can act on, and where it stands.

Translates pydantic's errors once. A sentence may name keys and what is allowed, never the value
that was given: it may be a secret.
"""

from __future__ import annotations

import difflib
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from broker.settings import Settings
from broker.settings.scalars import Model

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from broker.configuration.source import Source

Path = tuple[str | int, ...]

_PATTERNS = {
    r"^[a-z][a-z0-9-]{0,31}$": "should be a name: a lower case letter, then letters, digits and "
    "hyphens, 32 at most",
    r"^/": "should begin with /",
    r"^#[0-9a-fA-F]{6}$": "should be a colour like #2457c5 (in quotes)",
    r"^ldaps?://[^/]+$": "should be ldaps://HOST[:PORT] or ldap://HOST[:PORT]",
}
_SENTENCES = {
    "model_type": "should be a mapping of keys",
    "model_attributes_type": "should be a mapping of keys",
    "dict_type": "should be a mapping of keys",
    "list_type": "should be a list",
    "string_type": "should be text",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "path_type": "should be a path",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: ``line`` counts from 1, ``path`` leads to the value."""

    line: int
    path: Path
    sentence: str

    def __lt__(self, other: Fault) -> bool:
        return self.line < other.line

    def __str__(self) -> str:
        place = f"{written(self.path)}: " if self.path else ""
        return f"{self.line}: {place}{self.sentence}"


def written(path: Path) -> str:
    """``pools.feed.servers[0]``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def nearest(name: str, known: Iterable[str]) -> str:
    """An offer to end a sentence with: the nearest names, or all of them when they are few."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f" (known: {', '.join(names)})" if 0 < len(names) <= 12 else ""


def faults_of(error: ValidationError, source: Source) -> list[Fault]:
    """One fault per place: of the branches of a union the last one says it best."""
    found: dict[Path, Fault] = {}
    for details in error.errors(include_url=False, include_input=False):
        path, sentence = _explained(details, source)
        found[path] = Fault(source.line_of(path), path, sentence)
    return list(found.values())


def _explained(details: ErrorDetails, source: Source) -> tuple[Path, str]:
    kind, location, context = details["type"], details["loc"], details.get("ctx", {})
    if kind == "missing":
        return location, "is missing"
    if kind == "extra_forbidden":
        return location, f"is not a key here{nearest(str(location[-1]), _fields(location[:-1]))}"
    path = _in_file(location, source)
    if kind == "value_error":
        return path, str(context["error"])
    if kind == "string_pattern_mismatch":
        pattern = context["pattern"]
        return path, _PATTERNS.get(pattern, f"should match {pattern}")
    if kind == "too_short":
        return path, "needs at least one entry"
    sentence = _SENTENCES.get(kind)
    if sentence is None:
        sentence = details["msg"].replace("Input should", "should").replace("a valid ", "a ")
    return path, sentence


def _in_file(location: Path, source: Source) -> Path:
    """Without the steps that pydantic adds for the branches of a union or the key of a mapping."""
    path: Path = ()
    for step in location:
        if (*path, step) not in source.lines:
            break
        path = (*path, step)
    return path


def _fields(path: Path) -> list[str]:
    """The keys that the model at ``path`` has."""
    kind: Any = Settings
    for step in path:
        kind = _bare(kind)
        if isinstance(kind, type) and issubclass(kind, Model):
            kind = kind.model_fields[str(step)].annotation
        else:
            kind = get_args(kind)[-1]
    kind = _bare(kind)
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, Model) else []


def _bare(kind: Any) -> Any:
    """Without Annotated and ``| None``."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return _bare(next(arg for arg in get_args(kind) if arg is not type(None)))
    return kind
