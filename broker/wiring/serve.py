"""``broker serve``: the supervisor of this host, joined to the ledger and the control sockets."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from typing import TYPE_CHECKING

from broker.configuration import digest, load
from broker.errors import ConfigurationError
from broker.ledger.redis_ledger import RedisLedger
from broker.ledger.requirements import faults
from broker.supervisor.plan import SupervisorPlan
from broker.supervisor.process import serve as serve_supervisor
from broker.supervisor.process import teller
from broker.supervisor.supervisor import Supervisor
from broker.wiring.clocks import boot_time, civil_time
from broker.wiring.gateway import portal_socket, require_usable_certificates
from broker.wiring.limits import limits_document
from broker.wiring.processes import command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from broker.settings import Settings
    from broker.supervisor.plan import ChildFds, Kind, Opened

_log = logging.getLogger(__name__)


def supervisor_plan(settings: Settings) -> SupervisorPlan:
    return SupervisorPlan(
        host=socket.gethostname(),
        workers=settings.workers,
        public=tuple(listener.address for listener in settings.listeners),
        portal=portal_socket(settings.run_dir),
        admin=settings.admin.address,
        run_dir=settings.run_dir,
        stop_timeout=settings.stop_timeout,
    )


# What the processes take over from a file that was read again; see their own reloads.
_LIVE = frozenset(
    (
        "home",
        "hosts",
        "pools",
        "populations",
        "seats",
        "connections",
        "levels",
        "directory",
        "door",
        "bans",
        "company",
    )
)
_LIVE_IN_SESSIONS = frozenset(("keys", "per_employee", "when_full", "reread"))


def needs_restart(running: Settings, wanted: Settings) -> tuple[str, ...]:
    """The top-level keys in which ``wanted`` differs and that no process changes while it runs."""
    return tuple(
        key
        for key in type(running).model_fields
        if key not in _LIVE and _fixed(running, key) != _fixed(wanted, key)
    )


def _fixed(settings: Settings, key: str) -> object:
    """What of a section stays until a restart: of a listener all but the inside of its TLS."""
    if key == "sessions":
        return settings.sessions.model_dump(exclude=set(_LIVE_IN_SESSIONS))
    if key != "listeners":
        return getattr(settings, key)
    return [
        (each.address, each.tls is None, each.trusted_proxies, each.proxy_protocol)
        for each in settings.listeners
    ]


FIRST_ENROLMENT_MS = 30 * 86_400_000
"""For how long employees of a new site may set up second factors; `broker factors` ends it."""


def serve(path: Path, *, first_start: bool = False) -> int:
    """Run until stopped. Returns the exit code. Raises ConfigurationError: nothing was started.

    ``first_start`` says that this ledger has never been used, so that there is nobody whose grants
    or seats could have been forgotten (see the ledger's *learning*).
    """
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s supervisor %(levelname)s %(message)s",
    )
    settings = load(path)
    require_usable_certificates(settings)
    settings.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return asyncio.run(_serve(path.resolve(), settings, first_start=first_start))


async def _serve(path: Path, settings: Settings, *, first_start: bool) -> int:
    await _require_a_fit_ledger(settings)
    ledger = await RedisLedger.connect(
        settings.ledger.url.get_secret_value(), settings.site, settings.ledger.deadline
    )
    try:
        await _propose_limits(ledger, settings, first_start=first_start)
        return await _supervise(path, settings, ledger)
    finally:
        await ledger.close()


async def _require_a_fit_ledger(settings: Settings) -> None:
    factor = settings.second_factor
    needed = bool(factor.populations or factor.groups)
    found = await faults(settings.ledger.url.get_secret_value(), factors=needed)
    for fault in found:
        level = logging.ERROR if fault.severity == "fault" else logging.WARNING
        _log.log(level, "ledger: %s", fault.text)
    wrong = tuple(fault.text for fault in found if fault.severity == "fault")
    if wrong:
        raise ConfigurationError("this Redis cannot be the ledger", wrong)


async def _propose_limits(ledger: RedisLedger, settings: Settings, *, first_start: bool) -> None:
    """The first start writes the document; afterwards the ledger's own is in force."""
    wanted = digest(settings)
    present = await ledger.limits()
    if present is None:
        await ledger.publish(limits_document(settings, wanted), if_match=0, first_start=first_start)
        if first_start:  # nobody has a factor that could have been forgotten
            await ledger.open_enrolment(FIRST_ENROLMENT_MS)
    elif present.digest != wanted:
        _log.warning(
            "the ledger's limits (number %d) come from another configuration: they stay in force"
            " until `broker reload --publish`",
            present.number,
        )


async def _supervise(path: Path, settings: Settings, ledger: RedisLedger) -> int:
    def make(kind: Kind, slot: int, incarnation: str, fds: ChildFds) -> Sequence[str]:
        return command(kind, slot, incarnation, fds, path)

    async def check_again() -> tuple[str, ...]:
        """Raises with all faults; the children read the files again themselves."""
        wanted = load(path)
        require_usable_certificates(wanted)
        return needs_restart(settings, wanted)

    def announce(opened: Opened) -> None:
        _log.info("ready: public %s, admin %s", opened.public, opened.admin)

    supervisor = Supervisor(
        supervisor_plan(settings),
        command=make,
        tombstone=ledger.tombstone,
        reload=check_again,
        tell=teller(settings.run_dir),
        on_ready=announce,
        clock=boot_time,
        civil=civil_time,
    )
    return await serve_supervisor(supervisor, settings.run_dir)
