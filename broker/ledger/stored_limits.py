"""The limits document as scripts answer it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from broker.policy.limits import LimitsDocument

if TYPE_CHECKING:
    from collections.abc import Sequence

NOTHING = LimitsDocument(
    number=0,
    digest="",
    scale=1.0,
    seats_limit=0,
    connections_limit=0,
    populations={},
    pools={},
)
"""What is in force before the first publication: nobody is admitted."""


def decoded(answer: Sequence[Any]) -> LimitsDocument | None:
    """[number, JSON] as scripts answer it; [] or number 0: there is none."""
    if not answer or answer[0] == 0:
        return None
    document = msgspec.json.decode(answer[1], type=LimitsDocument)
    return replace(document, number=answer[0])
