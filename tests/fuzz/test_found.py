"""Every seed, and every case that fuzzing has found, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fuzz.targets import TARGETS, cases

if TYPE_CHECKING:
    from pathlib import Path

FILES = [(kind, name, path) for kind in ("seeds", "found") for name in TARGETS
         for path in cases(kind, name)]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "path"), [file[1:] for file in FILES], ids=[f"{k}/{n}/{p.name}" for k, n, p in FILES]
)
def test_case(name: str, path: Path) -> None:
    TARGETS[name].check(path.read_bytes())


def test_every_target_has_seeds() -> None:
    assert {name for kind, name, _ in FILES if kind == "seeds"} == set(TARGETS)
