"""``/api/v1/tokens``: who may use the admin API. A token is shown once, when it is made."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from broker.admin import guard
from broker.admin.asking import body
from broker.admin.callers import digest, new_token
from broker.admin.capacity_views import civil
from broker.admin.guard import problem
from broker.admin.operations import Operation, Parameter
from broker.errors import NotFound, Refused
from broker.ledger.port import AdminToken, AuditEntry

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.admin.callers import Callers
    from broker.ledger.port import AdminRole, Ledger

STEWARD = "steward"
"""Whose name no token may have: the audit trail would tell a lie."""
_log = logging.getLogger(__name__)
_NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}"
_ROLES: dict[str, AdminRole] = {"viewer": "viewer", "operator": "operator"}
_LONGEST = 10 * 366 * 86_400.0  # seconds


class Tokens:
    """``civil``: civil time in seconds."""

    def __init__(self, ledger: Ledger, callers: Callers, civil: Callable[[], float]) -> None:
        self._ledger = ledger
        self._callers = callers
        self._civil = civil

    async def list(self, _: web.Request) -> web.Response:
        tokens = [self._view(each) for each in await self._ledger.tokens()]
        return web.json_response({"tokens": tokens})

    async def create(self, request: web.Request) -> web.Response:
        name, role, lasts = _read(await body(request))
        made = new_token()
        now_ms = round(self._civil() * 1000)
        ends_ms = 0 if lasts is None else now_ms + round(lasts * 1000)
        author = guard.author(request)
        token = AdminToken(name, role, digest(made), now_ms, author, ends_ms)
        entry = AuditEntry(author, "created", f"token {name} ({role})")
        if not await self._ledger.put_token(token, entry):
            return problem(409, f"there is a token {name} already: revoke it, or take another name")
        _log.warning("%s created token %s (%s)", author, name, role)
        self._callers.changed()
        return web.json_response({**self._view(token), "token": made}, status=201)

    async def revoke(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        author = guard.author(request)
        if not await self._ledger.drop_token(name, AuditEntry(author, "revoked", f"token {name}")):
            raise NotFound(f"there is no token {name}")
        _log.warning("%s revoked token %s", author, name)
        self._callers.changed()
        return web.json_response({"revoked": name})

    def operations(self) -> tuple[Operation, ...]:
        wanted = {
            "type": "object",
            "required": ["name", "role"],
            "properties": {
                "name": {"type": "string", "pattern": f"^{_NAME}$"},
                "role": {"enum": list(_ROLES)},
                "lasts": {
                    "description": "seconds until it ends; without it never",
                    "type": ["number", "null"],
                    "exclusiveMinimum": 0,
                    "maximum": _LONGEST,
                },
            },
            "additionalProperties": False,
        }
        return (
            Operation("GET", "/tokens", "Who may use this API", self.list, {200: "all tokens"}),
            Operation(
                "POST", "/tokens", "Let somebody in under a name", self.create,
                {
                    201: "token: what to send, shown only now",
                    400: "no such role, or a name that does not fit",
                    409: "the name is taken",
                },
                body=wanted,
            ),
            Operation(
                "DELETE", "/tokens/{name}", "Let a token in no more", self.revoke,
                {200: "revoked, on every host within a second", 404: "no token of that name"},
                (Parameter("name", "path", "its name"),),
            ),
        )  # fmt: skip

    def _view(self, token: AdminToken) -> dict[str, Any]:
        return {
            "name": token.name,
            "role": token.role,
            "author": token.author,
            "created": civil(token.created_ms),
            "ends": civil(token.ends_ms) if token.ends_ms else None,
            "over": 0 < token.ends_ms <= self._civil() * 1000,
        }


def _read(wanted: dict[str, Any]) -> tuple[str, AdminRole, float | None]:
    """Raises Refused."""
    if not wanted.keys() <= {"name", "role", "lasts"}:
        raise Refused(f"a token has name, role and lasts, not {json.dumps(sorted(wanted))}")
    name, role, lasts = wanted.get("name"), wanted.get("role"), wanted.get("lasts")
    if not isinstance(name, str) or not re.fullmatch(_NAME, name):
        raise Refused("a name is up to 63 of the letters a-z A-Z 0-9 . _ @ -, such as ci-nightly")
    if name == STEWARD:
        raise Refused(f"{STEWARD} is who ends raises and drives ramps: take another name")
    if not isinstance(role, str) or role not in _ROLES:
        raise Refused("a role is viewer (sees everything, changes nothing) or operator")
    if lasts is None:
        return name, _ROLES[role], None
    if isinstance(lasts, bool) or not isinstance(lasts, int | float) or not 0 < lasts <= _LONGEST:
        raise Refused("lasts is a number of seconds above 0 and at most ten years")
    return name, _ROLES[role], float(lasts)
