"""The options of a run, the same for ``python -m loadtest run`` and for plain ``locust``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadtest.model import LoadModel
from loadtest.plan import Plan
from loadtest.report.writing import REPORTS
from loadtest.scenarios import SCENARIOS
from loadtest.site import Site, SiteError, read_site

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

DEMO = Path(".demo/ready.json")
_MODEL = {field.name: field for field in dataclasses.fields(LoadModel)}


def add_options(parser: argparse.ArgumentParser, **more: Any) -> None:
    """``more`` goes to every option (Locust's parser knows ``include_in_web_ui``)."""
    add = parser.add_argument_group("the run").add_argument
    add("--scale", type=float, default=400.0, help="divides people and capacity: 1:400", **more)
    add("--speed", type=float, default=0.0, help="divides every duration; 0: the scenario's own",
        **more)  # fmt: skip
    add("--set", action="append", default=[], metavar="NAME=VALUE",
        help="a figure of the load model, such as live_share=0.4", **more)  # fmt: skip
    add("--reports", type=Path, default=REPORTS, help="where reports are written", **more)
    add = parser.add_argument_group("the site").add_argument
    add("--target", default="", help="origin of the home host", **more)
    add("--app", action="append", default=[], metavar="POOL=ORIGIN",
        help="an application by the name of its pool; the first is the one people use",
        **more)  # fmt: skip
    add("--site", type=Path, default=None, metavar="FILE",
        help="a description in JSON, in the form of .demo/ready.json", **more)  # fmt: skip
    add("--accounts", type=Path, default=None, metavar="FILE",
        help="accounts and password in JSON", **more)  # fmt: skip
    add("--idle", type=float, default=0.0,
        help="idle time of seats in seconds, if not 15 min at this speed", **more)  # fmt: skip


def plan_of(scenario: str, options: argparse.Namespace) -> Plan:
    """Raises SiteError for what makes no sense."""
    if scenario not in SCENARIOS:
        raise SiteError(f"there is no scenario {scenario}: {', '.join(SCENARIOS)}")
    chosen = SCENARIOS[scenario]
    if options.scale <= 0 or options.speed < 0:
        raise SiteError("--scale and --speed are above 0")
    return Plan(
        model=_model(options.set),
        scenario=chosen,
        scale=options.scale,
        speed=options.speed or chosen.speed,
        idle_seconds=options.idle or None,
    )


def _model(settings: list[str]) -> LoadModel:
    changes: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in _MODEL:
            raise SiteError(f"--set {setting}: there is {', '.join(_MODEL)}")
        kind = int if _MODEL[name].type == "int" else float
        try:
            changes[name] = kind(value)
        except ValueError:
            raise SiteError(f"--set {setting}: {value!r} is no number") from None
    return dataclasses.replace(LoadModel(), **changes)


def site_of(options: argparse.Namespace, environ: Mapping[str, str], here: Path) -> Site:
    """The site that is named, else the demo that runs in ``here``. Raises SiteError."""
    description = options.site
    if description is None and not options.target and (here / DEMO).is_file():
        description = here / DEMO
    return read_site(description, options.target, options.app, options.accounts, environ)
