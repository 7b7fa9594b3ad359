"""The load model: from what a company knows about its employees to the load a site must carry.

Every figure is a parameter; the defaults are the case the broker was born from. Pure arithmetic,
also used by the simulation. Rates are per second, durations seconds.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadModel:
    """``activity``: factor on the base, 1.25 for the crisis; ``crisis``: the capacity's factor."""

    employees: int = 80_000
    views_a_week: float = 1_100_000.0
    working_days: int = 5
    working_day_share: float = 0.95
    peak_hour_share: float = 0.18
    peak_minute_factor: float = 2.0
    burst_factor: float = 1.5
    activity: float = 1.0
    crisis: float = 6.0
    views_a_visit: float = 2.3
    requests_cold: int = 40
    requests_warm: int = 15
    hold_seconds: float = 1200.0
    live_share: float = 0.25
    exchange_seconds: float = 0.4
    arrive_share: float = 0.8
    arrive_seconds: float = 1800.0
    reconnect_seconds: float = 60.0

    def views_a_day(self) -> float:
        """On a working day."""
        return self.views_a_week * self.working_day_share / self.working_days * self.activity

    def views_peak_hour(self) -> float:
        """A second, on the mean of the busiest hour."""
        return self.views_a_day() * self.peak_hour_share / 3600

    def views_peak_minute(self) -> float:
        return self.views_peak_hour() * self.peak_minute_factor

    def views_burst(self) -> float:
        return self.views_peak_minute() * self.burst_factor

    def visits_peak_hour(self) -> float:
        """Visits that begin a second."""
        return self.views_peak_hour() / self.views_a_visit

    def requests(self, views: float, *, warm: bool = False) -> float:
        """Requests a second at so many views a second."""
        return views * (self.requests_warm if warm else self.requests_cold)

    def seats(self, hold: float | None = None) -> float:
        """Seats needed in the peak hour (Little 1961: N = lambda x W)."""
        return self.visits_peak_hour() * (self.hold_seconds if hold is None else hold)

    def think_seconds(self, idle: float) -> float:
        """Between two views, so that a visit and the idle time after it hold a seat for
        ``hold_seconds``; at least a tenth of the hold, should the idle time be longer than it."""
        pauses = max(self.views_a_visit - 1, 0.1)
        return max(self.hold_seconds - idle, self.hold_seconds / 10) / pauses

    def logins_storm(self) -> float:
        """Logins a second when ``arrive_share`` of all come within ``arrive_seconds``."""
        return self.employees * self.arrive_share / self.arrive_seconds

    def reconnects(self, seats: float) -> float:
        """Sessions resumed a second after a cut of the network."""
        return seats / self.reconnect_seconds
