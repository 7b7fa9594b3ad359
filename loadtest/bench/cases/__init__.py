"""The cases, one module each. A module that defines ``CASE`` is found by being here."""

from __future__ import annotations

import importlib
import pkgutil

from loadtest.bench.case import Case


def load() -> dict[str, Case]:
    """All cases by name, in the order of the table."""
    found: list[Case] = []
    for module in pkgutil.iter_modules(__path__):
        case = importlib.import_module(f"{__name__}.{module.name}").CASE
        assert isinstance(case, Case)
        found.append(case)
    return {case.name: case for case in sorted(found, key=lambda case: (case.order, case.name))}
