"""A portal with a small gateway in front: for tests that read as a dialogue, for a real browser.

``PortalSite.exchange`` does what the gateway does for the portal and no more: it finds out who is
behind the session cookie, signs the assertion, chooses the internal page. ``Browser`` keeps cookies
as browsers keep ``__Host-`` cookies: by host, with their Max-Age on a clock that tests move.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from html import unescape
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

from aiohttp.test_utils import TestClient, TestServer
from multidict import CIMultiDict

from broker.directory.port import Employee, open_gate
from broker.errors import AccountRefused, PasswordRefused, WrongPassword
from broker.policy.populations import PopulationRule
from broker.portal.app import Portal
from broker.portal.plan import PortalPlan
from broker.site.factors import Factors
from broker.site.tokens import KeyRing, Tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from broker.directory.port import Gate, Permit
    from broker.ledger.port import Ledger, SeatAnswer

HOME = "https://localhost:8443"
FEED = "https://feed.localhost:8443"
WIKI = "https://wiki.localhost:8443"
PASSWORD = "correct horse"

POPULATIONS = (
    PopulationRule("managers", ("cn=managers,ou=groups,dc=example",)),
    PopulationRule("sales", ("cn=sales,ou=groups,dc=example",)),
    PopulationRule("everyone", ("cn=staff,ou=groups,dc=example",)),
)


def employee(name: str, group: str, display_name: str = "") -> Employee:
    return Employee(name, display_name or name.title(), (f"cn={group},ou=groups,dc=example",))


class FakeDirectory:
    """Three employees with one password, and a failure to raise instead when a test sets it."""

    def __init__(self) -> None:
        self.employees = {
            "aminata": employee("aminata", "sales", "Aminata Diop"),
            "marek": employee("marek", "managers", "Marek Wiśniewski"),
            "odile": employee("odile", "staff", "Odile Martin"),
            "extern": employee("extern", "contractors", "Eve Extern"),
        }
        self.fails: Exception | None = None
        self.can_look_up = True
        self.password = PASSWORD
        self.asked: list[str] = []

    async def login(
        self, username: str, password: str, gate: Gate = open_gate, *, preferred: bool = False
    ) -> Employee:
        name = username.lower()
        await gate(name)
        self.asked.append(username)
        if self.fails is not None:
            raise self.fails
        found = self.employees.get(name)
        if found is None or password != self.password:
            raise WrongPassword("no")
        return found

    async def change_password(
        self,
        username: str,
        old: str,
        new: str,
        gate: Gate = open_gate,
        *,
        preferred: bool = False,
        permit: Permit | None = None,
    ) -> None:
        await gate(username.lower())
        if username.lower() not in self.employees or old != self.password:
            raise WrongPassword("no")
        if self.fails is None:
            raise AccountRefused("not expired", "not_expired")
        if permit is not None:
            await permit(self.employees[username.lower()])
        if len(new) < 8:
            raise PasswordRefused("too short")
        self.password = new
        self.fails = None

    async def lookup(self, username: str) -> Employee | None:
        return self.employees.get(username)

    async def probe(self) -> None: ...

    async def close(self) -> None: ...


@dataclass
class Answer:
    """What a browser sees of one exchange. ``url`` is its address."""

    url: str
    status: int
    headers: CIMultiDict[str]
    text: str

    @property
    def location(self) -> str:
        return urljoin(self.url, self.headers["Location"])

    @property
    def visible(self) -> str:
        """Without the sections that the script may show later."""
        return re.sub(r"(?s)<section [^>]*hidden>.*?</section>", "", self.text)

    def hidden(self, name: str) -> str:
        """The value of a hidden input, written as scripts of the demo expect it."""
        match = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)">', self.text)
        assert match, f"no hidden input {name}"
        return unescape(match[1])

    def cookie(self, name: str) -> Mapping[str, str] | None:
        """The attributes of a Set-Cookie of this name, or None; its value under ``value``."""
        for line in self.headers.getall("Set-Cookie", []):
            morsel = SimpleCookie(line).get(name)
            if morsel is not None:
                return {**{k: str(v) for k, v in morsel.items()}, "value": morsel.value}
        return None


class PortalSite:
    """The portal, its neighbours, and the gateway's part of the talk."""

    def __init__(self, ledger: Ledger, *, ports: int = 8443, **plan: Any) -> None:
        self.now = 1_800_000_000.0
        self.ledger = ledger
        self.directory = FakeDirectory()
        self.outcomes: list[str] = []
        self.guarded: list[str] = []
        self.address = "192.0.2.7"
        self.ring = KeyRing.from_json(KeyRing.generate())
        self.tokens = Tokens(self.ring, "test", lambda: self.now, 900.0)
        self.factors = Factors(self.ring, "test", lambda: self.now)
        self.home, self.feed, self.wiki = (
            origin.replace("8443", str(ports)) for origin in (HOME, FEED, WIKI)
        )
        self.plan = PortalPlan(
            home=self.home,
            applications=(self.feed, self.wiki),
            populations=POPULATIONS,
            **{"company": "Example & Sons", "contact": "service@example.com", **plan},
        )
        self.jitter = 0.5
        self.portal = Portal(
            self.plan,
            ledger,
            self.directory,
            self.tokens,
            self.factors,
            self.outcomes.append,
            self.guarded.append,
            lambda: self.jitter,
        )
        self.client: TestClient[web.Request, web.Application] = TestClient(
            TestServer(self.portal.app)
        )

    async def __aenter__(self) -> PortalSite:
        await self.client.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def exchange(
        self, url: str, method: str, headers: CIMultiDict[str], body: bytes = b""
    ) -> Answer:
        """One request as it comes out of the gateway again."""
        parts = urlsplit(url)
        host = parts.netloc
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        claims: dict[str, Any] = {
            "host": host,
            "address": self.address,
            "method": method,
            "page": "",
            "return": target,
            "wait": None,
        }
        record = await self._record(headers, host)
        if record is not None:
            claims |= {
                "sub": record.employee,
                "sid": record.id,
                "pop": record.population,
                "name": record.display_name,
                "groups": list(record.groups),
                "left": (record.ends_ms - (await self.ledger.look(record.employee)).ledger_ms)
                // 1000,
            }
        application = host != urlsplit(self.home).netloc
        if application and record is not None and parts.path.startswith("/.broker/wait"):
            if parts.path.endswith("/status"):
                return await self._status(url, record)
            claims["wait"] = _place(await self.ledger.admit(record.employee, record.population))
        if application and not parts.path.startswith("/.broker/"):
            page, answer = await self._page_for(record, method)
            if not page:
                text = f"application {host} {method} {target}"
                return Answer(url, 200, CIMultiDict({"Content-Type": "text/html"}), text)
            claims |= {"page": page, "wait": _place(answer) if answer else None}
            target = f"/.broker/page/{page}"
        return await self.ask(url, method, target, claims, headers, body)

    async def ask(
        self,
        url: str,
        method: str,
        target: str,
        claims: Mapping[str, Any],
        headers: CIMultiDict[str],
        body: bytes = b"",
    ) -> Answer:
        """Straight to the portal with an assertion of these claims."""
        signed = CIMultiDict(headers)
        signed["X-Broker-Assertion"] = self.tokens.portal_assertion(claims)
        async with self.client.request(
            method, target, headers=signed, data=body, allow_redirects=False
        ) as response:
            return Answer(
                url, response.status, CIMultiDict(response.headers), await response.text()
            )

    async def _record(self, headers: CIMultiDict[str], host: str) -> Any:
        cookie = SimpleCookie(headers.get("Cookie", "")).get("__Host-broker")
        claims = self.tokens.read_session(cookie.value, host) if cookie else None
        if claims is None:
            return None
        return await self.ledger.session(claims.session_id)

    async def _status(self, url: str, record: Any) -> Answer:
        answer = await self.ledger.look(record.employee, present=True)
        status = {
            "state": answer.state,
            "position": answer.position,
            "estimate_seconds": {"p50": None, "p90": None},
            "poll_seconds": 1,
        }
        kind = CIMultiDict({"Content-Type": "application/json"})
        return Answer(url, 200, kind, json.dumps(status))

    async def _page_for(self, record: Any, method: str) -> tuple[str, SeatAnswer | None]:
        if record is None:
            return "enter", None
        if not record.population:
            return "not-admitted", None
        answer = await self.ledger.admit(record.employee, record.population)
        if answer.state == "seated":
            return "", answer
        if answer.state == "not_admitted":
            return "not-admitted", answer
        return ("wait" if method in ("GET", "HEAD") else "body-lost"), answer


