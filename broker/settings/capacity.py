"""What may be used by whom: applications, pools, populations, seats, connections, levels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema  # noqa: TC002  # pydantic reads the signature

from broker.settings.scalars import (
    Count,
    Duration,
    Factor,
    Fraction,
    Model,
    Name,
    Origin,
    Positive,
    Pseudonym,
    ReadableFile,
    Server,
    Size,
    Weight,
)


class Deadlines(Model):
    """What may take how long towards one pool."""

    dial: Duration = 5.0
    """Connecting to a server."""
    first_byte: Duration = 60.0
    """From the request's end to the response's first byte; beyond it 504."""
    between_bytes: Duration = 60.0
    """The longest pause inside a response."""
    tunnel_idle: Duration = 3600.0
    """A WebSocket without a byte for this long is closed."""
    tunnel_max_age: Duration = 14_400.0
    """A WebSocket older than this, give or take a random tenth, is closed."""


class Health(Model):
    """Active checks: a GET of ``path`` that answers 2xx or 3xx is healthy."""

    path: Annotated[str, Field(pattern=r"^/")] = "/healthz"
    """What is asked of each server."""
    every: Duration = 2.0
    """The pause between two checks."""
    timeout: Duration = 2.0
    """An answer later than this counts as none."""
    healthy_after: Positive = 1
    """Good answers in a row until a server is used again."""
    unhealthy_after: Positive = 2
    """Bad answers in a row until a server is left alone."""


class Ejection(Model):
    """A server whose requests fail is left alone for a while; never the last one of its pool."""

    failures: Positive = 5
    """Requests in a row that could not be sent, got no answer or a broken one."""
    pause: Duration = 10.0
    """For how long, the first time; doubled each time until it held out."""
    longest: Duration = 300.0
    """The longest such pause."""
    slow_start: Duration = 30.0
    """A server that comes back gets its whole share of the load only after this; also after an
    active check."""


class Guard(Model):
    """When the ramp of a raise is held, then rolled back: windows of what the servers answer."""

    window: Duration = 30.0
    """The length of a window."""
    responses: Positive = 200
    """A window with fewer final responses says nothing."""
    slower: Factor = 2.0
    """A breach: the 95th percentile to the first byte above this many times the one before,"""
    slower_by: Duration = 0.25
    """and above it by more than this."""
    failed: Fraction = 0.02
    """A breach: more than this part of the responses are 5xx."""
    undialled: Fraction = 0.01
    """A breach: more than this part of the attempts find no connection."""


class ShareSettings(Model):
    """A pool's share of the site's connections."""

    limit: Count
    """Never more connections in flight than this."""
    guaranteed: Count = 0
    """Kept for this pool whatever the others want."""
    lendable: Fraction = 1.0
    """How much of the unused guarantee others may use meanwhile."""


class CellSettings(Model):
    """A population's share of a pool's connections."""

    limit: Count | None = None
    """Never more than this; without it the pool's limit holds."""
    guaranteed: Count = 0
    """Kept for this population whatever the others want."""
    lendable: Fraction = 1.0
    """How much of the unused guarantee others may use meanwhile."""


class PoolServer(Model):
    """One server; its address alone may stand for it."""

    address: Server
    """http://HOST[:PORT], https://HOST[:PORT] or unix:/PATH. A name may have several addresses."""
    weight: Weight = 1
    """Its part of the load beside the others."""
    max_connections: Positive | None = None
    """Exchanges in flight to it from each worker; without it as many as the pool's grant allows."""

    @model_validator(mode="before")
    @classmethod
    def _address_alone(cls, value: Any) -> Any:
        return {"address": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(core_schema)]}


class ServerTls(Model):
    """How the servers of a pool with https:// addresses prove themselves, and we to them."""

    ca: ReadableFile | None = None
    """The authorities that are believed, PEM; null: the system's."""
    server_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]+$")] | None = None
    """What their certificates must be made out to; null: to the host of each address."""
    minimum: Literal["1.2", "1.3"] = "1.2"
    """The lowest TLS version that is spoken."""
    certificate: ReadableFile | None = None
    """What we show them, PEM, leaf first; null: nothing."""
    key: ReadableFile | None = None
    """Its private key, not encrypted."""


