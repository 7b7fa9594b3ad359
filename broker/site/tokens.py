"""Signed statements: session cookies, assertions to backends and portal, hand-over codes.

One key ring, seven kinds of token, each with its own ``typ`` so that none can stand in for another
(RFC 8725, 3.11). Sessions, tickets, known browsers, logins half done, portal assertions and codes
are read by brokers only: HS256. Assertions to backends are read by applications: ES256, verified
with the published key set. The first key of each list signs, all of them verify, so that a rotation
logs nobody out. Time is the caller's wall clock (Unix seconds); nothing here does I/O.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from broker.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.ledger.port import SessionRecord

SESSION = "broker-session+jwt"
ASSERTION = "broker-assertion+jwt"
PORTAL = "broker-portal+jwt"
CODE = "broker-code+jwt"
TICKET = "broker-ticket+jwt"
KNOWN = "broker-known+jwt"
HALF = "broker-half-login+jwt"

ASSERTION_SECONDS = 60
CODE_SECONDS = 30
PORTAL_SECONDS = 30
TICKET_SECONDS = 43_200
GROUPS_IN_COOKIE = 400  # bytes; the cookie must stay under 1 KiB
LEEWAY = 5  # seconds between the clocks of hosts


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys by ``kid``, newest first. ``sessions``: 32-byte secrets; ``assertions``: P-256 keys;
    ``factors``: 32-byte secrets that seal second factors, none in a ring made before there were
    any."""

    sessions: Mapping[str, bytes] = field(repr=False)
    assertions: Mapping[str, ec.EllipticCurvePrivateKey] = field(repr=False)
    factors: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def from_json(cls, text: str) -> KeyRing:
        """Read what ``generate`` wrote. Raises ConfigurationError without showing the text."""
        try:
            ring = json.loads(text)
            # Keys marked "next" are prepared for a rotation: last, so that they sign nothing yet.
            sessions = {key["kid"]: _unpad(key["k"]) for key in sorted(ring["sessions"], key=_next)}
            assertions: dict[str, ec.EllipticCurvePrivateKey] = {}
            for jwk in sorted(ring["assertions"], key=_next):
                key = ECAlgorithm.from_jwk(jwk)
                if not isinstance(key, ec.EllipticCurvePrivateKey):
                    raise TypeError("not a private key")
                assertions[jwk["kid"]] = key
            sealing = sorted(ring.get("factors", ()), key=_next)
            factors = {key["kid"]: _unpad(key["k"]) for key in sealing}
        except (ValueError, KeyError, TypeError, AttributeError, jwt.InvalidKeyError) as error:
            raise ConfigurationError("sessions.keys: not a key ring of `broker keys`") from error
        if not sessions or not assertions or any(len(key) < 32 for key in sessions.values()):
            raise ConfigurationError("sessions.keys: needs a session key and an assertion key")
        if any(len(key) != 32 for key in factors.values()):
            raise ConfigurationError("sessions.keys: a key for second factors has 32 bytes")
        return cls(sessions, assertions, factors)

    @staticmethod
    def generate(previous: str | None = None) -> str:
        """A key ring as JSON: fresh keys first, then the newest of ``previous``; of those for
        second factors all, for what they sealed lasts."""
        old = json.loads(previous) if previous else {"sessions": [], "assertions": []}
        secret = {"kid": secrets.token_hex(4), "k": _pad(secrets.token_bytes(32))}
        sealing = {"kid": secrets.token_hex(4), "k": _pad(secrets.token_bytes(32))}
        private = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
        private |= {"kid": secrets.token_hex(4), "use": "sig", "alg": "ES256"}
        return json.dumps(
            {
                "sessions": [secret, *old["sessions"][:1]],
                "assertions": [private, *old["assertions"][:1]],
                "factors": [sealing, *old.get("factors", ())],
            },
            indent=1,
        )


@dataclass(frozen=True, slots=True)
class SessionClaims:
    """What a session cookie says. ``expired``: the signature holds but the token is past its end:
    the record must be asked. ``seat_epoch`` and ``seat_until_ms``: until when, in ledger time of
    that epoch, the seat may be trusted without asking. ``groups`` is None when they did not fit.
    ``tied``: good only in the networks from which no second factor is needed."""

    session_id: str
    employee: str
    population: str
    groups: tuple[str, ...] | None
    issued_at: int
    expires_at: int
    created_ms: int
    ends_ms: int
    seat_epoch: str
    seat_until_ms: int
    expired: bool
    tied: bool = False


@dataclass(frozen=True, slots=True)
class SeatClaim:
    """A seat as a cookie may state it: until ``until_ms`` ledger time of ``epoch``."""

    epoch: str = ""
    until_ms: int = 0


