"""``broker init``: a few questions, and a first configuration that passes ``broker check``.

Every question is also an option, so that a script can answer them all. Secrets go into files of
their own, readable by their owner alone. Nothing that exists is overwritten, and nothing is written
that the broker would not take.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KINDS = ("openldap", "active-directory")


@click.command("init")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default="broker.yaml")
@click.option("--home", help="The host where employees log in: https://home.example.com")
@click.option(
    "--application",
    "applications",
    multiple=True,
    metavar="'ORIGIN SERVER...'",
    help="As browsers see it, and its servers: 'https://wiki.example.com http://10.0.0.5:8080'",
)
@click.option("--seats", type=click.IntRange(min=1), help="Employees who work at the same time.")
@click.option("--connections", type=click.IntRange(min=1), help="Exchanges in flight to servers.")
@click.option("--certificate", help="Chain of the public listener; '': clear text behind a proxy.")
@click.option("--key", help="Its private key.")
@click.option("--kind", type=click.Choice(_KINDS), help="What the directory is.")
@click.option("--directory", help="Its servers, in order: 'ldaps://dc1.corp ldaps://dc2.corp'")
@click.option("--ca", help="PEM of the authorities of its certificates; '': the system's.")
@click.option("--base", help="Where employees are searched: ou=people,dc=example,dc=com")
@click.option("--bind-dn", help="The service account that searches.")
@click.option(
    "--bind-password",
    help="Its password; better from a terminal, or:",
    envvar="BROKER_BIND_PASSWORD",
    show_envvar=True,
)
@click.option("--group", help="Who may enter: a group's name (DN); '': everybody.")
@click.option("--redis", help="Its URL: redis://127.0.0.1:6379/0")
def command(file: Path, **given: object) -> None:
    """Ask for what only you know, and write FILE with secrets beside it.

    Then `broker check -c FILE` tries directory, Redis and servers.
    """  # fmt: skip
    from broker.cli.first_configuration import Answers, written

    answers = _answers(given)
    paths = written(file, Answers(**answers))
    for path in paths:
        click.echo(f"wrote {path}")
    click.echo(f"\nNow:\n  broker check -c {file}")
    click.echo(f"  broker serve --first-start -c {file}   # later without --first-start")


def _answers(given: Mapping[str, Any]) -> dict[str, Any]:
    """By option; what is not said is asked, in the order in which people think of it."""
    answers = dict(given)

    def ask(name: str, question: str, default: object = None, **how: object) -> None:
        if answers[name] is None:
            answers[name] = _ask(name, question, default, **how)

    ask("home", "Host where employees log in (home), like https://home.example.com",
        value_proc=_origin)  # fmt: skip
    if not answers["applications"]:
        answers["applications"] = _applications()
    ask("seats", "Employees who may work at the same time", 100, type=click.IntRange(min=1))
    ask("connections", "Exchanges in flight to all servers at most", answers["seats"],
        type=click.IntRange(min=1))  # fmt: skip
    ask("certificate", "Certificate file of the public listener (empty: clear text on loopback, "
        "behind a proxy of yours)", "", value_proc=_file)  # fmt: skip
    if answers["certificate"]:
        ask("key", "Its key file", value_proc=_file)
    ask("kind", "What is the directory?", "openldap", type=click.Choice(_KINDS))
    ask("directory", "Its servers, like ldaps://ldap1.example.com (several: with spaces)")
    ask("ca", "PEM file of the authorities of its certificates (empty: the system's)", "",
        value_proc=_file)  # fmt: skip
    ask("base", "Where employees are searched, like ou=people,dc=example,dc=com")
    ask("bind_dn", "Service account that searches (its DN; empty: anonymous)", "")
    if answers["bind_dn"]:
        ask("bind_password", "Its password", hide_input=True)
    ask("group", "DN of the group that may enter (empty: everybody)", "")
    ask("redis", "Redis", "redis://127.0.0.1:6379/0")
    return answers


def _applications() -> tuple[str, ...]:
    found: list[str] = []
    while True:
        question = "Application as browsers see it, like https://wiki.example.com"
        default = None
        if found:
            question, default = "Another application (empty: no more)", ""
        origin = _ask("applications", question, default, value_proc=_origin)
        if not origin:
            return tuple(found)
        servers = _ask(
            "applications", "Its servers, like http://10.0.0.5:8080 (several: spaces)",
            value_proc=_servers,
        )  # fmt: skip
        found.append(f"{origin} {servers}")


def _origin(given: str) -> str:
    from broker.settings.scalars import origin

    return _taken(origin, given) if given else ""


def _servers(given: str) -> str:
    from broker.settings.scalars import server

    return " ".join(_taken(server, each) for each in given.split())


def _taken(rule: Callable[[str], str], given: str) -> str:
    """What is typed wrong is asked again at once, not named when all the rest is answered."""
    try:
        return rule(given)
    except ValueError as error:
        raise click.UsageError(f"{given} {error}.") from None


def _file(given: str) -> str:
    if given and not Path(given).is_file():
        raise click.UsageError(f"{given} is not there, or is no file.")
    return given


def _ask(name: str, question: str, default: object = None, **how: object) -> object:
    if not sys.stdin.isatty():
        option = name.removesuffix("s") if name == "applications" else name
        text = f"There is no terminal to ask: say --{option.replace('_', '-')}."
        raise click.UsageError(text)
    prompt: Callable[..., object] = click.prompt
    show = default not in (None, "")
    return prompt(question, default=default, show_default=show, err=True, **how)