def _place(answer: SeatAnswer) -> dict[str, Any]:
    """What the gateway tells the portal of it."""
    return {
        "state": answer.state, "population": answer.population, "position": answer.position,
        "p50": None, "p90": None, "poll": 1, "claim": 90,
    }  # fmt: skip


@dataclass
class Browser:
    """One browser: cookies by host, and what it says of itself."""

    site: PortalSite
    language: str = "en"
    jar: dict[str, dict[str, tuple[str, float]]] = field(default_factory=dict)

    def cookies(self, origin: str) -> dict[str, str]:
        """The living cookies of a host."""
        kept = self.jar.get(urlsplit(origin).netloc, {})
        return {name: value for name, (value, ends) in kept.items() if ends > self.site.now}

    async def request(self, method: str, url: str, body: bytes = b"", **headers: str) -> Answer:
        """One exchange, no redirect followed. Header names: ``_`` for ``-``; "" leaves one out."""
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        sent: CIMultiDict[str] = CIMultiDict(
            {"Accept-Language": self.language, "User-Agent": "Mozilla/5.0 (X11; Linux) Firefox/1"}
        )
        if method != "GET":
            sent["Origin"] = origin
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        if cookies := self.cookies(origin):
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        for name, value in headers.items():
            sent.pop(name.replace("_", "-"), None)
            if value:
                sent[name.replace("_", "-")] = value
        answer = await self.site.exchange(url, method, sent, body)
        self._keep(urlsplit(url).netloc, answer)
        return answer

    def _keep(self, host: str, answer: Answer) -> None:
        kept = self.jar.setdefault(host, {})
        for line in answer.headers.getall("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                assert morsel["secure"], line
                assert morsel["path"] == "/", line
                assert not morsel["domain"], line
                ends = self.site.now + int(morsel["max-age"]) if morsel["max-age"] else 1e12
                kept[name] = (morsel.value, ends)

    async def get(self, url: str, **headers: str) -> Answer:
        return await self.request("GET", url, b"", **headers)

    async def visit(self, url: str, most: int = 12) -> Answer:
        """Navigate: follow redirects to the end."""
        return await self.follow(await self.get(url), most)

    async def follow(self, answer: Answer, most: int = 12) -> Answer:
        while answer.status in (302, 303) and most:
            answer = await self.get(answer.location)
            most -= 1
        assert answer.status not in (302, 303), "redirects without end"
        return answer

    async def post(self, url: str, form: Mapping[str, str], **headers: str) -> Answer:
        return await self.request("POST", url, urlencode(form).encode(), **headers)

    async def fill_in(
        self, page: Answer, username: str, password: str = PASSWORD, **headers: str
    ) -> Answer:
        """Send the login form of a page; no redirect followed."""
        form = {
            "username": username,
            "password": password,
            "csrf": page.hidden("csrf"),
            "next": page.hidden("next"),
        }
        return await self.post(f"{self.site.home}/.broker/login", form, **headers)

    async def log_in(self, username: str, url: str | None = None) -> Answer:
        """From a stranger's navigation to where it ends."""
        page = await self.visit(url or f"{self.site.home}/")
        return await self.follow(await self.fill_in(page, username))
