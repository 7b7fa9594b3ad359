"""The processes of this host as they tell it themselves, over the control sockets in ``run_dir``.

Whoever has a file there is asked; whoever does not answer in time is simply missing, and the
callers say so. Nothing is cached: an answer is of this moment.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from broker.admin.merge import Page
from broker.errors import NotFound, Refused
from broker.site.drained import DrainedServers
from broker.telemetry.control import SUFFIX, control_path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from broker.telemetry.control import ControlClient

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class HostState:
    """``supervisor``: its state, or None when it does not answer. ``workers``: name -> state of
    those that answer."""

    supervisor: Mapping[str, Any] | None
    workers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def children(self) -> Mapping[str, Mapping[str, Any]]:
        """The supervisor's children by incarnation."""
        listed = self.supervisor.get("children", []) if self.supervisor else []
        return {child["incarnation"]: child for child in listed if child.get("incarnation")}

    def expected(self) -> tuple[str, ...]:
        """Names of the workers that the supervisor keeps."""
        listed = self.supervisor.get("children", []) if self.supervisor else []
        return tuple(child["name"] for child in listed if child.get("kind") == "worker")


class Processes:
    """Asks all of them at once."""

    def __init__(self, run_dir: Path, client: ControlClient) -> None:
        self._run_dir = run_dir
        self._client = client
        self._drained = DrainedServers(run_dir)
        self._switching = asyncio.Lock()

    async def state(self) -> HostState:
        answers = await self._ask(self._client.state)
        return HostState(
            answers.get("supervisor"),
            {name: state for name, state in answers.items() if name.startswith("worker-")},
        )

    async def pages(self) -> list[Page]:
        """The metrics of every process that answers."""
        answers = await self._ask(self._client.metrics)
        return [Page(name, instance, text) for name, (text, instance) in answers.items()]

    async def reload(self) -> None:
        """Tell the supervisor, which tells the others. Raises Refused with its reason, NotFound
        when it does not answer."""
        await self._client.act(control_path(self._run_dir, "supervisor"), "reload")

    async def switch_server(self, server: str, *, drained: bool) -> tuple[str, ...]:
        """Write down that a server is drained or enabled, then tell every worker; the names of
        those that did it. Raises NotFound when none did, with a worker's reason if one answered; it
        is then not drained for later either."""
        async with self._switching:
            news = self._drained.keep(server, drained=drained)
            try:
                return await self._tell_workers(server, drained=drained)
            except NotFound:
                if not drained and news:
                    return ()  # no pool has it any more, and now it is forgotten as well
                if news:
                    self._drained.keep(server, drained=False)
                raise

    async def _tell_workers(self, server: str, *, drained: bool) -> tuple[str, ...]:
        action = "drain-server" if drained else "enable-server"
        paths = sorted(self._run_dir.glob(f"worker-*{SUFFIX}"))
        outcomes = await asyncio.gather(
            *(self._client.act(path, action, server) for path in paths), return_exceptions=True
        )
        done, reason = [], "no worker of this host answers"
        for path, outcome in zip(paths, outcomes, strict=True):
            if outcome is None:
                done.append(path.name.removesuffix(SUFFIX))
            elif isinstance(outcome, Refused):
                reason = outcome.reason
            elif not isinstance(outcome, NotFound):
                raise outcome
        if not done:
            raise NotFound(reason)
        return tuple(done)

    async def _ask(self, question: Callable[[Path], Awaitable[_Answer]]) -> dict[str, _Answer]:
        paths = sorted(self._run_dir.glob(f"*{SUFFIX}"))
        answers = await asyncio.gather(*(self._one(question, path) for path in paths))
        return {
            path.name.removesuffix(SUFFIX): answer
            for path, answer in zip(paths, answers, strict=True)
            if answer is not None
        }

    async def _one(
        self, question: Callable[[Path], Awaitable[_Answer]], path: Path
    ) -> _Answer | None:
        try:
            return await question(path)
        except (NotFound, Refused) as error:
            _log.debug("%s", error.reason)  # the callers name who is missing
            return None