@dataclass(frozen=True, slots=True)
class TicketClaims:
    """A ticket as its owner's browser keeps it. ``session_id``: who took the cookie; when that
    session is ended the cookie is worth nothing. ``seen_ms``: ledger time at which it was signed.
    """

    employee: str
    session_id: str
    population: str
    number: int
    epoch: str
    seen_ms: int


class Tokens:
    """Signs and verifies. ``wall_clock`` returns Unix seconds."""

    def __init__(
        self, ring: KeyRing, site: str, wall_clock: Callable[[], float], token_lifetime: float
    ) -> None:
        self._site = site
        self._now = wall_clock
        self.token_lifetime = int(token_lifetime)
        self.replace(ring)

    def replace(self, ring: KeyRing) -> None:
        """Sign and verify with another ring from now on."""
        self._ring = ring
        self.session_kid = next(iter(ring.sessions))
        self._assertion_kid = next(iter(ring.assertions))

    # --- sessions

    def session_cookie(
        self, record: SessionRecord, host: str, seat: SeatClaim | None = None
    ) -> str:
        """The value of ``__Host-broker`` for ``host`` (canonical ``name:port``); under 1 KiB."""
        now = int(self._now())
        claims: dict[str, Any] = {
            "iss": self._site,
            "aud": host,
            "sub": record.employee,
            "sid": record.id,
            "pop": record.population,
            "iat": now,
            "exp": now + self.token_lifetime,
            "born": record.created_ms,
            "ends": record.ends_ms,
        }
        if seat is not None and seat.until_ms:
            claims["seat"] = [seat.epoch, seat.until_ms]
        if record.factor == "excepted":
            claims["tied"] = True
        if sum(len(group.encode()) + 4 for group in record.groups) <= GROUPS_IN_COOKIE:
            claims["grp"] = list(record.groups)
        return self._sign(claims, SESSION)

    def read_session(self, cookie: str, host: str) -> SessionClaims | None:
        """None for anything that is not a session of ours for exactly this host."""
        claims = self._verify(cookie, SESSION, host, allow_expired=True)
        if claims is None:
            return None
        try:
            epoch, until_ms = claims.get("seat", ("", 0))
            groups = claims.get("grp")
            return SessionClaims(
                session_id=_text(claims["sid"]),
                employee=_text(claims["sub"]),
                population=_text(claims["pop"]),
                groups=None if groups is None else tuple(_text(group) for group in groups),
                issued_at=_whole(claims["iat"]),
                expires_at=_whole(claims["exp"]),
                created_ms=_whole(claims["born"]),
                ends_ms=_whole(claims["ends"]),
                seat_epoch=_text(epoch),
                seat_until_ms=_whole(until_ms),
                expired=_whole(claims["exp"]) <= self._now(),
                tied="tied" in claims,
            )
        except (KeyError, TypeError, ValueError):
            return None

    # --- tickets

    def ticket_cookie(self, ticket: TicketClaims) -> str:
        """The value of ``__Host-broker-ticket``. Whether it is too old is for the ledger to say, in
        ledger time; ``exp`` is there because every token has one, and is not looked at."""
        now = int(self._now())
        return self._sign(
            {
                "iss": self._site,
                "aud": "ticket",
                "sub": ticket.employee,
                "sid": ticket.session_id,
                "pop": ticket.population,
                "num": ticket.number,
                "epoch": ticket.epoch,
                "seen": ticket.seen_ms,
                "iat": now,
                "exp": now + TICKET_SECONDS,
            },
            TICKET,
        )

    def read_ticket(self, cookie: bytes) -> TicketClaims | None:
        """None for anything that is not a ticket of ours."""
        try:
            claims = self._verify(cookie.decode("ascii"), TICKET, "ticket", allow_expired=True)
            if claims is None:
                return None
            return TicketClaims(
                employee=_text(claims["sub"]),
                session_id=_text(claims["sid"]),
                population=_text(claims["pop"]),
                number=_whole(claims["num"]),
                epoch=_text(claims["epoch"]),
                seen_ms=_whole(claims["seen"]),
            )
        except (KeyError, TypeError, ValueError):
            return None

    # --- assertions

    def assertion(
        self, employee: str, session_id: str, population: str, groups: tuple[str, ...], pool: str
    ) -> str:
        """``X-Broker-Assertion`` for one pool: ES256, 60 s."""
        now = int(self._now())
        return jwt.encode(
            {
                "iss": self._site,
                "aud": pool,
                "sub": employee,
                "sid": session_id,
                "population": population,
                "groups": list(groups),
                "iat": now,
                "exp": now + ASSERTION_SECONDS,
            },
            self._ring.assertions[self._assertion_kid],
            algorithm="ES256",
            headers={"kid": self._assertion_kid, "typ": ASSERTION},
        )

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public key set (RFC 7517) with which backends verify assertions."""
        keys = []
        for kid, key in self._ring.assertions.items():
            public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
            keys.append({**public, "kid": kid, "use": "sig", "alg": "ES256"})
        return {"keys": keys}

    def portal_assertion(self, claims: Mapping[str, Any]) -> str:
        """What the gateway tells the portal about one request: logged in or not, 30 s."""
        now = int(self._now())
        return self._sign(
            {**claims, "iss": self._site, "aud": "portal", "iat": now, "exp": now + PORTAL_SECONDS},
            PORTAL,
        )

    def verify_portal(self, value: str) -> dict[str, Any] | None:
        return self._verify(value, PORTAL, "portal")

    # --- hand-over

    def handover_code(
        self, *, jti: str, host: str, cookie_hash: str, session_id: str, return_id: str
    ) -> str:
        """The code that home gives the browser for one application host: 30 s, to be used once."""
        now = int(self._now())
        return self._sign(
            {
                "iss": self._site,
                "aud": host,
                "jti": jti,
                "hash": cookie_hash,
                "sid": session_id,
                "ret": return_id,
                "iat": now,
                "exp": now + CODE_SECONDS,
            },
            CODE,
        )

    def verify_handover(self, code: str, host: str) -> dict[str, Any] | None:
        """The claims of a code for exactly this host, or None. That it is used once is the
        caller's to see to (``jti``, taken from the ledger)."""
        return self._verify(code, CODE, host)

    # --- known browsers

    def known_browser(
        self, employee: str, browser: str, seconds: int, *, by_factor: bool = False
    ) -> str:
        """Says that the employee has logged in with this browser, and whether ever with a second
        factor; no right follows from it."""
        now = int(self._now())
        claims: dict[str, Any] = {
            "iss": self._site,
            "aud": "known-browser",
            "sub": employee,
            "jti": browser,
            "iat": now,
            "exp": now + seconds,
        }
        if by_factor:
            claims["factor"] = True
        return self._sign(claims, KNOWN)

    def read_known_browser(self, cookie: str) -> tuple[str, str, bool] | None:
        """Employee, browser id and whether by a second factor, or None."""
        claims = self._verify(cookie, KNOWN, "known-browser") if cookie else None
        if claims is None:
            return None
        try:
            return _text(claims["sub"]), _text(claims["jti"]), "factor" in claims
        except (KeyError, TypeError):
            return None

    # --- logins half done

    def half_login(self, employee: str, note: str, browser: str, seconds: int) -> str:
        """Says that the password of ``employee`` was right in the browser whose login cookie has
        the digest ``browser``; what else is known of it is in the ledger under ``note``."""
        now = int(self._now())
        return self._sign(
            {
                "iss": self._site,
                "aud": "second-factor",
                "sub": employee,
                "jti": note,
                "hash": browser,
                "iat": now,
                "exp": now + seconds,
            },
            HALF,
        )

    def read_half_login(self, cookie: str) -> tuple[str, str, str] | None:
        """Employee, note and browser, or None."""
        claims = self._verify(cookie, HALF, "second-factor") if cookie else None
        if claims is None:
            return None
        try:
            return _text(claims["sub"]), _text(claims["jti"]), _text(claims["hash"])
        except (KeyError, TypeError):
            return None

    # --- one way to sign, one way to verify

    def _sign(self, claims: Mapping[str, Any], kind: str) -> str:
        return jwt.encode(
            dict(claims),
            self._ring.sessions[self.session_kid],
            algorithm="HS256",
            headers={"kid": self.session_kid, "typ": kind},
        )

    def _verify(
        self, token: str, kind: str, audience: str, *, allow_expired: bool = False
    ) -> dict[str, Any] | None:
        """Deny on doubt. Times are compared here, with the injected clock, not by the library."""
        try:
            header = jwt.get_unverified_header(token)
            key = self._ring.sessions.get(header.get("kid", ""))
            if key is None or header.get("typ") != kind:
                return None
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["HS256"],
                audience=audience,
                issuer=self._site,
                options={
                    "require": ["iss", "aud", "iat", "exp"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                    "strict_aud": True,
                },
            )
            issued, expires = _whole(claims["iat"]), _whole(claims["exp"])
        except (jwt.InvalidTokenError, ValueError, TypeError):
            return None
        now = self._now()
        if allow_expired:
            return claims
        if not issued - LEEWAY <= now < expires + LEEWAY:
            return None
        return claims


def _next(key: dict[str, Any]) -> bool:
    return bool(key.get("next"))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("text expected")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("whole number expected")
    return value


def _pad(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unpad(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
