"""What a directory means by its answer to a bind: result code, AD's sub-codes, ppolicy control.

Pure. Active Directory says why in the diagnostic message ("data 773", [MS-ADTS] 3.1.1.5.1 and the
Windows error codes); OpenLDAP and others in the response control of password policies
(draft-behera-ldap-password-policy-10, section 6.2). Both tell most of it only to who has the right
password; ``proven`` says when that is certain, so that a ban can be counted rightly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ldap3.core import results

if TYPE_CHECKING:
    from broker.errors import RefusedBecause

Judged: TypeAlias = "Literal['right', 'wrong', 'expired', 'must_change'] | RefusedBecause"

PPOLICY = "1.3.6.1.4.1.42.2.27.8.5.1"

WRONG_CREDENTIALS = frozenset(
    {
        results.RESULT_INVALID_CREDENTIALS,
        results.RESULT_NO_SUCH_OBJECT,
        results.RESULT_INVALID_DN_SYNTAX,
        results.RESULT_INAPPROPRIATE_AUTHENTICATION,
    }
)
"""Results of a bind that say: not this name with this password."""

ACCOUNT_REFUSED = frozenset(
    {
        results.RESULT_CONSTRAINT_VIOLATION,
        results.RESULT_INSUFFICIENT_ACCESS_RIGHTS,
        results.RESULT_UNWILLING_TO_PERFORM,
    }
)
"""Results of a bind by which servers refuse a locked or disabled account."""

_SUB_CODE = re.compile(r"\bdata ([0-9a-f]{3,8})\b", re.IGNORECASE)
_SUB_CODES: dict[int, Judged] = {
    0x530: "hours",  # ERROR_INVALID_LOGON_HOURS
    0x531: "hours",  # ERROR_INVALID_WORKSTATION: not from here
    0x532: "expired",  # ERROR_PASSWORD_EXPIRED
    0x533: "disabled",  # ERROR_ACCOUNT_DISABLED
    0x701: "account_expired",  # ERROR_ACCOUNT_EXPIRED
    0x773: "must_change",  # ERROR_PASSWORD_MUST_CHANGE
    0x775: "locked",  # ERROR_ACCOUNT_LOCKED_OUT
}
_PASSWORD_EXPIRED, _ACCOUNT_LOCKED, _CHANGE_AFTER_RESET = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Ppolicy:
    """The response control. ``grace``: how many more logins an expired password is good for."""

    error: int | None = None
    grace: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """``bound``: the server has let the account in, whatever it wants next. ``proven``: the
    password was right for certain."""

    judged: Judged
    bound: bool
    proven: bool


def verdict(code: int, message: str, ppolicy: Ppolicy, *, insist: bool) -> Verdict:
    """``insist``: an expired password that is good for a few more logins is changed now. ``code``
    is success, one of WRONG_CREDENTIALS or one of ACCOUNT_REFUSED."""
    if code == results.RESULT_SUCCESS:
        if ppolicy.error == _CHANGE_AFTER_RESET:
            return Verdict("must_change", bound=True, proven=True)
        if ppolicy.grace is not None and insist:
            return Verdict("expired", bound=True, proven=True)
        return Verdict("right", bound=True, proven=True)
    if ppolicy.error == _ACCOUNT_LOCKED:
        return Verdict("locked", bound=False, proven=False)
    if ppolicy.error == _PASSWORD_EXPIRED:
        return Verdict("expired", bound=False, proven=True)
    if code in ACCOUNT_REFUSED:
        return Verdict("refused", bound=False, proven=False)
    if code == results.RESULT_INVALID_CREDENTIALS and (match := _SUB_CODE.search(message)):
        judged = _SUB_CODES.get(int(match[1], 16), "wrong")
        return Verdict(judged, bound=False, proven=judged not in ("wrong", "locked"))
    return Verdict("wrong", bound=False, proven=False)


def read_ppolicy(value: bytes) -> Ppolicy:
    """SEQUENCE { warning [0] CHOICE { timeBeforeExpiration [0], graceAuthNsRemaining [1] }, error
    [1] ENUMERATED }, both optional. What makes no sense says nothing."""
    try:
        error = grace = None
        for tag, content in _elements(_one(value, 0x30)):
            if tag == 0xA0:
                for inner, number in _elements(content):
                    if inner == 0x81:
                        grace = int.from_bytes(number, signed=True)
            elif tag == 0x81:
                error = int.from_bytes(content, signed=True)
    except ValueError:
        return Ppolicy()
    return Ppolicy(error, grace)


def _one(data: bytes, tag: int) -> bytes:
    elements = _elements(data)
    if len(elements) != 1 or elements[0][0] != tag:
        raise ValueError("not what it should be")
    return elements[0][1]


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    """BER with one byte of tag and of length, which is all that this control ever needs."""
    found = []
    while data:
        if len(data) < 2 or data[1] > 127 or len(data) < 2 + data[1]:
            raise ValueError("cut off, or far too long")
        found.append((data[0], data[2 : 2 + data[1]]))
        data = data[2 + data[1] :]
    return found
