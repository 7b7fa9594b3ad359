"""The configuration: one YAML file, these models, nothing else.

Read by ``wiring`` (and ``broker check``) and passed on as plain values; no other part imports it.
Unknown keys are errors. Secrets are written ``${ENV}`` or ``file:PATH`` and never printed. Durations
are written ``250ms``, ``10s``, ``15m``, ``12h``, ``14d`` (or a number of seconds) and read as
seconds (float); sizes ``64KiB``, ``100MiB`` (or a number of bytes) as bytes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+)(B|KiB|MiB|GiB)\Z")
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def _duration(value: Any) -> Any:
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if not match:
            raise ValueError("a duration like 250ms, 10s, 15m, 12h or 14d")
        return float(match[1]) * _SECONDS[match[2]]
    return value


def _size(value: Any) -> Any:
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if not match:
            raise ValueError("a size like 64KiB, 100MiB or 2GiB")
        return int(match[1]) * _BYTES[match[2]]
    return value


def _schema(pattern: str) -> WithJsonSchema:
    return WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": pattern}, {"type": "number", "minimum": 0}]}
    )


Duration = Annotated[
    float, BeforeValidator(_duration), Field(ge=0), _schema(r"^\d+(\.\d+)?(ms|s|m|h|d)$")
]
Size = Annotated[int, BeforeValidator(_size), Field(ge=0), _schema(r"^\d+(B|KiB|MiB|GiB)$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Certificate(Model):
    certificate: Path
    key: Path


class Tls(Model):
    certificates: list[Certificate] = Field(min_length=1)
    minimum: Literal["1.2", "1.3"] = "1.2"
    hsts: Duration = 31_536_000.0


class Listener(Model):
    """One public address: ``host:port`` or ``unix:PATH``."""

    address: str
    tls: Tls | None = None
    trusted_proxies: list[str] = []
    proxy_protocol_from: list[str] = []


class Deadlines(Model):
    """What may take how long towards one pool."""

    dial: Duration = 5.0
    first_byte: Duration = 60.0
    between_bytes: Duration = 60.0
    tunnel_idle: Duration = 3600.0
    tunnel_max_age: Duration = 14_400.0


class Health(Model):
    """Active checks: a GET of ``path`` that answers 2xx or 3xx is healthy."""

    path: str = "/healthz"
    every: Duration = 2.0
    timeout: Duration = 2.0
    healthy_after: Annotated[int, Field(ge=1)] = 1
    unhealthy_after: Annotated[int, Field(ge=1)] = 2


class ShareSettings(Model):
    limit: Count
    guaranteed: Count = 0
    lendable: Fraction = 1.0


class CellSettings(Model):
    """A pool's share for one population; without ``limit`` the pool's limit holds."""

    limit: Count | None = None
    guaranteed: Count = 0
    lendable: Fraction = 1.0


class Pool(Model):
    servers: list[str] = Field(min_length=1)
    connections: ShareSettings
    populations: dict[Name, CellSettings] = {}
    lease: Literal["keep", "fence"] = "keep"
    keep_for: Duration = 600.0
    queue_timeout: Duration = 2.0
    ceiling: Annotated[float, Field(ge=1)] = 10.0
    deadlines: Deadlines = Deadlines()
    health: Health = Health()


class Route(Model):
    """Requests under ``path`` (longest prefix first) of the host above go to ``pool``."""

    path: Annotated[str, Field(pattern=r"^/")] = "/"
    pool: Name
    activity: bool = True
    origins: list[str] = []
    body_limit: Size = 1024**3
    allow_encoded_slash: bool = False


class Host(Model):
    """One application host. ``origin`` is the only source of scheme and authority."""

    origin: Annotated[str, Field(pattern=r"^https://[a-z0-9.-]+(:\d+)?$")]
    routes: list[Route] = Field(min_length=1)


class PopulationSeats(Model):
    guaranteed: Count = 0
    maximum: Count | None = None
    lendable: Fraction = 1.0


class Population(Model):
    """A class of employees: member of any of ``groups``, or all of ``attributes`` equal; both empty
    means everyone. The first population that matches wins."""

    name: Name
    groups: list[str] = []
    attributes: dict[str, str] = {}
    admitted: bool = True
    weight: Count = 1
    seats: PopulationSeats = PopulationSeats()


class Seats(Model):
    limit: Count
    idle: Duration = 900.0
    claim: Duration = 90.0
    absent: Duration = 90.0
    ticket_lost: Duration = 1800.0
    ceiling: Annotated[float, Field(ge=1)] = 10.0


class Connections(Model):
    limit: Count
    per_employee: Annotated[int, Field(ge=1)] = 64
    ceiling: Annotated[float, Field(ge=1)] = 10.0


class Level(Model):
    """A named capacity plan. ``open_to`` empty: as configured."""

    scale: Annotated[float, Field(gt=0)] = 1.0
    open_to: list[Name] = []
    pools: dict[Name, Annotated[float, Field(gt=0)]] = {}


class DirectorySettings(Model):
    """LDAP. ``servers`` in order of preference, ``ldaps://`` or ``ldap://`` with ``start_tls``."""

    servers: list[Annotated[str, Field(pattern=r"^ldaps?://")]] = Field(min_length=1)
    start_tls: bool = False
    clear_text: bool = False
    ca: Path | None = None
    bind_dn: str = ""
    bind_password: SecretStr | None = None
    base: str
    user_filter: str = "(&(objectClass=person)(uid={username}))"
    user_attribute: str = "uid"
    display_attribute: str = "cn"
    group_attribute: str | None = "memberOf"
    group_base: str | None = None
    group_filter: str = "(member={dn})"
    disabled_filter: str | None = None
    attributes: list[str] = []
    connect_timeout: Duration = 2.0
    receive_timeout: Duration = 3.0
    deadline: Duration = 5.0
    threads: Annotated[int, Field(ge=1, le=64)] = 8
    queue: Count = 32


