"""The data path as C: the same modules, compiled ahead of time by mypyc from their annotations.

``make compiled`` puts them under ``build/compiled`` in a folder that is named after the sources of
the whole package, so that a worker takes them only if they were made from exactly what stands here.
Anything else (a changed line, another interpreter, no compiler, a libc older than the one it was
made for) and it runs the Python, which does the same and costs two fifths more CPU a request.
Nothing but a worker takes them: the other processes have nothing to gain, and tests may change the
Python in place.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import sysconfig
from importlib import import_module
from importlib.machinery import ExtensionFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

PACKAGE: Final = Path(__file__).parents[1]
BUILDS: Final = PACKAGE.parent / "build" / "compiled"
GROUP: Final = "broker_data_path"  # of modules that call each other as C does
LIBRARY: Final = f"{GROUP}__mypyc"  # what they share
OFF: Final = "BROKER_INTERPRETED"  # in the environment: run the Python all the same

_log = logging.getLogger(__name__)

MODULES: Final = (
    "broker.gateway.browser",
    "broker.gateway.chunks",
    "broker.gateway.deadlines",
    "broker.gateway.fields",
    "broker.gateway.ground",
    "broker.gateway.http1",
    "broker.gateway.identify",
    "broker.gateway.journey",
    "broker.gateway.onward",
    "broker.gateway.outbox",
    "broker.gateway.paths",
    "broker.gateway.pool",
    "broker.gateway.relay",
    "broker.gateway.tunnel",
    "broker.gateway.upstream",
    "broker.gateway.wait_status",
    "broker.policy.ejection",
    "broker.policy.retries",
    "broker.site.admission",
    "broker.site.session_cache",
    "broker.telemetry.access_log",
    "broker.telemetry.tracing",
    "broker.telemetry.traffic",
)


def build(package: Path = PACKAGE, builds: Path = BUILDS) -> Path:
    """Where the build of these sources for this interpreter is, or would be. Constants and types
    of any module may have gone into it, so all of them count. Raises OSError."""
    digest = hashlib.sha256(_suffix().encode())
    for path in sorted(package.rglob("*.py")):
        if not path.is_file():  # an editor's lock is a link to nothing: ``.#relay.py``
            continue
        digest.update(b"%b\0%d\0" % (bytes(path.relative_to(package)), path.stat().st_size))
        digest.update(path.read_bytes())
    return builds / digest.hexdigest()[:16]


def source(module: str) -> Path:
    return PACKAGE.parent / f"{module.replace('.', '/')}.py"


def is_wanted() -> bool:
    """Whether workers that start now would take a build, as far as one can see from outside."""
    return not os.environ.get(OFF) and build().exists()


def use() -> bool:
    """Let imports take the compiled modules from here on; False when there are none of these
    sources, or none that this machine can load. All or none: to be called before any of them is
    imported."""
    if os.environ.get(OFF) or not sys.modules.keys().isdisjoint(MODULES):
        return False
    try:
        folder = build()
    except OSError as error:
        _log.warning("not all sources can be read, so no build can be theirs: %s", error)
        return False
    files = {name: folder / f"{name.replace('.', '/')}{_suffix()}" for name in (*MODULES, LIBRARY)}
    try:
        if not all(file.exists() for file in files.values()):
            return False
    except PermissionError as error:  # made by root, for whom others are nobody
        _log.warning("what was compiled may not be read: %s", error)
        return False
    finder = _Finder(files)
    sys.meta_path.insert(0, finder)
    try:
        import_module(LIBRARY)  # has all the code: another libc, a mount without exec, shows now
    except ImportError as error:
        sys.meta_path.remove(finder)
        _log.warning("what was compiled cannot be loaded here: %s", error)
        return False
    return True


def is_used() -> bool:
    """Whether the data path of this process, which has imported it, is the compiled one."""
    loaded = [sys.modules[name].__loader__ for name in MODULES if name in sys.modules]
    return bool(loaded) and all(isinstance(each, ExtensionFileLoader) for each in loaded)


class _Finder:
    """An entry of ``sys.meta_path``."""

    def __init__(self, files: dict[str, Path]) -> None:
        self._files = files

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = self._files.get(name)
        return None if file is None else spec_from_file_location(name, file)


def _suffix() -> str:
    return str(sysconfig.get_config_var("EXT_SUFFIX"))
