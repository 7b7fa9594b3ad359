"""An admin API made of canned answers, on a real socket."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "a token of some length"

CAPACITY = {
    "version": 7, "digest": "abc", "scale": 6.0, "epoch": "e", "learning": False, "draining": [],
    "level": "normal", "levels": ["normal"], "open_to": ["sales"], "raises": {}, "caps": [],
    "seats": {
        "limit": 60, "occupied": 48, "called": 2, "waiting": 140,
        "populations": {
            "sales": {"admitted": True, "limit": 60, "guaranteed": 20, "lendable": 1.0, "weight": 1,
                      "occupied": 48, "called": 2, "waiting": 140},
        },
    },
    "connections": {
        "limit": 400, "granted": 90, "in_use": 81,
        "pools": {"feed": {"limit": 300, "guaranteed": 100, "lendable": 1.0, "granted": 90,
                           "in_use": 81, "populations": {}}},
    },
}  # fmt: skip
WORKERS = {
    "ledger_up": True, "version": 7, "digest": "abc",
    "workers": [
        {"id": "h1/b/1", "host": "h1", "pid": 4711, "slot": 0, "restarts": 0, "started": 1.0,
         "answers": True, "acknowledged": 7, "digest": "abc", "silent_seconds": 0.2, "granted": 50,
         "in_use": 41},
        {"id": "h2/b/2", "host": "h2", "pid": None, "slot": None, "restarts": None, "started": None,
         "answers": None, "acknowledged": 6, "digest": "abc", "silent_seconds": 0.1, "granted": 40,
         "in_use": 40},
    ],
}  # fmt: skip
POOLS = {
    "ledger_up": True,
    "pools": {
        "feed": {"connections": {}, "lease": "keep", "servers": [
            {"server": "http://10.0.0.1:80", "healthy": True, "healthy_on": 2, "seen_by": 2,
             "in_flight": 41, "draining": False},
            {"server": "http://10.0.0.2:80", "healthy": False, "healthy_on": 1, "seen_by": 2,
             "in_flight": 40, "draining": False},
        ]},
    },
}  # fmt: skip
SESSIONS = {
    "sessions": [
        {"id": "s-1", "employee": "mia", "display_name": "Mia", "population": "sales",
         "created_ms": 0, "ends_ms": 43_200_000, "last_seen_ms": 5, "address": "192.0.2.7",
         "agent": "Firefox\x1b[31m"},
    ],
    "total": 1,
    "ledger_ms": 240_005,
}  # fmt: skip
WAITING = {
    "waiting": 140,
    "called": 2,
    "estimates": {"shown": 40, "kept": 37},
    "populations": {"sales": {"waiting": 140, "called": 2}},
}


class AdminApi:
    """Answers by (method, path with query); anything else is 404. Remembers what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[tuple[str, str, Any, str | None]] = []
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {
            ("GET", "capacity"): (200, CAPACITY),
            ("GET", "workers"): (200, WORKERS),
            ("GET", "pools"): (200, POOLS),
            ("GET", "waiting"): (200, WAITING),
            ("GET", "sessions?employee=mia"): (200, SESSIONS),
            ("GET", "sessions?employee=nobody"): (
                200,
                {"sessions": [], "total": 0, "ledger_ms": 9},
            ),
            ("GET", "sessions?population=sales"): (200, {**SESSIONS, "total": 70}),
            ("GET", "sessions?everybody=yes"): (200, {**SESSIONS, "total": 1}),
        }


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[AdminApi]:
    """The running fake, which the environment names."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.removeprefix("/api/v1/")
            sent = json.loads(body) if body else None
            known.asked.append((self.command, path, sent, self.headers.get("If-Match")))
            status: int
            value: Any
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status, value = 401, {"detail": "no token, or a wrong one"}
            else:
                status, value = known.answers.get(
                    (self.command, path), (404, {"detail": f"there is no {path}"})
                )
            raw = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_DELETE = answer

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known = AdminApi(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("BROKER_ADMIN_URL", known.url)
    monkeypatch.setenv("BROKER_ADMIN_TOKEN", TOKEN)
    yield known
    server.shutdown()
    thread.join()
    server.server_close()
