"""Tokens of the admin API in Redis: one hash, by name, with all that is kept of each as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from broker.ledger.book_audit import written
from broker.ledger.port import AdminToken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.ledger.port import AuditEntry
    from broker.ledger.scripts import Scripts


class BookTokens:
    """Methods answer as the port's of the same name."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def put_token(self, token: AdminToken, entry: AuditEntry) -> bool:
        told = msgspec.json.encode(token)
        return bool(await self._scripts.run("tokens", "put", token.name, written(entry), told))

    async def drop_token(self, name: str, entry: AuditEntry) -> bool:
        return bool(await self._scripts.run("tokens", "drop", name, written(entry)))

    async def tokens(self) -> Sequence[AdminToken]:
        found = await self._scripts.run("tokens", "list")
        tokens = (msgspec.json.decode(told, type=AdminToken) for told in found)
        return sorted(tokens, key=lambda token: token.name)
