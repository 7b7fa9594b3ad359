"""``broker check``: all faults of a configuration at once, then everything it names is tried."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from broker.errors import ConfigurationError

if TYPE_CHECKING:
    from broker.cli.probes import Finding

_MARKS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "fault": ("FAULT", "red")}


@click.command("check")
@click.option(
    "-c",
    "--config",
    "configuration",
    required=True,
    envvar="BROKER_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration file (or BROKER_CONFIG).",
)
@click.option("--json", "as_json", is_flag=True, help="Write the findings as JSON.")
@click.option("--offline", is_flag=True, help="Read the file only; try nothing.")
def command(configuration: Path, *, as_json: bool, offline: bool) -> int:
    """Name all faults of a configuration with their place; then try directory, Redis and servers.

    Exit code 1 if anything is wrong. Warnings alone are not.
    """
    findings = _findings(configuration, offline=offline)
    wrong = any(finding.level == "fault" for finding in findings)
    if as_json:
        from broker.cli.output import show_json

        show_json({"ok": not wrong, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            mark, color = _MARKS[finding.level]
            click.echo(f"{click.style(f'{mark:>7}', fg=color)}  {finding.what}: {finding.text}")
        click.echo(_verdict(findings, offline=offline))
    return 1 if wrong else 0


def _findings(configuration: Path, *, offline: bool) -> list[Finding]:
    from broker.cli.probes import Finding, probe
    from broker.configuration import load_with_doubts

    try:
        settings, doubts = load_with_doubts(configuration, os.environ)
    except ConfigurationError as error:
        return [Finding("configuration", "fault", fault) for fault in error.faults]
    found = [Finding("configuration", "warning", doubt) for doubt in doubts]
    found.append(Finding("configuration", "ok", f"{configuration} is valid"))
    if not offline:
        import asyncio

        found += asyncio.run(probe(settings))
    return found


def _verdict(findings: list[Finding], *, offline: bool) -> str:
    faults = sum(finding.level == "fault" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    if faults:
        return f"{faults} fault{'s' if faults > 1 else ''}; the broker would not work like this."
    tried = "Nothing was tried." if offline else "Everything that was tried works."
    return tried if not warnings else f"{tried} Mind the warnings."
