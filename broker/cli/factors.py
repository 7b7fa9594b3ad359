"""``broker factors``: second factors, and when employees may set one up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from broker.cli.finding import api_options
from broker.cli.output import confirm, show_json

if TYPE_CHECKING:
    from broker.cli.client import AdminClient


@click.group("factors")
def command() -> None:
    """Second factors: show, reset; open and close enrolment."""


@command.command("show")
@click.argument("employee", required=False)
@api_options
def show(api: AdminClient, employee: str | None, *, as_json: bool) -> None:
    """Whether EMPLOYEE (the canonical login name) has one; without a name, whether enrolment is
    open."""
    answer = api.get("factors", employee=employee) if employee else api.get("factors")
    if as_json:
        show_json(answer)
        return
    if employee and answer["set_up"]:
        click.echo(
            f"{employee} has a second factor since {answer['set_up']}, and "
            f"{answer['recovery_codes_left']} recovery codes."
        )
    elif employee:
        left = answer["may_set_up_seconds"]
        may = f"may set one up for {_span(left)} more" if left else "may not set one up"
        click.echo(f"{employee} has no second factor and {may}.")
    else:
        _tell_enrolment(answer["enrolment_seconds_left"])


@command.command("reset")
@click.argument("employee")
@click.option(
    "--for", "lasts", default="24h", show_default=True,
    help="For how long another one may be set up, with the password alone; 0s for who has left.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
@api_options
def reset(api: AdminClient, employee: str, *, lasts: str, yes: bool, as_json: bool) -> None:
    """Forget the second factor of EMPLOYEE and log them out everywhere.

    Be sure who asks for it: within the time given, the password alone is enough to set up another
    one. The permission ends when it is used.
    """
    seconds = _seconds(lasts)
    confirm(f"Forget the second factor of {employee} and log them out everywhere?", yes=yes)
    answer = api.post("factors/reset", {"employee": employee, "lasts": seconds})
    if as_json:
        show_json(answer)
        return
    may = f"may set one up for {_span(seconds)}" if seconds else "may not set one up"
    had = "has no second factor any more" if answer["had"] else "had none"
    click.echo(f"{employee} {had}, and {may}.")


@command.command("open")
@click.option("--for", "lasts", required=True, help="For how long, such as 14d.")
@api_options
def open_(api: AdminClient, *, lasts: str, as_json: bool) -> None:
    """Let every employee who needs a second factor and has none set one up at the login.

    It ends by itself when Redis is restarted or has lost its memory.
    """
    answer = api.post("factors/enrolment", {"lasts": _seconds(lasts)})
    if as_json:
        show_json(answer)
        return
    _tell_enrolment(answer["enrolment_seconds_left"])


@command.command("close")
@api_options
def close(api: AdminClient, *, as_json: bool) -> None:
    """Let nobody set one up any more, but whose factor was reset."""
    answer = api.delete("factors/enrolment")
    if as_json:
        show_json(answer)
        return
    _tell_enrolment(answer["enrolment_seconds_left"])


def _tell_enrolment(seconds: float) -> None:
    if seconds:
        click.echo(f"Enrolment is open for {_span(seconds)} more.")
    else:
        click.echo("Enrolment is closed: `broker factors open --for 14d` opens it.")


def _seconds(text: str) -> float:
    from broker.settings.scalars import duration

    try:
        return float(duration(text))
    except ValueError:
        raise click.UsageError(f"--for is a time such as 14d or 8h, not {text}") from None


def _span(seconds: float) -> str:
    if seconds >= 2 * 86_400:
        return f"{seconds / 86_400:.0f} days"
    return f"{seconds / 3600:.0f} h" if seconds >= 7200 else f"{seconds / 60:.0f} min"
