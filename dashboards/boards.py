"""The five dashboards: what each panel asks, and the sentence that says how to read it.

Only metrics of ``broker/telemetry/names.py``, with the labels they have there; a test reads every
query. Recorded series are not used, so that a dashboard works before any rule is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards.panels import board, course, full, healthy_from, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grafana_foundation_sdk.builders.dashboard import Dashboard

P = 'pool=~"$pool"'
Q = 'population=~"$population"'
#: The bucket and the ranges in which rates are taken; Grafana makes it four scrapes or more.
R = "[$__rate_interval]"


def _quantile(quantile: float, metric: str, by: str = "", where: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({quantile}, sum by ({labels}) (rate({metric}_bucket{where}{R})))"


WAITING = f"sum(max by (population) (broker_waiting_employees{{{Q}}}))"
SEATS_USED = (
    "sum(max by (population) (broker_seats_occupied + broker_seats_called))"
    " / max(broker_site_seats_limit)"
)
CONNECTIONS_USED = (
    "sum(max by (pool, population) (broker_connections_in_use))"
    " / max(broker_site_connections_limit)"
)
#: Without requests there is no share: 0 of 0 draws nothing, which is the truth. Being told to wait
#: for a seat is 503 too, and no error (``rules/recording.yml`` counts alike).
ERRORS = (
    f'clamp_min(sum(rate(broker_requests_total{{code_class="5xx"}}{R}))'
    f' - (sum(rate(broker_refused_total{{reason=~"no_seat|learning"}}{R})) or vector(0)), 0)'
    f' / sum(rate(broker_requests_total{{code_class!="none"}}{R}))'
)
ERRORS_TEXT = "Share of exchanges answered with 5xx, less those told to wait for a seat."
SEATS = (
    (f"max by (population) (broker_seats_occupied{{{Q}}})", "{{population}} occupied"),
    (f"max by (population) (broker_seats_called{{{Q}}})", "{{population}} called"),
    ("max(broker_site_seats_limit)", "limit of the site"),
)
WAITING_BY_POPULATION = (
    (f"max by (population) (broker_waiting_employees{{{Q}}})", "{{population}}"),
)
REFUSALS = ((f"sum by (reason) (rate(broker_refused_total{R})) > 0", "{{reason}}"),)
LATENCY = (
    (_quantile(0.5, "broker_request_seconds", where=f"{{{P}}}"), "half within"),
    (_quantile(0.95, "broker_request_seconds", where=f"{{{P}}}"), "95 % within"),
)
LATENCY_TEXT = (
    "From the head of a request to the end of its response. WebSockets and event streams count"
    " with their whole life when they end: read the half first."
)
REQUESTS = ((f"sum by (code_class) (rate(broker_requests_total{{{P}}}{R}))", "{{code_class}}"),)
LOGINS = (("sum by (outcome) (rate(broker_logins_total" + R + "))", "{{outcome}}"),)
HEALTHY = (
    (f"min by (pool) (broker_servers_healthy{{{P}}})", "{{pool}} healthy"),
    (f"max by (pool) (broker_servers{{{P}}})", "{{pool}} configured"),
)


def crisis_overview() -> Dashboard:
    """One screen of 24 columns: six numbers, then six courses."""
    return board(
        "broker-crisis",
        "Broker: crisis overview",
        "One screen: is there room, does it work, and if not, which part is it?",
        [
            number("Seats used", "Occupied and called, of the site's limit.", SEATS_USED,
                   "percentunit", full(0.8, 0.95)),
            number("Employees waiting", "Tickets in the waiting room.", WAITING, "short",
                   full(1, 100)),
            number("Connections used", "In flight, of the site's limit.", CONNECTIONS_USED,
                   "percentunit", full(0.8, 0.95)),
            number("Errors", ERRORS_TEXT, ERRORS, "percentunit", full(0.001, 0.01)),
            number("Ledger", "1: every host reaches it. 0: one does not.",
                   "min(broker_ledger_up)", "short", healthy_from(1)),
            number("Capacity", "Factor on the configured base that is in force.",
                   "max(broker_capacity_scale)"),
            course("Seats", "Called: reserved for somebody who was told to come.", SEATS),
            course("Waiting", "By population.", WAITING_BY_POPULATION),
            course("Answered by the broker itself", "By reason; nothing is drawn at zero.",
                   REFUSALS, "reqps"),
            course("Requests", "By class of the status sent.", REQUESTS, "reqps"),
            course("How long requests take", LATENCY_TEXT, LATENCY, "s"),
            course("Servers", "As the most pessimistic worker sees them.", HEALTHY),
        ],
    )  # fmt: skip


def employee_experience() -> Dashboard:
    return board(
        "broker-employees",
        "Broker: employee experience",
        "What employees notice: waiting, logging in, answers that are slow or fail.",
        [
            number("Employees waiting", "Tickets in the waiting room.", WAITING, "short",
                   full(1, 100)),
            number("Estimates kept", "Waits of the last hour that ended no later than was said.",
                   "sum(increase(broker_wait_estimate_kept_total[1h]))"
                   " / sum(increase(broker_wait_estimate_shown_total[1h]))",
                   "percentunit", healthy_from(0.8)),
            number("Errors", ERRORS_TEXT, ERRORS, "percentunit", full(0.001, 0.01)),
            number("Left before an answer", "Browsers that left before a status could be sent.",
                   f'sum(rate(broker_requests_total{{{P}, code_class="none"}}{R}))', "reqps"),
            number("WebSockets open", "Tunnels at this moment.",
                   f"sum(broker_tunnels_open{{{P}}})"),
            number("Sessions in memory", "Sessions the workers know, on all hosts.",
                   "sum(broker_sessions_cached)"),
            course("Waiting", "By population.", WAITING_BY_POPULATION),
            course("Logins", "By outcome.", LOGINS, "reqps"),
            course("How long requests take", LATENCY_TEXT, LATENCY, "s"),
            course("Half of the requests, by pool", LATENCY_TEXT,
                   ((_quantile(0.5, "broker_request_seconds", "pool", f"{{{P}}}"), "{{pool}}"),),
                   "s"),
            course("Requests", "By class of the status sent.", REQUESTS, "reqps"),
            course("Answered by the broker itself", "By reason; nothing is drawn at zero.",
                   REFUSALS, "reqps"),
        ],
    )  # fmt: skip


def pools_and_servers() -> Dashboard:
    cell = f"{{{P}, {Q}}}"
    return board(
        "broker-pools",
        "Broker: pools and servers",
        "Applications: their servers, their connections, and what flows.",
        [
            course("Servers", "As the most pessimistic worker sees them.", HEALTHY),
            course("Connecting to servers fails", "Attempts that failed or timed out.",
                   ((f"sum by (pool) (rate(broker_dial_failures_total{{{P}}}{R}))", "{{pool}}"),),
                   "reqps"),
            course("Sent to a second server", "After a failure that allowed it.",
                   ((f"sum by (pool) (rate(broker_retries_total{{{P}}}{R}))", "{{pool}}"),),
                   "reqps"),
            course("Connections in use", "In flight, by pool and population.",
                   ((f"max by (pool, population) (broker_connections_in_use{cell})",
                     "{{pool}} {{population}}"),)),
            course("Connections granted", "What workers hold, used or not.",
                   ((f"max by (pool, population) (broker_connections_granted{cell})",
                     "{{pool}} {{population}}"),)),
            course("Connections: share of the limit", "In use, of what the cell may have.",
                   ((f"max by (pool, population) (broker_connections_in_use{cell})"
                     f" / max by (pool, population) (broker_connections_limit{cell})",
                     "{{pool}} {{population}}"),), "percentunit"),
            course("Requests by pool", "All classes.",
                   ((f"sum by (pool) (rate(broker_requests_total{{{P}}}{R}))", "{{pool}}"),),
                   "reqps"),
            course("Bytes to browsers", "Bodies and tunnels.",
                   ((f"sum by (pool) (rate(broker_sent_bytes_total{{{P}}}{R}))", "{{pool}}"),),
                   "Bps"),
            course("Bytes from browsers", "Bodies and tunnels.",
                   ((f"sum by (pool) (rate(broker_received_bytes_total{{{P}}}{R}))", "{{pool}}"),),
                   "Bps"),
        ],
    )  # fmt: skip


def directory_and_sessions() -> Dashboard:
    def share(outcome: str) -> str:
        return (
            f'sum(rate(broker_logins_total{{outcome="{outcome}"}}{R}))'
            f" / sum(rate(broker_logins_total{R}))"
        )

    return board(
        "broker-directory",
        "Broker: directory and sessions",
        "Logging in. The broker tells outcomes, not how long the directory took: busy logins are"
        " the sign of a slow one.",
        [
            number("Logged in", "Logins that succeeded.",
                   f'sum(rate(broker_logins_total{{outcome="ok"}}{R}))', "reqps"),
            number("Directory away", "Share of logins that failed for it.",
                   share("directory_away"), "percentunit", full(0.01, 0.05)),
            number("Too busy", "Share of logins turned away because too many were under way.",
                   share("busy"), "percentunit", full(0.01, 0.05)),
            number("Wrong password", "Share of logins. A jump is a guess at passwords.",
                   share("wrong_password"), "percentunit", full(0.3, 0.6)),
            number("Ledger away", "Share of logins that could not be completed.",
                   share("ledger_away"), "percentunit", full(0.01, 0.05)),
            number("Sessions in memory", "Sessions the workers know, on all hosts.",
                   "sum(broker_sessions_cached)"),
            course("Logins", "By outcome.", LOGINS, "reqps").span(12),
            course("Bans and delays", "Wrong passwords: bans by kind, and logins slowed down.",
                   ((f"sum by (kind) (rate(broker_bans_total{R}))", "banned by {{kind}}"),
                    (f"sum(rate(broker_logins_delayed_total{R}))", "slowed down")),
                   "reqps").span(12),
            course("Entries read again", "Employees with a session, by what the directory said.",
                   ((f"sum by (outcome) (rate(broker_employees_reread_total{R}))",
                     "{{outcome}}"),), "reqps").span(12),
            course("Strangers and the not admitted", "Requests without a session, or of a"
                   " population that is not admitted.",
                   ((f'sum by (reason) (rate(broker_refused_total{{reason=~"not_logged_in|'
                     f'not_admitted"}}{R}))', "{{reason}}"),), "reqps").span(12),
        ],
    )  # fmt: skip


def brokers_and_ledger() -> Dashboard:
    return board(
        "broker-hosts",
        "Broker: brokers and ledger",
        "The broker's own processes, by host, and the ledger.",
        [
            number("Ledger", "1: every host reaches it. 0: one does not.",
                   "min(broker_ledger_up)", "short", healthy_from(1)),
            number("Ledger learns", "1: it lost its memory and is being told what is held.",
                   "max(broker_ledger_learning)", "short", full(1, 1)),
            number("Memory lost", "Times in the last day.",
                   "max(increase(broker_ledger_epoch_changes_total[1d]))", "short", full(1, 2)),
            number("Workers missing", "Expected and not answering, on all hosts.",
                   "sum(broker_workers_expected - broker_workers_up)", "short", full(1, 2)),
            number("Guard", "0 no raise, 1 healthy, 2 holding, 3 rolled back.",
                   "max(broker_guard_state)", "short", full(2, 3)),
            number("Log lines lost", "Of the access log, in the last hour.",
                   "sum(increase(broker_access_log_dropped_total[1h]))", "short", full(1, 100)),
            course("Event loop lag", "How late 99 of 100 timers at most ran, by host.",
                   ((_quantile(0.99, "broker_event_loop_lag_seconds", "instance"),
                     "{{instance}}"),), "s"),
            course("Workers", "By host.",
                   (("sum by (instance) (broker_workers_up)", "{{instance}} up"),
                    ("sum by (instance) (broker_workers_expected)", "{{instance}} expected"))),
            course("Processes started again", "After they ended unasked, by kind.",
                   ((f"sum by (instance, kind) (increase(broker_worker_restarts_total{R}))",
                     "{{instance}} {{kind}}"),)),
            course("Connections of browsers", "TCP, by host.",
                   (("sum by (instance) (broker_client_connections)", "{{instance}}"),)),
            course("Requests that met no ledger", "No new seat meanwhile.",
                   ((f'sum by (reason) (rate(broker_refused_total{{reason=~"ledger_away|learning"'
                     f"}}{R}))", "{{reason}}"),), "reqps"),
            course("Sessions in memory", "By host.",
                   (("sum by (instance) (broker_sessions_cached)", "{{instance}}"),)),
        ],
    )  # fmt: skip


def every() -> Mapping[str, Dashboard]:
    """File name without its ending -> the dashboard."""
    return {
        "crisis-overview": crisis_overview(),
        "employee-experience": employee_experience(),
        "pools-and-servers": pools_and_servers(),
        "directory-and-sessions": directory_and_sessions(),
        "brokers-and-ledger": brokers_and_ledger(),
    }
