"""A directory held in memory and searched by index: what the demo's LDAP server serves.

ldaptor's own in-memory tree walks every entry for each search. Here the equality filters that a
broker sends (by ``uid``, ``mail``, ``member``, ...) are answered from dictionaries, and only the
few candidates are matched in full, by ldaptor's own matcher. Nothing is changed after loading but
passwords. Does no I/O.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import TYPE_CHECKING

from ldaptor.entry import BaseLDAPEntry
from ldaptor.entryhelpers import MatchMixin
from ldaptor.protocols import pureldap
from ldaptor.protocols.ldap.distinguishedname import DistinguishedName
from ldaptor.protocols.ldap.ldaperrors import LDAPNoSuchObject
from ldaptor.protocols.ldap.ldifprotocol import LDIF

if TYPE_CHECKING:
    from collections.abc import Iterator

INDEXED = (b"uid", b"cn", b"mail", b"employeenumber", b"member", b"memberof")


class Entry(BaseLDAPEntry, MatchMixin):  # type: ignore[misc]
    """One entry; ``key`` is its DN in the form that compares."""

    def __init__(self, entry: BaseLDAPEntry) -> None:
        super().__init__(entry.dn, dict(entry.items()))
        self.key = _key(entry.dn)

    def set_password(self, new: bytes) -> None:
        """In memory only; whatever was wrong with the former one is over."""
        salt = secrets.token_bytes(8)
        digest = hashlib.sha1(new + salt).digest()
        self._attributes[b"userPassword"] = self.buildAttributeSet(
            b"userPassword", [b"{SSHA}" + base64.b64encode(digest + salt)]
        )
        for mark in (b"pwdEndTime", b"pwdReset"):
            self._attributes.pop(mark, None)


class Tree:
    """All entries by DN, and indexes of ``INDEXED`` attributes by lower-case value."""

    def __init__(self, entries: list[BaseLDAPEntry]) -> None:
        self._entries: dict[bytes, Entry] = {}
        self._index: dict[bytes, dict[bytes, list[Entry]]] = {name: {} for name in INDEXED}
        for plain in entries:
            entry = Entry(plain)
            self._entries[entry.key] = entry
            for name, index in self._index.items():
                for value in entry.get(name, ()):
                    index.setdefault(value.lower(), []).append(entry)

    @property
    def suffix(self) -> bytes:
        """The DN of the first entry loaded, under which all the others are."""
        text: str = next(iter(self._entries.values())).dn.getText()
        return text.encode()

    def entry(self, dn: bytes) -> Entry:
        """The entry of that name. Raises LDAPNoSuchObject, LDAPInvalidDNSyntax."""
        found = self._entries.get(_key(DistinguishedName(dn)))
        if found is None:
            raise LDAPNoSuchObject(dn)
        return found

    def search(self, base: Entry, scope: int, wanted: object) -> Iterator[Entry]:
        """Entries at, directly under, or at and under ``base`` that match the filter ``wanted``."""
        if scope == pureldap.LDAP_SCOPE_baseObject:
            candidates = [base]
        else:
            indexed = self._candidates(wanted)
            candidates = list(self._entries.values()) if indexed is None else indexed
        for entry in candidates:
            if _within(entry, base, scope) and entry.match(wanted):
                yield entry

    def _candidates(self, wanted: object) -> list[Entry] | None:
        """A superset of what matches ``wanted``, or None when no index helps."""
        if isinstance(wanted, pureldap.LDAPFilter_equalityMatch):
            index = self._index.get(wanted.attributeDesc.value.lower())
            return None if index is None else index.get(wanted.assertionValue.value.lower(), [])
        if isinstance(wanted, pureldap.LDAPFilter_and):
            found = [c for part in wanted if (c := self._candidates(part)) is not None]
            return min(found, key=len, default=None)
        if isinstance(wanted, pureldap.LDAPFilter_or):
            parts = [self._candidates(part) for part in wanted]
            if None in parts:
                return None
            return list({entry.key: entry for part in parts for entry in part or ()}.values())
        return None


def load(ldif: bytes) -> Tree:
    """Read an LDIF. Raises ldaptor's LDIFParseError."""
    reader = _Reader()
    reader.dataReceived(ldif if ldif.endswith(b"\n\n") else ldif + b"\n\n")
    return Tree(reader.entries)


class _Reader(LDIF):  # type: ignore[misc]
    def __init__(self) -> None:
        self.entries: list[BaseLDAPEntry] = []

    def gotEntry(self, obj: BaseLDAPEntry) -> None:
        self.entries.append(obj)


def _key(dn: DistinguishedName) -> bytes:
    text: str = dn.getText()
    return text.lower().encode()


def _within(entry: Entry, base: Entry, scope: int) -> bool:
    if scope == pureldap.LDAP_SCOPE_baseObject:
        return entry is base
    if scope == pureldap.LDAP_SCOPE_singleLevel:
        return _key(entry.dn.up()) == base.key
    return entry.key == base.key or entry.key.endswith(b"," + base.key)
