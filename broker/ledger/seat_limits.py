"""The part of the limits document that seat scripts read, in a form that is cheap to decode.

Every admission decodes it inside Redis, where nothing can be cached between calls, so it holds no
pools; and it lists the populations in an array because Lua's tables forget the order of an object,
which breaks ties. Written by ``publish`` together with the document; read by ``lua/lib_seats.lua``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from broker.policy.limits import LimitsDocument


def encode(document: LimitsDocument) -> bytes:
    """JSON: times in milliseconds; each population as [name, admitted, maximum, guaranteed,
    lendable, weight, on call] in the order of configuration."""
    return msgspec.json.encode(
        {
            "limit": document.seats_limit,
            "idle": document.idle_ms,
            "claim": document.claim_ms,
            "absent": document.absent_ms,
            "lost": document.ticket_lost_ms,
            "populations": [
                [
                    name,
                    population.admitted,
                    population.seats_maximum,
                    population.seats_guaranteed,
                    population.lendable,
                    population.weight,
                    population.seats_on_call,
                ]
                for name, population in document.populations.items()
            ],
        }
    )
