"""What the portal is told at its start, as plain values: hosts, population rules, company.

Made by ``wiring`` from the settings. A host is looked up by its canonical authority, and its
configured origin is the only source of scheme and authority for redirects and Origin checks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from broker.policy.guessing import GuessRules
from broker.policy.second_factor import FactorRules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.policy.populations import PopulationRule


@dataclass(frozen=True)
class PortalPlan:
    """``home`` and ``applications`` are origins (``https://feed.example.com:8443``).

    ``populations`` are the rules in the order of configuration. ``session_lifetime`` is in seconds,
    ``sessions_per_employee`` a count (the oldest goes, or with ``refuse_more_sessions`` nobody),
    ``color`` is ``#rrggbb``. ``guesses``: what wrong passwords lead to; nobody is banned by an
    address of ``trusted_addresses`` (networks). ``password_change``: expired passwords may be
    changed from home. ``last_use_within``: seconds by which the last use of a session may be
    behind. ``logo``: media type and content of a picture in place of our mark. ``factor``: who
    needs a second factor.
    """

    home: str
    applications: tuple[str, ...]
    populations: tuple[PopulationRule, ...]
    session_lifetime: float = 43_200.0
    sessions_per_employee: int = 10
    refuse_more_sessions: bool = False
    company: str = "Remote access"
    contact: str = "your IT service desk"
    color: str = "#2457c5"
    language: str = "en"
    guesses: GuessRules = field(default_factory=GuessRules)
    trusted_addresses: tuple[str, ...] = ()
    password_change: bool = False
    last_use_within: float = 300.0
    logo: tuple[str, bytes] | None = None
    factor: FactorRules = field(default_factory=FactorRules)

    @cached_property
    def origins(self) -> Mapping[str, str]:
        """Canonical authority (with and without a default port) -> origin, home included."""
        found: dict[str, str] = {}
        for origin in (self.home, *self.applications):
            parts = urlsplit(origin)
            found[parts.netloc] = origin
            found[f"{parts.hostname}:{parts.port or 443}"] = origin
        return found

    def is_home(self, host: str) -> bool:
        return self.origins.get(host) == self.home
