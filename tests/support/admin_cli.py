"""The command line against the real admin application, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

from aiohttp import web

from broker.admin.app import make_app
from broker.admin.plan import AdminPlan, allowed_hosts
from broker.cli.main import main
from broker.telemetry.control import ControlClient
from tests.support.ledgers import limits_document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    import pytest

    from broker.ledger.port import Ledger

    Run = Callable[..., Awaitable[tuple[int, str]]]

TOKEN = "a token of the tests"


@contextlib.asynccontextmanager
async def command_line(
    ledger: Ledger,
    run_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    civil: Callable[[], float] = lambda: 0.0,
    **more: Any,
) -> AsyncIterator[Run]:
    """``await run("status")`` runs a command: its exit code, and all that it wrote. ``more`` goes
    to ``make_app``."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    plan = AdminPlan("test", TOKEN, allowed_hosts([f"127.0.0.1:{port}"], []), run_dir)
    app = make_app(
        plan,
        ledger,
        ControlClient(),
        lambda _: limits_document(seats=20),
        lambda: 0.0,
        civil,
        **more,
    )
    runner = web.AppRunner(app)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    monkeypatch.setenv("BROKER_ADMIN_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("BROKER_ADMIN_TOKEN", TOKEN)

    async def run(*arguments: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main, list(arguments))
        written = capsys.readouterr()
        return code, written.out + written.err

    try:
        yield run
    finally:
        await runner.cleanup()
