"""``broker check`` against real servers: everything right, then one thing wrong after the other."""

from __future__ import annotations

import contextlib
import os
import shutil
import socketserver
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from broker.cli.main import main
from broker.demo.employees import GROUPS_DN, PEOPLE_DN, SERVICE_DN, SERVICE_PASSWORD
from broker.site.tokens import KeyRing
from tests.integration.conftest import make_authority
from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Authority
    from tests.support.ldaptor_server import LdaptorServer
    from tests.support.slapd_server import SlapdServer


class _Backend(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("check")


@contextlib.contextmanager
def answering(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def backend() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Backend)
    with answering(server):
        yield f"http://127.0.0.1:{server.server_address[1]}"


@pytest.fixture(scope="module")
def redis(folder: Path) -> Iterator[Path]:
    program = shutil.which("redis-server")
    if program is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("redis-server is not installed")
    path = folder / "redis.sock"
    process = subprocess.Popen(
        [program, "--port", "0", "--unixsocket", str(path), "--dir", str(folder),
         "--appendonly", "yes", "--maxmemory-policy", "noeviction"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 20
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    yield path
    process.terminate()
    process.wait()


@pytest.fixture
def document(
    folder: Path, backend: str, redis: Path, authority: Authority, ldaptor: LdaptorServer
) -> dict[str, Any]:
    pair = {"certificate": str(authority.certificate), "key": str(authority.key)}
    (folder / "keys.json").write_text(KeyRing.generate(), "utf-8")
    (folder / "password").write_text(SERVICE_PASSWORD, "utf-8")
    return {
        "site": "test",
        "home": "https://localhost:8443",
        "run_dir": str(folder),
        "listeners": [
            {
                "address": "127.0.0.1:8443",
                "tls": {"certificates": [pair]},
            }
        ],
        "hosts": [{"origin": "https://localhost:9443", "routes": [{"pool": "feed"}]}],
        "pools": {"feed": {"servers": [backend], "connections": {"limit": 10}}},
        "populations": [{"name": "everyone"}],
        "seats": {"limit": 10},
        "connections": {"limit": 10},
        "directory": {
            "servers": [f"ldaps://127.0.0.1:{ldaptor.ldaps_port}"],
            "ca": str(authority.ca),
            "base": PEOPLE_DN,
            "bind_dn": SERVICE_DN,
            "bind_password": "file:password",
        },
        "sessions": {"keys": "file:keys.json"},
        "ledger": {"url": f"unix://{redis}"},
        "admin": {"token": "a token long enough"},
    }


def check(
    folder: Path, document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(document), "utf-8")
    code = main(["check", "-c", str(path)])
    return code, capsys.readouterr().out


def test_everything_is_right(
    folder: Path, document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = check(folder, document, capsys)
    assert code == 0, out
    assert "FAULT" not in out
    assert "Redis is fit" in out
    assert f"found {PEOPLE_DN}" in out
    assert "is healthy" in out


def test_several_things_are_wrong_and_all_are_told(
    folder: Path, document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "password").write_text("not this one", "utf-8")
    document["ledger"]["url"] = f"unix://{folder}/nowhere.sock"
    document["pools"]["feed"]["health"] = {"path": "/nowhere"}
    document["pools"]["feed"]["servers"].append("http://127.0.0.1:1")
    document["hosts"][0]["origin"] = "https://feed.example.com"
    code, out = check(folder, document, capsys)
    assert code == 1
    faults = [line for line in out.splitlines() if "FAULT" in line]
    for what in (
        "directory:",
        "ledger:",
        "/nowhere answers 404",
        "http://127.0.0.1:1 does not answer: Connection refused",
        "no certificate is made out to feed.example.com",
    ):
        assert any(what in fault for fault in faults), out
    assert "not this one" not in out


MANAGERS, TYPING_ERROR = f"cn=managers,{GROUPS_DN}", f"cn=mangers,{GROUPS_DN}"


@pytest.mark.parametrize(
    ("changed", "level", "told"),
    [
        ({"ca": "strangers.pem"}, "FAULT", "certificate is not trusted"),
        ({"bind_password": "wrong"}, "FAULT", "service account may not log in"),
        ({"bind_dn": SERVICE_DN + "x"}, "FAULT", "service account may not log in"),
        ({"base": "ou=peple,dc=intranet,dc=example"}, "FAULT", "search base does not exist"),
        ({"base": SERVICE_DN}, "FAULT", f"nobody below {SERVICE_DN} matches"),
        (
            {"user_filter": "(sAMAccountName={username})", "user_attribute": "sAMAccountName"},
            "FAULT",
            "matches (sAMAccountName=*) (user_filter, for any name)",
        ),
        (
            {"user_filter": "(|(mail={username})(loginName={username}))",
             "user_attribute": "loginName"},
            "FAULT",
            "has loginName (user_attribute), so nobody could log in",
        ),
        ({"disabled_filter": "(objectClass=person)"}, "FAULT", "everybody matches"),
        ({"group_attribute": "isMemberOf"}, "warning", "overlay memberof only"),
        ({"attributes": ["costCentre"]}, "warning", "has costCentre (attributes)"),
        ({}, "warning", f"there is no {TYPING_ERROR} (population managers)"),
    ],
)  # fmt: skip
def test_a_newcomer_s_mistakes_with_the_directory(
    folder: Path, document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    changed: dict[str, Any], level: str, told: str, ldap_server: LdaptorServer | SlapdServer,
) -> None:  # fmt: skip
    if "ca" in changed:
        changed = {"ca": str(make_authority(tmp_path, "localhost").ca)}
    servers = [f"ldaps://127.0.0.1:{ldap_server.ldaps_port}"]
    document["directory"] |= {"servers": servers, **changed}
    group = MANAGERS if changed else TYPING_ERROR
    document["populations"] = [{"name": "managers", "groups": [group]}, {"name": "everyone"}]
    code, out = check(folder, document, capsys)
    (line,) = [each for each in out.splitlines() if "directory: " in each and " ok " not in each]
    assert line.split()[0] == level, out
    assert told in line
    assert code == (1 if level == "FAULT" else 0), out


def test_servers_over_tls_by_name_and_by_unix_socket(
    folder: Path,
    document: dict[str, Any],
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first proves itself, the second to nobody who asks the system's authorities."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate, authority.key)
    secure = ThreadingHTTPServer(("127.0.0.1", 0), _Backend)
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    local = socketserver.ThreadingUnixStreamServer(str(tmp_path / "app.sock"), _Backend)
    with answering(secure), answering(local):
        port = secure.server_address[1]
        pool = document["pools"]["feed"]
        pool["servers"] = [f"https://localhost:{port}", f"unix:{tmp_path / 'app.sock'}"]
        pool["tls"] = {"ca": str(authority.ca)}
        _, out = check(folder, document, capsys)
        # localhost may be ::1 as well, where nobody listens: that is worth a word, no more
        assert f"https://localhost:{port}" in out
        assert "FAULT  pool feed" not in out, out
        assert f"unix:{tmp_path / 'app.sock'} is healthy" in out
        del pool["tls"]
        code, out = check(folder, document, capsys)
        assert code == 1
        assert "its certificate cannot be believed" in out
        pool["servers"] = ["http://nowhere.invalid:80"]
        code, out = check(folder, document, capsys)
        assert code == 1
        assert "http://nowhere.invalid:80 cannot be resolved" in out


def test_a_redis_that_forgets(
    folder: Path, document: dict[str, Any], redis: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def configure(policy: str) -> None:
        client = shutil.which("redis-cli")
        assert client is not None
        subprocess.run(
            [client, "-s", redis, "config", "set", "maxmemory-policy", policy],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    configure("allkeys-lru")
    try:
        code, out = check(folder, document, capsys)
    finally:
        configure("noeviction")
    assert code == 1
    assert "noeviction" in out


def test_second_factors_want_a_redis_that_keeps_them(
    folder: Path, document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """``serve`` refuses, ``check`` explains; without second factors both only warn."""
    asked = {**document, "second_factor": {"populations": ["everyone"]}}
    assert check(folder, asked, capsys)[0] == 0
    with contextlib.closing(RedisServer("--maxmemory-policy", "noeviction")) as forgetful:
        document["ledger"] = asked["ledger"] = {"url": forgetful.url}
        assert check(folder, document, capsys)[0] == 0
        code, out = check(folder, asked, capsys)
        refused = main(["serve", "-c", str(folder / "config.yaml")])
        told = capsys.readouterr().err
    assert (code, refused) == (1, 1)
    assert "would lose every second factor" in out
    assert "would lose every second factor" in told
