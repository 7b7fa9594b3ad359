"""Two steps of a rotation, and that every token stays good through them."""

from __future__ import annotations

import json

import pytest

from broker.errors import ConfigurationError, Refused
from broker.site.key_rotation import is_prepared, prepared, promoted, signing_since
from broker.site.tokens import KeyRing, Tokens
from tests.unit.site.test_tokens import HOST, RECORD

OLD = KeyRing.generate()


def tokens(ring: str) -> Tokens:
    return Tokens(KeyRing.from_json(ring), "demo", lambda: 1_800_000_000.0, 900)


def kids(ring: str) -> set[str]:
    return {key["kid"] for key in tokens(ring).jwks()["keys"]}


def test_whoever_is_one_step_behind_or_ahead_reads_every_token() -> None:
    """At any moment two neighbouring steps are in use, on different processes and hosts."""
    ring = OLD
    for _ in range(3):
        ready = prepared(ring)
        done = promoted(ready, 1_800_000_000)
        for one, other in ((ring, ready), (ready, done), (ready, ready), (done, done)):
            for signs, reads in ((one, other), (other, one)):
                cookie = tokens(signs).session_cookie(RECORD, HOST)
                assert tokens(reads).read_session(cookie, HOST) is not None
        ring = done


def test_what_the_former_key_signed_is_good_until_the_next_rotation() -> None:
    cookie = tokens(OLD).session_cookie(RECORD, HOST)
    once = promoted(prepared(OLD), 1)
    assert tokens(once).read_session(cookie, HOST) is not None
    assert tokens(prepared(once)).read_session(cookie, HOST) is not None
    assert tokens(promoted(prepared(once), 2)).read_session(cookie, HOST) is None


def test_a_prepared_key_is_published_and_signs_nothing() -> None:
    ready = prepared(OLD)
    assert is_prepared(ready)
    assert not is_prepared(OLD)
    assert kids(OLD) < kids(ready)
    cookie = tokens(ready).session_cookie(RECORD, HOST)
    assert tokens(OLD).read_session(cookie, HOST) is not None
    assert kids(promoted(ready, 1)) == kids(ready)


def test_afterwards_the_new_key_signs_and_its_age_is_known() -> None:
    done = promoted(prepared(OLD), 77)
    cookie = tokens(done).session_cookie(RECORD, HOST)
    assert tokens(OLD).read_session(cookie, HOST) is None
    assert (signing_since(OLD), signing_since(done)) == (0, 77)
    assert [len(keys) for keys in json.loads(done).values()] == [2, 2, 2]
    again = json.loads(promoted(prepared(done), 78))
    assert {kind: len(keys) for kind, keys in again.items()} == {
        "sessions": 2,
        "assertions": 2,
        "factors": 3,
    }


def test_steps_out_of_order_are_refused() -> None:
    with pytest.raises(Refused):
        promoted(OLD, 1)
    with pytest.raises(Refused):
        prepared(prepared(OLD))


@pytest.mark.parametrize("text", ['{"sessions": ["x"], "assertions": []}', "[]", "{}"])
def test_what_is_no_ring_is_told_as_such(text: str) -> None:
    with pytest.raises(ConfigurationError):
        KeyRing.from_json(text)
