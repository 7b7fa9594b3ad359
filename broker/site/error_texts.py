"""What an employee is told with each HTTP error: short, true, helpful, and nothing of the inside.

Texts are message ids (English); whoever shows them translates with ``language.gettext``. The
gateway uses them for requests it refuses itself, the portal for its own pages.
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
    408: ErrorText(
        mark("Your request took too long"),
        mark("It did not arrive in full. Please check your connection and try again."),
    ),
    413: ErrorText(
        mark("This is too large"),
        mark("What you are sending is larger than this application accepts. Nothing was stored."),
    ),
    414: ErrorText(
        mark("This address is too long"),
        mark(
            "The address is longer than we accept. Please start from the application's first page."
        ),
    ),
    429: ErrorText(
        mark("Too many requests at once"),
        mark("Please wait a moment and try again; closing tabs you do not need helps."),
    ),
    431: ErrorText(
        mark("Your browser sends too much with each request"),
        mark("Deleting the cookies of this site usually helps. You will have to log in again."),
    ),
    500: ErrorText(
        mark("Something went wrong on our side"),
        mark("The fault has been noted. Please try again in a moment."),
    ),
    501: ErrorText(
        mark("This is not supported"),
        mark("Your browser asked for something that is not available here."),
    ),
    502: ErrorText(
        mark("The application gave no usable answer"),
        mark("You are still logged in. Please try again in a moment."),
    ),
    503: ErrorText(
        mark("Not possible at the moment"),
        mark("Too much is going on right now. You are still logged in; please try again shortly."),
    ),
    504: ErrorText(
        mark("The application did not answer in time"),
        mark("You are still logged in. Please try again in a moment."),
    ),
}


def error_text(status: int) -> ErrorText:
    """The text for ``status``; for one that has none of its own, that of its class."""
    return ERROR_TEXTS.get(status) or ERROR_TEXTS[400 if status < 500 else 500]
