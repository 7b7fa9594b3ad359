"""How a login fails, as the employee is told: one plain sentence each, and nothing of the inside.

The reasons that errors carry are for logs; what is shown is translated, hence written here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.errors import (
    AccountRefused,
    BrokerError,
    Busy,
    DirectoryAway,
    FactorMissing,
    FactorUnreadable,
    LedgerAway,
    LedgerLearning,
    PasswordExpired,
    PasswordRefused,
    SessionsFull,
    TooManyGuesses,
    WrongPassword,
)
from broker.site.language import mark

if TYPE_CHECKING:
    from broker.errors import RefusedBecause

Kind = type[BrokerError] | tuple[type[BrokerError], ...]

# outcome (for metrics), status, sentence; the first that matches
FAILURES: tuple[tuple[Kind, str, int, str], ...] = (
    (WrongPassword, "wrong_password", 401, mark("The user name or the password is not right.")),
    (
        TooManyGuesses,
        "banned",
        429,
        mark(
            "Too many wrong passwords were entered. Please try again in %(minutes)s min, "
            "or ask %(contact)s."
        ),
    ),
    (
        AccountRefused,
        "account_refused",
        403,
        mark("This account may not log in at present. Please ask %(contact)s."),
    ),
    (
        PasswordExpired,
        "password_expired",
        403,
        mark(
            "Your password was right, but it has expired or must be changed first, which cannot be "
            "done here. Please change it at work, or ask %(contact)s."
        ),
    ),
    (
        PasswordRefused,
        "password_refused",
        422,
        mark(
            "This new password is not accepted: it may be too short or too simple, or one that you "
            "have used before. Please choose another one."
        ),
    ),
    (
        SessionsFull,
        "sessions_full",
        409,
        mark(
            "You are logged in with as many browsers as is allowed. Log out in one of them first, "
            "or ask %(contact)s."
        ),
    ),
    (
        Busy,
        "busy",
        503,
        mark("Many people are logging in right now. Please try again in a few seconds."),
    ),
    (
        DirectoryAway,
        "directory_away",
        503,
        mark(
            "The staff directory cannot be reached at the moment, so your password could not be "
            "checked. Please try again in a minute."
        ),
    ),
    (
        FactorMissing,
        "factor_missing",
        403,
        mark(
            "Your password was right, but your account needs a second factor and none is set up, "
            "and it cannot be set up at present. Please ask %(contact)s."
        ),
    ),
    (
        (LedgerAway, LedgerLearning, FactorUnreadable),
        "ledger_away",
        503,
        mark("Your login could not be completed just now. Please try again in a minute."),
    ),
)


# Why an account is refused, where the directory says so and may be quoted.
REFUSALS: dict[RefusedBecause, str] = {
    "disabled": mark("This account is disabled. Please ask %(contact)s."),
    "account_expired": mark("This account has expired. Please ask %(contact)s."),
    "locked": mark(
        "This account is locked, usually because of too many wrong passwords. Please try again "
        "later, or ask %(contact)s."
    ),
    "hours": mark(
        "This account may not log in at this hour, or not from outside. Please ask %(contact)s."
    ),
    "not_expired": mark(
        "This password has not expired: it is good for logging in, and cannot be changed here. "
        "Please change it at work, or ask %(contact)s."
    ),
}


def failure(error: BrokerError) -> tuple[str, int, str]:
    """Outcome, status and sentence (untranslated) of a login that failed."""
    if isinstance(error, AccountRefused) and error.because in REFUSALS:
        return "account_refused", 403, REFUSALS[error.because]
    for kind, outcome, status, sentence in FAILURES:
        if isinstance(error, kind):
            return outcome, status, sentence
    raise error  # not a failure of a login: the general page
