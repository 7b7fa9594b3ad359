"""The part of the limits document that grant scripts read, cheap to decode and with its order kept.

Every sync decodes it inside Redis. Lua's tables forget the order of an object, on which ties
depend, so everything named is an array. Written by ``publish`` beside the document; read by
``lua/lib_grants.lua``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from broker.policy.limits import LimitsDocument


def encode(document: LimitsDocument) -> bytes:
    """JSON: [limit, sync ms, [[population, weight]], [[pool, limit, guaranteed, lendable, lease ms,
    [[population, limit, guaranteed, lendable]]]]], in the order of configuration."""
    return msgspec.json.encode(
        [
            document.connections_limit,
            document.sync_ms,
            [[name, population.weight] for name, population in document.populations.items()],
            [
                [
                    name,
                    pool.connections.limit,
                    pool.connections.guaranteed,
                    pool.connections.lendable,
                    pool.lease_ms,
                    [
                        [population, cell.limit, cell.guaranteed, cell.lendable]
                        for population, cell in pool.cells.items()
                    ],
                ]
                for name, pool in document.pools.items()
            ],
        ]
    )
