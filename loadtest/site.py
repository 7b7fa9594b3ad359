"""The site under test: addresses, accounts, what its pages are called.

Described by one JSON file in the form of the demo's ``.demo/ready.json`` (a running demo needs no
file of its own), overridden by options and, for secrets, by the environment: the admin token in
BROKER_ADMIN_TOKEN, the employees' password in LOADTEST_PASSWORD.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # msgspec reads the annotation
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class SiteError(Exception):
    """The description does not do; the text says what is missing."""


class Site(msgspec.Struct, kw_only=True, frozen=True):
    """``apps``: name -> origin; ``accounts``: population -> login names; ``backends``: pool -> base
    addresses of servers that have an oracle. ``paths``: pages of the first application. ``live``,
    ``upload``: its WebSocket and where files are put, "" for none. ``passwords``: of single people,
    where not all have the same. ``state``: folder of a demo, whose configuration may be published.
    """

    home: str
    apps: dict[str, str] = {}
    ca: str = ""
    admin: str = ""
    admin_token: str = ""
    accounts: dict[str, list[str]] = {}
    password: str = ""
    passwords: dict[str, str] = {}
    backends: dict[str, list[str]] = {}
    paths: tuple[str, ...] = ("/", "/", "/communities/network", "/communities/dakar")
    live: str = "/live"
    upload: str = "/upload"
    mobile: tuple[str, ...] = ("managers", "sales")
    others: tuple[str, ...] = ("everyone",)
    state: str = ""

    @property
    def app(self) -> str:
        """Origin of the application people work in."""
        return next(iter(self.apps.values()), self.home)

    @property
    def pool(self) -> str:
        return next(iter(self.apps), "")

    def password_of(self, person: str) -> str:
        return self.passwords.get(person, self.password)


def read_site(
    description: Path | None,
    target: str | None,
    apps: Sequence[str],
    accounts: Path | None,
    environ: Mapping[str, str],
) -> Site:
    """``apps``: NAME=ORIGIN each. Raises SiteError."""
    known: dict[str, object] = {}
    for file in (description, accounts):
        if file is not None:
            known |= _object(file)
    if target:
        known["home"] = target.rstrip("/")
    if apps:
        known["apps"] = dict(_app(each) for each in apps)
    for variable, name in (
        ("BROKER_ADMIN_URL", "admin"),
        ("BROKER_ADMIN_TOKEN", "admin_token"),
        ("BROKER_CA", "ca"),
        ("LOADTEST_PASSWORD", "password"),
    ):
        if environ.get(variable):
            known[name] = environ[variable]
    if not known.get("home"):
        raise SiteError("say which site: --target URL, or --site FILE such as .demo/ready.json")
    try:
        site = msgspec.convert(known, Site)
    except msgspec.ValidationError as error:
        raise SiteError(f"the description of the site: {error}") from None
    if not any(site.accounts.values()):
        raise SiteError('no accounts: --accounts FILE with {"accounts": {POPULATION: [NAME]}}')
    return site


def _object(file: Path) -> dict[str, object]:
    try:
        found = msgspec.json.decode(file.read_bytes())
    except OSError as error:
        raise SiteError(f"{file}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise SiteError(f"{file}: {error}") from None
    if not isinstance(found, dict):
        raise SiteError(f"{file}: not a JSON object")
    return found


def _app(text: str) -> tuple[str, str]:
    name, _, origin = text.partition("=")
    if not name or not urlsplit(origin).hostname:
        raise SiteError(f"--app {text}: should be NAME=https://HOST")
    return name, origin.rstrip("/")


class TooFewAccounts(SiteError):
    """More employees are asked for than the directory has."""


def deal(site: Site, employees: int, *, mobile_first: bool) -> list[tuple[str, str]]:
    """(population, person) in the order in which they come, populations in the proportions of the
    accounts. ``mobile_first``: those who are admitted in normal times before all others. Raises
    TooFewAccounts."""
    people = {name: site.accounts[name] for name in (*site.mobile, *site.others)
              if site.accounts.get(name)}  # fmt: skip
    total = sum(len(names) for names in people.values())
    if employees > total:
        raise TooFewAccounts(
            f"{employees} employees are asked for, but there are accounts for {total}: "
            "a larger --scale, or more accounts"
        )
    order = []
    for population, names in people.items():
        share = round(employees * len(names) / total)
        for number, person in enumerate(names[: max(share, 1)]):
            late = mobile_first and population not in site.mobile
            order.append((late, (number + 0.5) / max(share, 1), population, person))
    order.sort()
    return [(population, person) for _, _, population, person in order][:employees]
