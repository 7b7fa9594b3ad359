"""Authorities, certificates and backends that speak TLS, for the dialogues of a ``Stage``."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import trustme

from broker.gateway.certificates import server_context
from tests.support.stage import Backend

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from broker.gateway.plan import GatewayPlan, ServerPlan
    from tests.support.stage import Stage


class Pki:
    """An authority, its files in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))

    def issue(self, *names: str, file: str = "", **more: Any) -> tuple[Path, Path]:
        """(certificate, key); ``file`` names an earlier pair to write over."""
        leaf = self.authority.issue_cert(*names, **more)
        stem = file or names[0].replace("*", "any")
        certificate, key = self.folder / f"{stem}.pem", self.folder / f"{stem}.key"
        leaf.cert_chain_pems[0].write_to_path(str(certificate))
        leaf.private_key_pem.write_to_path(str(key))
        return certificate, key

    def serving(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*names).configure_cert(context)
        return context

    def trusting(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def expected(self, minimum: str = "1.2") -> ssl.SSLContext:
        """What the broker asks of servers."""
        return server_context(self.ca, minimum, None, None)


class ListeningBackend(Backend):
    """A backend anywhere: with TLS, on another address, on a Unix socket."""

    def __init__(
        self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", path: str = ""
    ) -> None:
        super().__init__()
        self._tls = tls
        self._host = host
        self._path = path

    async def start(self) -> Self:
        if self._path:
            self._server = await asyncio.start_unix_server(self._accept, self._path, ssl=self._tls)
            self.address = f"unix:{self._path}"
            return self
        self._server = await asyncio.start_server(
            self._accept, self._host, self.port, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.address = f"{'https' if self._tls else 'http'}://{host}:{self.port}"
        return self


def served_by(stage: Stage, servers: Sequence[ServerPlan], **pool: Any) -> GatewayPlan:
    """The stage's plan with other servers behind ``feed``."""
    plan = stage.plan()
    feed = replace(plan.pools["feed"], servers=tuple(servers), **pool)
    return replace(plan, pools={**plan.pools, "feed": feed})
