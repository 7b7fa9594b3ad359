"""All groups an employee is in: named by an attribute, found by search, nested, the primary one.

Blocking, like the line whose ``search`` it is given. Where groups are members of groups there are
two ways: Active Directory follows the chain itself (a matching rule); anywhere else it is followed
here, level by level. Groups may contain each other in circles, and a directory may be full of them:
every group is looked at once, and both depth and number are bounded.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, Protocol

from broker.directory import reading
from broker.policy.populations import normal_dn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.directory.link import Entry
    from broker.directory.plan import DirectoryPlan

MOST_LEVELS = 10
MOST_GROUPS = 2000
AT_ONCE = 50
"""Groups asked about with one search."""

IN_CHAIN = "1.2.840.113556.1.4.1941"
"""LDAP_MATCHING_RULE_IN_CHAIN, [MS-ADTS] 3.1.1.3.4.4."""

logger = logging.getLogger("broker.directory")


class Search(Protocol):
    def __call__(
        self,
        base: str,
        search_filter: str,
        attributes: tuple[str, ...],
        *,
        scope: Literal["BASE", "SUBTREE"] = "SUBTREE",
        limit: int = 0,
    ) -> list[Entry]:
        """The entries found, at most ``limit`` (0: all); of a base that does not exist none, when
        it is the only one asked."""
        ...


def all_groups(search: Search, plan: DirectoryPlan, entry: Entry, name: str) -> list[str]:
    """Their distinguished names as the directory writes them, each once, the nearest first."""
    found = _Found()
    if plan.group_attribute:
        found.add(entry.values(plan.group_attribute))
    primary: list[str] = []
    if plan.primary_group and (sid := reading.primary_group_sid(entry)) is not None:
        primary = [group.dn for group in search(_base(plan), f"(objectSid={sid})", ())]
        found.add(primary)
    if plan.group_base is not None and plan.nested_groups != "matching_rule":
        wanted = reading.group_filter(plan, entry, name)
        found.add(group.dn for group in search(plan.group_base, wanted, ()))
    if plan.nested_groups == "matching_rule":
        # From the person, and from the primary group, of which nobody is a `member`.
        for dn in (entry.dn, *primary):
            wanted = f"(member:{IN_CHAIN}:={reading.escaped(dn)})"
            found.add(group.dn for group in search(_base(plan), wanted, ()))
    elif plan.nested_groups == "recursive":
        _climb(search, plan, found)
    return found.names


def _climb(search: Search, plan: DirectoryPlan, found: _Found) -> None:
    level, found.latest = found.latest, []
    for _ in range(MOST_LEVELS):
        if not level:
            return
        if plan.group_base is not None:
            for start in range(0, len(level), AT_ONCE):
                members = "".join(
                    f"(member={reading.escaped(dn)})" for dn in level[start : start + AT_ONCE]
                )
                found.add(g.dn for g in search(plan.group_base, f"(|{members})", ()))
        elif plan.group_attribute:
            for dn in level:
                wanted = (plan.group_attribute,)
                for group in search(dn, "(objectClass=*)", wanted, scope="BASE"):
                    found.add(group.values(plan.group_attribute))
        if len(found.names) >= MOST_GROUPS:
            break
        level, found.latest = found.latest, []
    else:
        if not level:
            return
    logger.warning("the groups of an employee are nested too deeply, or are too many: cut short")


def _base(plan: DirectoryPlan) -> str:
    return plan.base if plan.group_base is None else plan.group_base


class _Found:
    """``names`` in the order found; ``latest`` those that are new since it was emptied."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.latest: list[str] = []
        self._seen: set[str] = set()

    def add(self, names: Iterable[str]) -> None:
        for name in names:
            spelled_alike = normal_dn(name)
            if spelled_alike not in self._seen:
                self._seen.add(spelled_alike)
                self.names.append(name)
                self.latest.append(name)
