"""What the demo says: a line while it starts, what to try when it runs, why it could not.

Writes to the given streams only; a reader that went away ends nothing.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from broker.demo.parts import PartFailed
    from broker.demo.plan import Plan


class Voice:
    """``out`` is for what was asked for, ``aside`` (standard error) for progress and trouble."""

    def __init__(self, out: TextIO, aside: TextIO) -> None:
        self._out = out
        self._aside = aside
        self._began = time.monotonic()
        self._live = aside.isatty()
        self._width = 0

    def progress(self, done: int, of: int, what: str) -> None:
        """One line that is written over on a terminal, a line each elsewhere."""
        seconds = time.monotonic() - self._began
        bar = "#" * done + "." * (of - done)
        line = f"Starting the demo [{bar}] {seconds:4.1f} s  {what}"
        if self._live:
            self._write(self._aside, "\r" + line.ljust(self._width))
            self._width = len(line)
            if done == of:
                self._write(self._aside, "\n")
        else:
            self._write(self._aside, line + "\n")

    def say(self, text: str) -> None:
        self._write(self._aside, ("\n" if self._live and self._width else "") + text + "\n")
        self._width = 0

    def failed(self, error: PartFailed) -> None:
        tail = "\n".join(f"    {line}" for line in error.tail.splitlines())
        self.say(f"{error}. The end of {error.log}:\n{tail or '    (it is empty)'}")

    def ready(self, known: dict[str, Any], plan: Plan) -> None:
        """The READY line is for scripts: on a terminal a thousand names would bury the rest."""
        with contextlib.suppress(ValueError):  # closed: nobody reads any more
            if not self._out.isatty():
                self._write(self._out, f"READY {json.dumps(known)}\n")
        self._write(self._out, welcome(known, plan))

    @staticmethod
    def _write(stream: TextIO, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            stream.write(text)
            stream.flush()


def welcome(known: dict[str, Any], plan: Plan) -> str:
    """For people: where to go, as whom, and what to try."""
    people, apps = known["accounts"], known["apps"]
    feed_host = apps["feed"].removeprefix("https://").split(":")[0]
    arrive = f"{command_line()} demo arrive 100"
    another = f"; `{command_line()} console` prints another link"
    raising = f"""
            {command_line()} capacity raise 6x --open-to everyone --ramp 1.5/10s --reason lockdown
                                  and then a slow server (above): see the guard act"""
    if plan.state != Path.cwd() / ".demo":
        another, raising = " and within an hour", ""
        arrive += f" --state {shown(plan.state)}"
    ca = shown(Path(known["ca"]))
    backend = known["backends"]["feed"][0]
    return f"""
  The demo runs: {plan.seats} seats, {plan.workers} workers. Ctrl-C stops it.

  Open      {apps["feed"]}   the feed
            {apps["wiki"]}   the wiki, which shows the verified assertion
            {known["home"]}        the home host: login, my session
  Log in    sales     {_some(people["sales"])}
            managers  {_some(people["managers"])}
            others    {_some(people["everyone"])}   (not admitted at first)
            sales     {_some(people["second_factor"])}   (with a second factor)
            sales     {people["expired"][0]}   (the password has expired: one changes it first)
            sales     {people["must_change"][0]}   (must change it at the first login)
            password  {known["password"]}   (everybody's)

  The browser does not know the demo's CA yet. Either accept its warning once for each host, or
  import {ca} as an authority for websites; it can vouch for localhost only.
  Names under .localhost are this machine in Chromium and Firefox. For curl:
    curl --cacert {ca} --resolve {feed_host}:{plan.public_port}:127.0.0.1 \\
         -i {apps["feed"]}/

  Try       {arrive}
            curl {backend}/oracle          what a backend sees itself
            curl -d '{{"delay_seconds": 2}}' {backend}/oracle
                                  slow it down; {{"mend": true}} ends that
  Operate   {known["console"]}
            opens the console, once{another}{raising}
            {known["admin"]}   /metrics, /readyz;
            the rest with the token in {shown(plan.environment_file)}
  Logs      {shown(plan.state / "logs")}
"""


def command_line() -> str:
    """How the command is called from here, as short as it goes."""
    script = Path(sys.executable).with_name("broker")
    on_path = shutil.which("broker")
    if on_path and Path(on_path).resolve() == script.resolve():
        return "broker"
    return str(shown(script)) if script.exists() else f"{shown(Path(sys.executable))} -m broker"


def shown(path: Path) -> Path:
    """A path below the current folder without that folder."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _some(names: list[str]) -> str:
    return ", ".join(names[:3])
