"""Make the lock: all dependencies of ``pyproject.toml``, pinned, hashed, for Python 3.11 to 3.13.

One universal resolution over all groups, then written as one requirements file per group, each
holding only what the groups below it do not: ``pip install --require-hashes -r lock/runtime.txt -r
lock/demo.txt`` is enough on a user's machine. No file names a package index: pip's own
configuration decides where wheels come from, the hashes decide which ones are taken. Run by ``make
lock`` (with ``--upgrade``: forget the present pins); needs ``uv`` beside the interpreter.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from itertools import chain
from pathlib import Path

HERE = Path(__file__).parent
#: Each group with the groups it is installed on top of.
GROUPS = {
    "runtime": (),
    "demo": ("runtime",),
    "capacity": ("runtime",),
    "compile": ("runtime",),
    "load": ("runtime", "demo", "capacity"),
    "test": ("runtime", "demo", "capacity", "load", "compile"),
    "bench": ("runtime", "demo", "compile"),
}


def wanted(pyproject: Path) -> dict[str, list[str]]:
    """The requirements of each group as ``pyproject.toml`` states them.

    What builds the project is locked with ``runtime``: a checkout is then installed without build
    isolation, which would fetch a build backend that nobody pinned.
    """
    document = tomllib.loads(pyproject.read_text("utf-8"))
    project = document["project"]
    return {
        "runtime": project["dependencies"] + document["build-system"]["requires"],
        "demo": project["optional-dependencies"]["demo"],
        "capacity": project["optional-dependencies"]["capacity"],
        "compile": document["dependency-groups"]["compile"],
        "load": document["dependency-groups"]["load"],
        "test": document["dependency-groups"]["test"],
        "bench": document["dependency-groups"]["bench"],
    }


def input_hash(pyproject: Path) -> str:
    """Names the dependency lists that a lock was made from; each lock file carries it."""
    requires = tomllib.loads(pyproject.read_text("utf-8"))["project"]["requires-python"]
    stated = json.dumps([requires, wanted(pyproject)], sort_keys=True)
    return hashlib.sha256(stated.encode()).hexdigest()


def compile_universal(requirements: list[str], pins: str) -> dict[str, str]:
    """Resolve; returns name -> its block of lines (pin, marker, hashes), sorted by name."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write(re.sub(r"\s*\\\n\s+--hash=\S+", "", pins))
        constraints.flush()
        command = [
            str(Path(sys.executable).with_name("uv")), "pip", "compile", "-", "--quiet",
            "--universal", "--python-version", "3.11", "--generate-hashes", "--no-config",
            "--no-header", "--no-annotate", "--no-emit-index-url", "--only-binary", ":all:",
            "--no-emit-build-options", "--constraint", constraints.name,
        ]  # fmt: skip
        done = subprocess.run(
            command, input="\n".join(requirements), text=True, stdout=subprocess.PIPE, check=True
        )
    blocks: dict[str, str] = {}
    for block in re.findall(r"^\S[^\n]*(?:\n[ \t][^\n]*)*", done.stdout, re.MULTILINE):
        name = re.split(r"[=\[; ]", block, maxsplit=1)[0]
        blocks[name] = blocks.get(name, "") + block.rstrip() + "\n"
    return blocks


def main() -> None:
    pyproject = HERE.parent / "pyproject.toml"
    groups = wanted(pyproject)
    present = ""
    if "--upgrade" not in sys.argv[1:]:
        present = "\n".join(
            path.read_text("utf-8") for group in GROUPS if (path := HERE / f"{group}.txt").exists()
        )
        known = {re.split(r"[=\[; ]", line)[0] for line in present.splitlines() if "==" in line}
        sys.stdout.write(f"keeping {len(known)} pins where they still fit\n")
    everything = list(chain.from_iterable(groups.values()))
    try:
        whole = compile_universal(everything, present)
    except subprocess.CalledProcessError:
        if not present:
            raise
        sys.stdout.write("the present pins do not fit any more: resolving afresh\n")
        whole = compile_universal(everything, "")
    pins = "".join(whole.values())
    for group, below in GROUPS.items():
        base = (
            compile_universal([line for name in below for line in groups[name]], pins)
            if below
            else {}
        )
        full = compile_universal([line for name in (*below, group) for line in groups[name]], pins)
        own = {name: block for name, block in full.items() if base.get(name) != block}
        on_top = f" (on top of {' and '.join(below)})" if below else ""
        head = (
            f"# Locked dependencies: {group}{on_top}. Made by `make lock`; do not edit.\n"
            f"# made from: {input_hash(pyproject)}\n"
        )
        (HERE / f"{group}.txt").write_text(head + "".join(own.values()), "utf-8")
        sys.stdout.write(f"lock/{group}.txt: {len(own)} packages\n")


if __name__ == "__main__":
    main()
