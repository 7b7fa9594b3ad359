"""The group of all commands: what they are called, and how they end.

Importing this costs click and nothing else; a command's module is imported when it is asked for
and reaches for heavy libraries only inside its function, so that ``broker --help`` answers at once.
Errors become one sentence and an exit code here, and nowhere else.
"""

from __future__ import annotations

import importlib
from typing import Any

import click

from broker.errors import BrokerError, ConfigurationError

DONE = 0
REFUSED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130

_EPILOG = """
\b
Exit codes:
  0  done
  1  refused, or faults were found; nothing was changed. With --wait: held or rolled back
  2  wrong usage, or a question that nobody could answer (no terminal and no --yes)
  3  the broker, or the ledger behind it, cannot be reached
  130  interrupted

Completion in the shell: eval "$(_BROKER_COMPLETE=bash_source broker)" in ~/.bashrc;
zsh_source and fish_source for zsh and fish.

\b
Commands that speak to a running broker find it by BROKER_ADMIN_URL and BROKER_ADMIN_TOKEN, else by
the configuration (-c FILE or BROKER_CONFIG), else in .demo/env of a running demo. Over TLS,
BROKER_ADMIN_CA names whom to trust, BROKER_ADMIN_CERTIFICATE and BROKER_ADMIN_KEY what to show.
"""

#: Command -> (module, one line for --help), in the order of --help.
_COMMANDS = {
    "init": ("init", "A few questions, and a first configuration."),
    "serve": ("serve", "Run the broker on this host until it is stopped."),
    "check": ("check", "Name all faults of a configuration, then try everything it names."),
    "demo": ("demo", "Run the whole system on loopback; let employees arrive."),
    "status": ("status", "Seats, waiting room, connections and workers at a glance."),
    "capacity": ("capacity", "See capacity, raise it, go back."),
    "sessions": ("sessions", "Logged-in browsers: list, revoke, refresh."),
    "bans": ("bans", "Bans by wrong passwords and codes: list, clear."),
    "factors": ("factors", "Second factors: show, reset; let employees set them up."),
    "waiting": ("waiting", "The waiting room."),
    "servers": ("servers", "The applications' servers and their health."),
    "workers": ("workers", "Worker processes: list, forget a lost one."),
    "explain": ("explain", "Why somebody gets in at an address, or does not."),
    "console": ("console", "A link that opens the console in a browser, once."),
    "tokens": ("tokens", "Who may use the admin API: create, list, revoke."),
    "audit": ("audit", "Who changed what, when, why and how it ended."),
    "reload": ("reload", "Make this host read its configuration again."),
    "keys": ("keys", "The key ring (sessions, assertions, second factors): generate, rotate."),
}


class UnreachableError(BrokerError):
    """The admin API cannot be found or does not answer."""

    status = 503


class LazyGroup(click.Group):
    """Knows the names and one-line helps of its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"broker.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in _COMMANDS:
            from difflib import get_close_matches

            close = get_close_matches(name, _COMMANDS, n=3)
            offer = f" Did you mean {' or '.join(close)}?" if close else ""
            ctx.fail(f"There is no command {name}.{offer}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="broker", message="%(prog)s %(version)s")
def broker() -> None:
    """Remote-access capacity and connection broker."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code (see ``broker --help``)."""
    try:
        result: Any = broker.main(args=argv, prog_name="broker", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except ConfigurationError as error:
        for fault in error.faults:
            click.echo(fault, err=True)
        click.echo(f"broker: {error.reason}; nothing was done", err=True)
        return REFUSED
    except UnreachableError as error:
        click.echo(f"broker: {error.reason}", err=True)
        return UNREACHABLE
    except BrokerError as error:
        click.echo(f"broker: {error.reason}", err=True)
        return REFUSED
    except BrokenPipeError:
        return DONE
    return result if isinstance(result, int) else DONE
