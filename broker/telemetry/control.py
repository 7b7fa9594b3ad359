"""The control socket of a process: its metrics, its state, and the few things it can be told to do.

Every process of a host (supervisor, workers, portal, admin) serves one, ``RUN_DIR/NAME.control``, a
Unix socket that only its own user may open. The admin process scrapes them all and merges, the
supervisor passes a reload on. It lives in this layer because all those parts use it and none may
import another. It speaks HTTP (aiohttp) but is no door for people: no token, no page; whoever may
open the file already runs as the broker.
"""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from broker.errors import BrokerError, ConfigurationError, NotFound, Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path
    from types import TracebackType

SUFFIX = ".control"
_IDENTITY = "X-Broker-Process"
_PATH_BYTES = 107  # sun_path holds 108 with the final NUL (unix(7))


def control_path(run_dir: Path, name: str) -> Path:
    """Where the process called ``name`` (``worker-0``, ``portal``, ...) has its control socket."""
    return run_dir / f"{name}{SUFFIX}"


def bind_private(path: Path) -> socket.socket:
    """A listening Unix socket with mode 0600 from its first moment; a stale file is replaced.

    Raises Refused when the path is too long for the system, OSError when it cannot be bound.
    """
    if len(os.fsencode(path)) > _PATH_BYTES:
        raise Refused(f"the path of a Unix socket has at most {_PATH_BYTES} bytes: {path}")
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listening.bind(str(path))
    except OSError:
        listening.close()
        raise
    finally:
        os.umask(mask)
    listening.listen(128)
    listening.setblocking(False)
    return listening


class ControlServer:
    """``async with ControlServer(...)``: serves from entry to exit, then removes the file.

    ``GET /metrics``: text exposition; ``GET /state``: JSON; ``POST /NAME`` for each of ``actions``,
    ``POST /NAME?subject=WHAT`` for each of ``subject_actions``, which are told what it is about:
    204 when done, or problem+json with the reason and status of the BrokerError it raised.
    """

    def __init__(
        self,
        path: Path,
        metrics: Callable[[], bytes],
        state: Callable[[], Mapping[str, Any]],
        actions: Mapping[str, Callable[[], Awaitable[None]]],
        subject_actions: Mapping[str, Callable[[str], Awaitable[None]]] | None = None,
    ) -> None:
        self._path = path
        self._metrics = metrics
        self._state = state
        self._actions = actions
        self._subject_actions = subject_actions or {}
        # Tells a restarted process from the one before it: its counters begin at 0 again.
        self._headers = {_IDENTITY: os.urandom(8).hex()}
        app = web.Application()
        app.router.add_get("/metrics", self._get_metrics)
        app.router.add_get("/state", self._get_state)
        app.router.add_post("/{action}", self._act)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    async def __aenter__(self) -> ControlServer:
        await self._runner.setup()
        try:
            await web.SockSite(self._runner, bind_private(self._path)).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._path.unlink(missing_ok=True)
        await self._runner.cleanup()

    async def _get_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers=self._headers, content_type="text/plain")

    async def _get_state(self, _: web.Request) -> web.Response:
        return web.json_response(dict(self._state()), headers=self._headers)

    async def _act(self, request: web.Request) -> web.Response:
        name = request.match_info["action"]
        action = self._actions.get(name)
        subject_action = self._subject_actions.get(name)
        try:
            if action is not None:
                await action()
            elif subject_action is not None:
                await subject_action(request.query.get("subject", ""))
            else:
                known = sorted((*self._actions, *self._subject_actions))
                return _problem(404, f"this process knows: {', '.join(known)}")
        except ConfigurationError as error:
            return _problem(400, error.at_reload())
        except BrokerError as error:
            return _problem(error.status, error.reason)
        return web.Response(status=204)


def _problem(status: int, reason: str) -> web.Response:
    body = {"status": status, "detail": reason}
    return web.json_response(body, status=status, content_type="application/problem+json")


class ControlClient:
    """Asks the control sockets of one host. Questions end within ``deadline`` seconds, actions
    within ``patience`` (a reload reads and checks files).

    All calls raise NotFound when nobody listens there (or too slowly) and Refused with the other
    side's reason when it refuses.
    """

    def __init__(self, deadline: float = 2.0, patience: float = 30.0) -> None:
        self._deadline = deadline
        self._patience = patience

    async def metrics(self, path: Path) -> tuple[str, str]:
        """The exposition, and the identity of the process instance that made it."""
        text, identity = await self._call("GET", path, "metrics", self._deadline)
        return text, identity

    async def state(self, path: Path) -> dict[str, Any]:
        text, _ = await self._call("GET", path, "state", self._deadline)
        decoded = json.loads(text)
        if not isinstance(decoded, dict):
            raise Refused(f"{path.name} did not answer with an object")
        return decoded

    async def act(self, path: Path, action: str, subject: str = "") -> None:
        """Tell the process to do it, to ``subject`` if the action wants one; returns when it is
        done."""
        what = f"{action}?{urlencode({'subject': subject})}" if subject else action
        await self._call("POST", path, what, self._patience)

    async def _call(self, method: str, path: Path, what: str, seconds: float) -> tuple[str, str]:
        try:
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.UnixConnector(str(path)),
                    timeout=aiohttp.ClientTimeout(total=seconds),
                ) as session,
                session.request(method, f"http://control/{what}") as response,
            ):
                if response.status >= 400:
                    raise _refusal(path, await response.json(content_type=None))
                return await response.text(), response.headers.get(_IDENTITY, "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            name = path.name.removesuffix(SUFFIX)
            raise NotFound(f"{name} does not answer ({type(error).__name__})") from error


def _refusal(path: Path, body: Any) -> Refused:
    reason = body.get("detail") if isinstance(body, dict) else None
    return Refused(str(reason or f"{path.name} refused"))
