"""The file of a key ring is written anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.cli.keys import _write

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_killed_run_has_left_makes_no_key_readable(tmp_path: Path) -> None:
    ring, left = tmp_path / "keys.json", tmp_path / ".keys.json.new"
    ring.write_text("{}")
    ring.chmod(0o600)
    left.write_text("half of")
    left.chmod(0o644)
    _write(ring, "keys")
    assert ring.read_text() == "keys\n"
    assert ring.stat().st_mode & 0o777 == 0o600
    assert not left.exists()
