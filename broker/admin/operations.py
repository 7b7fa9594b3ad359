"""The operations of ``/api/v1`` as one table, and the OpenAPI document made from it.

A route that is not in the table does not exist, so that the document cannot lag behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiohttp import web

PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A string parameter. ``where``: ``query``, ``path`` or ``header``."""

    name: str
    where: str
    text: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """``path`` is below PREFIX, with ``{name}`` for path parameters. ``answers``: status -> what it
    means; problems common to all operations are added to the document by themselves.
    ``viewers``: a viewer may ask for it although it is no GET, and the handler refuses what would
    change something."""

    method: str
    path: str
    summary: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    answers: dict[int, str]
    parameters: tuple[Parameter, ...] = ()
    body: dict[str, Any] | None = None
    viewers: bool = False


_COMMON = {
    401: "no token, or a wrong one",
    403: "a viewer's token, or another origin",
    421: "asked under a name that is not this listener's",
    503: "the ledger does not answer",
}


def openapi(operations: Sequence[Operation], site: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these operations."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _one(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Remote-access broker, site {site}", "version": "1"},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Problem": {
                    "description": "RFC 9457",
                    "type": "object",
                    "required": ["title", "status", "detail"],
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                    },
                }
            },
        },
    }


def _one(operation: Operation) -> dict[str, Any]:
    responses = {
        str(status): _response(status, text)
        for status, text in sorted({**_COMMON, **operation.answers}.items())
    }
    described: dict[str, Any] = {"summary": operation.summary, "responses": responses}
    if operation.parameters:
        described["parameters"] = [
            {
                "name": parameter.name,
                "in": parameter.where,
                "description": parameter.text,
                "required": parameter.required or parameter.where == "path",
                "schema": {"type": "string"},
            }
            for parameter in operation.parameters
        ]
    if operation.body is not None:
        described["requestBody"] = {"content": {"application/json": {"schema": operation.body}}}
    return described


def _response(status: int, text: str) -> dict[str, Any]:
    if status >= 400:
        reference = {"$ref": "#/components/schemas/Problem"}
        return {
            "description": text,
            "content": {"application/problem+json": {"schema": reference}},
        }
    if status == 204:
        return {"description": text}
    return {"description": text, "content": {"application/json": {"schema": {"type": "object"}}}}
