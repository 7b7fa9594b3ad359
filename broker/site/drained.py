"""Which servers of the applications this host gives no new exchanges: a file in ``run_dir``.

The admin process writes it before it tells the workers; a worker reads it once it can be told and
before it serves. So whatever the order, a worker that starts anew knows. It outlives the broker as
long as ``run_dir`` does. One process writes, and each write replaces the whole file.
"""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)


class DrainedServers:
    """Names as configured, like ``http://10.0.1.11:8080``."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / "drained.json"

    def names(self) -> frozenset[str]:
        """Empty, and logged, when the file cannot be understood: better all servers than none."""
        try:
            found = json.loads(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return frozenset()
        except (OSError, ValueError) as error:
            _log.error("%s cannot be read, no server counts as drained: %s", self._path, error)
            return frozenset()
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            _log.error("%s is no list of names, no server counts as drained", self._path)
            return frozenset()
        return frozenset(found)

    def keep(self, name: str, *, drained: bool) -> bool:
        """Write down that a server is drained, or no longer; False when that is known already.
        Raises OSError, and then nothing has changed."""
        known = self.names()
        if (name in known) == drained:
            return False
        wanted = known | {name} if drained else known - {name}
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(sorted(wanted), indent=1), "utf-8")
        os.replace(beside, self._path)
        return True
