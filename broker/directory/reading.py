"""Names and entries: what is asked of the directory, and how its answers are read.

Pure: no I/O. A login name becomes a key for taking turns and a filter; an entry becomes a canonical
name and an ``Employee``.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import escape_rdn

from broker.directory.port import Employee

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from broker.directory.link import Entry
    from broker.directory.plan import DirectoryPlan

NAME_LIMIT = 256
"""Characters of a login name; longer ones are not looked up at all."""

_PLACEHOLDER = re.compile(r"\{(?:username|dn)\}")
_BLANK = re.compile(r"\s")


def typed_name(username: str) -> str | None:
    """A login name as typed, brought to one form (NFC, lower case, no outer blanks), or None when
    nobody can be called that: empty, too long, or with control characters."""
    name = _folded(username.strip())
    if not name or len(name) > NAME_LIMIT or not _printable(name):
        return None
    return name


def canonical_name(entry: Entry, plan: DirectoryPlan) -> str | None:
    """The identity of an employee: NFC, lower case. Of several values the first in sorted order, so
    that it is the same whichever of them was typed. None when the entry has no usable one."""
    names = sorted(name for value in entry.values(plan.user_attribute) if (name := _folded(value)))
    return names[0] if names and _printable(names[0]) else None


def user_filter(plan: DirectoryPlan, name: str) -> str:
    return _filled(plan.user_filter, {"{username}": name})


def anybody_filter(plan: DirectoryPlan) -> str:
    """What ``user_filter`` finds, whatever the name."""
    return plan.user_filter.replace("{username}", "*")


def group_filter(plan: DirectoryPlan, entry: Entry, name: str) -> str:
    return _filled(plan.group_filter, {"{username}": name, "{dn}": entry.dn})


def direct_name(plan: DirectoryPlan, typed: str) -> str:
    """What to bind as by ``user_dn``: a distinguished name (escaped by RFC 4514), or what Active
    Directory takes in its place (``{username}@corp.example``, ``CORP\\{username}``)."""
    assert plan.user_dn is not None
    name = escape_rdn(typed) if is_dn(plan.user_dn) else typed
    return plan.user_dn.replace("{username}", name)


def is_dn(user_dn: str) -> bool:
    return "=" in user_dn


def primary_group_sid(entry: Entry) -> str | None:
    """The security identifier of an employee's primary group, escaped for a filter: the employee's
    own with the group's number in place of the last one ([MS-DTYP] 2.4.2.2)."""
    sids, numbers = entry.raw.get("objectsid", ()), entry.values("primaryGroupID")
    if len(sids) != 1 or len(sids[0]) < 12 or len(numbers) != 1 or not numbers[0].isdecimal():
        return None
    number = int(numbers[0])
    if number >= 2**32:
        return None
    return "".join(f"\\{byte:02x}" for byte in sids[0][:-4] + number.to_bytes(4, "little"))


def escaped(value: str) -> str:
    """RFC 4515 section 3, and white space too, which ldap3 strips from the ends of a value."""
    text: str = escape_filter_chars(value)
    return _BLANK.sub(lambda blank: "".join(f"\\{byte:02x}" for byte in blank[0].encode()), text)


def wanted_attributes(plan: DirectoryPlan) -> tuple[str, ...]:
    """Everything that one search for an employee must bring."""
    names = [plan.user_attribute, plan.display_attribute, *plan.attributes]
    if plan.group_attribute:
        names.append(plan.group_attribute)
    if plan.primary_group:
        names += ["primaryGroupID", "objectSid"]
    return tuple({name.lower(): name for name in names}.values())


def employee(
    entry: Entry,
    name: str,
    groups: Iterable[str],
    plan: DirectoryPlan,
    filters: Iterable[str] = (),
) -> Employee:
    """Put together what the directory said. ``filters``: those that match the entry."""
    shown = entry.values(plan.display_attribute)
    return Employee(
        name=name,
        display_name=_one_line(shown[0]) if shown else name,
        groups=tuple(groups),
        attributes={
            attribute: values[0]
            for attribute in plan.attributes
            if (values := entry.values(attribute))
        },
        filters=tuple(filters),
    )


def _filled(template: str, values: Mapping[str, str]) -> str:
    """In one pass, so that a value which looks like a placeholder stays a value."""
    return _PLACEHOLDER.sub(lambda found: escaped(values.get(found[0], found[0])), template)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


def _printable(text: str) -> bool:
    """No control, format, surrogate or unassigned characters: the name goes into headers and logs,
    and two names that look the same must not be two employees."""
    return all(unicodedata.category(character)[0] != "C" for character in text)


def _one_line(text: str) -> str:
    return "".join(c if unicodedata.category(c) != "Cc" else " " for c in text)
