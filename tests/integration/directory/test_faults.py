"""Servers that are away, hang, drip, lie or change: nobody waits longer than the deadline."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from broker.demo.employees import PASSWORD
from broker.directory.ldap_directory import LdapDirectory
from broker.directory.line import LINK_AGE
from broker.errors import Busy, DirectoryAway, WrongPassword
from tests.integration.conftest import Authority, make_authority
from tests.integration.directory.test_logins import ACCOUNTS, MANAGER
from tests.support.forgetful_relay import ForgetfulRelay, missing
from tests.support.meddler import Meddler, Mood
from tests.support.odd_people import ABROAD_DN
from tests.support.slapd_server import SlapdServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from broker.directory.plan import DirectoryPlan
    from tests.support.ldaptor_server import LdaptorServer

FAR_TOO_LONG = 30.0
"""Seconds: whoever waits that long hangs. Generous, because the machine may be busy."""

SHORT = {"connect_timeout": 1.0, "receive_timeout": 1.0, "deadline": 5.0}
DRIPPED_ON = {"receive_timeout": 10.0, "deadline": 2.0}
"""The read timeout alone would never end it."""


@pytest.fixture
async def meddler(
    ldap_server: LdaptorServer | SlapdServer, authority: Authority
) -> AsyncIterator[Meddler]:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(authority.certificate, authority.key)
    up = ssl.create_default_context(cafile=authority.ca)
    async with Meddler(ldap_server.ldaps_port, up, own) as between:
        yield between


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """Connections are accepted by the kernel and never served: TLS is not even begun."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Bound and not listening: connections are refused, and nobody else can take it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


async def test_a_server_that_is_away(make: Callable[..., LdapDirectory], closed_port: int) -> None:
    directory = make(servers=(f"ldaps://localhost:{closed_port}",), **SHORT)
    for call in (
        directory.login(MANAGER, PASSWORD),
        directory.login(MANAGER, "wrong"),
        directory.lookup(MANAGER),
        directory.probe(),
    ):
        with pytest.raises(DirectoryAway):
            await call


async def test_the_next_server_is_used(
    make: Callable[..., LdapDirectory],
    ldap_server: LdaptorServer | SlapdServer,
    closed_port: int,
) -> None:
    good = f"ldaps://localhost:{ldap_server.ldaps_port}"
    directory = make(servers=(f"ldaps://localhost:{closed_port}", good))
    assert (await directory.login(MANAGER, PASSWORD)).name == MANAGER
    with pytest.raises(WrongPassword):
        await directory.login(MANAGER, "wrong")
    with pytest.raises(DirectoryAway, match="server 1: no connection"):
        await directory.probe()


async def test_a_server_that_accepts_and_says_nothing(
    make: Callable[..., LdapDirectory], deaf_port: int
) -> None:
    directory = make(servers=(f"ldaps://localhost:{deaf_port}",), **SHORT)
    async with asyncio.timeout(FAR_TOO_LONG):
        with pytest.raises(DirectoryAway):
            await directory.login(MANAGER, PASSWORD)


async def test_a_deaf_server_costs_one_timeout_and_is_then_asked_last(
    make: Callable[..., LdapDirectory],
    ldap_server: LdaptorServer | SlapdServer,
    deaf_port: int,
) -> None:
    good = f"ldaps://localhost:{ldap_server.ldaps_port}"
    directory = make(
        servers=(f"ldaps://localhost:{deaf_port}", good),
        threads=1,
        receive_timeout=0.5,
        deadline=20.0,
    )
    async with asyncio.timeout(FAR_TOO_LONG):
        assert (await directory.login(MANAGER, PASSWORD)).name == MANAGER


@pytest.mark.parametrize("mood", ["silent", "garbage", "flooding", "hanging up"])
async def test_answers_that_are_none(
    make: Callable[..., LdapDirectory], meddler: Meddler, mood: Mood
) -> None:
    directory = make(servers=(f"ldaps://localhost:{meddler.port}",), **SHORT)
    meddler.mood = mood
    async with asyncio.timeout(FAR_TOO_LONG):
        with pytest.raises(DirectoryAway):
            await directory.login(MANAGER, PASSWORD)
    meddler.mood = "honest"
    await lines_are_home(directory)
    assert (await directory.login(MANAGER, PASSWORD)).name == MANAGER


