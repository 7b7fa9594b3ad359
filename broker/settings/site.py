"""The whole file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from broker.settings.capacity import Connections, Host, Level, Pool, Population, Seats
from broker.settings.doors import AccessLog, Admin, Company, Door, Listener
from broker.settings.people import (
    Bans,
    DirectorySettings,
    LedgerSettings,
    SecondFactor,
    Sessions,
)
from broker.settings.scalars import AnchoredPath, Duration, Model, Name, Origin


class Settings(Model):
    """The whole file."""

    site: Name
    """The name of this deployment: all brokers that share one ledger."""
    home: Origin
    """The home host: login, logout, my session. It carries no application, so that no script of an
    application can ever read a password."""
    listeners: list[Listener] = Field(min_length=1)
    """The public addresses."""
    workers: Annotated[int, Field(ge=1, le=256)] = 2
    """Event loops that carry requests, one process each. With fewer than the machine has processors
    they keep at least as many to themselves; logins and the admin API run on the others."""
    run_dir: AnchoredPath = Path("/run/broker")
    """Control sockets and the portal's socket."""
    stop_timeout: Duration = 30.0
    """How long exchanges in flight may go on when the broker stops."""
    hosts: list[Host] = Field(min_length=1)
    """The applications' hosts."""
    pools: dict[Name, Pool] = Field(min_length=1)
    """The applications' servers."""
    populations: list[Population] = Field(min_length=1)
    """Classes of employees; the first that matches wins."""
    seats: Seats
    """Employees at the same time."""
    connections: Connections
    """Exchanges in flight at the same time."""
    levels: dict[Name, Level] = {}
    """Capacity plans."""
    directory: DirectorySettings
    """Who the employees are."""
    sessions: Sessions
    """How they stay logged in."""
    bans: Bans = Bans()
    """What wrong passwords lead to."""
    second_factor: SecondFactor = SecondFactor()
    """Who needs more than a password."""
    ledger: LedgerSettings
    """Where the numbers are kept."""
    admin: Admin
    """The operators' door."""
    door: Door = Door()
    """Strictness towards the internet."""
    access_log: AccessLog = AccessLog()
    """What is written down."""
    company: Company = Company()
    """How the pages look."""
