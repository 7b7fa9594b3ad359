"""Coverage-guided fuzzing with atheris: ``python -m tests.fuzz [TARGET ...] [--runs N]``.

Each target has a process of its own, for libFuzzer ends the one it runs in. What it learns is kept
in ``build/fuzz`` and the next run begins there; an input that fails a check is written to
``tests/fuzz/found/TARGET``, where the tests try it from then on. Bounded by runs, never by time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
RUNS = 1_000_000
SLOWEST = 30  # seconds for one input; libFuzzer calls it hung after that


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all, in turn")
    parser.add_argument("--runs", type=int, default=RUNS, help="inputs for each target")
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--kept", type=Path, default=HERE.parents[1] / "build" / "fuzz")
    parser.add_argument("--found", type=Path, default=HERE / "found")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.here:
        fuzz(options.targets[0], options.runs, options.seed, options.kept, options.found)
        return 0
    from tests.fuzz.targets import TARGETS

    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(
            f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}"
        )
    failed = []
    for target in options.targets or TARGETS:
        sys.stderr.write(f"== {target}: {options.runs} runs\n")
        given = [f"--{name}={getattr(options, name)}" for name in ("runs", "seed", "kept", "found")]
        command = [sys.executable, "-m", "tests.fuzz", "--here", target, *given]
        if subprocess.run(command, check=False).returncode:
            failed.append(target)
    if failed:
        sys.stderr.write(f"found something: {', '.join(failed)}; see {options.found}\n")
    return int(bool(failed))


def fuzz(name: str, runs: int, seed: int, kept: Path, found: Path) -> None:
    """Does not return: libFuzzer ends the process, with a status other than 0 for a finding."""
    import atheris

    # Only what is tested is instrumented: guided by the judges it would learn their branches.
    with atheris.instrument_imports(include=["broker.gateway"], enable_loader_override=False):
        from tests.fuzz.targets import TARGETS, cases
    target = TARGETS[name]
    corpus, artifacts = kept / name, found / name
    corpus.mkdir(parents=True, exist_ok=True)
    artifacts.mkdir(parents=True, exist_ok=True)
    words = kept / f"{name}.dict"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words), "ascii")
    others = sorted({str(path.parent) for kind in ("seeds", "found") for path in cases(kind, name)})
    atheris.Setup(
        [
            sys.argv[0], f"-runs={runs}", f"-seed={seed}", f"-max_len={target.longest}",
            f"-timeout={SLOWEST}", f"-dict={words}", f"-artifact_prefix={artifacts}/",
            "-print_final_stats=1", "-len_control=20", str(corpus), *others,
        ],
        target.check,
    )  # fmt: skip
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
