"""``python -m loadtest``: its commands, each imported when it is asked for."""

from __future__ import annotations

import importlib

import click

#: Command -> (module with ``command``, one line for --help).
_COMMANDS = {
    "run": ("loadtest.run_command", "Employees against a broker, with a report and a verdict."),
    "simulate": ("loadtest.simulate.command", "A morning of any size, in virtual time."),
}


class LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Load tests and simulations of the broker."""


if __name__ == "__main__":
    main(prog_name="python -m loadtest")
