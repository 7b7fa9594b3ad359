"""The configuration that ``broker init`` writes: few settings, each with its reason beside it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from broker.configuration import load
from broker.errors import ConfigurationError, Refused
from broker.site.tokens import KeyRing


@dataclass(frozen=True, slots=True)
class Answers:
    """What was asked. ``applications``: origin and servers, separated by spaces. ``certificate``
    empty: clear text on loopback. ``group`` empty: everybody."""

    home: str
    applications: tuple[str, ...]
    seats: int
    connections: int
    certificate: str
    key: str | None
    kind: str
    directory: str
    ca: str
    base: str
    bind_dn: str
    bind_password: str | None = field(repr=False)
    group: str
    redis: str


def written(file: Path, answers: Answers) -> list[Path]:
    """Write the configuration and its secrets; their paths. Raises Refused where something is in
    the way, ConfigurationError (nothing is written then) where the broker would not take it."""
    folder = file.absolute().parent
    if not folder.is_dir():
        raise Refused(f"{folder} is no folder")
    in_the_way = [path for path in (file, folder / "secrets") if path.exists()]
    if in_the_way:
        raise Refused(f"{in_the_way[0]} exists; nothing was written")
    draft = Path(tempfile.mkdtemp(prefix=".broker-init-", dir=folder))
    try:
        inside = _secrets(answers)
        (draft / "secrets").mkdir(mode=0o700)
        for name, text in inside.items():
            _private(draft / "secrets" / name, text)
        (draft / file.name).write_text(_text(answers), "utf-8")
        try:
            load(draft / file.name)
        except ConfigurationError as error:
            faults = tuple(fault.removeprefix(f"{draft}/") for fault in error.faults)
            raise ConfigurationError("nothing was written", faults) from None
        (draft / "secrets").rename(folder / "secrets")
        (draft / file.name).rename(file)
    finally:
        shutil.rmtree(draft)
    return [file, *(file.parent / "secrets" / name for name in inside)]


def _secrets(answers: Answers) -> dict[str, str]:
    found = {"keys.json": KeyRing.generate(), "admin-token": secrets.token_urlsafe(24)}
    if answers.bind_dn:
        found["directory"] = answers.bind_password or ""
    if _has_password(answers.redis):
        found["redis"] = answers.redis
    return found


def _private(path: Path, text: str) -> None:
    """For its owner alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def _text(answers: Answers) -> str:
    lines = [
        "# Written by `broker init`. config/example.yaml has every setting with a word about it.",
        "",
        "site: main # all brokers that share one Redis and one set of limits",
        f"home: {_quoted(answers.home)} # login, logout, my session; carries no application",
        "",
        *_listeners(answers),
        "workers: 2 # best one fewer than the machine has processors",
        "",
        *_applications(answers),
        "",
        "# The first population that matches is an employee's; who matches none cannot log in.",
        "populations:",
    ]
    if answers.group:
        lines += ["  - name: staff", f"    groups: [{_quoted(answers.group)}]"]
    else:
        lines += ["  - name: everyone"]
    lines += [
        "",
        f"seats: {{ limit: {answers.seats} }} # employees who work at the same time",
        f"connections: {{ limit: {answers.connections} }} # exchanges in flight to all servers",
        "levels: # for `broker capacity level NAME`",
        "  crisis: { scale: 6 }",
        "",
        *_directory(answers),
        "",
        "sessions: { keys: file:secrets/keys.json } # the same on every host of the site",
        f"ledger: {{ url: {_redis(answers.redis)} }}",
        "admin: # API, console and metrics",
        "  address: 127.0.0.1:8444",
        "  token: file:secrets/admin-token # of the first operator",
        "",
    ]
    return "\n".join(lines)


def _listeners(answers: Answers) -> list[str]:
    if not answers.certificate:
        return [
            "listeners: # clear text, for a proxy on this host: see config/front",
            "  - { address: 127.0.0.1:8080, trusted_proxies: [127.0.0.1] }",
        ]
    return [
        "listeners:",
        "  - address: 0.0.0.0:443",
        "    tls:",
        "      certificates:",
        f"        - certificate: {_path(answers.certificate)} # chain, leaf first",
        f"          key: {_path(answers.key or '')}",
    ]


def _applications(answers: Answers) -> list[str]:
    hosts, pools = ["hosts:"], ["pools:"]
    names: set[str] = set()
    for each in answers.applications:
        origin, *servers = each.split()
        if not servers:
            raise Refused(f"{origin}: name its servers too: '{origin} http://10.0.0.5:8080'")
        name = _name(origin, names)
        names.add(name)
        hosts += [f"  - origin: {_quoted(origin)}", f"    routes: [{{ pool: {name} }}]"]
        pools += [
            f"  {name}:",
            f"    servers: [{', '.join(map(_quoted, servers))}]",
            f"    connections: {{ limit: {answers.connections} }}",
            "    health: { path: / } # a GET that answers 2xx or 3xx is healthy",
        ]
    return [*hosts, *pools]


def _directory(answers: Answers) -> list[str]:
    servers = ", ".join(map(_quoted, answers.directory.split()))
    lines = ["directory:", f"  servers: [{servers}] # in order of preference"]
    if answers.ca:
        lines.append(f"  ca: {_path(answers.ca)}")
    if answers.bind_dn:
        lines.append(f"  bind_dn: {_quoted(answers.bind_dn)}")
        lines.append("  bind_password: file:secrets/directory")
    lines.append(f"  base: {_quoted(answers.base)}")
    if answers.kind == "active-directory":
        lines += [
            "  user_filter: (&(objectClass=user)(sAMAccountName={username}))",
            "  user_attribute: sAMAccountName",
            "  nested_groups: matching_rule",
            "  primary_group: true",
            "  disabled_filter: (userAccountControl:1.2.840.113556.1.4.803:=2)",
        ]
    else:
        lines += [
            "  user_filter: (&(objectClass=person)(uid={username}))",
            "  user_attribute: uid",
            "  group_attribute: memberOf # without that overlay: null, and group_base below",
            "  # group_base: ou=groups,dc=example,dc=com",
        ]
    return lines


def _name(origin: str, taken: set[str]) -> str:
    """The first label of the host; another one may have it already."""
    first = (urlsplit(origin).hostname or "application").partition(".")[0]
    name = "".join(letter if letter.isalnum() else "-" for letter in first)
    number = 2
    while name in taken:
        name = f"{name.rstrip('0123456789')}{number}"
        number += 1
    return name


def _redis(url: str) -> str:
    return "file:secrets/redis" if _has_password(url) else _quoted(url)


def _has_password(url: str) -> bool:
    return "@" in url or "password=" in url


def _path(path: str) -> str:
    return _quoted(str(Path(path).absolute()))


def _quoted(text: str) -> str:
    """As a YAML scalar (JSON is YAML) in which nothing is taken from the environment."""
    return json.dumps(text.strip(), ensure_ascii=False).replace("${", "$${")
