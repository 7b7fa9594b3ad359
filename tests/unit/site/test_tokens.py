"""Tokens: four kinds, none of which may stand in for another, and nothing accepted on doubt."""

from __future__ import annotations

import base64
import json

import jwt
import pytest

from broker.errors import ConfigurationError
from broker.ledger.port import SessionRecord
from broker.site.tokens import KeyRing, SeatClaim, Tokens

HOST = "feed.localhost:8443"
RECORD = SessionRecord(
    id="f" * 32,
    employee="anna",
    display_name="Anna",
    population="sales",
    groups=("cn=sales,dc=example",),
    created_ms=5,
    ends_ms=43_200_005,
)


class Wall:
    """A wall clock that a test can set."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def tokens(wall: Wall) -> Tokens:
    return Tokens(KeyRing.from_json(KeyRing.generate()), "demo", wall, 900)


def test_a_session_is_read_back_whole(tokens: Tokens) -> None:
    cookie = tokens.session_cookie(RECORD, HOST, SeatClaim("epoch", 77))
    claims = tokens.read_session(cookie, HOST)
    assert claims is not None
    assert (claims.employee, claims.population, claims.session_id) == ("anna", "sales", "f" * 32)
    assert (claims.seat_epoch, claims.seat_until_ms, claims.expired) == ("epoch", 77, False)
    assert len(cookie) < 1024


def test_a_cookie_with_two_hundred_groups_stays_under_one_kilobyte(tokens: Tokens) -> None:
    many = tuple(f"cn=group-{n},ou=groups,dc=example,dc=com" for n in range(200))
    record = SessionRecord("f" * 32, "anna", "Anna", "sales", many, 5, 6)
    cookie = tokens.session_cookie(record, HOST)
    claims = tokens.read_session(cookie, HOST)
    assert len(cookie) < 1024
    assert claims is not None
    assert claims.groups is None


def test_a_session_of_another_host_is_not_a_session(tokens: Tokens) -> None:
    cookie = tokens.session_cookie(RECORD, HOST)
    assert tokens.read_session(cookie, "wiki.localhost:8443") is None


def test_past_its_end_a_session_says_so_and_is_left_to_the_record(
    tokens: Tokens, wall: Wall
) -> None:
    cookie = tokens.session_cookie(RECORD, HOST)
    wall.now += 901
    claims = tokens.read_session(cookie, HOST)
    assert claims is not None
    assert claims.expired


def test_no_kind_of_token_stands_in_for_another(tokens: Tokens) -> None:
    code = tokens.handover_code(jti="1", host=HOST, cookie_hash="h", session_id="s", return_id="r")
    portal = tokens.portal_assertion({"host": HOST})
    session = tokens.session_cookie(RECORD, "portal")
    assert tokens.verify_handover(code, HOST) is not None
    assert tokens.verify_portal(portal) is not None
    assert tokens.read_session(code, HOST) is None
    assert tokens.verify_portal(session) is None
    assert tokens.verify_handover(tokens.session_cookie(RECORD, HOST), HOST) is None


def test_a_code_ends_after_thirty_seconds_and_a_little(tokens: Tokens, wall: Wall) -> None:
    code = tokens.handover_code(jti="1", host=HOST, cookie_hash="h", session_id="s", return_id="r")
    wall.now += 36
    assert tokens.verify_handover(code, HOST) is None


def _forge(header: dict[str, object], claims: dict[str, object], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_forged_tokens_are_refused(tokens: Tokens) -> None:
    cookie = tokens.session_cookie(RECORD, HOST)
    header = jwt.get_unverified_header(cookie)
    claims = jwt.decode(cookie, options={"verify_signature": False})
    public = json.dumps(tokens.jwks())
    assert tokens.read_session(_forge({**header, "alg": "none"}, claims), HOST) is None
    assert tokens.read_session(_forge(header, {**claims, "sub": "boss"}, b"x" * 32), HOST) is None
    assert tokens.read_session(cookie[:-4] + "AAAA", HOST) is None
    assert tokens.read_session(_forge({**header, "kid": "nobody"}, claims, b"x"), HOST) is None
    assert tokens.read_session(public, HOST) is None
    assert tokens.read_session("", HOST) is None


def test_rotation_keeps_the_old_key_for_reading(wall: Wall) -> None:
    first = KeyRing.generate()
    second = KeyRing.generate(first)
    cookie = Tokens(KeyRing.from_json(first), "demo", wall, 900).session_cookie(RECORD, HOST)
    after = Tokens(KeyRing.from_json(second), "demo", wall, 900)
    assert after.read_session(cookie, HOST) is not None
    third = Tokens(KeyRing.from_json(KeyRing.generate(second)), "demo", wall, 900)
    assert third.read_session(cookie, HOST) is None


def test_an_assertion_is_verified_with_the_published_keys_alone(tokens: Tokens, wall: Wall) -> None:
    token = tokens.assertion("anna", "sid", "sales", ("cn=sales",), "feed")
    keys = {key.key_id: key.key for key in jwt.PyJWKSet.from_dict(tokens.jwks()).keys}
    claims = jwt.decode(
        token,
        keys[jwt.get_unverified_header(token)["kid"]],
        algorithms=["ES256"],
        audience="feed",
        issuer="demo",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["sub"] == "anna"
    assert claims["exp"] - wall.now == 60
    assert all("d" not in key for key in tokens.jwks()["keys"])


@pytest.mark.parametrize(
    "text", ["", "{}", '{"sessions": [], "assertions": []}', "[1]", "nonsense"]
)
def test_a_broken_key_ring_is_a_configuration_error_that_shows_nothing(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        KeyRing.from_json(text)
    assert caught.value.reason.startswith("sessions.keys:")


def test_a_ring_shows_no_key() -> None:
    ring = KeyRing.from_json(KeyRing.generate())
    assert repr(ring) == "KeyRing()"
