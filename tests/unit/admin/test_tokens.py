"""Who may do what with which token, over a real socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broker.ledger.port import AuditEntry
from tests.unit.admin.test_app import Host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CIVIL = 1_600_000_000  # the host's


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = Host(tmp_path)
    await host.start()
    yield host
    await host.stop()


async def make(host: Host, name: str, role: str, **more: Any) -> str:
    status, made = await host.ask(
        "/api/v1/tokens", "POST", json={"name": name, "role": role, **more}
    )
    assert status == 201
    return str(made["token"])


async def test_a_token_is_shown_once_and_kept_as_its_digest(host: Host) -> None:
    token = await make(host, "anna", "operator")
    assert token.startswith("broker_")
    (kept,) = host.ledger.admin_tokens.values()
    assert token not in str(kept)
    _, listed = await host.ask("/api/v1/tokens", token=token)
    assert token not in str(listed)
    assert listed["tokens"] == [
        {
            "name": "anna", "role": "operator", "author": "admin token",
            "created": "2020-09-13T12:26:40Z", "ends": None, "over": False,
        }
    ]  # fmt: skip


async def test_the_audit_trail_says_who_by_the_name_of_the_token(host: Host) -> None:
    token = await make(host, "anna", "operator")
    assert (await host.ask("/api/v1/sessions/s1", "DELETE", token=token))[0] == 200
    assert (await host.ask("/api/v1/tokens/anna", "DELETE", token=token))[0] == 200
    assert host.ledger.trail == [
        AuditEntry("admin token", "created", "token anna (operator)"),
        AuditEntry("anna", "revoked", "session s1"),
        AuditEntry("anna", "revoked", "token anna"),
    ]


async def test_a_viewer_sees_all_and_changes_nothing(host: Host) -> None:
    token = await make(host, "wall", "viewer")
    for path in ("capacity", "workers", "pools", "waiting", "sessions?employee=amina", "tokens"):
        assert (await host.ask(f"/api/v1/{path}", token=token))[0] == 200, path
    for method, path in (
        ("DELETE", "sessions/s1"), ("DELETE", "sessions?everybody=yes"), ("POST", "reload"),
        ("POST", "tokens"), ("DELETE", "tokens/wall"), ("POST", "servers/drain"),
        ("DELETE", "workers/x"), ("POST", "capacity/hold"),
    ):  # fmt: skip
        status, body = await host.ask(
            f"/api/v1/{path}", method, token=token, json={}, headers={"If-Match": '"7"'}
        )
        assert status == 403, path
        assert "role operator" in body["detail"]
    order = {"scale": 6, "reason": "why not"}
    status, _ = await host.ask(
        "/api/v1/capacity/raise", "POST", token=token, json=order, headers={"If-Match": '"7"'}
    )
    assert status == 403
    assert host.ledger.revoked == []
    assert len(host.ledger.trail) == 1


async def test_a_viewer_may_ask_what_would_happen(host: Host) -> None:
    token = await make(host, "wall", "viewer")
    status, body = await host.ask(
        "/api/v1/capacity/raise", "POST", token=token,
        json={"scale": 6, "reason": "why not", "dry_run": True},
    )  # fmt: skip
    assert status == 400  # what this ledger holds has no base: the order was looked at
    assert "no base to multiply" in body["detail"]


async def test_a_revoked_token_is_let_in_no_more(host: Host) -> None:
    token = await make(host, "anna", "operator")
    assert (await host.ask("/api/v1/capacity", token=token))[0] == 200
    assert (await host.ask("/api/v1/tokens/anna", "DELETE"))[0] == 200
    assert (await host.ask("/api/v1/capacity", token=token))[0] == 401
    assert (await host.ask("/api/v1/tokens/anna", "DELETE"))[0] == 404


async def test_one_that_another_host_revoked_within_a_second(host: Host) -> None:
    token = await make(host, "anna", "operator")
    assert (await host.ask("/api/v1/capacity", token=token))[0] == 200
    host.ledger.admin_tokens.clear()
    host.now += 1.01
    assert (await host.ask("/api/v1/capacity", token=token))[0] == 401


async def test_while_the_ledger_is_away_the_tokens_known_last_go_on(host: Host) -> None:
    token = await make(host, "anna", "operator")
    assert (await host.ask("/api/v1/workers", token=token))[0] == 200
    host.ledger.away = True
    host.now += 60
    assert (await host.ask("/api/v1/workers", token=token))[0] == 200
    assert (await host.ask("/api/v1/workers"))[0] == 200  # the configured one in any case
    assert (await host.ask("/api/v1/workers", token="broker_other"))[0] == 401


async def test_a_token_with_an_end(host: Host) -> None:
    token = await make(host, "temp", "viewer", lasts=60)
    (kept,) = host.ledger.admin_tokens.values()
    assert kept.ends_ms == (CIVIL + 60) * 1000
    assert (await host.ask("/api/v1/capacity", token=token))[0] == 200
    host.civil += 60
    assert (await host.ask("/api/v1/capacity", token=token))[0] == 401
    _, listed = await host.ask("/api/v1/tokens")
    assert listed["tokens"][0]["over"]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"name": "anna"}, "a role is"),
        ({"name": "anna", "role": "root"}, "a role is"),
        ({"name": "admin token", "role": "viewer"}, "a name is"),
        ({"name": "steward", "role": "viewer"}, "take another name"),
        ({"name": "anna (directory)", "role": "viewer"}, "a name is"),
        ({"name": "", "role": "viewer"}, "a name is"),
        ({"role": "viewer"}, "a name is"),
        ({"name": "anna", "role": "viewer", "token": "mine"}, "a token has"),
        ({"name": "anna", "role": "viewer", "lasts": 0}, "lasts is"),
        ({"name": "anna", "role": "viewer", "lasts": True}, "lasts is"),
        ({"name": "anna", "role": "viewer", "lasts": 1e300}, "lasts is"),
    ],
)
async def test_bad_wishes_are_refused(host: Host, wanted: dict[str, Any], says: str) -> None:
    status, body = await host.ask("/api/v1/tokens", "POST", json=wanted)
    assert status == 400
    assert says in body["detail"]
    assert host.ledger.admin_tokens == {}


async def test_a_name_is_given_once(host: Host) -> None:
    await make(host, "anna", "viewer")
    status, body = await host.ask(
        "/api/v1/tokens", "POST", json={"name": "anna", "role": "operator"}
    )
    assert status == 409
    assert "already" in body["detail"]
