"""A pytest plugin, ``-p tests.support.compiled_path``: the tests run on the compiled data path.

``make test`` runs dialogues and fuzzers a second time with it. What is marked ``in_place`` changes
parts of the data path from outside, which only the Python allows, and is left out.
"""

from __future__ import annotations

import os

import pytest

from broker.wiring import compiled

FOUND = compiled.use()


def pytest_configure() -> None:
    if FOUND:
        return
    if compiled.build().exists() or os.environ.get("CI"):
        raise pytest.UsageError("the data path is not compiled, or it is too late for it")
    pytest.exit("the data path is not compiled (make compiled): tested as Python only", 0)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if item.get_closest_marker("in_place")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish(session: pytest.Session) -> None:
    if not session.items:  # the process that only hands out work imports nothing
        return
    import broker.gateway.server  # noqa: F401  # brings the data path

    if not compiled.is_used():
        raise pytest.UsageError("part of the data path was imported as Python")
