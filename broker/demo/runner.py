"""``broker demo``: the whole system on loopback, started in parallel and stopped without a trace.

Redis, the LDAP server and four backends start together, then the broker itself with a configuration
written for them. What can be refused is refused before anything starts: a port in use, a folder in
use. A part that fails on the way in ends the demo with the end of its log; one that dies later is
reported and started again after a while, so that one may watch what the broker does without it.
Only the broker's own end is the demo's end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from broker.demo import redis
from broker.demo.announcement import Voice
from broker.demo.certificates import Certificates, certificates
from broker.demo.loopback import client
from broker.demo.parts import Part, PartFailed
from broker.demo.plan import (
    LDIF,
    Plan,
    Ports,
    environment_lines,
    ready_object,
    write_configuration,
    write_private,
    write_secrets,
)
from broker.demo.premises import CannotStart, folder_of_our_own, free_ports, run_dir

BACKENDS = ("feed-1", "feed-2", "wiki-1", "wiki-2")
STEPS = 5
START_AGAIN_AFTER = 10.0
LONGEST_START = 60.0
SHORT = aiohttp.ClientTimeout(total=2.0)


def main(
    public_port: int = 8443,
    admin_port: int = 8444,
    seats: int = 200,
    workers: int = 2,
    state: Path = Path(".demo"),
) -> int:
    """Run the demo until it is stopped. Returns the exit code. Port 0 takes any free one."""
    voice = Voice(sys.stdout, sys.stderr)
    if seats < 1 or workers < 1:
        voice.say("The demo needs at least one seat and one worker.")
        return 2
    try:
        with folder_of_our_own(state.absolute()) as folder:
            public, admin = free_ports(public_port, admin_port)
            plan = Plan(public, admin, seats, workers, folder)
            return asyncio.run(_run(plan, voice))
    except CannotStart as error:
        voice.say(str(error))
        return 1


async def _run(plan: Plan, voice: Voice) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stopped.set)
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup wants it to go on
        loop.add_signal_handler(signal.SIGHUP, stopped.set)
    demo = Demo(plan, voice)
    life = asyncio.create_task(demo.live())
    waiting = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({life, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not life.done():
            voice.say("Stopping ...")
            life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await life
        return 0
    except PartFailed as error:
        voice.failed(error)
        return 1
    except redis.NoRedis as error:
        voice.say(str(error))
        return 1
    finally:
        waiting.cancel()
        await demo.stop()


class Demo:
    """The parts of one run. ``live`` returns by failing or being cancelled; then ``stop`` it."""

    def __init__(self, plan: Plan, voice: Voice) -> None:
        self._plan = plan
        self._voice = voice
        self._run_dir = run_dir(plan.state)
        self._redis_socket = self._run_dir / "redis.sock"
        self._servers: list[Part] = []
        self._broker: Part | None = None

    async def live(self) -> None:
        """Start everything, say so, and watch. Raises PartFailed, NoRedis."""
        plan, voice = self._plan, self._voice
        voice.progress(0, STEPS, "certificates and keys")
        files = certificates(plan.state / "tls", datetime.now(UTC))
        token = write_secrets(plan.state)
        voice.progress(1, STEPS, "looking for Redis")
        server = await redis.find(plan.state / "cache")
        voice.progress(2, STEPS, f"Redis ({server}), the directory, two applications")
        ports = await self._start_servers(server, files)
        voice.progress(3, STEPS, "the broker")
        write_configuration(plan, ports, self._run_dir, self._redis_socket)
        self._broker = await self._start_broker(files)
        known = ready_object(plan, ports, files, token)
        known["console"] = await self._console_link(token)
        write_private(plan.environment_file, environment_lines(plan, files, token))
        write_private(plan.ready_file, json.dumps(known) + "\n")
        voice.progress(STEPS, STEPS, "it runs")
        voice.ready(known, plan)
        await self._watch(self._broker)

    async def stop(self) -> None:
        """The broker first, then what it stands on. Leaves no process, socket or stale address."""
        for file in (self._plan.environment_file, self._plan.ready_file):
            file.unlink(missing_ok=True)
        if self._broker is not None:
            await self._broker.stop()
        async with asyncio.TaskGroup() as tasks:
            for part in self._servers:
                tasks.create_task(part.stop())
        shutil.rmtree(self._run_dir, ignore_errors=True)

    async def _start_servers(self, redis_server: Path, files: Certificates) -> Ports:
        plan = self._plan
        # A new run is a new site: what an earlier one knew (seats of browsers that are gone, limits
        # for another number of seats) would only be in the way.
        shutil.rmtree(plan.state / "redis", ignore_errors=True)
        for file in plan.state.glob("feed.sqlite*"):
            file.unlink()
        ledger = redis.part(
            redis_server, plan.state / "redis", self._redis_socket, plan.log("redis")
        )
        directory = Part(
            "The LDAP server",
            _python("broker.demo.ldap_server", "--ldif", LDIF, "--port", 0)
            + _words("--certificate", files.ldap, "--key", files.ldap_key),
            plan.log("ldap"),
        )
        backends = [self._backend(name, files) for name in BACKENDS]
        self._servers = [ledger, directory, *backends]
        async with asyncio.TaskGroup() as tasks:
            for part in self._servers:
                tasks.create_task(part.start())
        await ledger.until(lambda: redis.answers(self._redis_socket), LONGEST_START)
        found = [await part.port(LONGEST_START) for part in (directory, *backends)]
        for part, port in zip((directory, *backends), found, strict=True):
            part.command = _with_port(part.command, port)
        ldap, feed_1, feed_2, wiki_1, wiki_2 = found
        return Ports(ldap, (feed_1, feed_2), (wiki_1, wiki_2))

    def _backend(self, name: str, files: Certificates) -> Part:
        plan, application = self._plan, name.split("-")[0]
        command = _python("broker.demo.apps", application, "--port", 0, "--name", name)
        if application == "feed":
            command += _words("--data", plan.state / "feed.sqlite")
        else:
            command += _words("--jwks", f"{plan.app('wiki')}/.broker/jwks.json", "--ca", files.ca)
        return Part(name, command, plan.log(name), stop_within=3.0)

    async def _start_broker(self, files: Certificates) -> Part:
        plan = self._plan
        command = _python("broker", "serve", "-c", plan.configuration, "--first-start")
        part = Part("The broker", command, plan.log("broker"), stop_within=20.0)
        self._broker = part
        await part.start()
        async with client(files.ca, timeout=SHORT) as session:

            async def ready() -> bool:
                for url in (
                    f"{plan.admin}/readyz",
                    f"{plan.home}/.broker/healthz",
                    f"{plan.app('wiki')}/.broker/jwks.json",
                ):
                    try:
                        async with session.get(url, allow_redirects=False) as answer:
                            if answer.status != 200:
                                return False
                    except (aiohttp.ClientError, OSError, TimeoutError):
                        return False
                return True

            await part.until(ready, LONGEST_START)
        return part

    async def _console_link(self, token: str) -> str:
        """What opens the console, once. The broker answers, so this does not fail."""
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(timeout=SHORT, headers=headers) as session,
            session.post(f"{self._plan.admin}/api/v1/console-links", raise_for_status=True) as made,
        ):
            return str((await made.json())["url"])

    async def _watch(self, broker: Part) -> None:
        """Until the broker ends. Raises PartFailed then."""
        async with asyncio.TaskGroup() as tasks:
            keeping = [tasks.create_task(self._keep(part)) for part in self._servers]
            await broker.ended()
            for task in keeping:
                task.cancel()
        raise PartFailed(broker.name, broker.ending(), broker.log)

    async def _keep(self, part: Part) -> None:
        while True:
            await part.ended()
            died = PartFailed(part.name, part.ending(), part.log)
            self._voice.failed(died)
            self._voice.say(f"It is started again in {START_AGAIN_AFTER:.0f} s.")
            await asyncio.sleep(START_AGAIN_AFTER)
            await part.start()
            self._voice.say(f"{part.name} was started again.")


def _words(*words: str | int | Path) -> list[str]:
    return [str(word) for word in words]


def _python(module: str, *words: str | int | Path) -> list[str]:
    return [sys.executable, "-m", module, *_words(*words)]


def _with_port(command: list[str], port: int) -> list[str]:
    """The same command, to listen where it listened before."""
    at = command.index("--port") + 1
    return [*command[:at], str(port), *command[at + 1 :]]
