"""Whether what is configured finds anybody: what ``broker check`` asks once the directory answers.

A filter that matches nobody and a group whose name is misspelt are no errors to a directory; they
show only as employees who cannot log in, or who are of no population. Reads a few entries and says
nothing of what stands in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from broker.directory import reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from broker.directory.groups import Search
    from broker.directory.link import Entry
    from broker.directory.plan import DirectoryPlan

SAMPLE = 50  # entries


class Doubt(NamedTuple):
    """``fault``: nobody could log in like this."""

    level: Literal["warning", "fault"]
    text: str


def survey(search: Search, plan: DirectoryPlan, groups: Mapping[str, str]) -> Iterator[Doubt]:
    """``groups``: DN -> what in the configuration names it. Raises DirectoryAway."""
    wanted = reading.wanted_attributes(plan)
    anybody = reading.anybody_filter(plan)
    people = search(plan.base, anybody, wanted, limit=SAMPLE)
    if not people:
        yield Doubt(
            "fault",
            f"nobody below {plan.base} matches {anybody} (user_filter, for any name), or the "
            "service account may not see them: nobody could log in",
        )
        return
    yield from _attributes(people, plan, bool(groups))
    if plan.disabled_filter is not None:
        enabled = search(plan.base, f"(&{anybody}(!{plan.disabled_filter}))", (), limit=1)
        if not enabled:
            yield Doubt("fault", f"everybody matches {plan.disabled_filter} (disabled_filter)")
    for dn, named_by in groups.items():
        if "=" in dn and not _exists(search, dn):
            yield Doubt(
                "warning",
                f"there is no {dn} ({named_by}), or the service account may not see it; if it is "
                "misspelt, nobody is a member",
            )


def _attributes(people: list[Entry], plan: DirectoryPlan, by_groups: bool) -> Iterator[Doubt]:
    def lacking(attribute: str) -> str:
        """Who has it not; "" when somebody has."""
        if any(entry.values(attribute) for entry in people):
            return ""
        if len(people) == 1:
            return f"the only entry found has no {attribute}"
        return f"none of {len(people)} entries looked at has {attribute}"

    if told := lacking(plan.user_attribute):
        yield Doubt("fault", f"{told} (user_attribute), so nobody could log in")
    reads_groups = by_groups and plan.group_base is None
    if reads_groups and plan.group_attribute and (told := lacking(plan.group_attribute)):
        yield Doubt(
            "warning",
            f"{told} (group_attribute), so nobody would be in any group: OpenLDAP keeps it with "
            "the overlay memberof only; without it say group_attribute: null, and in group_base "
            "where the groups are",
        )
    for attribute in plan.attributes:
        if told := lacking(attribute):
            yield Doubt("warning", f"{told} (attributes)")


def _exists(search: Search, dn: str) -> bool:
    return bool(search(dn, "(objectClass=*)", (), scope="BASE"))
