"""What commands write: JSON or tables on standard output, and the one question they may ask."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH = 120  # columns where there is no terminal to ask


def show_json(value: Any) -> None:
    """For scripts."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_drawn(drawn: Any) -> None:
    """Anything that rich can print, for people."""
    from rich.console import Console

    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console = Console(width=WIDTH)
    console.print(drawn, highlight=False, markup=False)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, nothing: str) -> None:
    """For people; ``nothing`` is said when there are no rows. Numbers stand to the right."""
    from rich.console import Console

    lines = [[cell(value) for value in row] for row in rows]
    if not lines:
        click.echo(nothing)
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(120, sum(map(len, columns)) * 3))
    console.print(table(columns, lines))


def table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> Any:
    """A rich table without lines; a column of numbers is set to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, name in enumerate(columns):
        numeric = bool(lines) and all(_is_number(line[number]) for line in lines)
        made.add_column(name, justify="right" if numeric else "left", no_wrap=number == 0)
    for line in lines:
        made.add_row(*(Text(value) for value in line))
    return made


def cell(value: Any) -> str:
    """One value as people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is changed. Raises UsageError (exit 2) when nobody can answer, and
    ClickException (exit 1) when the answer is no; nothing was changed in either case."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} There is no terminal to ask: say --yes.")
    if not click.confirm(question, err=True):
        raise click.ClickException("Nothing was changed.")


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit() or text == "-"
