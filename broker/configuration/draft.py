"""A configuration while it is being checked: the sections and entries that are valid by themselves.

So a typing error in one pool hides no contradiction between the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import TypeAdapter

from broker.settings import (
    Admin,
    Bans,
    Connections,
    DirectorySettings,
    Host,
    LedgerSettings,
    Level,
    Listener,
    Pool,
    Population,
    Seats,
    SecondFactor,
    Sessions,
    Settings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import ValidationError

    from broker.configuration.faults import Path

    Found = Iterator[tuple[Path, str]]


@dataclass(frozen=True)
class Draft:
    """The valid sections of a file; None for one that is missing or at fault.

    Of lists and mappings the valid entries, by index or name. ``pool_names`` and
    ``population_names`` also hold those whose entries are at fault.
    """

    pool_names: frozenset[str] = frozenset()
    population_names: frozenset[str] = frozenset()
    home: str | None = None
    listeners: Mapping[int, Listener] = field(default_factory=dict)
    hosts: Mapping[int, Host] = field(default_factory=dict)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    populations: Mapping[int, Population] = field(default_factory=dict)
    seats: Seats | None = None
    connections: Connections | None = None
    levels: Mapping[str, Level] = field(default_factory=dict)
    directory: DirectorySettings | None = None
    sessions: Sessions | None = None
    bans: Bans | None = None
    second_factor: SecondFactor | None = None
    ledger: LedgerSettings | None = None
    admin: Admin | None = None

    @classmethod
    def of(cls, settings: Settings) -> Draft:
        """Everything: the file is valid."""
        sections = {name: _entries(getattr(settings, name)) for name in _sections()}
        names = frozenset(population.name for population in settings.populations)
        return cls(frozenset(settings.pools), names, **sections)

    @classmethod
    def of_valid_parts(
        cls, data: dict[str, Any], error: ValidationError, context: dict[str, Any]
    ) -> Draft:
        """What ``error`` says nothing about."""
        places = {details["loc"] for details in error.errors()}
        at_fault = {place[:depth] for place in places for depth in (1, 2)}
        sections: dict[str, Any] = {}
        for name in _sections():
            model = Settings.model_fields[name]
            if name not in data or (name,) in places:
                continue
            if name in _COLLECTIONS:
                adapter = TypeAdapter[Any](get_args(model.annotation)[-1])
                sections[name] = {
                    key: adapter.validate_python(entry, context=context)
                    for key, entry in _entries(data[name]).items()
                    if (name, key) not in at_fault
                }
            elif (name,) not in at_fault:
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


_COLLECTIONS = ("listeners", "hosts", "pools", "populations", "levels")


def _sections() -> list[str]:
    return [part.name for part in fields(Draft) if part.name in Settings.model_fields]


def _entries(section: Any) -> Any:
    """A list as a mapping from its indices; anything else as it is."""
    return dict(enumerate(section)) if isinstance(section, list) else section
