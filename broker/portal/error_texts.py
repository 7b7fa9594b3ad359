"""What the portal tells with each HTTP error: short, true, helpful, and nothing of the inside.

Texts are message ids (English), translated where they are shown.
"""

from __future__ import annotations

from typing import NamedTuple

from broker.site.language import mark


class ErrorText(NamedTuple):
    """One error as shown: a title of a few words and one or two sentences."""

    title: str
    sentence: str


ERROR_TEXTS: dict[int, ErrorText] = {
    400: ErrorText(
        mark("This request could not be understood"),
        mark("Your browser sent something that we cannot read. Please start again."),
    ),
    403: ErrorText(
        mark("This is not allowed"),
        mark("What was asked for may not be done from here. Nothing was changed."),
    ),
    404: ErrorText(
        mark("There is nothing here"),
        mark("This address leads nowhere. Please check it for a typing error."),
    ),
    405: ErrorText(
        mark("This is not how it works"),
        mark("This address does not take that kind of request. Nothing was changed."),
    ),
    413: ErrorText(
        mark("This is too large"),
        mark("What you are sending is larger than this page accepts. Nothing was stored."),
    ),
    500: ErrorText(
        mark("Something went wrong on our side"),
        mark("The fault has been noted. Please try again in a moment."),
    ),
    503: ErrorText(
        mark("Not possible at the moment"),
        mark("Part of the system does not answer right now. Please try again in a moment."),
    ),
}


def error_text(status: int) -> ErrorText:
    """The text for ``status``; for one that has none of its own, that of its class."""
    return ERROR_TEXTS.get(status) or ERROR_TEXTS[400 if status < 500 else 500]
