"""Which population an employee belongs to, decided from directory groups and attributes alone.

Rules are tried in the order of configuration and the first match wins. Distinguished names are
compared as RFC 4514 and the caseIgnoreMatch of RFC 4518 mean them (case, spaces around separators,
spelling of escapes do not count), because directories and administrators write the same group in
different ways. Speaks to nobody; must not ask the directory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

_ESCAPED = r"\\[0-9a-fA-F]{2}|\\."
_PART = re.compile(rf"(?:{_ESCAPED}|[^,;+\\])+|[,;+]")
_ESCAPES = re.compile(r"(?:\\[0-9a-fA-F]{2})+|\\.")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class PopulationRule:
    """``name`` for members of any of ``groups`` (DNs), or where all of ``attributes`` are equal, or
    whose entry the directory has found to match ``filter``. With none of them it matches everyone.
    """

    name: str
    groups: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    filter: str | None = None


def population_of(
    groups: Iterable[str],
    attributes: Mapping[str, str],
    rules: Sequence[PopulationRule],
    filters: Collection[str] = (),
) -> str | None:
    """The name of the first rule that matches, or None when none does (nobody is admitted by
    default). ``filters``: those that match the employee's entry."""
    found = match(groups, attributes, rules, filters)
    return None if found is None else found.name


@dataclass(frozen=True, slots=True)
class Match:
    """The first rule that matched, and what of it did, in words."""

    name: str
    by: str


def match(
    groups: Iterable[str],
    attributes: Mapping[str, str],
    rules: Sequence[PopulationRule],
    filters: Collection[str] = (),
) -> Match | None:
    """The first rule that matches, with the reason."""
    member_of = {normal_dn(group) for group in groups}
    values = {name.casefold(): normal_text(value) for name, value in attributes.items()}
    for rule in rules:
        if not rule.groups and not rule.attributes and rule.filter is None:
            return Match(rule.name, "its rule matches everyone")
        if rule.filter is not None and rule.filter in filters:
            return Match(rule.name, f"matches the filter {rule.filter}")
        group = next((each for each in rule.groups if normal_dn(each) in member_of), None)
        if group is not None:
            return Match(rule.name, f"member of {group}")
        if rule.attributes and all(
            values.get(name.casefold()) == normal_text(value)
            for name, value in rule.attributes.items()
        ):
            equal = ", ".join(f"{name} is {value}" for name, value in rule.attributes.items())
            return Match(rule.name, equal)
    return None


def normal_text(value: str) -> str:
    """Case, outer and repeated inner spaces do not count (RFC 4518, insignificant spaces)."""
    return _SPACES.sub(" ", value.strip()).casefold()


def normal_dn(name: str) -> str:
    """A form in which two spellings of the same distinguished name are equal. What is not a DN
    (a bare group name) is compared as text. The order of a multi-valued RDN does not count."""
    rdns: list[list[str]] = [[]]
    for part in _PART.findall(name):
        if part in ",;":
            rdns.append([])
        elif part != "+":
            rdns[-1].append(_normal_assertion(part))
    return "\0".join("\1".join(sorted(rdn)) for rdn in rdns)


def _normal_assertion(part: str) -> str:
    attribute, equals, value = part.partition("=")
    if not equals:
        return normal_text(part)
    return f"{attribute.strip().casefold()}={normal_text(_ESCAPES.sub(_unescaped, value))}"


def _unescaped(match: re.Match[str]) -> str:
    """``\\2C`` and ``\\,`` are the same comma; hexadecimal pairs spell UTF-8."""
    text = match[0]
    if len(text) == 2:
        return text[1]
    return bytes.fromhex(text.replace("\\", "")).decode("utf-8", "replace")
