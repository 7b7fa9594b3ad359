"""The fleet's file: what it starts is understood by the load generator, and its parts fit."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
ITEMS: list[dict[str, Any]] = yaml.safe_load(
    (ROOT / "loadtest/fleet/kubernetes.yaml").read_text("utf-8")
)["items"]
JOBS = {item["metadata"]["name"]: item["spec"] for item in ITEMS if item["kind"] == "Job"}

#: In a process of its own: importing Locust replaces half of the standard library.
KNOWN = """
import json
from locust.argument_parser import get_parser
from loadtest.options import add_options
parser = get_parser()
add_options(parser)
print(json.dumps(list(parser._option_string_actions)))
"""


def container(job: str) -> dict[str, Any]:
    (found,) = JOBS[job]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("job", JOBS)
def test_every_option_exists_and_every_mount_has_its_volume(job: str) -> None:
    said = subprocess.run(
        [sys.executable, "-c", KNOWN], cwd=ROOT, capture_output=True, check=True, timeout=60
    ).stdout
    known = set(json.loads(said))
    options = [word for word in container(job)["args"] if word.startswith("--")]
    assert len(options) > 3
    assert set(options) <= known
    volumes = {volume["name"] for volume in JOBS[job]["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container(job)["volumeMounts"]} == volumes


def test_the_lead_waits_for_as_many_workers_as_there_are_and_is_found_by_its_name() -> None:
    words = container("lead")["args"]
    expected = int(words[words.index("--expect-workers") + 1])
    assert JOBS["workers"]["completions"] == JOBS["workers"]["parallelism"] == expected
    words = container("workers")["args"]
    host = words[words.index("--master-host") + 1]
    (service,) = [item for item in ITEMS if item["kind"] == "Service"]
    assert service["metadata"]["name"] == host
    label = service["spec"]["selector"]
    assert JOBS["lead"]["template"]["metadata"]["labels"] == label


def test_one_image_is_meant_everywhere_and_its_base_is_pinned() -> None:
    containerfile = (ROOT / "loadtest/fleet/Containerfile").read_text("utf-8")
    (built,) = re.findall(r"-t (\S+) \.", containerfile)
    assert {container(job)["image"] for job in JOBS} == {built}
    assert re.search(r":[\d.]+$", built), "not whatever is newest"
    (base,) = re.findall(r"^FROM (\S+)$", containerfile, re.MULTILINE)
    assert re.search(r":\d+\.\d+\.\d+", base)


def test_what_goes_into_the_image_is_enough_and_no_more(tmp_path: Path) -> None:
    """A copy of what .containerignore lets through installs (as far as the lock's files go) and
    runs the load generator's command line."""
    lines = (ROOT / ".containerignore").read_text("utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*", "what is not named stays out"
    left_out = {Path(line).name for line in patterns[1:] if not line.startswith("!")}
    for name in (line[1:] for line in patterns if line.startswith("!")):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns(*left_out))
        else:
            shutil.copy(source, tmp_path / name)
    needed = (tmp_path / "lock/install").read_text("utf-8")
    for group in re.findall(r"lock/(\w+)\.txt", needed):
        assert (tmp_path / f"lock/{group}.txt").is_file()
    assert not (tmp_path / "loadtest/reports").exists()
    assert not (tmp_path / "tests").exists()
    entry = [sys.executable, "-P", "-m", "loadtest", "run"]
    said = subprocess.run(
        [*entry, "--help"], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, timeout=60,
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "--scale" in said
    assert '"-m", "loadtest", "run"]' in (ROOT / "loadtest/fleet/Containerfile").read_text("utf-8")
