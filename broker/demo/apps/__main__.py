"""``python -m broker.demo.apps feed|wiki --port N``: one server of a sample application."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from broker.demo.apps.assertion import Verifier
from broker.demo.apps.feed import Feed
from broker.demo.apps.oracle import Oracle
from broker.demo.apps.posts import Posts
from broker.demo.apps.serving import serve_until_stopped
from broker.demo.apps.wiki import Wiki

if TYPE_CHECKING:
    from collections.abc import Coroutine


@click.group()
def main() -> None:
    """The sample applications of the demo, one server per process, on loopback only."""


@main.command()
@click.option("--port", default=0, show_default=True, help="0: any free port (printed as READY).")
@click.option("--name", default="feed-1", show_default=True, help="Shown on its pages.")
@click.option("--data", default=":memory:", show_default=True, help="SQLite file of the posts.")
def feed(port: int, name: str, data: str) -> None:
    """The intranet feed."""

    async def run() -> None:
        oracle = Oracle(name)
        app = Feed(oracle, Posts(data, time.time())).application()
        await serve_until_stopped(app, oracle, port)

    _run(run())


@main.command()
@click.option("--port", default=0, show_default=True, help="0: any free port (printed as READY).")
@click.option("--name", default="wiki-1", show_default=True, help="Shown on its pages.")
@click.option("--jwks", envvar="WIKI_JWKS", required=True, help="The broker's keys: URL or file.")
@click.option("--ca", envvar="WIKI_CA", type=click.Path(path_type=Path), help="CA of that URL.")
@click.option("--audience", default="wiki", show_default=True, help="The pool's name.")
def wiki(port: int, name: str, jwks: str, ca: Path | None, audience: str) -> None:
    """The wiki that verifies the broker's assertion."""

    async def run() -> None:
        oracle = Oracle(name)
        app = Wiki(oracle, Verifier(jwks, ca, audience, time.monotonic)).application()
        await serve_until_stopped(app, oracle, port)

    _run(run())


def _run(life: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(life)
    except OSError as error:
        sys.exit(f"cannot start: {error}")


if __name__ == "__main__":
    main(prog_name="python -m broker.demo.apps")
