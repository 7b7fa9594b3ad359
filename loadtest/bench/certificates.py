"""One certificate for all TLS listeners of a run: the broker's and the peers'."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from broker.demo import certificates

if TYPE_CHECKING:
    from pathlib import Path


def made(folder: Path) -> certificates.Certificates:
    """P-256, signed by a CA made on the spot; for ``localhost`` and 127.0.0.1."""
    return certificates.certificates(folder / "tls", datetime.now(UTC))
