"""``python -m broker``: the command line. ``_process`` starts the supervisor's children."""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code. Imports only what that command needs."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["_process"]:
        from broker.wiring.processes import run_process

        return run_process(arguments[1:])
    from broker.cli.main import main as command_line

    return command_line(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
