"""A build is used for the sources it was made from and no others, as a whole or not at all."""

from __future__ import annotations

import os
import shutil
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


def test_tests_run_the_python_unless_asked_otherwise() -> None:
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


@pytest.fixture
def build(checkout: Path) -> Path:
    """Another one of these sources, to be spoiled."""
    made = compiled.build()
    if not made.exists():
        if os.environ.get("CI"):
            pytest.fail("the data path is not compiled: make compiled")
        pytest.skip("the data path is not compiled: make compiled")
    copied = checkout / "build" / "compiled" / made.name
    shutil.copytree(made, copied)
    return copied


def asked(folder: Path, ask: str = ASK, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", ask], cwd=folder, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
    )  # fmt: skip
    return done.stdout.strip()


def test_without_a_build_it_is_not_used(checkout: Path) -> None:
    assert asked(checkout) == "False"


def test_a_build_with_a_file_missing_is_none(checkout: Path, build: Path) -> None:
    assert asked(checkout) == "True"
    assert asked(checkout, BROKER_INTERPRETED="1") == "False"
    wanted = ASK.replace("use()", "is_wanted()")
    assert asked(checkout, wanted) == "True"
    assert asked(checkout, wanted, BROKER_INTERPRETED="1") == "False"
    for name in (compiled.MODULES[-1], compiled.LIBRARY):
        (file,) = build.glob(f"{name.replace('.', '/')}.*")
        kept = file.rename(build / "elsewhere")
        assert asked(checkout) == "False"
        kept.rename(file)


def test_a_build_that_cannot_be_loaded_is_none(checkout: Path, build: Path) -> None:
    """As where the libc is older than the one it was made for."""
    (library,) = build.glob(f"{compiled.LIBRARY}.*")
    library.write_text("made for another machine\n")
    ask = f"{ASK}; import broker.gateway.server; print(compiled.is_used())"
    assert asked(checkout, ask).split() == ["False", "False"]


def test_a_build_that_may_not_be_read_is_none(checkout: Path) -> None:
    """As where root has made it with a umask that is for root alone."""
    ask = """
from pathlib import Path
from broker.wiring import compiled
def refused(path):
    raise PermissionError(13, "Permission denied")
Path.exists = refused
print(compiled.use())
"""
    assert asked(checkout, ask) == "False"


def test_what_an_editor_leaves_behind_is_no_source(tmp_path: Path) -> None:
    package = tmp_path / "broker"
    package.mkdir()
    before = compiled.build(package, tmp_path)
    (package / ".#relay.py").symlink_to("somebody@somewhere.1234:5678")
    assert compiled.build(package, tmp_path) == before
