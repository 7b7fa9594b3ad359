"""``--watch``: the same look again every second, drawn over on a terminal, one after another into a
file or a pipe, a line of JSON each for scripts."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from broker.cli.main import UnreachableError
from broker.cli.output import WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY = 1.0  # seconds


def watch(look: Callable[[], Any], draw: Callable[[Any], Any], *, as_json: bool) -> None:
    """``look`` asks, ``draw`` makes something that rich prints of its answer. Until Ctrl-C, which
    is how a watch ends. Raises UnreachableError where nobody sees that the broker is silent."""
    with contextlib.suppress(KeyboardInterrupt):
        if as_json:
            _stream(look)
        elif sys.stdout.isatty():
            _live(look, draw)
        else:
            _repeat(look, draw)


def _stream(look: Callable[[], Any]) -> None:
    while True:
        sys.stdout.write(json.dumps(look()) + "\n")
        sys.stdout.flush()
        time.sleep(EVERY)


def _repeat(look: Callable[[], Any], draw: Callable[[Any], Any]) -> None:
    from rich.console import Console

    console = Console(width=WIDTH)
    while True:
        console.print(draw(look()), "", highlight=False, markup=False)
        sys.stdout.flush()
        time.sleep(EVERY)


def _live(look: Callable[[], Any], draw: Callable[[Any], Any]) -> None:
    """A broker that stops answering is said so on the screen; the watch goes on."""
    from rich.live import Live
    from rich.text import Text

    with Live(draw(look()), screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(EVERY)
            try:
                live.update(draw(look()), refresh=True)
            except UnreachableError as error:
                live.update(Text(error.reason, style="bold red"), refresh=True)