class Pool(Model):
    """The servers of one application."""

    servers: list[PoolServer] = Field(min_length=1)
    """The address of each, or more about it."""
    tls: ServerTls = ServerTls()
    """For those whose addresses are https://."""
    resolve_every: Duration = 30.0
    """How long the addresses of their names are taken for right. When the resolver fails, the last
    known ones are used on."""
    sticky: bool = False
    """Whether a session stays with one server as long as that is usable, WebSockets too."""
    forwarded: bool = False
    """Whether the servers are sent Forwarded (RFC 7239) beside X-Forwarded-For, -Proto, -Host."""
    via: Pseudonym | None = None
    """The name by which the broker adds itself to the servers' Via; null: it does not."""
    connections: ShareSettings
    """The pool's share of the site."""
    populations: dict[Name, CellSettings] = {}
    """Shares inside the pool; a population not named here may use all of it."""
    lease: Literal["keep", "fence"] = "keep"
    """When a worker cannot reach Redis. keep: go on with what is held for keep_for. fence: stop and
    close within 5 s (hard licences)."""
    keep_for: Duration = 600.0
    """The lease of keep; also how long a lost host's connections stay reserved."""
    queue_timeout: Duration = 2.0
    """How long a request may wait for a connection before 503; at least 1 s."""
    ceiling: Factor = 10.0
    """A raise multiplies this pool's limits by no more than this."""
    deadlines: Deadlines = Deadlines()
    """Towards the servers."""
    health: Health = Health()
    """Active checks of the servers."""
    ejection: Ejection = Ejection()
    """What employees' requests say of the servers."""
    guard: Guard = Guard()
    """What holds the ramp of a raise."""


class Route(Model):
    """Requests under ``path`` go to ``pool``; the longest path wins."""

    path: Annotated[str, Field(pattern=r"^/")] = "/"
    """A prefix, by whole segments."""
    pool: Name
    """Where they go."""
    activity: bool = True
    """Whether such a request keeps the seat from being idle; false for background polling."""
    origins: list[Origin] = []
    """Origins, beside the host's own, that may open WebSockets here."""
    body_limit: Size = 1024**3
    """Largest request body; beyond it 413."""
    allow_encoded_slash: bool = False
    """Whether %2F may stand in the path."""


class Host(Model):
    """One application host."""

    origin: Origin
    """https://NAME[:PORT] as browsers see it: the only source of scheme and authority, also behind
    a TLS terminator."""
    routes: list[Route] = Field(min_length=1)
    """What of it goes where."""


class PopulationSeats(Model):
    """A population's share of the seats."""

    guaranteed: Count = 0
    """Kept for this population."""
    maximum: Count | None = None
    """Never more than this; without it the site's limit holds."""
    lendable: Fraction = 1.0
    """How much of the unused guarantee others may use meanwhile."""
    on_call: Count = 0
    """For on-call staff: while the population has fewer seats than this, whoever of it waits is
    called before all others. At most a tenth of seats.limit."""


class Population(Model):
    """A class of employees: member of any of ``groups``, or all of ``attributes`` equal, or
    matching ``filter``; with none of them everyone. The first population that matches wins."""

    name: Name
    """In metrics, logs and X-Remote-Population."""
    groups: list[str] = []
    """Distinguished names of directory groups."""
    attributes: dict[str, str] = {}
    """Directory attribute and value; each must stand in directory.attributes."""
    filter: str | None = None
    """LDAP filter that the employee's entry matches, like (&(c=SN)(title=*))."""
    admitted: bool = True
    """Whether they may take a seat at present."""
    weight: Count = 1
    """Their part of the free seats when several populations wait."""
    seats: PopulationSeats = PopulationSeats()
    """Their share of the seats."""


class Seats(Model):
    """Places of employees on the site."""

    limit: Count
    """Employees who work at the same time."""
    idle: Duration = 900.0
    """Without activity for this long, a seat may go to somebody who waits."""
    claim: Duration = 90.0
    """How long a called employee's seat is kept."""
    absent: Duration = 90.0
    """Silent for this long, somebody who waits is skipped."""
    ticket_lost: Duration = 1800.0
    """Silent for this long, the place in the queue is lost."""
    ceiling: Factor = 10.0
    """A raise multiplies the seats by no more than this."""


class Connections(Model):
    """Exchanges in flight to all backends together."""

    limit: Count
    """On all hosts and workers of the site together."""
    per_employee: Positive = 64
    """Of one employee, on each worker; beyond it 429."""
    ceiling: Factor = 10.0
    """A raise multiplies the limit by no more than this."""


class Level(Model):
    """A named capacity plan, for `broker capacity level NAME`."""

    scale: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Multiplies the configured numbers, each up to its ceiling."""
    open_to: list[Name] = []
    """Populations that are admitted; empty: as configured."""
    pools: dict[Name, Annotated[float, Field(gt=0, le=1000)]] = {}
    """A scale of its own for a pool."""