@pytest.mark.parametrize("mood", ["silent", "garbage", "flooding", "hanging up"])
async def test_a_connection_in_use_that_goes_bad(
    make: Callable[..., LdapDirectory], meddler: Meddler, mood: Mood
) -> None:
    directory = make(servers=(f"ldaps://localhost:{meddler.port}",), threads=1, **SHORT)
    assert (await directory.login(MANAGER, PASSWORD)).name == MANAGER
    meddler.mood = mood
    async with asyncio.timeout(FAR_TOO_LONG):
        with pytest.raises(DirectoryAway):
            await directory.login(MANAGER, PASSWORD)
    meddler.mood = "honest"
    await lines_are_home(directory)
    assert (await directory.login(MANAGER, PASSWORD)).name == MANAGER


async def test_a_dripping_server_with_all_threads_taken(
    make: Callable[..., LdapDirectory], meddler: Meddler
) -> None:
    """Those inside end at their deadline, those beyond the queue are told at once, and afterwards
    every thread is back."""
    directory = make(
        servers=(f"ldaps://localhost:{meddler.port}",), threads=2, queue=2, **DRIPPED_ON
    )
    meddler.mood = "dripping"
    inside = [
        asyncio.create_task(directory.login(name, PASSWORD)) for name in ACCOUNTS["sales"][:4]
    ]
    await asyncio.sleep(0)
    assert directory.statistics().present == 4
    with pytest.raises(Busy):
        await directory.login(ACCOUNTS["sales"][4], PASSWORD)
    assert not any(task.done() for task in inside)
    async with asyncio.timeout(FAR_TOO_LONG):
        outcomes = await asyncio.gather(*inside, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [DirectoryAway] * 4
    await lines_are_home(directory)

    meddler.mood = "honest"
    for name in ACCOUNTS["sales"][:5]:
        assert (await directory.login(name, PASSWORD)).name == name


async def test_a_dripping_server_is_asked_after_one_that_works(
    make: Callable[..., LdapDirectory],
    meddler: Meddler,
    ldap_server: LdaptorServer | SlapdServer,
) -> None:
    directory = make(
        servers=(
            f"ldaps://localhost:{meddler.port}",
            f"ldaps://localhost:{ldap_server.ldaps_port}",
        ),
        threads=1,
        **DRIPPED_ON,
    )
    meddler.mood = "dripping"
    with pytest.raises(DirectoryAway):
        await directory.login(MANAGER, PASSWORD)
    await lines_are_home(directory)
    assert (await directory.login(MANAGER, PASSWORD)).name == MANAGER


async def test_a_login_nobody_waits_for_gives_its_thread_back(
    make: Callable[..., LdapDirectory], meddler: Meddler
) -> None:
    directory = make(
        servers=(f"ldaps://localhost:{meddler.port}",), threads=1, deadline=FAR_TOO_LONG,
        receive_timeout=FAR_TOO_LONG,
    )  # fmt: skip
    meddler.mood = "silent"
    task = asyncio.create_task(directory.login(MANAGER, PASSWORD))
    await meddler.met.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(FAR_TOO_LONG / 2):
        await lines_are_home(directory)
    meddler.mood = "honest"
    assert (await directory.login(MANAGER, PASSWORD)).name == MANAGER


async def test_closing_does_not_wait_for_a_silent_server(
    make: Callable[..., LdapDirectory], meddler: Meddler
) -> None:
    directory = make(
        servers=(f"ldaps://localhost:{meddler.port}",), threads=1, deadline=FAR_TOO_LONG,
        receive_timeout=FAR_TOO_LONG,
    )  # fmt: skip
    meddler.mood = "silent"
    tasks = [asyncio.create_task(directory.login(n, PASSWORD)) for n in (MANAGER, "waiting")]
    await meddler.met.wait()
    async with asyncio.timeout(FAR_TOO_LONG / 2):
        await directory.close()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [DirectoryAway, Busy]
    with pytest.raises(Busy):
        await directory.login(MANAGER, PASSWORD)


async def test_a_server_that_restarts_is_met_again(
    make: Callable[..., LdapDirectory], ldap_server: LdaptorServer | SlapdServer
) -> None:
    """The open connections are dead; the next login opens new ones without anybody noticing."""
    directory = make(threads=1, deadline=20.0)
    assert (await directory.login(MANAGER, PASSWORD)).name == MANAGER
    ldap_server.stop()
    try:
        with pytest.raises(DirectoryAway):
            await directory.login(MANAGER, PASSWORD)
    finally:
        ldap_server.start()
    assert (await directory.login(MANAGER, PASSWORD)).name == MANAGER
    ldap_server.stop()
    ldap_server.start()
    assert (await directory.login(MANAGER, PASSWORD)).name == MANAGER


async def test_connections_are_kept_between_logins(
    make: Callable[..., LdapDirectory], meddler: Meddler
) -> None:
    directory = make(servers=(f"ldaps://localhost:{meddler.port}",), threads=1)
    for name in ACCOUNTS["sales"][:5]:
        await directory.login(name, PASSWORD)
        with pytest.raises(WrongPassword):
            await directory.login(name, "wrong")
    assert meddler.accepted == 2, "one for the service account, one for passwords"


async def test_a_connection_closed_under_our_hands_is_not_held_against_the_server(
    make: Callable[..., LdapDirectory],
    meddler: Meddler,
    ldap_server: LdaptorServer | SlapdServer,
) -> None:
    """Servers close idle connections, sometimes just as we ask: once more, at the same server."""
    directory = make(
        servers=(
            f"ldaps://localhost:{meddler.port}",
            f"ldaps://localhost:{ldap_server.ldaps_port}",
        ),
        threads=1,
    )
    await directory.login(MANAGER, PASSWORD)
    before = meddler.accepted
    meddler.mood = "hanging up once"
    assert (await directory.login(MANAGER, PASSWORD)).name == MANAGER
    assert meddler.accepted == before + 1


@pytest.mark.parametrize("fault", ["forget", "half_close"])
async def test_a_half_open_connection_costs_nobody_a_login(
    make: Callable[..., LdapDirectory], ldap_server: LdaptorServer | SlapdServer, fault: str
) -> None:
    """Both kept connections of the only thread, and the server is not thought to be away."""
    if (why := missing()) and fault == "forget":
        assert not os.environ.get("CI"), why
        pytest.skip(why)
    async with ForgetfulRelay(ldap_server.ldaps_port) as relay:
        directory = make(servers=(f"ldaps://localhost:{relay.port}",), threads=1)
        assert (await directory.login(MANAGER, PASSWORD)).name == MANAGER
        before = relay.accepted
        getattr(relay, fault)()
        async with asyncio.timeout(FAR_TOO_LONG):
            assert (await directory.login(MANAGER, PASSWORD)).name == MANAGER
            with pytest.raises(WrongPassword):
                await directory.login(MANAGER, "wrong")
        assert relay.accepted > before
        await lines_are_home(directory)
        await directory.close()


async def test_a_preferred_server_that_came_back_is_used_again(
    plan: DirectoryPlan, meddler: Meddler
) -> None:
    now = 0.0
    first = f"ldaps://localhost:{meddler.port}"
    directory = LdapDirectory(replace(plan, servers=(first, *plan.servers), threads=1), lambda: now)
    try:
        meddler.mood = "hanging up"
        await directory.login(MANAGER, PASSWORD)
        met = meddler.accepted
        meddler.mood = "honest"
        await directory.login(MANAGER, PASSWORD)
        assert meddler.accepted == met, "what works is not left"
        now += LINK_AGE
        await directory.login(MANAGER, PASSWORD)
        assert meddler.accepted == met + 2
    finally:
        await directory.close()


async def test_a_flood_is_stopped_long_before_the_deadline(
    make: Callable[..., LdapDirectory], meddler: Meddler
) -> None:
    directory = make(servers=(f"ldaps://localhost:{meddler.port}",), deadline=FAR_TOO_LONG)
    meddler.mood = "flooding"
    async with asyncio.timeout(FAR_TOO_LONG / 2):
        with pytest.raises(DirectoryAway):
            await directory.lookup(MANAGER)


async def test_referrals_are_not_followed(
    make: Callable[..., LdapDirectory],
    ldap_server: LdaptorServer | SlapdServer,
    stranger: socket.socket,
) -> None:
    """Whoever answers there would be shown employees' names and passwords."""
    directory = make(base=ABROAD_DN)
    if isinstance(ldap_server, SlapdServer):
        with pytest.raises(DirectoryAway):
            await directory.login(MANAGER, PASSWORD)
    assert (await make().login(MANAGER, PASSWORD)).name == MANAGER
    with pytest.raises(BlockingIOError):
        stranger.accept()


async def test_a_name_nobody_has_costs_what_a_wrong_password_costs(
    make: Callable[..., LdapDirectory], meddler: Meddler
) -> None:
    """The password is tried all the same, on the connection where passwords are tried."""
    directory = make(servers=(f"ldaps://localhost:{meddler.port}",), threads=1)
    with pytest.raises(WrongPassword):
        await directory.login("nobody.at.all", PASSWORD)
    assert meddler.accepted == 2


async def test_no_match_and_wrong_password_take_the_same_time(
    make: Callable[..., LdapDirectory],
) -> None:
    """Medians within 5 ms, taken in turns, so that a busy machine is busy for both."""
    assert await apart(make(threads=1), MANAGER) < 0.005


async def apart(directory: LdapDirectory, somebody: str) -> float:
    """Seconds between the medians of the two refusals."""
    took: dict[str, list[float]] = {somebody: [], "nobody.at.all": []}
    for number in range(60):
        for name, times in took.items():
            began = time.perf_counter()
            with pytest.raises(WrongPassword):
                await directory.login(name, f"wrong {number}")
            times.append(time.perf_counter() - began)
    one, other = (statistics.median(times[10:]) for times in took.values())
    return abs(one - other)


@pytest.mark.parametrize("start_tls", [False, True])
async def test_a_certificate_of_another_authority(
    make: Callable[..., LdapDirectory],
    ldap_server: LdaptorServer | SlapdServer,
    tmp_path: Path,
    start_tls: bool,
) -> None:
    url = (
        f"ldap://localhost:{ldap_server.ldap_port}"
        if start_tls
        else f"ldaps://localhost:{ldap_server.ldaps_port}"
    )
    stranger = make_authority(tmp_path, "localhost")
    directory = make(servers=(url,), start_tls=start_tls, ca=stranger.ca)
    with pytest.raises(DirectoryAway):
        await directory.login(MANAGER, PASSWORD)
    with pytest.raises(DirectoryAway, match="certificate is not trusted"):
        await directory.probe()


async def test_a_certificate_for_another_host(
    make: Callable[..., LdapDirectory], meddler: Meddler
) -> None:
    """Trusted authority, right password behind it, wrong name: 127.0.0.2 is not in there."""
    directory = make(servers=(f"ldaps://127.0.0.2:{meddler.ports['127.0.0.2']}",))
    with pytest.raises(DirectoryAway):
        await directory.login(MANAGER, PASSWORD)
    with pytest.raises(DirectoryAway, match="another host name"):
        await directory.probe()


async def test_an_older_tls_than_the_minimum_is_refused(
    make: Callable[..., LdapDirectory], ldap_server: LdaptorServer | SlapdServer,
    authority: Authority,
) -> None:  # fmt: skip
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(authority.certificate, authority.key)
    own.maximum_version = ssl.TLSVersion.TLSv1_2
    up = ssl.create_default_context(cafile=authority.ca)
    async with Meddler(ldap_server.ldaps_port, up, own) as between:
        servers = (f"ldaps://localhost:{between.port}",)
        old = make(servers=servers, tls_minimum="1.2")
        assert (await old.login(MANAGER, PASSWORD)).name == MANAGER
        strict = make(servers=servers, tls_minimum="1.3")
        with pytest.raises(DirectoryAway):
            await strict.login(MANAGER, PASSWORD)
        with pytest.raises(DirectoryAway, match="TLS"):
            await strict.probe()
        await old.close()


async def test_the_probe_names_what_is_wrong(
    make: Callable[..., LdapDirectory], closed_port: int, deaf_port: int
) -> None:
    wrong: list[tuple[dict[str, object], str]] = [
        ({"servers": (f"ldaps://localhost:{closed_port}",)}, "no connection .connection refused"),
        ({"servers": (f"ldaps://localhost:{deaf_port}",), **SHORT}, "TLS was not set up in time"),
        ({"servers": ("ldaps://no.such.host.invalid:636",)}, "no connection"),
        ({"bind_password": "wrong"}, "service account may not log in"),
        ({"bind_dn": "cn=nobody,dc=example"}, "service account may not log in"),
        ({"base": "dc=elsewhere,dc=example"}, "search base does not exist"),
    ]
    for changes, sentence in wrong:
        with pytest.raises(DirectoryAway, match=f"(?i)server 1: .*{sentence}"):
            await make(**changes).probe()


async def lines_are_home(directory: LdapDirectory) -> None:
    """Wait until every thread has returned."""
    async with asyncio.timeout(FAR_TOO_LONG):
        while directory.statistics().free < directory.statistics().lines:
            await asyncio.sleep(0.01)
