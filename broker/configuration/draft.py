"""A configuration while it is being checked: the sections that are valid by themselves.

So a typing error in one section hides no contradiction between the others.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import TypeAdapter

from broker.settings import (
    Admin,
    Connections,
    DirectorySettings,
    Host,
    LedgerSettings,
    Level,
    Listener,
    Pool,
    Population,
    Seats,
    Sessions,
    Settings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import ValidationError

    from broker.configuration.faults import Path

    Found = Iterator[tuple[Path, str]]


@dataclass(frozen=True)
class Draft:
    """The valid sections of a file; None for one that is missing or at fault.

    ``pool_names`` and ``population_names`` are also known where their sections are at fault.
    """

    pool_names: frozenset[str]
    population_names: frozenset[str]
    home: str | None = None
    listeners: list[Listener] | None = None
    hosts: list[Host] | None = None
    pools: dict[str, Pool] | None = None
    populations: list[Population] | None = None
    seats: Seats | None = None
    connections: Connections | None = None
    levels: dict[str, Level] | None = None
    directory: DirectorySettings | None = None
    sessions: Sessions | None = None
    ledger: LedgerSettings | None = None
    admin: Admin | None = None

    @classmethod
    def of(cls, settings: Settings) -> Draft:
        return cls(
            frozenset(settings.pools),
            frozenset(population.name for population in settings.populations),
            **{name: getattr(settings, name) for name in _sections()},
        )

    @classmethod
    def of_valid_sections(
        cls, data: dict[str, Any], error: ValidationError, context: dict[str, Any]
    ) -> Draft:
        at_fault = {details["loc"][0] for details in error.errors() if details["loc"]}
        sections = {}
        for name in _sections():
            if name in data and name not in at_fault:
                model = Settings.model_fields[name]
                kind: Any = Annotated[(model.annotation, *model.metadata, None)]
                adapter = TypeAdapter[Any](kind)
                sections[name] = adapter.validate_python(data[name], context=context)
        pools, populations = data.get("pools"), data.get("populations")
        return cls(
            frozenset(pools if isinstance(pools, dict) else ()),
            frozenset(
                str(entry.get("name"))
                for entry in (populations if isinstance(populations, list) else ())
                if isinstance(entry, dict)
            ),
            **sections,
        )


def _sections() -> list[str]:
    return [field.name for field in fields(Draft) if field.name in Settings.model_fields]
