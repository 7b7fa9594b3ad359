"""A build is used for the sources it was made from and no others, as a whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from broker.wiring import compiled

if TYPE_CHECKING:
    from pathlib import Path

ASK = "from broker.wiring import compiled; print(compiled.use())"


def test_every_line_of_the_package_counts(tmp_path: Path) -> None:
    package = tmp_path / "broker"
    (package / "gateway").mkdir(parents=True)
    (package / "gateway" / "relay.py").write_text("MOST = 1\n")
    names = [compiled.build(package, tmp_path)]
    (package / "gateway" / "relay.py").write_text("MOST = 2\n")
    names.append(compiled.build(package, tmp_path))
    (package / "errors.py").write_text("")
    names.append(compiled.build(package, tmp_path))
    (package / "errors.py").rename(package / "gateway" / "errors.py")
    names.append(compiled.build(package, tmp_path))
    assert len(set(names)) == 4
    (package / "page.html").write_text("not Python")
    assert compiled.build(package, tmp_path) == names[-1]


def test_every_module_of_the_data_path_has_its_source() -> None:
    for name in compiled.MODULES:
        assert compiled.source(name).exists(), name


def test_tests_run_the_python_unless_asked_otherwise(request: pytest.FixtureRequest) -> None:
    import broker.gateway.relay

    assert str(broker.gateway.relay.__file__).endswith(".py")
    assert not compiled.is_used()


def test_it_is_never_half_of_each() -> None:
    """Here the Python is imported already, whatever has been built."""
    import broker.gateway.relay  # noqa: F401

    before = list(sys.meta_path)
    assert not compiled.use()
    assert sys.meta_path == before


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "broker").symlink_to(compiled.PACKAGE)
    return tmp_path


def asked(folder: Path, ask: str = ASK, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", ask], cwd=folder, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
    )  # fmt: skip
    return done.stdout.strip()


def test_a_build_with_a_file_missing_is_none(checkout: Path) -> None:
    names = (*compiled.MODULES, compiled.LIBRARY)
    suffix = asked(checkout, "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))")
    build = checkout / "build" / "compiled" / compiled.build().name
    assert asked(checkout) == "False"
    for name in names:
        file = build / f"{name.replace('.', '/')}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert asked(checkout) == "True"
    assert asked(checkout, BROKER_INTERPRETED="1") == "False"
    file.unlink()
    assert asked(checkout) == "False"
