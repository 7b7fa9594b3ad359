"""Every metric of the project: its name, help text, type, labels, and how processes are merged.

One process of a host (worker, portal, admin, supervisor) exposes only what it knows; the admin
listener serves one page for all of them and merges by the rule written here: ``sum`` what adds up,
``max`` what every process tells alike (the one that knows wins), ``min`` what is only true when it
is true everywhere. Counters and histograms always add up. A label never carries a person, a path,
a session or an address: those belong to the access log. This module holds values only; the
recording is done in ``traffic.py`` and ``exposition.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["counter", "gauge", "histogram"]
Merge = Literal["sum", "max", "min"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family. ``name`` is what a query says: with ``_total`` for a counter, without
    ``_bucket`` for a histogram, whose upper ``bounds`` (seconds, +Inf left out) are fixed here.
    """

    name: str
    help: str
    kind: Kind
    labels: tuple[str, ...] = ()
    merge: Merge = "sum"
    bounds: tuple[float, ...] = ()

    @property
    def family(self) -> str:
        """The name in ``# TYPE`` lines of the exposition's object form: without ``_total``."""
        return self.name.removesuffix("_total")


_FAST = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075)
_SLOW = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)

# --- the data path

REQUESTS = Metric(
    "broker_requests_total",
    "Exchanges that ended, by pool and class of the status sent to the browser"
    " (none: the browser left before one could be sent).",
    "counter",
    ("pool", "code_class"),
)
REQUEST_SECONDS = Metric(
    "broker_request_seconds",
    "Seconds from the complete head of a request to the end of its response, by pool.",
    "histogram",
    ("pool",),
    bounds=_FAST + _SLOW,
)
DIAL_FAILURES = Metric(
    "broker_dial_failures_total",
    "Attempts to connect to a server that failed or timed out, by pool.",
    "counter",
    ("pool",),
)
RETRIES = Metric(
    "broker_retries_total",
    "Requests taken to another connection or server after a failure that allowed it, by pool.",
    "counter",
    ("pool",),
)
RECEIVED_BYTES = Metric(
    "broker_received_bytes_total",
    "Bytes of bodies and tunnels received from browsers, by pool.",
    "counter",
    ("pool",),
)
SENT_BYTES = Metric(
    "broker_sent_bytes_total",
    "Bytes of bodies and tunnels sent to browsers, by pool.",
    "counter",
    ("pool",),
)
TUNNELS_OPEN = Metric(
    "broker_tunnels_open", "WebSockets open at this moment, by pool.", "gauge", ("pool",)
)
SERVERS = Metric("broker_servers", "Servers configured, by pool.", "gauge", ("pool",), "max")
SERVERS_HEALTHY = Metric(
    "broker_servers_healthy",
    "Servers that pass their checks as the most pessimistic worker sees it, by pool.",
    "gauge",
    ("pool",),
    "min",
)
REFUSED = Metric(
    "broker_refused_total",
    "Requests the broker answered by itself instead of passing them on, by reason.",
    "counter",
    ("reason",),
)
CLIENT_CONNECTIONS = Metric(
    "broker_client_connections", "TCP connections of browsers open at this moment.", "gauge"
)
TLS_HANDSHAKES = Metric(
    "broker_tls_handshakes_total",
    "TLS handshakes of browsers by outcome: full, resumed (by a ticket), failed (not begun, too).",
    "counter",
    ("outcome",),
)
CERTIFICATE_EXPIRES = Metric(
    "broker_certificate_expires_timestamp_seconds",
    "When the first certificate of a chain in use expires, by the name it is made out to.",
    "gauge",
    ("certificate",),
    "min",
)

# --- seats, connections, waiting room: as the ledger has them

