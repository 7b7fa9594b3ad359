"""The file that outlives a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.site.drained import DrainedServers

if TYPE_CHECKING:
    from pathlib import Path


def test_what_one_wrote_another_reads(tmp_path: Path) -> None:
    assert DrainedServers(tmp_path).names() == frozenset()
    assert DrainedServers(tmp_path).keep("http://a:1", drained=True)
    assert DrainedServers(tmp_path).keep("http://b:1", drained=True)
    assert not DrainedServers(tmp_path).keep("http://a:1", drained=True)
    assert DrainedServers(tmp_path).names() == {"http://a:1", "http://b:1"}
    assert DrainedServers(tmp_path).keep("http://a:1", drained=False)
    assert not DrainedServers(tmp_path).keep("http://a:1", drained=False)
    assert DrainedServers(tmp_path).names() == {"http://b:1"}


@pytest.mark.parametrize("text", [b"", b"[", b"{}", b"[1]", b"\xff"])
def test_a_spoilt_file_drains_nobody_and_says_so(
    tmp_path: Path, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "drained.json").write_bytes(text)
    assert DrainedServers(tmp_path).names() == frozenset()
    assert "no server counts as drained" in caplog.text
    assert DrainedServers(tmp_path).keep("http://a:1", drained=True)
    assert DrainedServers(tmp_path).names() == {"http://a:1"}
