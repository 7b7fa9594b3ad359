"""The configuration: one YAML file, these models, nothing else.

Read by ``wiring``, ``cli`` and the demo and passed on as plain values; no other part imports it.
The text, the places of faults and the checks across sections are ``broker.configuration``'s
business; here is only what each value may be. Unknown keys are errors. Secrets are written
``${ENV}`` or ``file:PATH`` and never printed. Durations are read as seconds (float), sizes as
bytes.
"""

from broker.settings.capacity import (
    CellSettings,
    Connections,
    Deadlines,
    Health,
    Host,
    Level,
    Pool,
    Population,
    PopulationSeats,
    Route,
    Seats,
    ServerTls,
    ShareSettings,
)
from broker.settings.doors import (
    AccessLog,
    Admin,
    AdminTls,
    Certificate,
    Company,
    Door,
    Listener,
    Tls,
)
from broker.settings.people import (
    Bans,
    DirectorySettings,
    LedgerSettings,
    SecondFactor,
    Sessions,
)
from broker.settings.site import Settings

__all__ = [
    "AccessLog",
    "Admin",
    "AdminTls",
    "Bans",
    "CellSettings",
    "Certificate",
    "Company",
    "Connections",
    "Deadlines",
    "DirectorySettings",
    "Door",
    "Health",
    "Host",
    "LedgerSettings",
    "Level",
    "Listener",
    "Pool",
    "Population",
    "PopulationSeats",
    "Route",
    "Seats",
    "SecondFactor",
    "ServerTls",
    "Sessions",
    "Settings",
    "ShareSettings",
    "Tls",
]
