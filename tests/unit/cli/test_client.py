"""Finding the admin API, speaking to it, and turning its refusals into errors."""

from __future__ import annotations

import threading
from socketserver import StreamRequestHandler, UnixStreamServer
from typing import TYPE_CHECKING

import pytest

from broker.cli.client import AdminClient
from broker.cli.finding import find_api
from broker.cli.main import UnreachableError, main
from broker.errors import NotFound, Refused, Stale
from tests.unit.cli.conftest import TOKEN, WAITING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import AdminApi


def test_the_environment_comes_first(api: AdminApi, tmp_path: Path) -> None:
    environ = {"BROKER_ADMIN_URL": api.url, "BROKER_ADMIN_TOKEN": TOKEN}
    found = find_api(tmp_path / "not-even-there.yaml", environ, tmp_path)
    assert found.get("waiting") == WAITING


def test_a_running_demo_is_found_and_named(
    api: AdminApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".demo").mkdir()
    (tmp_path / ".demo" / "env").write_text(
        f"BROKER_ADMIN_URL={api.url}\nexport BROKER_ADMIN_TOKEN='{TOKEN}'\nBROKER_HOME=x\n", "utf-8"
    )
    assert find_api(None, {}, tmp_path).get("waiting") == WAITING
    assert "running demo (.demo/env)" in capsys.readouterr().err


def test_without_any_it_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("BROKER_ADMIN_URL", "BROKER_ADMIN_TOKEN", "BROKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    assert main(["status"]) == 3
    assert "set BROKER_ADMIN_URL and BROKER_ADMIN_TOKEN" in capsys.readouterr().err
    monkeypatch.setenv("BROKER_ADMIN_URL", "http://127.0.0.1:1")
    assert main(["status"]) == 3
    assert "set BROKER_ADMIN_TOKEN" in capsys.readouterr().err


def test_a_configuration_at_fault_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("BROKER_ADMIN_URL", raising=False)
    path = tmp_path / "config.yaml"
    path.write_text("site: test\n", "utf-8")
    assert main(["status", "-c", str(path)]) == 1
    assert f"{path}:1: admin: is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, Refused), (401, Refused), (404, NotFound), (412, Stale), (503, UnreachableError)],
)
def test_refusals_carry_the_sentence_of_the_api(
    api: AdminApi, status: int, error: type[Exception]
) -> None:
    api.answers["GET", "waiting"] = (status, {"title": "x", "detail": "because of the test"})
    with pytest.raises(error, match="because of the test"):
        AdminClient(api.url, TOKEN).get("waiting")


def test_a_wrong_token(api: AdminApi) -> None:
    with pytest.raises(Refused, match="is BROKER_ADMIN_TOKEN right"):
        AdminClient(api.url, "wrong").get("waiting")


def test_something_else_listens_there(api: AdminApi) -> None:
    api.answers["GET", "waiting"] = (200, b"<html>")
    with pytest.raises(UnreachableError, match="is not the broker's admin API"):
        AdminClient(api.url, TOKEN).get("waiting")


def test_nobody_listens_there() -> None:
    with pytest.raises(UnreachableError, match="does not answer: Connection refused"):
        AdminClient("http://127.0.0.1:1", TOKEN).get("waiting")


def test_a_url_that_is_none() -> None:
    with pytest.raises(Refused, match="should be http://HOST:PORT"):
        AdminClient("localhost:8444", TOKEN).get("waiting")


def test_a_unix_socket(tmp_path: Path) -> None:
    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"over": 1}')

    path = tmp_path / "admin.sock"
    with UnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert AdminClient(f"unix:{path}", TOKEN).get("waiting") == {"over": 1}
        thread.join()
