"""What commands ask the admin API, what they write, and with which code they end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from broker.cli.main import _COMMANDS, main
from broker.cli.servers import consequences
from broker.site.tokens import KeyRing
from tests.unit.cli.conftest import CAPACITY, SESSIONS, WAITING, WORKERS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import AdminApi


def test_help_imports_nothing_heavy() -> None:
    """That keeps it quick; a time would say so only on this machine."""
    code = (
        "import sys; from broker.__main__ import main; main(['--help']); "
        "print({'aiohttp','asyncio','cryptography','pydantic','redis','rich','yaml'}"
        " & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"
    assert all(f"  {name} " in done.stdout for name in _COMMANDS)


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert "Usage: broker" in capsys.readouterr().out


def test_an_unknown_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["statsu"]) == 2
    assert "Did you mean status?" in capsys.readouterr().err


def test_status(api: AdminApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    assert "scale 6x" in out
    assert "seats 48 of 60" in out
    assert re.search(r"sales +yes +48 +60 +20 +2 +140", out)
    assert re.search(r"feed +81 +90 +300 +100", out)
    assert "healthy for 1 of 2 workers" in out
    assert "older limits" in out


def test_status_without_the_ledger_shows_what_this_host_knows(
    api: AdminApi, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answers["GET", "workers"] = (200, {**WORKERS, "ledger_up": False})
    api.answers["GET", "capacity"] = (503, {"detail": "the ledger does not answer"})
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    assert "The ledger (Redis) is away" in out
    assert "healthy for 1 of 2 workers" in out
    assert re.search(r"h1/b/1 .* ledger away", out)
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["capacity"] is None


def test_status_as_json(api: AdminApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["capacity"] == CAPACITY


class Ticks:
    """In place of a second's sleep: counts, then somebody presses Ctrl-C."""

    def __init__(self, api: AdminApi, most: int) -> None:
        self._api = api
        self._left = most

    def __call__(self, seconds: float) -> None:
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt
        if self._left == 1:
            self._api.answers["GET", "workers"] = (503, {"detail": "the ledger does not answer"})


def test_a_watch_goes_on_without_the_broker_and_ends_by_ctrl_c(
    api: AdminApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("time.sleep", Ticks(api, 3))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["status", "--watch"]) == 0
    assert "the ledger does not answer" in capsys.readouterr().out


