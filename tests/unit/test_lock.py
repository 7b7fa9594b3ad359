"""The lock belongs to ``pyproject.toml``, is hashed, and names no package index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lock.relock import GROUPS, input_hash

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("group", GROUPS)
def test_the_lock_is_current(group: str) -> None:
    text = (ROOT / "lock" / f"{group}.txt").read_text("utf-8")
    assert f"# made from: {input_hash(ROOT / 'pyproject.toml')}\n" in text, "run: make lock"


@pytest.mark.parametrize("group", GROUPS)
def test_every_pin_is_exact_and_hashed(group: str) -> None:
    text = (ROOT / "lock" / f"{group}.txt").read_text("utf-8")
    blocks = re.findall(r"^[a-zA-Z0-9][^\n]*(?:\n +[^\n]*)*", text, re.MULTILINE)
    assert blocks
    for block in blocks:
        assert re.match(r"[a-z0-9][a-z0-9.-]*(\[[a-z,]+\])?==\S+", block), block
        assert re.search(r"--hash=sha256:[0-9a-f]{64}$", block), block


@pytest.mark.parametrize("group", GROUPS)
def test_no_index_is_named(group: str) -> None:
    text = (ROOT / "lock" / f"{group}.txt").read_text("utf-8")
    assert "://" not in text
    assert "index" not in text.replace("--no-emit-index-url", "")
