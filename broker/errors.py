"""The few errors of the project: one for each thing that a caller would do differently.

Vendor errors (redis, ldap3, aiohttp) are translated into these once, at the edge that speaks to the
vendor. Each error carries a *status hint* (the HTTP status a door should answer with when it has no
better idea) and a *reason*: one sentence that may be shown to the person concerned. A reason never
contains an address, a distinguished name, a password or a stack frame.
"""

from __future__ import annotations

from typing import Literal


class BrokerError(Exception):
    """Base of all expected failures. ``status`` is the HTTP status hint."""

    status = 500

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ConfigurationError(BrokerError):
    """The configuration is wrong: nothing starts. ``faults`` lists them all, with their place."""

    status = 500

    def __init__(self, reason: str, faults: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.faults = faults

    def at_reload(self) -> str:
        """What a reload says of it, a line each: a broker that runs goes on as it was."""
        return "\n".join((f"{self.reason}; the old configuration stays in force", *self.faults))


class Refused(BrokerError):
    """The request is understood and may not be done: bad input, wrong role, beyond a ceiling."""

    status = 400


class SessionsFull(BrokerError):
    """The employee is logged in with as many browsers as the site allows, and none is evicted."""

    status = 409


class Stale(BrokerError):
    """Compare-and-set lost: somebody else changed the document first (If-Match failed)."""

    status = 412


class NotFound(BrokerError):
    """The thing named does not exist. The reason offers the nearest names when there are any."""

    status = 404


class WrongPassword(BrokerError):
    """No such employee, or the password does not match: the two are told alike."""

    status = 401


class TooManyGuesses(BrokerError):
    """Too many wrong passwords for this name from there, or from there at all. ``seconds``: how
    long no further one is tried."""

    status = 429

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.seconds = seconds


RefusedBecause = Literal[
    "refused", "disabled", "account_expired", "locked", "hours", "nameless", "not_expired"
]


class AccountRefused(BrokerError):
    """The password was right (or the directory says so anyway) but the account may not log in.
    ``proven``: it was right for certain."""

    status = 403

    def __init__(
        self, reason: str, because: RefusedBecause = "refused", *, proven: bool = True
    ) -> None:
        super().__init__(reason)
        self.because = because
        self.proven = proven


class PasswordExpired(BrokerError):
    """The password was right and must be changed before it opens anything. ``may_change``: that can
    be done through this directory adapter."""

    status = 403

    def __init__(self, reason: str, *, may_change: bool) -> None:
        super().__init__(reason)
        self.may_change = may_change


class PasswordRefused(BrokerError):
    """The directory does not take this new password: too short, too simple, used before."""

    status = 422


class FactorMissing(BrokerError):
    """The password was right, a second factor is needed, and this employee has none and may not set
    one up at present."""

    status = 403


class FactorUnreadable(BrokerError):
    """A second factor cannot be read with this host's key ring: operations must see to it."""

    status = 503


class Busy(BrokerError):
    """Our own bounded resources are taken at this moment; trying again soon is right."""

    status = 503


class DirectoryAway(BrokerError):
    """The directory cannot be reached, or did not answer within the deadline."""

    status = 503


class LedgerAway(BrokerError):
    """Redis cannot be reached, or did not answer within the deadline. Nothing was decided."""

    status = 503


class LedgerLearning(BrokerError):
    """The ledger lost its memory and is being filled again: no new seats or grants meanwhile."""

    status = 503


class ProtocolViolation(BrokerError):
    """A peer broke HTTP. ``status`` is 400 for a client (set per instance), 502 for a backend."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status
