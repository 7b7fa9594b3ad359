"""The invented company of the demo: 1,002 employees, their groups, and who may log in.

``python -m broker.demo.employees > config/demo.ldif`` writes the directory as LDIF (RFC 2849),
the same bytes for the same seed on every machine. 60 managers, 140 sales people, 780 others (12 of
them in the ops group), and 20 who left and are marked ``employeeType: disabled``; some of those are
still in the sales group, as it happens. Beyond the thousand, in sales: 2 who need a second factor,
2 whose password has expired, 2 who must change it first. People live from Poland to Senegal, so
names carry whatever letters they need; login names (``uid``) are ASCII. Everybody shares one
password: it is a demo.

``accounts`` reads such a file back and says who may log in, by population. Talks to nothing; must
not be imported by anything outside the demo and its tests.
"""

from __future__ import annotations

import base64
import hashlib
import random
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ldaptor.protocols.ldap.ldif import asLDIF
from ldaptor.protocols.ldap.ldifprotocol import LDIF

from broker.demo.communities import COMMUNITIES, Community

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SEED = 2020
PASSWORD = "bring-it-home-2020"
BASE_DN = "dc=intranet,dc=example"
PEOPLE_DN = f"ou=people,{BASE_DN}"
GROUPS_DN = f"ou=groups,{BASE_DN}"
SERVICE_DN = f"cn=broker,ou=services,{BASE_DN}"
SERVICE_PASSWORD = "demo-broker-reads-the-directory"
DISABLED_FILTER = "(employeeType=disabled)"
# As password policies name them (draft-behera-ldap-password-policy-10, 5.3).
PASSWORD_ENDED, PASSWORD_RESET = "pwdEndTime", "pwdReset"

MANAGERS, SALES, OPS, DISABLED = 60, 140, 12, 20
SECOND_FACTOR, EXPIRED, MUST_CHANGE = 2, 2, 2  # beyond the thousand
PasswordState = Literal["good", "expired", "must_change"]
EMPLOYEES = 1000
DISABLED_SALES = 4
DEPARTMENTS = ("Networks", "Customer care", "Engineering", "Finance", "People", "Logistics")

# Letters that Unicode does not decompose into a base letter and a mark.
_ASCII = str.maketrans(
    {"ł": "l", "Ł": "L", "ø": "o", "œ": "oe", "Œ": "OE", "ŋ": "n", "đ": "d", "ß": "ss", "æ": "ae"}
)

_Attributes = list[tuple[str, list[str]]]


@dataclass(frozen=True, slots=True)
class Person:
    """One invented employee. ``groups`` are group names (``managers``, ``sales``, ...)."""

    uid: str
    given: str
    family: str
    community: Community
    town: str
    department: str
    groups: tuple[str, ...]
    disabled: bool
    number: int
    password: PasswordState = "good"

    @property
    def dn(self) -> str:
        return f"uid={self.uid},{PEOPLE_DN}"


def invent(seed: int = SEED) -> list[Person]:
    """All employees, in the order of their employee numbers."""
    chance = random.Random(seed)
    roles: list[tuple[str, tuple[str, ...], bool]] = (
        [("Management", ("managers",), False)] * MANAGERS
        + [("Sales", ("sales",), False)] * SALES
        + [("Networks", ("ops",), False)] * OPS
        + [("Sales", ("sales",), True)] * DISABLED_SALES
        + [(chance.choice(DEPARTMENTS), (), True) for _ in range(DISABLED - DISABLED_SALES)]
    )
    roles += [(chance.choice(DEPARTMENTS), (), False) for _ in range(EMPLOYEES - len(roles))]
    chance.shuffle(roles)
    roles += [("Sales", ("sales", "second-factor"), False)] * SECOND_FACTOR
    roles += [("Sales", ("sales",), False)] * (EXPIRED + MUST_CHANGE)
    passwords: list[PasswordState] = ["good"] * (EMPLOYEES + SECOND_FACTOR)
    passwords += ["expired"] * EXPIRED
    passwords += ["must_change"] * MUST_CHANGE
    taken: set[str] = set()
    people = []
    for number, (department, groups, disabled) in enumerate(roles, start=1):
        community = chance.choices(COMMUNITIES, weights=[c.share for c in COMMUNITIES])[0]
        given, family = chance.choice(community.given), chance.choice(community.family)
        people.append(
            Person(
                uid=_login_name(given, family, taken),
                given=given,
                family=family,
                community=community,
                town=chance.choice(community.towns),
                department=department,
                groups=(*groups, "staff") if not disabled else groups,
                disabled=disabled,
                number=number,
                password=passwords[number - 1],
            )
        )
    return people


def ldif(seed: int = SEED) -> bytes:
    """The directory as LDIF: parents before children, and no version line, as slapadd wants it."""
    people = invent(seed)
    entries = [*_frame(), *(_person(p, seed) for p in people), *_groups(people)]
    return b"".join(asLDIF(dn, attributes) for dn, attributes in entries)


