"""Reaching the demo as a browser would: ``*.localhost`` is this machine (RFC 6761, 6.3), whatever
the system's resolver thinks, and the demo's own CA is trusted.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"


class LoopbackResolver(AbstractResolver):
    """Every name is 127.0.0.1; names that are not under ``localhost`` are refused."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host != "localhost" and not host.endswith(".localhost"):
            raise OSError(f"{host} is not part of the demo")
        return [
            ResolveResult(
                hostname=host,
                host=HOST,
                port=port,
                family=socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Nothing is held."""


def client(ca: Path | None = None, **options: Any) -> aiohttp.ClientSession:
    """A client for the demo's hosts; ``options`` are those of ClientSession."""
    trust = ssl.create_default_context(cafile=str(ca)) if ca else True
    connector = aiohttp.TCPConnector(resolver=LoopbackResolver(), ssl=trust, limit=0)
    return aiohttp.ClientSession(connector=connector, **options)
