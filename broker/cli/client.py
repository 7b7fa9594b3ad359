"""Speaks to the admin API: one request, one answer, then the connection is closed.

The standard library's HTTP client is enough for that and reaches Unix sockets with ten lines;
importing aiohttp alone would take longer than the whole command. Knows nothing of what the answers
mean.
"""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from broker.cli.main import UnreachableError
from broker.errors import NotFound, Refused, Stale

if TYPE_CHECKING:
    import ssl

_TIMEOUT = 10.0


def quoted(text: str) -> str:
    """What somebody typed, as one segment of a path."""
    return quote(text, safe="")


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket; the host name is only for the Host header."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class AdminClient:
    """``url``: ``http://HOST:PORT``, ``https://...`` or ``unix:/PATH``; ``token``: bearer token.
    ``tls``: whom https trusts and what we show; None: the system's authorities, and nothing.

    Every method returns the decoded JSON of a success (None for an empty one) and raises Refused,
    NotFound or Stale with the API's own sentence, or UnreachableError.
    """

    def __init__(self, url: str, token: str, tls: ssl.SSLContext | None = None) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._tls = tls

    def get(self, path: str, **query: str) -> Any:
        """GET ``/api/v1/PATH``."""
        return self._ask("GET", path + (f"?{urlencode(query)}" if query else ""))

    def post(self, path: str, body: dict[str, Any], *, if_match: int | None = None) -> Any:
        """POST ``/api/v1/PATH`` with a JSON body; ``if_match``: the version it was decided on."""
        return self._ask("POST", path, body, if_match)

    def delete(self, path: str, **query: str) -> Any:
        """DELETE ``/api/v1/PATH``."""
        return self._ask("DELETE", path + (f"?{urlencode(query)}" if query else ""))

    def _ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        if_match: int | None = None,
    ) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        if if_match is not None:
            headers["If-Match"] = f'"{if_match}"'
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        connection = self._connection()
        try:
            connection.request(method, f"/api/v1/{path}", data, headers)
            response = connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException) as error:
            cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise UnreachableError(
                f"the admin API at {self._url} does not answer: {cause}"
            ) from None
        finally:
            connection.close()
        return self._answer(response.status, raw)

    def _connection(self) -> http.client.HTTPConnection:
        if self._url.startswith("unix:"):
            return _UnixConnection(self._url.removeprefix("unix:"))
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Refused(f"the admin API's URL should be http://HOST:PORT, not {self._url}")
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT)
        return http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=_TIMEOUT, context=self._tls
        )

    def _answer(self, status: int, raw: bytes) -> Any:
        try:
            value = json.loads(raw) if raw.strip() else None
        except ValueError:
            value = None
            if status < 400:
                raise UnreachableError(f"{self._url} is not the broker's admin API") from None
        if status < 400:
            return value
        problem = value if isinstance(value, dict) else {}
        sentence = str(problem.get("detail") or problem.get("title") or f"the API answers {status}")
        if status == 401:
            raise Refused(f"{sentence} (is BROKER_ADMIN_TOKEN right?)")
        if status == 404:
            raise NotFound(sentence)
        if status == 412:
            raise Stale(sentence)
        if status in (502, 503, 504):
            raise UnreachableError(sentence)
        raise Refused(sentence)
