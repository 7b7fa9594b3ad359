"""Who needs a second factor, what a login asks for then, and which codes may still be used.

A code is a TOTP (RFC 6238): six digits for each *step* of 30 s. One step of drift either way is
tolerated, and a step is used once: whatever is not above the last used one is refused, so a code
that somebody looked at is worth nothing. Whoever has no factor may set one up only while operations
let them (*enrolment*): a password alone must not be enough, least of all when the ledger has lost
its memory and nobody seems to have one.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from broker.policy.populations import normal_dn

if TYPE_CHECKING:
    from collections.abc import Iterable

STEP_SECONDS = 30
DRIFT = 1
"""Steps by which a telephone's clock may be off."""
DIGITS = 6
RECOVERY_LETTERS = 16
"""Base32 letters of a recovery code: 80 bits, which nobody guesses."""
_BASE32 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
_FILLING = str.maketrans("", "", " -\u00a0\t")

Asked = Literal["code", "enrol", "closed"]


@dataclass(frozen=True, slots=True)
class FactorRules:
    """A second factor is needed by ``populations`` and by members of ``groups`` (DNs), except from
    the networks ``except_from``. With neither population nor group it is off.

    ``tries`` wrong codes within ``window_ms`` end the trying for as long: of one browser that is
    known, or of all that are not.
    """

    populations: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    except_from: tuple[str, ...] = ()
    tries: int = 10
    window_ms: int = 3_600_000

    @property
    def on(self) -> bool:
        return bool(self.populations or self.groups)


def needs_factor(
    rules: FactorRules, population: str | None, groups: Iterable[str], address: str
) -> bool:
    """``address``: where the login comes from."""
    return wants_factor(rules, population, groups) and not excepted(address, rules.except_from)


def wants_factor(rules: FactorRules, population: str | None, groups: Iterable[str]) -> bool:
    """Whether they need one, but for the network they are in."""
    if population in rules.populations:
        return True
    named = {normal_dn(group) for group in rules.groups}
    return any(normal_dn(group) in named for group in groups)


def asked(*, enrolled: bool, may_enrol: bool) -> Asked:
    """What follows the right password of who needs a factor. Whoever has one is never offered
    another one."""
    if enrolled:
        return "code"
    return "enrol" if may_enrol else "closed"


def steps_to_try(now: float) -> tuple[int, ...]:
    """The steps whose codes are looked at, at civil time ``now`` (seconds), the likeliest first."""
    present = int(now // STEP_SECONDS)
    later = range(1, DRIFT + 1)
    return (present, *(present - n for n in later), *(present + n for n in later))


def usable(step: int, last_step: int) -> bool:
    """Whether a code of ``step`` may be used when ``last_step`` was used last."""
    return step > last_step


def read_code(typed: str) -> str | None:
    """The six digits of what was typed, or None when it cannot be a code."""
    plain = typed.translate(_FILLING)
    return plain if len(plain) == DIGITS and plain.isascii() and plain.isdigit() else None


def read_recovery(typed: str) -> str | None:
    """The letters of a recovery code however it was typed, or None when it cannot be one. A digit
    that looks like O, I or B and is none of Base32's is taken for it."""
    plain = typed.translate(_FILLING).upper().translate(_ALIKE)
    return plain if len(plain) == RECOVERY_LETTERS and _BASE32.issuperset(plain) else None


_ALIKE = str.maketrans("018", "OIB")


def written(code: str) -> str:
    """A recovery code in groups of four, as people read it."""
    return "-".join(code[at : at + 4] for at in range(0, len(code), 4))


def excepted(address: str, networks: Iterable[str]) -> bool:
    """Whether it is in one of ``networks``. One that is none (a Unix socket) is not."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in ipaddress.ip_network(each, strict=False) for each in networks)