def accounts(ldif_path: str | Path) -> dict[str, list[str]]:
    """Login names by population, read from an LDIF file made by ``ldif``.

    ``managers``, ``sales`` and ``everyone`` (all others) are disjoint and hold working accounts
    only; ``ops`` names the working members of the ops group, who belong to ``everyone`` too;
    ``second_factor`` those of the sales population who need one, and stand nowhere else;
    ``expired`` and ``must_change`` those of it whose password must be changed before it opens
    anything, nowhere else either; ``disabled`` those who may not log in.
    """
    reader = _People()
    reader.dataReceived(Path(ldif_path).read_bytes())
    kinds = (
        *("managers", "sales", "everyone", "ops", "second_factor"),
        *("expired", "must_change", "disabled"),
    )
    found: dict[str, list[str]] = {name: [] for name in kinds}
    for uid, groups, disabled, password in reader.people:
        if disabled or password != "good":
            found["disabled" if disabled else password].append(uid)
            continue
        if "second-factor" in groups:
            found["second_factor"].append(uid)
            continue
        found[next((name for name in ("managers", "sales") if name in groups), "everyone")].append(
            uid
        )
        if "ops" in groups:
            found["ops"].append(uid)
    return found


class _People(LDIF):  # type: ignore[misc]
    """Collects (uid, group names, disabled, state of the password) of the entries of people."""

    def __init__(self) -> None:
        self.people: list[tuple[str, set[str], bool, PasswordState]] = []

    def gotEntry(self, obj: Mapping[bytes, Iterable[bytes]]) -> None:
        if b"inetOrgPerson" not in obj[b"objectClass"]:
            return
        (uid,) = obj[b"uid"]
        groups = {
            dn.decode().split(",", 1)[0].removeprefix("cn=") for dn in obj.get(b"memberOf", ())
        }
        password: PasswordState = "good"
        if PASSWORD_ENDED.encode() in obj:
            password = "expired"
        elif PASSWORD_RESET.encode() in obj:
            password = "must_change"
        disabled = b"disabled" in obj[b"employeeType"]
        self.people.append((uid.decode(), groups, disabled, password))


def _login_name(given: str, family: str, taken: set[str]) -> str:
    """``given.family`` in ASCII letters, numbered when somebody has it already."""
    name = f"{_ascii(given)}.{_ascii(family)}"
    unique, number = name, 1
    while unique in taken:
        number += 1
        unique = f"{name}{number}"
    taken.add(unique)
    return unique


def _ascii(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.translate(_ASCII))
    return "".join(c for c in plain.lower() if c.isascii() and c.isalnum())


def _hashed(password: str, salt: str) -> str:
    """``{SSHA}``: SHA-1 over password and salt, the one scheme that ldaptor and slapd both know.

    The salt is derived, not random, so that the file is the same wherever it is made.
    """
    seasoning = hashlib.sha256(salt.encode()).digest()[:8]
    digest = hashlib.sha1(password.encode() + seasoning).digest()
    return "{SSHA}" + base64.b64encode(digest + seasoning).decode()


def _frame() -> Iterator[tuple[str, _Attributes]]:
    yield (
        BASE_DN,
        [
            ("objectClass", ["top", "dcObject", "organization"]),
            ("dc", ["intranet"]),
            ("o", ["Baobab Télécom (invented)"]),
        ],
    )
    for unit in ("people", "groups", "services"):
        yield (
            f"ou={unit},{BASE_DN}",
            [
                ("objectClass", ["top", "organizationalUnit"]),
                ("ou", [unit]),
            ],
        )
    yield (
        SERVICE_DN,
        [
            ("objectClass", ["top", "organizationalRole", "simpleSecurityObject"]),
            ("cn", ["broker"]),
            ("description", ["Reads people and groups for the remote-access broker"]),
            ("userPassword", [_hashed(SERVICE_PASSWORD, SERVICE_DN)]),
        ],
    )


def _person(person: Person, seed: int) -> tuple[str, _Attributes]:
    name = f"{person.given} {person.family}"
    attributes = [
        (
            "objectClass",
            ["top", "person", "organizationalPerson", "inetOrgPerson", "extensibleObject"],
        ),
        ("uid", [person.uid]),
        ("cn", [name]),
        ("sn", [person.family]),
        ("givenName", [person.given]),
        ("displayName", [name]),
        ("mail", [f"{person.uid}@intranet.example"]),
        ("employeeNumber", [f"{person.number:05}"]),
        ("employeeType", ["disabled" if person.disabled else "employee"]),
        ("departmentNumber", [person.department]),
        ("l", [person.town]),
        ("c", [person.community.country]),
        ("preferredLanguage", [person.community.language]),
        ("userPassword", [_hashed(PASSWORD, f"{seed} {person.uid}")]),
    ]
    if person.password == "expired":
        attributes.append((PASSWORD_ENDED, ["20200316000000Z"]))
    elif person.password == "must_change":
        attributes.append((PASSWORD_RESET, ["TRUE"]))
    if person.groups:
        attributes.append(("memberOf", [f"cn={group},{GROUPS_DN}" for group in person.groups]))
    return person.dn, attributes


def _groups(people: list[Person]) -> Iterator[tuple[str, _Attributes]]:
    for group in ("managers", "sales", "ops", "second-factor", "staff"):
        yield (
            f"cn={group},{GROUPS_DN}",
            [
                ("objectClass", ["top", "groupOfNames"]),
                ("cn", [group]),
                ("member", [person.dn for person in people if group in person.groups]),
            ],
        )


if __name__ == "__main__":
    sys.stdout.buffer.write(ldif())