def test_a_watch_into_a_pipe_writes_one_status_after_another(
    api: AdminApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("time.sleep", Ticks(api, 4))
    assert main(["status", "--watch"]) == 3, "scripts are told"
    assert capsys.readouterr().out.count("seats 48 of 60") == 3


def test_a_watch_as_json_is_a_line_a_second(
    api: AdminApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("time.sleep", Ticks(api, 4))
    assert main(["status", "--watch", "--json"]) == 3, "scripts are told"
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(json.loads(line)["capacity"] == CAPACITY for line in lines)


def test_capacity_is_watched_as_status_is(
    api: AdminApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def until_it_is_away(_: float) -> None:
        api.answers["GET", "capacity"] = (503, {"detail": "the ledger does not answer"})

    for words, shown in ((["--json"], [CAPACITY]), ([], [])):
        api.answers["GET", "capacity"] = (200, CAPACITY)
        monkeypatch.setattr("time.sleep", until_it_is_away)
        assert main(["capacity", "show", "--watch", *words]) == 3
        out = capsys.readouterr().out
        if shown:
            assert [json.loads(line) for line in out.splitlines()] == shown
        else:
            assert "Level normal, 6x, open to sales" in out


def test_lists(api: AdminApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["workers", "list"]) == 0
    assert re.search(r"h1/b/1 +4711 +7 +50 +41 +0\.2 s +0 +ok", capsys.readouterr().out)
    assert main(["servers", "list"]) == 0
    assert "http://10.0.0.1:80" in capsys.readouterr().out
    assert main(["waiting", "list"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"sales +140 +2", shown)
    assert "37 of 40 (92 %)" in shown
    assert main(["waiting", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == WAITING


def test_the_place_of_one_employee(api: AdminApi, capsys: pytest.CaptureFixture[str]) -> None:
    standing = {"employee": "zoë", "population": "sales", "number": 9, "claim_seconds": None}
    for told, sentence in (
        ({"state": "waiting", "position": 3}, "zoë waits at place 3 of sales."),
        ({"state": "called", "claim_seconds": 41.6}, "zoë is called; the seat is kept for 42 s"),
        ({"state": "seated"}, "zoë has a seat of sales."),
        ({"state": "learning"}, "zoë: learning."),
    ):
        api.answers["GET", "waiting/zo%C3%AB"] = (200, {**standing, **told})
        assert main(["waiting", "list", "zoë"]) == 0
        assert sentence in capsys.readouterr().out
    assert main(["waiting", "list", "nobody"]) != 0


def test_a_ticket_is_removed(api: AdminApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers["DELETE", "waiting/zo%C3%AB"] = (200, {"removed": True})
    assert main(["waiting", "remove", "zoë"]) == 2, "no terminal and no --yes"
    assert not api.asked
    assert main(["waiting", "remove", "zoë", "--yes"]) == 0
    assert "zoë does not wait any more." in capsys.readouterr().out
    assert main(["waiting", "remove", "zoë", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": True}


def drainable(server: str, in_flight: int = 3, **more: bool) -> dict[str, Any]:
    return {"server": server, "in_flight": in_flight, "healthy": True, "draining": False, **more}


def test_what_draining_means() -> None:
    one, two, three = (f"http://10.0.0.{number}:80" for number in (1, 2, 3))
    ill, away = drainable(two, healthy=False), drainable(three, draining=True)
    pools = {
        "feed": {"servers": [drainable(one), drainable(two), ill]},
        "wiki": {"servers": [drainable(one, 0), ill, away]},
        "shop": {"servers": [drainable(two)]},
    }
    assert consequences({"pools": pools}, one) == (
        f"No new exchanges for {one}: 3 in flight go on; pool feed has 1 of 2 others to take new; "
        "0 in flight go on; pool wiki has 0 of 2 others to take new, so that its pages FAIL from "
        "now on. Drain it?"
    )
    alone = consequences({"pools": {"shop": pools["shop"]}}, two)
    assert "pool shop has no other to take new, so that its pages FAIL" in alone
    assert consequences({"pools": pools}, three).startswith(f"No new exchanges for {three}: ")
    assert not consequences({"pools": pools}, "http://10.0.0.4:80")


def test_a_server_is_drained_and_enabled(api: AdminApi, capsys: pytest.CaptureFixture[str]) -> None:
    server = "http://10.0.0.1:80"
    done = {"server": server, "workers": ["worker-0"], "missing": ["worker-1"]}
    api.answers["POST", "servers/drain"] = api.answers["POST", "servers/enable"] = (200, done)
    assert main(["servers", "drain", server]) == 2, "no terminal and no --yes"
    assert [method for method, *_ in api.asked] == ["GET"]
    api.asked.clear()
    capsys.readouterr()
    assert main(["servers", "drain", server, "--yes"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{server} is drained on worker-0.\n"
    assert err == "Did not answer: worker-1.\n"
    assert main(["servers", "enable", server]) == 0
    assert capsys.readouterr().out == f"{server} is enabled on worker-0.\n"
    assert [(path, body) for _, path, body, _ in api.asked] == [
        ("servers/drain", {"server": server}),
        ("servers/enable", {"server": server}),
    ]
    assert main(["servers", "enable", server, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == done


def test_sessions_of_many(api: AdminApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sessions", "list", "--population", "sales"]) == 0
    shown = capsys.readouterr().out
    assert "mia" in shown
    assert "The youngest of 70." in shown
    assert main(["sessions", "list", "--everybody"]) == 0
    assert main(["sessions", "list"]) == 2
    assert main(["sessions", "list", "mia", "--everybody"]) == 2


def test_refreshing(api: AdminApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers["POST", "rereadings"] = (200, {"employees": 3})
    for arguments, body in (
        (["mia"], {"employee": "mia"}),
        (["--session", "s1"], {"session": "s1"}),
        (["--population", "sales"], {"population": "sales"}),
        (["--everybody"], {"everybody": True}),
    ):
        assert main(["sessions", "refresh", *arguments]) == 0
        assert api.asked[-1][:3] == ("POST", "rereadings", body)
        assert "3" in capsys.readouterr().out
    assert main(["sessions", "refresh"]) == 2
    assert main(["sessions", "refresh", "mia", "--everybody"]) == 2


def test_bans(api: AdminApi, capsys: pytest.CaptureFixture[str]) -> None:
    bans = [
        {"kind": "pair", "employee": "mia", "address": "192.0.2.7", "seconds_left": 600.0},
        {"kind": "address", "employee": None, "address": "192.0.2.8", "seconds_left": 60.0},
    ]
    api.answers["GET", "bans"] = (200, {"bans": bans})
    assert main(["bans", "list"]) == 0
    shown = capsys.readouterr().out
    assert "192.0.2.7" in shown
    assert "10 min" in shown
    api.answers["GET", "bans"] = (200, {"bans": []})
    assert main(["bans", "list"]) == 0
    assert "Nobody is banned" in capsys.readouterr().out
    for arguments, path in (
        (["--employee", "mia"], "bans?employee=mia"),
        (["--address", "192.0.2.7"], "bans?address=192.0.2.7"),
        (["--all", "--yes"], "bans?all=yes"),
    ):
        api.answers["DELETE", path] = (200, {"cleared": 3})
        assert main(["bans", "clear", *arguments]) == 0
        assert "3" in capsys.readouterr().out
    assert main(["bans", "clear", "--all"]) == 2, "nobody to ask"
    assert main(["bans", "clear"]) == 2


def test_sessions_of_an_employee(api: AdminApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sessions", "list", "mia"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"s-1 +mia +Mia +sales +4 min ago +192\.0\.2\.7 +Firefox\?\[31m", out)
    later = {**SESSIONS, "ledger_ms": 3 * 3_600_000}
    api.answers["GET", "sessions?employee=mia"] = (200, later)
    assert main(["sessions", "list", "mia"]) == 0
    assert "2 h ago" in capsys.readouterr().out
    assert main(["sessions", "list", "nobody"]) == 0
    assert "nobody is not logged in." in capsys.readouterr().out


def test_one_session_is_revoked_without_asking(
    api: AdminApi, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answers["DELETE", "sessions/a%2Fb"] = (200, {"revocation": 5, "known": False})
    assert main(["sessions", "revoke", "a/b"]) == 0
    out = capsys.readouterr().out
    assert "Revoked (number 5)." in out
    assert "did not know" in out


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (["sessions", "revoke", "--employee", "mia"], "sessions?employee=mia"),
        (["sessions", "revoke", "--population", "sales"], "sessions?population=sales"),
        (["sessions", "revoke", "--everybody"], "sessions?everybody=yes"),
        (["workers", "forget", "h2/b/2"], "workers/h2%2Fb%2F2"),
    ],
)
def test_what_concerns_many_is_asked_for(
    api: AdminApi, capsys: pytest.CaptureFixture[str], arguments: list[str], path: str
) -> None:
    api.answers["DELETE", path] = (200, {"revocation": 6})
    assert main(arguments) == 2, "no terminal and no --yes"
    assert "say --yes" in capsys.readouterr().err
    assert not api.asked, "nothing was changed"
    assert main([*arguments, "--yes"]) == 0
    assert [(method, asked) for method, asked, _, _ in api.asked] == [("DELETE", path)]


@pytest.mark.parametrize("arguments", [[], ["s-1", "--employee", "mia"]])
def test_revoke_wants_exactly_one(api: AdminApi, arguments: list[str]) -> None:
    assert main(["sessions", "revoke", "--yes", *arguments]) == 2
    assert not api.asked


def test_reload(api: AdminApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers["POST", "reload"] = (
        200,
        {"reloaded": True, "version": 8, "needs_restart": ["listeners", "workers"]},
    )
    assert main(["reload"]) == 0
    assert "only after a restart: listeners, workers." in capsys.readouterr().out
    assert api.asked == [("POST", "reload", {"publish": False}, None)]
    api.asked.clear()
    assert main(["reload", "--publish"]) == 2
    assert not api.asked
    assert main(["reload", "--publish", "--yes"]) == 0
    assert api.asked[-1] == ("POST", "reload", {"publish": True}, '"7"')
    assert "now version 8" in capsys.readouterr().out


def test_keys_generate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "generate"]) == 0
    first = capsys.readouterr().out
    ring = tmp_path / "keys.json"
    ring.write_text(first, "utf-8")
    assert main(["keys", "generate", "--after", str(ring)]) == 0
    old, new = KeyRing.from_json(first), KeyRing.from_json(capsys.readouterr().out)
    assert list(new.sessions)[1:] == list(old.sessions)
    assert list(new.assertions)[1:] == list(old.assertions)
    ring.write_text("{}", "utf-8")
    assert main(["keys", "generate", "--after", str(ring)]) == 1


def test_serve_starts_nothing_with_a_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("site: test\nwokers: 3\n", "utf-8")
    assert main(["serve", "-c", str(path)]) == 1
    err = capsys.readouterr().err
    assert f"{path}:2: wokers: is not a key here; did you mean workers?" in err
    assert "nothing was done" in err


TOKEN_MADE = {
    "name": "ci", "role": "viewer", "author": "admin token", "created": "2020-03-16T06:00:00Z",
    "ends": None, "over": False, "token": "broker_secret",
}  # fmt: skip


def test_a_new_token_stands_alone_on_standard_output(
    api: AdminApi, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answers["POST", "tokens"] = (201, TOKEN_MADE)
    assert main(["tokens", "create", "ci", "--for", "90d"]) == 0
    out, err = capsys.readouterr()
    assert out == "broker_secret\n"
    assert "not shown again" in err
    ((_, _, sent, _),) = api.asked
    assert sent == {"name": "ci", "role": "viewer", "lasts": 90 * 86_400.0}


@pytest.mark.parametrize("lasts", ["soon", "-1d"])
def test_a_token_for_no_time_is_wrong_usage(api: AdminApi, lasts: str) -> None:
    assert main(["tokens", "create", "ci", "--for", lasts]) == 2
    assert not api.asked


def test_tokens_are_listed_without_what_opens_the_door(
    api: AdminApi, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answers["GET", "tokens"] = (200, {"tokens": [TOKEN_MADE | {"over": True}]})
    assert main(["tokens", "list"]) == 0
    out = capsys.readouterr().out
    assert "ci" in out
    assert "over" in out
    assert "secret" not in out


def test_a_viewers_refusal_is_told_as_it_is(
    api: AdminApi, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answers["DELETE", "tokens/ci"] = (403, {"detail": "this token may look"})
    assert main(["tokens", "revoke", "ci", "--yes"]) == 1
    assert capsys.readouterr().err == "broker: this token may look\n"


def test_a_link_to_the_console(api: AdminApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers["POST", "console-links"] = (201, {"url": "http://x/console/#y"})
    assert main(["console"]) == 0
    assert capsys.readouterr().out == "http://x/console/#y\n"
