"""What wrong passwords lead to: bans by employee and address, and by address; delays by employee.

Nobody may be locked out by what others do. So an employee as such is never banned: wrong passwords
for one name from anywhere only make further tries wait, briefly. What is banned is a *pair*, one
name from one address, and an address that tries many names. A browser in which the employee has
logged in before is *known*: it has a count of its own (OWASP's device cookies), is never slowed
down and never banned with its address. The same rules stand in ``ledger/lua/guess.lua``.

A tally's name says what is counted: ``p ADDRESS EMPLOYEE`` (pair), ``k BROWSER EMPLOYEE`` (known
browser), ``a ADDRESS``, ``e EMPLOYEE``. Times are ledger time in ms.

Codes of a second factor are counted by the same book, apart from passwords, for the right password
forgets what its pair had against it: all unknown browsers together as if they were the one address
``CODES`` (who guesses codes has the password, and may have any number of addresses), a known one by
itself.
"""

from __future__ import annotations

import ipaddress
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_DELAY_MS = 250

CODES = "codes"
"""Stands in the place of an address, and before a ``/`` and a browser, where codes are counted."""

BanKind = Literal["pair", "browser", "address", "codes"]
KINDS: dict[str, BanKind] = {"p": "pair", "k": "browser", "a": "address"}


@dataclass(frozen=True, slots=True)
class GuessRules:
    """``per_pair`` tries within ``window_ms`` ban the pair (and a known browser's knowledge) for
    ``ban_ms``, ``per_address`` the address. After ``free`` tries for one employee each further one
    from an unknown browser waits, twice as long each time and never above ``slowest_ms``.
    """

    window_ms: int = 900_000
    ban_ms: int = 900_000
    per_pair: int = 10
    per_address: int = 100
    free: int = 20
    slowest_ms: int = 4000


@dataclass(frozen=True, slots=True)
class Tally:
    """``count`` tries, forgotten together at ``ends_ms``."""

    count: int
    ends_ms: int


def one_spelling(name: str) -> str:
    """What a name is counted by where nobody has found out whose it is: one for all spellings that
    a directory may take for the same (RFC 4518, 2; Active Directory looks at no accents either).
    """
    letters = unicodedata.normalize("NFKD", name).casefold()
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return " ".join(unicodedata.normalize("NFKC", plain).split()) or name


def one_more(tally: Tally | None, now_ms: int, window_ms: int) -> Tally:
    """The tally after one more try; the first try begins the window."""
    if tally is None or tally.ends_ms <= now_ms:
        return Tally(1, now_ms + window_ms)
    return Tally(tally.count + 1, tally.ends_ms)


def delay_ms(count: int, rules: GuessRules) -> int:
    """How long the ``count``-th try for one employee waits."""
    beyond = count - rules.free
    if beyond <= 0:
        return 0
    return min(rules.slowest_ms, FIRST_DELAY_MS << min(beyond - 1, 20))


def block(address: str) -> str:
    """What an address is counted by: of IPv6 the /64, which one subscriber has as a whole. An
    address that is none (a Unix socket) counts as nothing: ``""``."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))


def bannable(address: str, trusted: Sequence[str]) -> str:
    """``block(address)``, or ``""`` where nobody is ever banned by it: loopback and ``trusted``
    networks. Behind such an address stand many (a proxy, an office): one of them guessing must not
    keep the others out."""
    counted = block(address)
    if not counted:
        return ""
    network = ipaddress.ip_network(counted)
    if network.network_address.is_loopback or network.network_address == _IPV6_LOOPBACK_BLOCK:
        return ""
    for each in trusted:
        other = ipaddress.ip_network(each, strict=False)
        if network.version == other.version and network.overlaps(other):
            return ""
    return counted


_IPV6_LOOPBACK_BLOCK = ipaddress.ip_address("::")  # of ::1/128, by /64


def subject(tally: str) -> tuple[BanKind, str, str]:
    """Of a tally's name: kind, employee ("" for an address), address or browser."""
    letter, _, rest = tally.partition(" ")
    where, _, employee = rest.partition(" ")
    if letter == "p" and where == CODES:
        return "codes", employee, ""
    return KINDS[letter], employee, where


def code_rules(tries: int, window_ms: int) -> GuessRules:
    """The rules under which codes are counted. Nobody waits for them, and no address is banned."""
    return GuessRules(window_ms=window_ms, ban_ms=window_ms, per_pair=tries)
