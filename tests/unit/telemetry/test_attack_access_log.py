"""What a browser calls a path and is none stays out of the log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from broker.telemetry.access_log import AccessLog

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("path", [b"/cb#access_token=secret", b"/cb#a?b=secret", b"/cb?c=secret#d"])
def test_fragments_are_cut_like_queries(tmp_path: Path, path: bytes) -> None:
    log = AccessLog(tmp_path / "access.log")
    log.record(0.0, "", "", "", "", "", "", b"GET", path, 400, 0, 0, (0.0, 0.0, 0.0, 0.0), "broken")
    log.close()
    assert json.loads((tmp_path / "access.log").read_text())["path"] == "/cb"
