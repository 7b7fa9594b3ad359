"""Logins at full speed against OpenLDAP: page, bind, groups, session and seat for each."""

from __future__ import annotations

import asyncio

from loadtest.bench import behind, logins
from loadtest.bench.case import ROUNDS, Alone, Bench, Case
from loadtest.bench.peers.broker import started

SECONDS = 3.0


def run(bench: Bench) -> Alone:
    values = []
    with (
        behind.site(bench.folder) as site,
        logins.openldap(bench.folder) as plan,
        started(bench.folder / "broker", site, plan) as found,
    ):
        who = logins.names()
        asyncio.run(logins.keep_on(found.port, 1.0, logins.AT_ONCE, who))
        for number in range(1, ROUNDS + 1):
            rate = asyncio.run(logins.keep_on(found.port, SECONDS, logins.AT_ONCE, who))
            bench.say(f"  round {number}/{ROUNDS}: {rate:.0f} logins/s")
            values.append(1000 / rate)
    return values


CASE = Case(
    name="login",
    unit="ms per login (60/s are 16.7, 150/s are 6.7)",
    must=1000 / 60,
    aim=1000 / 150,
    run=run,
    order=14,
)
