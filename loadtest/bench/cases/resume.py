"""Known sessions whose seat has lapsed: the next click asks the ledger for one, not the directory.

Every request is another employee's, whose session stands in the ledger and who holds no seat; the
worker reads the record and claims a seat before the page is fetched.
"""

from __future__ import annotations

import asyncio
from itertools import count

from broker.ledger.redis_ledger import RedisLedger
from loadtest.bench import behind, clients, drive, sessions
from loadtest.bench.case import ROUNDS, Alone, Bench, Case
from loadtest.bench.peers.broker import SITE, BrokerPlan, RunningBroker, started

EACH = 2000
CONNECTIONS = 8


def run(bench: Bench) -> Alone:
    values = []
    with (
        behind.site(bench.folder) as site,
        # A machine that is busy with other work is not an outage of Redis.
        started(bench.folder / "broker", site, BrokerPlan(ledger_deadline="2s")) as found,
    ):
        cookies = sessions.log_in(found, EACH * (ROUNDS + 1), 1, seated=False)
        asyncio.run(_give_seats_back(found, len(cookies)))
        asked = [clients.request(found.target, "/", cookie=cookie) for cookie in cookies]
        first = clients.request(found.target, "/")
        with clients.connections(found.target, first, CONNECTIONS, expect=200) as held:
            turn = count()
            driver = drive.Driver()
            driver.add("browsers", drive.Browsers(held, lambda: asked[next(turn)]))
            for number in range(ROUNDS + 1):
                outcome = driver.flat_out(("browsers" for _ in range(EACH)), CONNECTIONS)
                outcome.percentile(0.999)  # none was refused
                if number:
                    bench.say(f"  round {number}/{ROUNDS}: {EACH / outcome.seconds:.0f} resumed/s")
                    values.append(outcome.seconds / EACH * 1e3)
            driver.close()
    return values


async def _give_seats_back(found: RunningBroker, employees: int) -> None:
    ledger = await RedisLedger.connect(f"unix://{found.redis_socket}", SITE, 10.0)
    try:
        for number in range(employees):
            await ledger.release(f"waiting.{number:06d}")
    finally:
        await ledger.close()


CASE = Case(
    name="resume",
    unit="ms per resumed session (700/s are 1.43)",
    must=1000 / 700,
    aim=1.0,
    run=run,
    order=16,
)
