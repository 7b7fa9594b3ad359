"""People whose names are hard on software, added to the demo's directory for the tests.

``ODD`` maps login names as typed to what they stand for; ``ldif()`` is loaded into ldaptor and
slapd alike. All have the demo's password.
"""

from __future__ import annotations

from ldap3.utils.dn import escape_rdn
from ldaptor.protocols.ldap.ldif import asLDIF

from broker.demo.employees import BASE_DN, GROUPS_DN, PASSWORD, PEOPLE_DN

ODD_NAMES = (
    "comma, the",
    'quo"tes',
    "paren(theses)",
    "a*sterisk",
    "back\\slash",
    "plus+equals=",
    "<angle>;semi#hash",
    "zażółć.gęślą",
    "ндиайе",
    "ياسمين",
    "o'neill",
    "100% & more|pipe!",
    "{username}",
    "{dn}",
)
"""Login names, as the directory writes them."""

MANY_GROUPS = 200


ABROAD_DN = f"ou=abroad,{BASE_DN}"
"""On slapd a referral (RFC 3296): whoever follows it knocks at the port given to ``ldif``."""


def ldif(referred_port: int) -> bytes:
    entries = [_person(name, [name]) for name in ODD_NAMES]
    ref = f"ldap://127.0.0.1:{referred_port}/{ABROAD_DN}"
    classes = ["top", "referral", "extensibleObject"]
    entries.append((ABROAD_DN, [("objectClass", classes), ("ou", ["abroad"]), ("ref", [ref])]))
    entries.append(_person("many.groups", ["many.groups"], groups=MANY_GROUPS))
    entries.append(_person("Two.Names", ["Two.Names", "alias.name"]))
    entries.append(_person("Mixed.Case", ["Mixed.Case"]))
    entries.append(_person("twin.one", ["twin.one"], employee_number="twins"))
    entries.append(_person("twin.two", ["twin.two"], employee_number="twins"))
    entries += _nested()
    entries.append(_person("no.password", ["no.password"], password=None))
    for number in range(MANY_GROUPS):
        name = f"team, {number} (Ñdar)"
        dn = f"cn={escape_rdn(name)},{GROUPS_DN}"
        member = f"uid={escape_rdn('many.groups')},{PEOPLE_DN}"
        classes = ["top", "groupOfNames"]
        entries.append((dn, [("objectClass", classes), ("cn", [name]), ("member", [member])]))
    return b"".join(asLDIF(dn, attributes) for dn, attributes in entries)


NESTED = ("inner, the first", "outer łódź", "third", "round about")
"""Each group is a member of the next, and the last one of the first again."""


def _nested() -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """Somebody in the first of NESTED; groups name those they are in, as the overlay would."""
    dns = [f"cn={escape_rdn(name)},{GROUPS_DN}" for name in NESTED]
    somebody, attributes = _person("nested.groups", ["nested.groups"])
    entries = [(somebody, [*attributes, ("memberOf", [dns[0]])])]
    for number, (name, dn) in enumerate(zip(NESTED, dns, strict=True)):
        members = [dns[number - 1], *([somebody] if number == 0 else [])]
        classes = ["top", "groupOfNames"]
        above = [dns[(number + 1) % len(dns)]]
        entries.append(
            (
                dn,
                [
                    ("objectClass", classes),
                    ("cn", [name]),
                    ("member", members),
                    ("memberOf", above),
                ],
            )
        )
    return entries


def _person(
    rdn: str,
    uids: list[str],
    *,
    groups: int = 0,
    password: str | None = PASSWORD,
    employee_number: str = "odd",
) -> tuple[str, list[tuple[str, list[str]]]]:
    attributes = [
        ("objectClass", ["top", "person", "organizationalPerson", "inetOrgPerson"]),
        ("uid", uids),
        ("cn", [f"Called {rdn}"]),
        ("sn", ["Odd"]),
        ("employeeNumber", [employee_number]),
        ("employeeType", ["employee"]),
    ]
    if password is not None:
        attributes.append(("userPassword", [password]))
    if groups:
        names = [f"team, {number} (Ñdar)" for number in range(groups)]
        attributes.append(("memberOf", [f"cn={escape_rdn(name)},{GROUPS_DN}" for name in names]))
    return f"uid={escape_rdn(rdn)},{PEOPLE_DN}", attributes