SEATS_LIMIT = Metric(
    "broker_seats_limit",
    "Most seats the population may have in the limits in force.",
    "gauge",
    ("population",),
    "max",
)
SEATS_OCCUPIED = Metric(
    "broker_seats_occupied", "Seats held by employees.", "gauge", ("population",), "max"
)
SEATS_CALLED = Metric(
    "broker_seats_called",
    "Seats reserved for called tickets and not yet claimed.",
    "gauge",
    ("population",),
    "max",
)
SITE_SEATS_LIMIT = Metric(
    "broker_site_seats_limit", "Most seats of the whole site in the limits in force.", "gauge",
    merge="max",
)  # fmt: skip
CONNECTIONS_LIMIT = Metric(
    "broker_connections_limit",
    "Most connections the cell may have in the limits in force.",
    "gauge",
    ("pool", "population"),
    "max",
)
CONNECTIONS_IN_USE = Metric(
    "broker_connections_in_use",
    "Connections in flight as the workers last reported them.",
    "gauge",
    ("pool", "population"),
    "max",
)
CONNECTIONS_GRANTED = Metric(
    "broker_connections_granted",
    "Connections granted to workers, used or not.",
    "gauge",
    ("pool", "population"),
    "max",
)
SITE_CONNECTIONS_LIMIT = Metric(
    "broker_site_connections_limit",
    "Most connections of the whole site in the limits in force.",
    "gauge",
    merge="max",
)
WAITING_EMPLOYEES = Metric(
    "broker_waiting_employees", "Employees with a ticket.", "gauge", ("population",), "max"
)
WAIT_ESTIMATE_SHOWN = Metric(
    "broker_wait_estimate_shown_total",
    "Waits that ended with a call and had been given an estimate, on the whole site.",
    "counter",
    merge="max",
)
WAIT_ESTIMATE_KEPT = Metric(
    "broker_wait_estimate_kept_total",
    "Waits that ended with a call no later than the first p90 that was shown, on the whole site.",
    "counter",
    merge="max",
)
WAIT_ESTIMATE = Metric(
    "broker_wait_estimate_seconds",
    "How long somebody who comes now is told to wait at most (p90), by population;"
    " absent while nobody waits, and while nobody can say.",
    "gauge",
    ("population",),
    "max",
)
CAPACITY_SCALE = Metric(
    "broker_capacity_scale",
    "Factor on the configured base that is in force (1: as configured).",
    "gauge",
    merge="max",
)
GUARD_STATE = Metric(
    "broker_guard_state",
    "Guard of the raise in force: 0 no raise, 1 healthy, 2 holding, 3 rolled back.",
    "gauge",
    merge="max",
)

CAPACITY_ENDS = Metric(
    "broker_capacity_ends_timestamp_seconds",
    "When what is in force for level, site or a pool ends by itself; absent without an end.",
    "gauge",
    ("scope",),
    "max",
)
CLOCK_SKEW = Metric(
    "broker_clock_skew_seconds",
    "Difference between this host's civil time and Redis'; above 5 s no raise ends by itself.",
    "gauge",
    merge="max",
)

# --- directory and sessions

LOGINS = Metric("broker_logins_total", "Attempts to log in, by outcome.", "counter", ("outcome",))
BANS = Metric(
    "broker_bans_total",
    "Bans that wrong passwords have brought, by kind (pair: one name from one address).",
    "counter",
    ("kind",),
)
LOGINS_DELAYED = Metric(
    "broker_logins_delayed_total",
    "Logins that had to wait because many passwords were tried with the same name.",
    "counter",
)
REREAD = Metric(
    "broker_employees_reread_total",
    "Employees with a session whose entry was read again, by outcome (gone: logged out).",
    "counter",
    ("outcome",),
)
SESSIONS_CACHED = Metric(
    "broker_sessions_cached", "Sessions known in the memory of the workers.", "gauge"
)

# --- ledger and processes

LEDGER_UP = Metric(
    "broker_ledger_up", "1 when the ledger answered last time, 0 when it did not.", "gauge",
    merge="min",
)  # fmt: skip
LEDGER_LEARNING = Metric(
    "broker_ledger_learning",
    "1 while the ledger lost its memory and is being filled again.",
    "gauge",
    merge="max",
)
LEDGER_EPOCH_CHANGES = Metric(
    "broker_ledger_epoch_changes_total",
    "Times this host found the ledger's memory lost: what the worker that saw most has counted.",
    "counter",
    merge="max",
)
LOOP_LAG = Metric(
    "broker_event_loop_lag_seconds",
    "How late the event loops of the workers ran a timer.",
    "histogram",
    bounds=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
WORKERS_EXPECTED = Metric(
    "broker_workers_expected", "Workers the supervisor keeps running.", "gauge", merge="max"
)
WORKERS_UP = Metric(
    "broker_workers_up", "Workers that answer on their control socket.", "gauge", merge="max"
)
WORKER_RESTARTS = Metric(
    "broker_worker_restarts_total",
    "Processes started again after they ended unasked, by kind.",
    "counter",
    ("kind",),
)
ACCESS_LOG_DROPPED = Metric(
    "broker_access_log_dropped_total",
    "Lines of the access log lost because the file could not be written fast enough or at all.",
    "counter",
)

CODE_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx", "none")
REFUSAL_REASONS = (
    "bad_request",
    "not_logged_in",
    "not_admitted",
    "no_seat",
    "no_connection",
    "per_employee",
    "per_address",
    "no_server",
    "ledger_away",
    "learning",
    "failed",
    "unknown_host",
    "too_large",
    "too_slow",
)
REREAD_OUTCOMES = ("same", "changed", "gone", "failed")
BAN_KINDS = ("pair", "address", "codes")
HANDSHAKE_OUTCOMES = ("full", "resumed", "failed")
LOGIN_OUTCOMES = (
    "ok",
    "wrong_password",
    "account_refused",
    "password_expired",
    "sessions_full",
    "banned",
    "busy",
    "directory_away",
    "ledger_away",
    "bad_form",
    "factor_asked",
    "wrong_code",
    "factor_missing",
)


def every() -> Iterator[Metric]:
    """All metrics of this module, in the order in which they are written."""
    return (value for value in globals().values() if isinstance(value, Metric))