class Sessions(Model):
    """``keys``: the key ring (a JWK set as JSON); see ``broker keys``."""

    keys: SecretStr
    lifetime: Duration = 43_200.0
    token_lifetime: Duration = 900.0
    token_refresh: Duration = 300.0
    per_employee: Annotated[int, Field(ge=1)] = 10


class LedgerSettings(Model):
    """Redis: ``redis://``, ``rediss://`` or ``unix://`` URL."""

    url: SecretStr
    deadline: Duration = 0.1


class Admin(Model):
    address: str = "127.0.0.1:8444"
    token: SecretStr
    hosts: list[str] = []


class Door(Model):
    """Strictness of the public listener that all hosts share."""

    head_timeout: Duration = 10.0
    keep_alive: Duration = 75.0
    head_limit: Size = 32 * 1024
    header_count: Annotated[int, Field(ge=10)] = 100
    request_line_limit: Size = 8 * 1024
    body_minimum_rate: Size = 1024
    connections_per_address: Annotated[int, Field(ge=1)] = 4096


class AccessLog(Model):
    path: Path | Literal["stdout", "off"] = "stdout"
    employee: Literal["plain", "hash", "off"] = "hash"
    hash_key: SecretStr | None = None


class Company(Model):
    """What employees see of you on the pages."""

    name: str = "Remote access"
    contact: str = "your IT service desk"
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] = "#2457c5"
    language: Literal["en", "fr", "pl"] = "en"


class Settings(Model):
    """The whole file."""

    site: Name
    home: Annotated[str, Field(pattern=r"^https://[a-z0-9.-]+(:\d+)?$")]
    listeners: list[Listener] = Field(min_length=1)
    workers: Annotated[int, Field(ge=1, le=256)] = 2
    run_dir: Path = Path("/run/broker")
    stop_timeout: Duration = 30.0
    hosts: list[Host] = Field(min_length=1)
    pools: dict[Name, Pool] = Field(min_length=1)
    populations: list[Population] = Field(min_length=1)
    seats: Seats
    connections: Connections
    levels: dict[Name, Level] = {}
    directory: DirectorySettings
    sessions: Sessions
    ledger: LedgerSettings
    admin: Admin
    door: Door = Door()
    access_log: AccessLog = AccessLog()
    company: Company = Company()
