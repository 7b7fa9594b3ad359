"""The options of a run, the same for ``python -m loadtest run`` and for plain ``locust``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadtest.model import LoadModel
from loadtest.plan import Objectives, Plan
from loadtest.report.writing import REPORTS
from loadtest.scenarios import SCENARIOS
from loadtest.site import Site, SiteError, read_site

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

DEMO = Path(".demo/ready.json")
_MODEL = {field.name: field for field in dataclasses.fields(LoadModel)}
_OBJECTIVES = {field.name: field for field in dataclasses.fields(Objectives)}


def add_options(parser: argparse.ArgumentParser, **more: Any) -> None:
    """Texts and numbers only: a master sends them to its workers. ``more`` goes to every option
    (Locust's parser knows ``include_in_web_ui``)."""
    add = parser.add_argument_group("the run").add_argument
    add("--scale", type=float, default=400.0, help="divides people and capacity: 1:400", **more)
    add("--speed", type=float, default=0.0, help="divides every duration; 0: the scenario's own",
        **more)  # fmt: skip
    add("--set", action="append", default=[], metavar="NAME=VALUE",
        help="a figure of the load model, such as live_share=0.4", **more)  # fmt: skip
    add("--objective", action="append", default=[], metavar="NAME=VALUE",
        help=f"a promise: {', '.join(_OBJECTIVES)}", **more)  # fmt: skip
    add("--reports", default=str(REPORTS), help="where reports are written", **more)
    add = parser.add_argument_group("the site").add_argument
    add("--target", default="", help="origin of the home host", **more)
    add("--app", action="append", default=[], metavar="POOL=ORIGIN",
        help="an application by the name of its pool; the first is the one people use",
        **more)  # fmt: skip
    add("--site", default="", metavar="FILE",
        help="a description in JSON, in the form of .demo/ready.json", **more)  # fmt: skip
    add("--accounts", default="", metavar="FILE",
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
        model=dataclasses.replace(LoadModel(), **_changes("--set", options.set, _MODEL)),
        scenario=chosen,
        scale=options.scale,
        speed=options.speed or chosen.speed,
        idle_seconds=options.idle or None,
        objectives=Objectives(**_changes("--objective", options.objective, _OBJECTIVES)),
    )


def _changes(
    option: str, settings: list[str], known: dict[str, dataclasses.Field[Any]]
) -> dict[str, Any]:
    """NAME=VALUE each, as numbers. Raises SiteError."""
    changes: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in known:
            raise SiteError(f"{option} {setting}: there is {', '.join(known)}")
        kind = int if known[name].type == "int" else float
        try:
            changes[name] = kind(value)
        except ValueError:
            raise SiteError(f"{option} {setting}: {value!r} is no number") from None
    return changes


def site_of(options: argparse.Namespace, environ: Mapping[str, str], here: Path) -> Site:
    """The site that is named, else the demo that runs in ``here``. Raises SiteError."""
    description = Path(options.site) if options.site else None
    if description is None and not options.target and (here / DEMO).is_file():
        description = here / DEMO
    accounts = Path(options.accounts) if options.accounts else None
    return read_site(description, options.target, options.app, accounts, environ)
