"""A worker process: the gateway, what this worker knows of sessions and seats, and its sync."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import logging
import resource
from typing import TYPE_CHECKING, Any

from broker.configuration import digest, load
from broker.gateway.certificates import Certificates
from broker.gateway.server import Gateway
from broker.ledger.redis_ledger import RedisLedger
from broker.policy.worker_book import WorkerBook
from broker.site.admission import Spending
from broker.site.claims import Claims
from broker.site.drained import DrainedServers
from broker.site.ledger_time import LedgerTime
from broker.site.session_cache import SessionCache
from broker.site.steward import Steward
from broker.site.sync import Sync
from broker.site.tokens import KeyRing, Tokens
from broker.site.waiting_room import WaitingRoom
from broker.supervisor.child import Child
from broker.telemetry import names
from broker.telemetry.access_log import AccessLog, log_name
from broker.telemetry.control import ControlServer, control_path
from broker.telemetry.exposition import Exposition
from broker.telemetry.loop_lag import LoopLag
from broker.telemetry.traffic import Traffic
from broker.wiring import compiled
from broker.wiring.clocks import boot_time, civil_time
from broker.wiring.gateway import PORTAL, gateway_plan, listener_certificates, listener_plan

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from broker.gateway.plan import ListenerPlan
    from broker.policy.guard import Figures
    from broker.settings import Settings
    from broker.wiring.processes import Birth

_log = logging.getLogger(__name__)

FLUSH_EVERY = 1.0  # seconds between flushes of the access log


async def worker(settings: Settings, birth: Birth) -> None:
    """Carry requests until told to stop, then drain and give everything back."""
    ledger = await RedisLedger.connect(
        settings.ledger.url.get_secret_value(), settings.site, settings.ledger.deadline
    )
    await _Worker(settings, birth, ledger).run()


class _Worker:
    """The parts of one worker, joined."""

    def __init__(self, settings: Settings, birth: Birth, ledger: RedisLedger) -> None:
        self._settings = settings
        self._birth = birth
        self._digest = digest(settings)
        keys = settings.sessions.keys.get_secret_value()
        tokens = self._tokens = Tokens(
            KeyRing.from_json(keys), settings.site, civil_time, settings.sessions.token_lifetime
        )
        self._ledger = ledger
        self._access_log = AccessLog(settings.access_log.path)
        self._traffic = Traffic()
        self._lag = LoopLag(boot_time, asyncio.sleep)
        self._wake = asyncio.Event()
        self._spending = Spending(settings.connections.per_employee, self._wake.set, boot_time)
        for pool in settings.pools:
            self._traffic.pool(pool)
            for population in settings.populations:
                self._spending.cell(pool, population.name)
        ledger_time = LedgerTime(boot_time)
        self._sessions = SessionCache(
            tokens,
            self._ledger,
            ledger_time,
            _log_names(settings, keys),
            clock=boot_time,
            wall_clock=civil_time,
            token_refresh=settings.sessions.token_refresh,
            lifetime=settings.sessions.lifetime,
        )
        self._room = room = WaitingRoom(tokens, ledger_time, self._sessions.is_ended, boot_time)
        self._sync = Sync(
            WorkerBook(birth.incarnation, self._digest),
            self._ledger,
            self._spending,
            self._sessions,
            ledger_time,
            room,
            self._wake,
            boot_time,
        )
        self._steward = Steward(
            birth.incarnation, self._ledger, self._sync, self._figures, civil_time
        )
        self._gateway = Gateway(
            gateway_plan(settings),
            self._sessions,
            Claims(self._ledger, room, clock=boot_time, idle=self._sync.idle),
            self._spending,
            self._traffic,
            self._access_log,
            boot_time,
            civil_time,
        )
        self._certificates: dict[str, Certificates] = {}  # by the address of their listener
        self._exposition = self._export()

    async def run(self) -> None:
        child = Child(self._birth.fds, reopen=self._access_log.reopen)
        control = ControlServer(
            control_path(self._settings.run_dir, f"worker-{self._birth.slot}"),
            self._exposition.render,
            self._state,
            {"reload": self._reload, "drain": _setting(child.stop)},
            {"drain-server": self._drain_server, "enable-server": self._enable_server},
        )
        async with control:
            background = asyncio.create_task(self._background())
            background.add_done_callback(lambda _: child.stop.set())
            try:
                self._remember_drained()
                await self._gateway.start(self._listening(child))
                _calm_the_collector()
                child.ready()
                await child.stop.wait()
                _log.info("draining: %s", child.why or "a part of this worker failed")
                await self._gateway.drain(self._settings.stop_timeout)
            finally:
                if not background.done():
                    background.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await background
                await self._sync.leave()
                await self._ledger.close()
                self._access_log.close()

    async def _background(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sync.run())
            group.create_task(self._steward.run())
            group.create_task(self._lag.run())
            group.create_task(self._flush())

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            self._access_log.flush()

    def _listening(
        self, child: Child
    ) -> list[tuple[socket.socket, ListenerPlan, ssl.SSLContext | None]]:
        listening = []
        for index, listener in enumerate(self._settings.listeners):
            context = None
            if listener.tls is not None:
                certified = listener_certificates(listener)
                certificates = Certificates(certified, listener.tls.minimum)
                self._certificates[listener.address] = certificates
                context = certificates.context
            plan = listener_plan(listener)
            listening += [(sock, plan, context) for sock in child.sockets[index]]
        return listening

    def _figures(self) -> dict[str, Figures]:
        """By pool, for the guard: the portal's pages are no part of what a raise is judged by."""
        told = self._traffic.figures()
        told.pop(PORTAL, None)
        return told

    async def _reload(self) -> None:
        """Take the routes, pools, doors, certificates and keys of the file as it is now; raises
        with all its faults, and then nothing has changed."""
        settings = load(self._birth.configuration)
        plan = gateway_plan(settings)
        certified = [(each, listener_certificates(each)) for each in settings.listeners]
        for listener, loaded in certified:
            certificates = self._certificates.get(listener.address)
            if certificates is not None and listener.tls is not None:
                certificates.use(loaded, listener.tls.minimum)
                self._gateway.use_hsts(listener.address, int(listener.tls.hsts))
        for pool in settings.pools:
            for population in settings.populations:
                self._spending.cell(pool, population.name)
        self._gateway.replace(plan)
        self._tokens.replace(KeyRing.from_json(settings.sessions.keys.get_secret_value()))
        self._spending.per_employee = settings.connections.per_employee
        self._digest = digest(settings)
        self._sync.configured(self._digest)
        _log.info("reloaded")

    def _remember_drained(self) -> None:
        """Once the control socket is there, so that nothing said meanwhile is missed."""
        names = DrainedServers(self._settings.run_dir).names()
        self._gateway.remember_drained(names)
        if names:
            _log.info("drained until they are enabled: %s", ", ".join(sorted(names)))

    async def _drain_server(self, name: str) -> None:
        self._gateway.drain_server(name, drained=True)
        _log.info("server %s is drained on request", name)

    async def _enable_server(self, name: str) -> None:
        self._gateway.drain_server(name, drained=False)
        _log.info("server %s is enabled on request", name)

    # --- what others may see

    def _state(self) -> dict[str, Any]:
        statistics = self._gateway.statistics()
        return {
            "kind": "worker",
            "compiled": compiled.is_used(),
            "slot": self._birth.slot,
            "incarnation": self._birth.incarnation,
            "draining": statistics.draining,
            "learning": self._sync.learning,
            "ledger_up": self._sync.up,
            "steward": self._steward.is_steward,
            "limits_known": self._sync.limits_known,
            "digest": self._digest,
            "browsers": statistics.browsers,
            "exchanges": statistics.exchanges,
            "tunnels": statistics.tunnels,
            "descriptors": {
                "limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
                "open": statistics.browsers
                + sum(each.connections for pool in statistics.pools.values() for each in pool),
            },
            # What must be back where it was once nothing is in flight.
            "held": sum(cell.used for cell in self._spending.all()),
            "streams": sum(
                len(session.streams)
                for person in self._sessions.people()
                for session in person.sessions
            ),
            "tasks": len(asyncio.all_tasks()),
            "estimates": {
                population: None if told is None else {"p50": told.p50, "p90": told.p90}
                for population, told in self._room.estimates().items()
            },
            "servers": {
                pool: [
                    {
                        "server": server.name,
                        "healthy": server.healthy and not server.ejected,
                        "in_flight": server.in_flight,
                        "draining": server.draining,
                        "weight": server.weight,
                        "most": server.most,
                    }
                    for server in servers
                ]
                for pool, servers in statistics.pools.items()
            },
        }

    def _export(self) -> Exposition:
        exposition = Exposition()
        self._traffic.export(exposition)
        self._lag.export(exposition)
        sync, statistics = self._sync, self._gateway.statistics
        exposition.expose(
            names.SERVERS,
            lambda: {(pool,): len(servers) for pool, servers in statistics().pools.items()},
        )
        exposition.expose(
            names.SERVERS_HEALTHY,
            lambda: {
                (pool,): sum(server.healthy for server in servers)
                for pool, servers in statistics().pools.items()
            },
        )
        exposition.expose(names.CERTIFICATE_EXPIRES, self._expiries)
        exposition.expose(names.WAIT_ESTIMATE, self._longest_told)
        exposition.expose(names.CLOCK_SKEW, lambda: {(): self._steward.skew})
        exposition.expose(names.LEDGER_UP, lambda: {(): float(sync.up)})
        exposition.expose(names.LEDGER_EPOCH_CHANGES, lambda: {(): sync.epoch_changes})
        exposition.expose(names.SESSIONS_CACHED, lambda: {(): float(len(self._sessions.records()))})
        exposition.expose(names.ACCESS_LOG_DROPPED, lambda: {(): self._access_log.dropped})
        return exposition

    def _longest_told(self) -> dict[tuple[str, ...], float]:
        return {
            (population,): float(told.p90)
            for population, told in self._room.estimates().items()
            if told is not None
        }

    def _expiries(self) -> dict[tuple[str, ...], float]:
        """Of two certificates with the same name, the one that ends first."""
        found: dict[tuple[str, ...], float] = {}
        for certificates in self._certificates.values():
            for chain in certificates.chains:
                label = (chain.name,)
                found[label] = min(chain.expires, found.get(label, chain.expires))
        return found


def _calm_the_collector() -> None:
    """What is there now stays for good and is never looked at again. Exchanges are freed by their
    reference counts; what the collector is left for is rare, and a full pass over 200,000 cached
    sessions would stop the loop."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _log_names(settings: Settings, keys: str) -> Callable[[str], str]:
    """How the access log names an employee; without a key of its own one is derived."""
    mode = settings.access_log.employee
    secret = settings.access_log.hash_key
    key = (
        secret.get_secret_value().encode()
        if secret
        else hashlib.blake2b(keys.encode(), digest_size=32, person=b"access log").digest()
    )
    return lambda employee: log_name(employee, mode, key)


def _setting(event: asyncio.Event) -> Callable[[], Any]:
    async def act() -> None:
        event.set()

    return act
