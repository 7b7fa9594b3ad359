"""Rotating the key ring so that nobody is logged out: two steps on its JSON text, no I/O.

A key that signs before every process of every host can verify it would log out whoever meets the
wrong one. So the new keys are first *prepared*: they stand in the ring, marked ``next``, verify and
are published to backends, and sign nothing. When every process has that ring they are *promoted*;
the former ones go on verifying until the next rotation takes their place. Keys that seal second
factors go the same way, but none is ever dropped: what they sealed lies in the ledger for years.
"""

from __future__ import annotations

import json
from typing import Any

from broker.errors import Refused
from broker.site.tokens import KeyRing

KINDS = ("sessions", "assertions", "factors")
KEPT = {"sessions": 1, "assertions": 1, "factors": None}
"""How many former keys stay; None: all."""


def is_prepared(ring: str) -> bool:
    keys = json.loads(ring)
    return any(key.get("next") for kind in KINDS for key in keys.get(kind, ()))


def signing_since(ring: str) -> int:
    """Unix seconds at which the key that signs sessions began to; 0 when that is not known."""
    since = _signing(json.loads(ring)["sessions"])[0].get("since", 0)
    return since if isinstance(since, int) else 0


def prepared(ring: str) -> str:
    """``ring`` with fresh keys that sign nothing yet. Raises Refused when it has some already."""
    if is_prepared(ring):
        raise Refused("this key ring has been prepared already")
    old, fresh = json.loads(ring), json.loads(KeyRing.generate())
    return _written(
        {kind: [*old.get(kind, ()), {**fresh[kind][0], "next": True}] for kind in KINDS}
    )


def promoted(ring: str, now: int) -> str:
    """The prepared keys sign or seal; of the others the one that signed so far stays, or all."""
    if not is_prepared(ring):
        raise Refused("this key ring has not been prepared")
    keys = json.loads(ring)
    made = {}
    for kind in KINDS:
        present = keys.get(kind, [])
        fresh = [key for key in present if key.get("next")][-1:]
        signs = [
            {**{name: value for name, value in key.items() if name != "next"}, "since": now}
            for key in fresh
        ]
        made[kind] = [*signs, *_signing(present)[: KEPT[kind]]]
    return _written(made)


def _signing(keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [key for key in keys if not key.get("next")]


def _written(ring: dict[str, Any]) -> str:
    text = json.dumps(ring, indent=1)
    KeyRing.from_json(text)
    return text
