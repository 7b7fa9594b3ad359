"""``make compiled``: the data path as C, by mypyc and this machine's C compiler, into
``build/compiled`` (``broker/wiring/compiled.py`` says which modules, and when they are used).

With the build of these sources there already, nothing happens; of two that are called at once the
second waits and finds it. ``--if-possible``: without a compiler say so and go on, except under
CI=true; a compiler that fails is a fault in any case.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import sys
import sysconfig
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from mypy.version import __version__ as compiler_version
from mypyc.build import mypycify
from setuptools import Distribution
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CompileError, LinkError

from broker.wiring import compiled

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
MADE_BY = "made-by"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="lock/compile.py", description=__doc__)
    parser.add_argument("--if-possible", action="store_true")
    options = parser.parse_args(argv)
    os.chdir(ROOT)
    work = ROOT / "build" / "mypyc"
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # both the C and the old builds are everybody's
        return _make(work, if_possible=options.if_possible)


def _make(work: Path, *, if_possible: bool) -> int:
    folder = compiled.build()
    how = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    made_by = f"mypyc {compiler_version}, by a lock/compile.py of {how}\n"
    if _read(folder / MADE_BY) == made_by:
        return 0
    missing = _missing()
    if missing:
        _say(
            f"Missing: {missing}. Until then the data path runs as Python, which costs two "
            "fifths more CPU a request."
        )
        return 0 if if_possible and not os.environ.get("CI") else 1
    _say("Compiling the data path; about half a minute ...")
    began = time.monotonic()
    new = compiled.BUILDS / f".new-{os.getpid()}"
    log = work / "log"
    try:
        with log.open("w") as out, redirect_stdout(out):
            _compile(work, new)
    except (SystemExit, BaseError, CompileError, LinkError) as error:  # of mypyc, and of the rest
        _say(f"{log.read_text()[-3000:]}\n{error}")
        shutil.rmtree(new, ignore_errors=True)
        return 1
    if compiled.build() != folder:  # nobody knows which of the two it was made from
        _say("The sources have changed meanwhile: try again.")
        shutil.rmtree(new)
        return 1
    (new / MADE_BY).write_text(made_by)
    for old in compiled.BUILDS.iterdir():
        if old != new:
            shutil.rmtree(old, ignore_errors=True)  # a stray file does no harm
    new.rename(folder)
    _say(f"Compiled in {time.monotonic() - began:.0f} s; workers take it when they start.")
    return 0


def _compile(work: Path, into: Path) -> None:
    """``make check`` judges the types; here mypy only has to read them, of these modules alone."""
    options = [
        "--config-file=", "--follow-imports=silent", "--ignore-missing-imports",
        "--explicit-package-bases", f"--cache-dir={work / 'cache'}",
    ]  # fmt: skip
    extensions = mypycify(
        options + [str(compiled.source(name).relative_to(ROOT)) for name in compiled.MODULES],
        group_name=compiled.GROUP,
        target_dir=str(work.relative_to(ROOT)),
        opt_level="2",
        debug_level="0",
    )
    for extension in extensions:  # mypyc's own -Werror is for a compiler that it knows
        extension.extra_compile_args.append("-Wno-error")
    # Not ``setup()``: it reads pyproject.toml, whose wheel is made by somebody else.
    command = build_ext(Distribution({"name": "broker", "ext_modules": extensions}))
    command.build_lib = str(into)
    command.build_temp = str(work / "objects")
    command.parallel = 2
    command.ensure_finalized()
    command.run()


def _missing() -> str:
    wanted = []
    compiler = str(sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        wanted.append(f"a C compiler, {compiler} (apt-get install gcc)")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        wanted.append(f"{header} (apt-get install python3-dev)")
    return " and ".join(wanted)


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    raise SystemExit(main())
