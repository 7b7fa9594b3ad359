"""An employee as they behave: log in, read pages and think, keep the live feed open, put a file up,
idle, come back, log out; wait as politely as the waiting room asks; come back after a cut.

One Locust user is one employee. What only the employee can know is noted here: how long a login
felt, how long a wait took against what was told, when a seat was surely held, and whether it or a
place in the queue was lost without reason.
"""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Any, ClassVar

import gevent
import websocket
from gevent.event import Event
from locust import FastHttpUser, task
from locust.exception import StopUser
from locust.user.task import LOCUST_STATE_RUNNING, LOCUST_STATE_STOPPING, LOCUST_STATE_WAITING

from broker.policy.standing import JITTER
from loadtest.browser import Browser, Page
from loadtest.measure.recorder import Holding
from loadtest.report.model import Wait

if TYPE_CHECKING:
    from loadtest.crew import Crew

TOUCH_MARGIN = 15.0  # a seat's last activity reaches the ledger up to so many seconds late
TRY_AGAIN = 4
LOOK_AGAIN = (1.0, 3.0)  # seconds until somebody presses reload
UPLOAD_BYTES = (20_000, 400_000)
DEFAULT_POLL = 5.0


class Cut(Exception):
    """The network went away under the employee."""


class Employee(FastHttpUser):
    """``crew`` is set by the locustfile: the plan, the site, the recorder, whose turn it is."""

    abstract = True
    crew: ClassVar[Crew]
    insecure = False
    concurrency = 6
    network_timeout = 60.0
    connection_timeout = 10.0

    def on_start(self) -> None:
        crew = self.crew
        self.number, self.population, self.person = crew.enter()
        self.dice = random.Random(f"{self.person} {crew.plan.scenario.name}")
        self.browser = Browser(self.client, crew.site.app, crew.site.ca)
        self.disturbed = Event()
        self.listener: gevent.Greenlet[[], None] | None = None
        self.logged_in = False
        self.seat_since: float | None = None
        self.asked_at = 0.0
        # Without a seat for sure: the next page is then the proof of a new admission.
        self.seatless = True
        self.taken_since: float | None = None
        self.active_at = 0.0
        self.cut_at = 0.0
        crew.present[id(self)] = self

    def on_stop(self) -> None:
        if not hasattr(self, "browser"):
            return
        self.crew.present.pop(id(self), None)
        try:
            self._log_out()
        finally:
            self.browser.close()
            if self.listener is not None:
                self.listener.kill(block=False)
            self.crew.leave(self.number)

    # --- the day

    @task
    def day(self) -> None:
        """Visits with pauses between, until the employee is sent home."""
        # Who comes does not come to the second: visits of a shift should not march in step.
        self._pause(self.dice.uniform(0, min(self.crew.plan.think, 2.0)))
        while True:
            try:
                self._visit()
                self._pause(self._about(self.crew.plan.pause))
            except Cut:
                self._come_back()

    def _visit(self) -> None:
        page = self._open()
        if page is None:
            return
        self._maybe_listen()
        views = 1
        while self.dice.random() > 1 / self.crew.plan.model.views_a_visit:
            views += 1
            self._pause(self._about(self.crew.plan.think))
            if self.dice.random() < self.crew.plan.uploads:
                self._upload()
            if self._open() is None:
                return
        if self.dice.random() < self.crew.plan.logouts:
            self._log_out()

    def _open(self) -> Page | None:
        """A page with all that belongs to it, after login and waiting as need be; None when the
        employee was refused or gave up."""
        app = self.crew.site.app
        self.asked_at = began = time.time()
        page = self.browser.navigate(app + self.dice.choice(self.crew.site.paths), "open")
        for attempt in range(TRY_AGAIN):
            if page.status == 200 and page.url.startswith(app) and not page.asks_for_login:
                return self._read(page, began)
            if page.status == 200 and page.asks_for_login:
                page = self._log_in(page)
            elif page.status == 503:
                found = self._wait_for_a_seat(page)
                if found is None:
                    return None
                page = found
            elif page.status == 403:
                self._seat_gone(time.time(), lost=False)
                self.crew.recorder.count("refused", time.time())
                return None
            else:
                if page.status:
                    self._failed(f"page: {page.status}", page.url)
                self._pause(self.dice.uniform(*LOOK_AGAIN))
                page = self.browser.navigate(f"{app}/", "open")
            if attempt + 1 < TRY_AGAIN:
                began = time.time()
        return None

    def _read(self, page: Page, began: float) -> Page:
        """What an employee with a seat sees."""
        now = time.time()
        recorder = self.crew.recorder
        sent = now - page.seconds
        if self.seat_since is not None and sent > self._surely_until():
            self._close_holding(sent)
        if self.seat_since is None:
            self.seat_since = now
            self.taken_since = self.asked_at if self.seatless else None
        self.seatless = False
        self.active_at = sent
        recorder.request("page", now, page.seconds)
        recorder.count("pages", now)
        if self.cut_at:
            recorder.request("back", now, now - self.cut_at)
            self.cut_at = 0.0
        model = self.crew.plan.model
        self.browser.assets(page, model.requests_cold, model.requests_warm)
        recorder.request("view", time.time(), time.time() - began)
        return page

    # --- in and out

    def _log_in(self, page: Page) -> Page:
        """From the filled form to whatever comes behind it."""
        site, recorder = self.crew.site, self.crew.recorder
        if self.logged_in and self.seat_since is not None and time.time() < self._surely_until():
            recorder.count("thrown_out", time.time())
            self._failed("thrown out: asked to log in again", page.url)
        if self.logged_in and self.cut_at:
            recorder.count("relogins", time.time())
        self._seat_gone(time.time(), lost=False)
        for attempt in range(1, TRY_AGAIN + 1):
            address = page.form_address()
            if address is None:
                return page
            who = {"username": self.person, "password": site.password_of(self.person)}
            began = time.time()
            page = self.browser.navigate(address, "log in", {**page.hidden(), **who}, "hand-over")
            if not page.asks_for_login:
                self.logged_in = True
                recorder.request("login", time.time(), time.time() - began)
                return page
            self._failed(f"login: {page.status}", "the form came back")
            if page.status not in (429, 503):
                raise StopUser(f"{self.person} cannot log in")
            self._pause((page.retry_after or 2.0) * (attempt + self.dice.random()))
            page = self.browser.navigate(f"{site.app}/", "open")
        return page

    def _log_out(self) -> None:
        if not self.logged_in:
            return
        self._close_holding(time.time())
        self.seatless = True
        self.logged_in = False
        page = self.browser.navigate(
            f"{self.crew.site.app}/.broker/logout", "log out", {}, "logged out"
        )
        if page.status != 200:
            self._failed(f"logout: {page.status}", page.url)

    # --- the waiting room

    def _wait_for_a_seat(self, page: Page) -> Page | None:
        """Polls at the interval asked for, first by the waiting page, until there is a page; None
        when refused."""
        recorder, app = self.crew.recorder, self.crew.site.app
        began = time.time()
        told: dict[str, float | None] = {}
        waited = False
        self._pause(self._polite(page.poll_seconds()))
        while True:
            asked = time.time()
            status = self._status()
            state = status.get("state")
            estimate = status.get("estimate_seconds") or {}
            if not told and estimate.get("p50") is not None:
                told = {"p50": estimate.get("p50"), "p90": estimate.get("p90")}
            if state in ("waiting", "learning"):
                self.asked_at = asked
            if state in ("waiting", "called", "learning") and not waited:
                waited = True
                self._seat_gone(began, lost=True)
                recorder.count("waits", began)
            if waited and state in ("none", "gone"):
                recorder.count("lost_places", time.time())
                self._failed("place in the queue lost", f"state {state}")
            if state in ("called", "seated", "none", "gone", "not_admitted"):
                page = self.browser.navigate(f"{app}/", "open")
                if page.status != 503:
                    if waited:
                        ended = {200: "seated", 403: "refused"}.get(page.status, "lost")
                        self._waited(began, ended, told)
                    return page
                if not waited:
                    # A seat but no page: no connection was free, or the ledger was away.
                    self._failed("page: 503", "no connection, or the ledger is away")
            try:
                self._pause(self._polite(status.get("poll_seconds")))
            except (gevent.GreenletExit, StopUser):
                if waited:
                    self._waited(began, "waiting", told)
                raise

    def _polite(self, seconds: float | None) -> float:
        """As the waiting page's own script: what was asked for, and up to a quarter more."""
        return float(seconds or DEFAULT_POLL) * self.dice.uniform(1.0, 1.0 + JITTER)

    def _status(self) -> dict[str, Any]:
        page = self.browser.wait_status()
        if page.status == 200:
            try:
                found = json.loads(page.text)
            except ValueError:
                found = None
            if isinstance(found, dict):
                return found
            self._failed("wait status: not JSON", page.text[:80])
        if page.status == 429:
            self.crew.recorder.count("impolite", time.time())
        return {"poll_seconds": page.retry_after}

    def _waited(self, began: float, ended: str, told: dict[str, float | None]) -> None:
        self.crew.recorder.waited(
            Wait(
                population=self.population,
                seconds=time.time() - began,
                ended=ended,
                told_p50=told.get("p50"),
                told_p90=told.get("p90"),
                began=began,
            )
        )

    # --- the live feed, files

    def _maybe_listen(self) -> None:
        listening = self.listener is not None and not self.listener.dead
        if (
            self.crew.site.live
            and not listening
            and self.dice.random() < self.crew.plan.model.live_share
        ):
            self.listener = gevent.spawn(self._listen)

    def _listen(self) -> None:
        """Open until the seat is gone or the employee is; opened again when the line breaks."""
        recorder, path = self.crew.recorder, self.crew.site.live
        while self.logged_in:
            opened = time.time()
            heard: list[float] = []

            def hear(_: str, opened: float = opened, heard: list[float] = heard) -> None:
                if not heard:
                    heard.append(time.time())
                    recorder.request("live", time.time(), time.time() - opened)
                recorder.count("live_messages", time.time())

            try:
                self.browser.listen(path, hear)
            except websocket.WebSocketBadStatusException as refusal:
                if self.seat_since is not None and opened < self._surely_until():
                    self._failed(f"live: {refusal.status_code}", path)
                return
            except (OSError, websocket.WebSocketException) as trouble:
                if not heard and not self.cut_at and self._is_in():
                    self._failed(f"live: {type(trouble).__name__}", str(trouble))
            gevent.sleep(self.dice.uniform(*LOOK_AGAIN))

    def _upload(self) -> None:
        if not self.crew.site.upload:
            return
        site = self.crew.site
        body = self.dice.randbytes(self.dice.randint(*UPLOAD_BYTES))
        headers = {
            "Origin": site.app,
            "Sec-Fetch-Site": "same-origin",
            "Sec-Fetch-Mode": "cors",
            "Accept": "application/json",
            "Content-Type": "application/octet-stream",
        }
        sent = time.time()
        url = f"{site.app}{site.upload}/photo-{self.number}.bin"
        # A seat that went idle meanwhile is told with 503, and is no error.
        page = self.browser.request("PUT", url, "upload", headers=headers, body=body)
        if page.status == 200 and json.loads(page.text).get("size") != len(body):
            self._failed("upload: not all of it arrived", page.text)
        elif page.status == 503 and self.seat_since is not None and sent < self._surely_until():
            self._failed("upload: 503", url)

    # --- the network

    def cut(self) -> None:
        """The network is gone, whatever the employee is doing."""
        if self.logged_in:
            self.cut_at = time.time()
            self.crew.recorder.count("cut", self.cut_at)
        self.browser.cut()
        self.disturbed.set()

    def _come_back(self) -> None:
        """Everybody comes back within the time that the model gives."""
        self.disturbed.clear()
        self._pause(self.dice.uniform(0, self.crew.plan.reconnect * 0.8))

    # --- what is surely so

    def _is_in(self) -> bool:
        return self.logged_in

    def _surely_until(self) -> float:
        """Until then the seat cannot have been reclaimed, whoever waits."""
        return self.active_at + self.crew.plan.idle - TOUCH_MARGIN

    def _close_holding(self, at: float) -> None:
        if self.seat_since is not None:
            end = min(at, self._surely_until())
            self.crew.recorder.held(
                Holding(
                    population=self.population,
                    began=self.seat_since,
                    ended=end,
                    since=self.taken_since,
                )
            )
        self.seat_since = None

    def _seat_gone(self, at: float, *, lost: bool) -> None:
        """The seat turned out to be gone. ``lost``: and nothing of the employee's doing ended it,
        so that, unless it was idle, somebody was thrown out."""
        if lost and self.seat_since is not None and at < self._surely_until():
            self.crew.recorder.count("thrown_out", at)
            self._failed("thrown out: the seat was lost while in use", self.population)
        self._close_holding(at)
        self.seatless = True

    def _failed(self, kind: str, example: str) -> None:
        self.crew.recorder.failed(kind, time.time(), example)

    # --- time

    def _about(self, mean: float) -> float:
        """An exponential pause, cut off at four times its mean so that a run can end."""
        return min(self.dice.expovariate(1 / mean), 4 * mean)

    def _pause(self, seconds: float) -> None:
        """Sleeps as one who may be sent home meanwhile. Raises Cut, StopUser."""
        if self._state == LOCUST_STATE_STOPPING:
            raise StopUser
        self._state = LOCUST_STATE_WAITING
        if self.disturbed.wait(seconds):
            self._state = LOCUST_STATE_RUNNING
            self.disturbed.clear()
            raise Cut
        self._state = LOCUST_STATE_RUNNING
