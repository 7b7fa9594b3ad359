"""The admin application over a real socket, with two processes that answer on control sockets and
a ledger that says what it was told to say."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from broker.admin.app import make_app
from broker.admin.plan import AdminPlan, allowed_hosts
from broker.errors import ConfigurationError, NotFound, Refused
from broker.ledger.port import WorkerView
from broker.site.drained import DrainedServers
from broker.telemetry.control import ControlClient, ControlServer, control_path
from broker.telemetry.exposition import Exposition
from broker.telemetry.traffic import Traffic
from tests.unit.admin.fakes import LIMITS, FakeLedger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web

    from broker.ledger.port import Ledger
    from broker.policy.limits import LimitsDocument

TOKEN = "a-token-of-the-tests"
SERVER = {"server": "http://127.0.0.1:8001", "healthy": True, "in_flight": 2}
SICK = {**SERVER, "healthy": False, "in_flight": 1}


class Host:
    """A whole host as the admin process sees it."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.ledger = FakeLedger()
        self.now = 1000.0
        self.civil = 1_600_000_000.0
        self.reloads = 0
        self.refuse_reload = False
        self.wrong_file = False
        self.workers = {name: Traffic() for name in ("worker-0", "worker-1")}
        self.servers = {"worker-0": SERVER, "worker-1": SERVER}
        self.estimates: dict[str, dict[str, Any]] = {}
        self.switched: list[tuple[str, str]] = []
        self._stack = AsyncExitStack()
        self.controls: dict[str, ControlServer] = {}
        self.client: TestClient[web.Request, web.Application]

    def supervisor_state(self) -> dict[str, Any]:
        return {
            "stopping": False,
            "needs_restart": ["workers"],
            "children": [
                {
                    "name": name, "kind": "worker", "slot": slot, "pid": 100 + slot,
                    "incarnation": f"here/boot/{slot}", "restarts": slot, "started": 5.0,
                }
                for slot, name in enumerate(self.workers)
            ],
        }  # fmt: skip

    async def switch(self, what: str, server: str) -> None:
        if server != SERVER["server"]:
            raise NotFound(f"no pool has a server {server}")
        self.switched.append((what, server))

    async def reload(self) -> None:
        if self.refuse_reload:
            raise Refused("the file has 3 faults")
        self.reloads += 1

    def propose(self) -> LimitsDocument:
        if self.wrong_file:
            raise ConfigurationError("the file has 2 faults", ("seats: missing", "x: unknown"))
        return replace(LIMITS, number=0, digest="d8")

    async def start(self) -> None:
        await self._serve("supervisor", Exposition(), self.supervisor_state)
        for name, traffic in self.workers.items():
            traffic.pool("feed").observe(200, 0.01)
            exposition = Exposition()
            traffic.export(exposition)
            await self._serve(
                name,
                exposition,
                lambda name=name: {
                    "servers": {"feed": [self.servers[name]], "portal": [SERVER]},
                    "estimates": self.estimates.get(name, {}),
                },
            )
        hosts: set[str] = set()
        plan = AdminPlan("acme", TOKEN, cast("frozenset[str]", hosts), self.run_dir, 600.0)
        ledger = cast("Ledger", self.ledger)
        app = make_app(
            plan,
            ledger,
            ControlClient(),
            lambda _: self.propose(),
            lambda: self.now,
            lambda: self.civil,
        )
        server = TestServer(app)
        self.client = await self._stack.enter_async_context(TestClient(server))
        hosts |= allowed_hosts([f"127.0.0.1:{server.port}"], ["admin.corp"])

    async def _serve(self, name: str, exposition: Exposition, state: Any) -> None:
        server = ControlServer(
            control_path(self.run_dir, name), exposition.render, state, {"reload": self.reload},
            {what: partial(self.switch, what) for what in ("drain-server", "enable-server")},
        )  # fmt: skip
        self.controls[name] = await self._stack.enter_async_context(server)

    async def stop(self) -> None:
        await self._stack.aclose()

    def raw(self, path: str) -> URL:
        """Sent as written: percent-encoded slashes stay so."""
        return URL(f"http://127.0.0.1:{self.client.port}{path}", encoded=True)

    async def ask(
        self, path: str | URL, method: str = "GET", *, token: str | None = TOKEN, **more: Any
    ) -> tuple[int, Any]:
        """(status, decoded JSON)."""
        headers = dict(more.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if isinstance(path, str):
            path = URL(f"http://127.0.0.1:{self.client.port}{path}")
        async with self.client.session.request(method, path, headers=headers, **more) as response:
            return response.status, await response.json(content_type=None)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = Host(tmp_path)
    await host.start()
    yield host
    await host.stop()


class TestDoor:
    @pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
    async def test_public_paths_need_no_token(self, host: Host, path: str) -> None:
        async with host.client.get(path) as response:
            assert response.status == 200

    @pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN[:-1], "ä"])
    @pytest.mark.parametrize("path", ["/api/v1/workers", "/api/v1/nothing", "/", "/metricsx"])
    async def test_everything_else_does(self, host: Host, path: str, token: str | None) -> None:
        status, body = await host.ask(path, token=token)
        assert status == 401
        assert body["title"] == "Unauthorized"

    async def test_other_names_are_refused_even_for_public_paths(self, host: Host) -> None:
        for name in ("evil.example", "127.0.0.1", "localhost", "localhost:1", ""):
            status, _ = await host.ask("/healthz", headers={"Host": name})
            assert status in (400, 421), name
        for name in ("admin.corp", "ADMIN.corp", f"localhost:{host.client.port}"):
            assert (await host.ask("/healthz", headers={"Host": name}))[0] == 200

    async def test_other_origins_are_refused(self, host: Host) -> None:
        own = f"http://127.0.0.1:{host.client.port}"
        path = "/api/v1/capacity"
        assert (await host.ask(path, headers={"Origin": own}))[0] == 200
        for origin in ("https://evil.example", "null", own + "0"):
            status, _ = await host.ask(path, headers={"Origin": origin})
            assert status == 403
        crossing = {"Sec-Fetch-Site": "cross-site"}
        assert (await host.ask("/api/v1/reload", "POST", headers=crossing))[0] == 403

    async def test_no_cors_and_no_store(self, host: Host) -> None:
        async with host.client.get("/healthz") as response:
            assert not [name for name in response.headers if name.startswith("Access-Control")]
            assert response.headers["Cache-Control"] == "no-store"

    async def test_errors_are_problems(self, host: Host) -> None:
        status, body = await host.ask("/api/v1/nothing")
        assert (status, body["status"], body["type"]) == (404, 404, "about:blank")
        async with host.client.put("/api/v1/workers", headers={"Authorization": f"Bearer {TOKEN}"}
        ) as response:  # fmt: skip
            assert response.status == 405
            assert "GET" in response.headers["Allow"]
            assert response.content_type == "application/problem+json"

    async def test_the_unexpected_is_told_without_detail(
        self, host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def burst() -> None:
            raise RuntimeError("secret detail")

        monkeypatch.setattr(host.ledger, "usage", burst)
        status, body = await host.ask("/api/v1/capacity")
        assert status == 500
        assert "secret" not in str(body)
        assert "secret detail" in caplog.text


class TestMetrics:
    async def page(self, host: Host) -> list[str]:
        async with host.client.get("/metrics") as response:
            assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            return (await response.text()).splitlines()

    async def test_two_processes_and_the_ledger_on_one_page(self, host: Host) -> None:
        lines = await self.page(host)
        for expected in (
            'broker_requests_total{code_class="2xx",pool="feed"} 2.0',
            'broker_request_seconds_count{pool="feed"} 2.0',
            'broker_seats_limit{population="sales"} 80.0',
            'broker_seats_occupied{population="sales"} 12.0',
            'broker_seats_occupied{population="everyone"} 0.0',
            'broker_seats_called{population="sales"} 1.0',
            'broker_waiting_employees{population="everyone"} 3.0',
            'broker_connections_limit{pool="feed",population="sales"} 90.0',
            'broker_connections_granted{pool="feed",population="sales"} 20.0',
            'broker_connections_in_use{pool="feed",population="sales"} 9.0',
            'broker_connections_in_use{pool="wiki",population="everyone"} 0.0',
            "broker_capacity_scale 1.0",
            "broker_guard_state 0.0",
            "broker_ledger_up 1.0",
            "broker_workers_up 2.0",
            "broker_wait_estimate_shown_total 10.0",
            "broker_wait_estimate_kept_total 9.0",
            "broker_ledger_epoch_changes_total 0.0",
        ):
            assert expected in lines, expected

    async def test_without_the_ledger_its_gauges_are_absent_and_it_says_so(
        self, host: Host
    ) -> None:
        host.ledger.away = True
        lines = await self.page(host)
        assert "broker_ledger_up 0.0" in lines
        assert not [line for line in lines if line.startswith("broker_seats_occupied")]
        assert 'broker_requests_total{code_class="2xx",pool="feed"} 2.0' in lines


class TestReadiness:
    async def test_ready(self, host: Host) -> None:
        assert await host.ask("/readyz", token=None) == (
            200,
            {"ready": True, "reasons": [], "warnings": []},
        )

    async def test_not_ready_says_why_and_healthz_stays_well(self, host: Host) -> None:
        host.ledger.away = True
        await host.controls["worker-1"].__aexit__(None, None, None)
        status, body = await host.ask("/readyz", token=None)
        assert status == 503
        assert body["reasons"] == ["worker-1 does not answer", "the ledger does not answer"]
        assert (await host.ask("/healthz", token=None))[0] == 200


class TestApi:
    async def test_workers(self, host: Host) -> None:
        host.ledger.known = [
            WorkerView("here/boot/0", 99_500, 7, "d7", 20, 9),
            WorkerView("there/boot/9", 90_000, 6, "d6", 5, 0),
        ]
        status, body = await host.ask("/api/v1/workers")
        assert status == 200
        assert body["version"] == 7
        by_id = {worker["id"]: worker for worker in body["workers"]}
        assert by_id["here/boot/0"] == {
            "id": "here/boot/0", "host": "here", "pid": 100, "slot": 0, "restarts": 0,
            "started": 5.0, "answers": True, "steward": None, "acknowledged": 7, "digest": "d7",
            "silent_seconds": 0.5, "granted": 20, "in_use": 9,
        }  # fmt: skip
        assert by_id["here/boot/1"]["acknowledged"] is None, "the ledger does not know it yet"
        assert by_id["here/boot/1"]["pid"] == 101
        assert by_id["there/boot/9"]["pid"] is None
        assert by_id["there/boot/9"]["silent_seconds"] == 10.0

    async def test_workers_of_this_host_are_listed_without_the_ledger(self, host: Host) -> None:
        host.ledger.away = True
        status, body = await host.ask("/api/v1/workers")
        assert status == 200
        assert [worker["pid"] for worker in body["workers"]] == [100, 101]

    async def test_forgetting_the_dead_and_only_them(self, host: Host) -> None:
        host.ledger.known = [
            WorkerView("there/boot/8", 99_500, 7, "d7", 20, 9),
            WorkerView("there/boot/9", 80_000, 7, "d7", 20, 9),
        ]
        path = "/api/v1/workers/there%2Fboot%2F"
        status, body = await host.ask(host.raw(path + "8"), "DELETE")
        assert (status, body["detail"]) == (409, "this worker spoke 0.5 s ago: it is not dead")
        assert (await host.ask(host.raw(path + "7"), "DELETE"))[0] == 404
        assert host.ledger.buried == []
        assert await host.ask(host.raw(path + "9"), "DELETE") == (200, {"forgotten": True})
        assert host.ledger.buried == ["there/boot/9"]

    async def test_capacity(self, host: Host) -> None:
        status, body = await host.ask("/api/v1/capacity")
        assert status == 200
        assert body["seats"]["occupied"] == 12
        assert body["seats"]["populations"]["everyone"]["waiting"] == 3
        feed = body["connections"]["pools"]["feed"]
        assert (feed["limit"], feed["granted"], feed["in_use"]) == (150, 25, 9)
        assert feed["populations"]["everyone"]["granted"] == 5

    async def test_capacity_carries_its_version(self, host: Host) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with host.client.get("/api/v1/capacity", headers=headers) as response:
            assert response.headers["ETag"] == '"7"'

    async def test_pools_with_the_servers_workers_see(self, host: Host) -> None:
        host.servers["worker-1"] = SICK
        _, body = await host.ask("/api/v1/pools")
        (server,) = body["pools"]["feed"]["servers"]
        assert server == {
            "server": "http://127.0.0.1:8001", "healthy": False, "healthy_on": 1, "seen_by": 2,
            "in_flight": 3, "draining": False,
        }  # fmt: skip
        assert body["pools"]["wiki"]["servers"] == []

    async def test_a_server_is_drained_when_all_workers_say_so(self, host: Host) -> None:
        said = []
        for name in ("worker-0", "worker-1"):
            host.servers[name] = {**SERVER, "draining": True}
            (server,) = (await host.ask("/api/v1/pools"))[1]["pools"]["feed"]["servers"]
            said.append(server["draining"])
        assert said == [False, True]

    @pytest.mark.parametrize("what", ["drain", "enable"])
    async def test_a_server_is_switched_on_every_worker(self, host: Host, what: str) -> None:
        body = {"server": SERVER["server"]}
        status, answer = await host.ask(f"/api/v1/servers/{what}", "POST", json=body)
        assert (status, answer) == (
            200, {**body, "workers": ["worker-0", "worker-1"], "missing": []},
        )  # fmt: skip
        assert host.switched == [(f"{what}-server", SERVER["server"])] * 2
        drained = DrainedServers(host.run_dir).names()
        assert drained == ({SERVER["server"]} if what == "drain" else frozenset())

    async def test_a_drained_server_that_no_pool_has_any_more_is_forgotten(
        self, host: Host
    ) -> None:
        DrainedServers(host.run_dir).keep("http://gone:1", drained=True)
        path, body = "/api/v1/servers/enable", {"server": "http://gone:1"}
        status, answer = await host.ask(path, "POST", json=body)
        assert (status, answer["workers"]) == (200, [])
        assert DrainedServers(host.run_dir).names() == frozenset()
        assert (await host.ask(path, "POST", json=body))[0] == 404

    async def test_a_worker_that_does_not_answer_is_named(self, host: Host) -> None:
        await host.controls["worker-1"].__aexit__(None, None, None)
        body = {"server": SERVER["server"]}
        _, answer = await host.ask("/api/v1/servers/drain", "POST", json=body)
        assert (answer["workers"], answer["missing"]) == (["worker-0"], ["worker-1"])

    async def test_a_server_nobody_has_and_a_body_that_names_none(self, host: Host) -> None:
        path = "/api/v1/servers/drain"
        status, answer = await host.ask(path, "POST", json={"server": "http://nowhere:1"})
        assert (status, answer["detail"]) == (404, "no pool has a server http://nowhere:1")
        assert DrainedServers(host.run_dir).names() == frozenset()
        for body in ({}, {"server": 7}, {"server": "x", "more": 1}):
            assert (await host.ask(path, "POST", json=body))[0] == 400
        assert not host.switched

    async def test_without_the_ledger_the_workers_still_see_their_servers(self, host: Host) -> None:
        with_it = (await host.ask("/api/v1/pools"))[1]
        host.ledger.away = True
        status, body = await host.ask("/api/v1/pools")
        assert status == 200
        assert (with_it["ledger_up"], body["ledger_up"]) == (True, False)
        assert list(body["pools"]) == ["feed"], "the portal is no application"
        assert body["pools"]["feed"]["connections"] is None
        assert body["pools"]["feed"]["servers"] == with_it["pools"]["feed"]["servers"] != []

    async def test_waiting(self, host: Host) -> None:
        _, body = await host.ask("/api/v1/waiting")
        everyone = {"waiting": 3, "called": 0, "estimate_seconds": None}
        assert body["populations"]["everyone"] == everyone  # nobody can say
        assert body["estimates"] == {"shown": 10, "kept": 9}

    async def test_what_somebody_who_comes_now_would_be_told(self, host: Host) -> None:
        told = {"p50": 60, "p90": 150}
        host.estimates = {"worker-0": {"everyone": None}, "worker-1": {"everyone": told}}
        _, body = await host.ask("/api/v1/waiting")
        assert body["populations"]["everyone"]["estimate_seconds"] == told
        assert body["populations"]["sales"]["estimate_seconds"] is None

    async def test_the_place_of_one_employee_and_its_removal(self, host: Host) -> None:
        path = "/api/v1/waiting/zo%C3%AB"
        assert await host.ask(path) == (
            200,
            {"employee": "zoë", "state": "waiting", "population": "everyone", "number": 7,
             "position": 2, "claim_seconds": None},
        )  # fmt: skip
        assert (await host.ask("/api/v1/waiting/nobody"))[0] == 404
        assert await host.ask(path, "DELETE") == (200, {"removed": True})
        assert [entry.subject for entry in host.ledger.trail] == ["ticket of zoë"]
        status, body = await host.ask(path, "DELETE")
        assert (status, body["detail"]) == (404, "zoë does not wait")

    async def test_without_the_ledger_503(self, host: Host) -> None:
        host.ledger.away = True
        for path in ("/capacity", "/waiting", "/sessions?employee=amina"):
            status, body = await host.ask("/api/v1" + path)
            assert status == 503
            assert body["detail"] == "the ledger does not answer"

    async def test_sessions_of_an_employee(self, host: Host) -> None:
        _, body = await host.ask("/api/v1/sessions?employee=amina")
        assert [session["id"] for session in body["sessions"]] == ["s1"]
        assert await host.ask("/api/v1/sessions?employee=nobody") == (
            200,
            {"sessions": [], "total": 0, "ledger_ms": 100_000},
        )
        for query in ("", "?employee=", "?employee=a&employee=b", "?other=x&employee=a"):
            assert (await host.ask(f"/api/v1/sessions{query}"))[0] == 400, query

    async def test_sessions_of_many(self, host: Host) -> None:
        for query, found in (
            ("population=sales", 1), ("population=none", 0), ("everybody=yes", 1),
        ):  # fmt: skip
            _, body = await host.ask(f"/api/v1/sessions?{query}")
            assert (len(body["sessions"]), body["total"]) == (found, 7)

    async def test_refreshing(self, host: Host) -> None:
        async def refresh(body: Any) -> tuple[int, Any]:
            return await host.ask("/api/v1/rereadings", "POST", json=body)

        for body in (
            {"employee": "amina"}, {"session": "s1"}, {"population": "sales"}, {"everybody": True},
        ):  # fmt: skip
            assert await refresh(body) == (200, {"employees": 1})
        marked = [
            ("employee", "amina"), ("session", "s1"), ("population", "sales"), ("everybody", ""),
        ]  # fmt: skip
        assert host.ledger.marked == marked
        assert [(each.action, each.subject) for each in host.ledger.trail] == [
            ("refreshed", "sessions of employee amina"),
            ("refreshed", "sessions of session s1"),
            ("refreshed", "sessions of population sales"),
            ("refreshed", "sessions of everybody"),
        ]
        for wrong in (
            {}, {"employee": ""}, {"employee": 3}, {"everybody": "yes"}, {"other": "x"},
            {"employee": "a", "session": "b"},
        ):  # fmt: skip
            assert (await refresh(wrong))[0] == 400, wrong
        assert host.ledger.marked == marked

    async def test_revoking(self, host: Host) -> None:
        ask = host.ask
        assert await ask("/api/v1/sessions/s1", "DELETE") == (
            200,
            {"revocation": 1, "known": True},
        )
        assert (await ask("/api/v1/sessions/lost", "DELETE"))[1]["known"] is False
        assert await ask("/api/v1/sessions?employee=amina", "DELETE") == (200, {"revocation": 3})
        assert (await ask("/api/v1/sessions?population=sales", "DELETE"))[0] == 200
        assert (await ask("/api/v1/sessions?everybody=yes", "DELETE"))[0] == 200
        assert host.ledger.revoked == [
            ("session", "s1"),
            ("session", "lost"),
            ("employee", "amina"),
            ("population", "sales"),
            ("everybody", ""),
        ]
        assert [entry.subject for entry in host.ledger.trail] == [
            "session s1", "session lost", "sessions of employee amina",
            "sessions of population sales", "sessions of everybody",
        ]  # fmt: skip

    async def test_a_session_is_revoked_although_the_ledger_is_learning(self, host: Host) -> None:
        host.ledger.learning = True
        assert await host.ask("/api/v1/sessions/s1", "DELETE") == (
            200,
            {"revocation": 1, "known": False},
        )

    @pytest.mark.parametrize(
        "query", ["", "?everybody=no", "?employee=", "?employee=a&population=b", "?kind=x"]
    )
    async def test_revoking_needs_exactly_one_subject(self, host: Host, query: str) -> None:
        assert (await host.ask(f"/api/v1/sessions{query}", "DELETE"))[0] == 400
        assert host.ledger.revoked == []

    async def test_bans(self, host: Host) -> None:
        _, body = await host.ask("/api/v1/bans")
        assert body["bans"] == [
            {"kind": "pair", "employee": "amina", "address": "192.0.2.7", "seconds_left": 60.0},
            {"kind": "browser", "employee": "amina", "address": None, "seconds_left": 30.0},
            {"kind": "address", "employee": None, "address": "2001:db8::/64", "seconds_left": 0.5},
        ]
        for query in ("employee=am%20ina", "address=2001:db8::7", "address=192.0.2.7", "all=yes"):
            assert await host.ask(f"/api/v1/bans?{query}", "DELETE") == (200, {"cleared": 2})
        cleared = [("am ina", ""), ("", "2001:db8::/64"), ("", "192.0.2.7"), ("", "")]
        assert host.ledger.cleared == cleared
        for query in ("", "all=no", "employee=", "address=x", "employee=a&all=yes"):
            assert (await host.ask(f"/api/v1/bans?{query}", "DELETE"))[0] == 400, query
        assert host.ledger.cleared == cleared
        assert [(each.action, each.subject) for each in host.ledger.trail][:2] == [
            ("cleared", "bans of employee am ina"),
            ("cleared", "bans of address 2001:db8::7"),
        ]

    async def test_reload(self, host: Host) -> None:
        assert await host.ask("/api/v1/reload", "POST") == (
            200,
            {"reloaded": True, "version": None, "needs_restart": ["workers"]},
        )
        assert host.reloads == 1
        assert [entry.action for entry in host.ledger.trail] == ["reloaded"]
        host.refuse_reload = True
        status, body = await host.ask("/api/v1/reload", "POST")
        assert (status, body["detail"]) == (400, "the file has 3 faults")

    async def test_publishing(self, host: Host) -> None:
        publish: dict[str, Any] = {"json": {"publish": True}}
        assert (await host.ask("/api/v1/reload", "POST", **publish))[0] == 428
        stale = {"If-Match": '"6"'}
        status, body = await host.ask("/api/v1/reload", "POST", headers=stale, **publish)
        assert (status, body["detail"]) == (412, "the limits are at version 7, not 6")
        assert host.reloads == 0, "a stale caller changes nothing"
        match = {"If-Match": '"7"'}
        assert await host.ask("/api/v1/reload", "POST", headers=match, **publish) == (
            200,
            {"reloaded": True, "version": 8, "needs_restart": ["workers"]},
        )
        assert [document.digest for document in host.ledger.published] == ["d8"]

    @pytest.mark.parametrize("match", ["x", '"7', '"7", "8"', '"\u0667"', "9" * 5000, "*"])
    async def test_a_version_that_is_none(self, host: Host, match: str) -> None:
        headers = {"If-Match": match}
        status, body = await host.ask(
            "/api/v1/reload", "POST", headers=headers, json={"publish": True}
        )
        assert status == 400
        assert "If-Match is one version" in body["detail"]
        assert host.reloads == 0

    async def test_a_wrong_file_publishes_nothing(self, host: Host) -> None:
        host.wrong_file = True
        status, body = await host.ask(
            "/api/v1/reload", "POST", headers={"If-Match": '"7"'}, json={"publish": True}
        )
        assert status == 400
        assert body["detail"] == (
            "the file has 2 faults; the old configuration stays in force\n"
            "seats: missing\nx: unknown"
        )
        assert host.ledger.published == []
        assert host.reloads == 0

    @pytest.mark.parametrize(
        "body",
        [b"[]", b"{", b'{"publish": 1}', b'{"other": true}', b"\xff", b"[" * 60_000],
        ids=["array", "cut", "number", "other", "no UTF-8", "deep"],
    )
    async def test_a_wrong_body(self, host: Host, body: bytes) -> None:
        assert (await host.ask("/api/v1/reload", "POST", data=body))[0] == 400
        assert host.reloads == 0

    async def test_the_document_describes_every_route(self, host: Host) -> None:
        _, document = await host.ask("/api/v1/openapi.json")
        assert document["openapi"] == "3.1.0"
        described = {
            (method.upper(), path)
            for path, methods in document["paths"].items()
            for method in methods
        }
        app = host.client.server.app  # type: ignore[attr-defined]
        routed = {
            (route.method, route.resource.canonical)
            for route in app.router.routes()
            if route.resource.canonical.startswith("/api/")
        }
        assert described == routed


class TestConsole:
    async def test_the_token_opens_it_for_a_browser(self, host: Host) -> None:
        client = host.client
        async with client.get("/console/") as response:
            assert response.status == 401
            assert 'name="token"' in await response.text()
        async with client.post("/console/", data={"token": "wrong"}) as response:
            assert response.status == 403
        async with client.post(
            "/console/", data={"token": TOKEN}, allow_redirects=False
        ) as response:
            assert response.status == 303
            cookie = response.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "Path=/console/" in cookie
        session = cookie.partition(";")[0]
        await self.expect(host, session, 200)
        host.now += 601
        await self.expect(host, session, 401)

    async def test_who_enters_and_who_is_refused_stands_in_the_trail(self, host: Host) -> None:
        own = {"Origin": f"http://127.0.0.1:{host.client.port}"}
        form = partial(host.client.post, headers=own, allow_redirects=False)
        await form("/console/", data={"token": "wrong"})
        await form("/console/", data={"token": TOKEN})
        _, made = await host.ask("/api/v1/console-links", "POST")
        code = URL(made["url"]).fragment
        for _ in range(2):
            await form("/console/link", data={"code": code})
        here = "from 127.0.0.1"
        assert [(e.author, e.action, e.subject, e.reason) for e in host.ledger.trail] == [
            ("console", "refused", "entry", f"a wrong token, {here}"),
            ("admin token", "entered", "the console", f"with a token, {here}"),
            ("admin token", "entered", "the console", f"with a link, {here}"),
            ("console", "refused", "entry", f"a link that opens nothing (any more), {here}"),
        ]
        host.ledger.away = True  # operators must see most then
        async with form("/console/", data={"token": TOKEN}) as response:
            assert response.status == 303

    async def test_refusals_do_not_fill_the_trail(self, host: Host) -> None:
        async def refused(times: int) -> list[str]:
            before = len(host.ledger.trail)
            for _ in range(times):
                await host.client.post("/console/", data={"token": "wrong"})
            return [each.reason for each in host.ledger.trail[before:]]

        assert len(await refused(50)) == 10
        host.now += 6
        (told,) = await refused(5)
        assert "40 more were refused since the line before" in told
        host.now += 3600
        assert len(await refused(50)) == 10

    async def expect(self, host: Host, session: str, status: int) -> str:
        port = host.client.port
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as browser,
            browser.get(
                f"http://127.0.0.1:{port}/console/", headers={"Cookie": session}
            ) as response,
        ):
            assert response.status == status
            return await response.text()

    async def test_the_page_shows_the_site(self, host: Host) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with host.client.get("/console/plain", headers=headers) as response:
            page = await response.text()
            assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
        for expected in ("ready", "sales", "everyone", "http://127.0.0.1:8001", "here/boot/1"):
            assert expected in page
        host.ledger.away = True
        async with host.client.get("/console/plain", headers=headers) as response:
            page = await response.text()
        assert "not ready" in page
        assert "Seated employees go on working" in page

    async def test_a_form_of_the_page_carries_its_origin(self, host: Host) -> None:
        async with host.client.get("/console/") as response:
            assert response.headers["Referrer-Policy"] == "same-origin"
        own = {"Origin": f"http://127.0.0.1:{host.client.port}", "Sec-Fetch-Site": "same-origin"}
        async with host.client.post(
            "/console/", data={"token": TOKEN}, headers=own, allow_redirects=False
        ) as response:
            assert response.status == 303

    async def test_leaving(self, host: Host) -> None:
        client = host.client
        async with client.post("/console/", data={"token": TOKEN}) as response:
            assert response.status == 200
        async with client.post("/console/leave") as response:
            assert response.status == 403  # a cookie alone proves no page of ours
        own = {"Origin": f"http://127.0.0.1:{client.port}"}
        async with client.post("/console/leave", headers=own) as response:
            assert response.status == 401
