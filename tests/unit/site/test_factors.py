"""Sealing secrets, and telling codes right from wrong."""

from __future__ import annotations

import json
from dataclasses import replace

import pyotp
import pytest

from broker.errors import FactorUnreadable
from broker.site.factors import RECOVERY_CODES, Factors, recovery_digest
from broker.site.key_rotation import prepared, promoted
from broker.site.tokens import KeyRing

TEXT = KeyRing.generate()
RING = KeyRing.from_json(TEXT)
NOW = 1_800_000_010.0
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def factors(ring: KeyRing = RING, *, site: str = "demo", now: float = NOW) -> Factors:
    return Factors(ring, site, lambda: now)


def test_a_secret_comes_back_and_is_sealed_differently_each_time() -> None:
    one = factors()
    secret = one.fresh_secret()
    assert len(pyotp.TOTP(secret).byte_secret()) == 20
    assert secret != one.fresh_secret()
    first, second = (one.seal(secret, "zoë", "f1") for _ in range(2))
    assert first != second
    assert secret not in first
    assert one.unseal(first, "zoë", "f1") == one.unseal(second, "zoë", "f1") == secret


def test_it_opens_for_its_employee_enrolment_and_site_alone() -> None:
    sealed = factors().seal("SECRET", "zoë", "f1")
    for who, which, site in (("zoe", "f1", "demo"), ("zoë", "f2", "demo"), ("zoë", "f1", "x")):
        with pytest.raises(FactorUnreadable):
            factors(site=site).unseal(sealed, who, which)


@pytest.mark.parametrize("place", [9, 20, -2])
def test_a_letter_changed_is_noticed(place: int) -> None:
    sealed = factors().seal("SECRET", "zoë", "f1")
    other = "A" if sealed[place] != "A" else "B"
    changed = sealed[:place] + other + sealed[place:][1:]
    with pytest.raises(FactorUnreadable):
        factors().unseal(changed, "zoë", "f1")


@pytest.mark.parametrize("sealed", ["", "x", "x.y", "{}.a"])
def test_what_is_no_sealed_secret_is_refused(sealed: str) -> None:
    sealed = sealed.format(next(iter(RING.factors)))
    with pytest.raises(FactorUnreadable):
        factors().unseal(sealed, "zoë", "f1")


def test_through_rotations_everything_stays_readable() -> None:
    text = TEXT
    kept = []
    for number in range(4):
        one = factors(KeyRing.from_json(text))
        kept.append(one.seal(f"SECRET{number}", "zoë", "f1"))
        ready = prepared(text)
        between = factors(KeyRing.from_json(ready))
        assert between.is_current(kept[-1]), "a prepared key seals nothing yet"
        text = promoted(ready, 77)
        after = factors(KeyRing.from_json(text))
        assert not after.is_current(kept[-1])
        assert [after.unseal(each, "zoë", "f1") for each in kept] == [
            f"SECRET{n}" for n in range(number + 1)
        ]
        assert between.unseal(after.seal("NEW", "zoë", "f1"), "zoë", "f1") == "NEW"


def test_a_ring_from_before_gets_a_key_by_a_rotation() -> None:
    old = json.loads(TEXT)
    del old["factors"]
    before = json.dumps(old)
    ring = KeyRing.from_json(before)
    assert ring.factors == {}
    with pytest.raises(FactorUnreadable):
        factors(ring).seal("SECRET", "zoë", "f1")
    after = KeyRing.from_json(promoted(prepared(before), 1))
    assert factors(after).seal("SECRET", "zoë", "f1")
    # prepared by a release that knew of no such keys, promoted by this one
    half = json.loads(prepared(before))
    del half["factors"]
    assert KeyRing.from_json(promoted(json.dumps(half), 1)).factors == {}
    again = json.loads(KeyRing.generate(TEXT))["factors"]
    assert len(again) == 2


@pytest.mark.parametrize(
    ("seconds", "right"), [(-31, False), (-30, True), (0, True), (59, True), (60, False)]
)
def test_a_code_is_right_one_step_either_way(seconds: int, right: bool) -> None:
    """``seconds`` after the beginning of its step."""
    secret = factors().fresh_secret()
    step = int(NOW // 30)
    code = pyotp.TOTP(secret).generate_otp(step)
    found = factors(now=step * 30 + seconds).matching_step(secret, code)
    assert found == (step if right else None)


def test_the_address_of_the_qr_code_is_one_that_apps_know() -> None:
    address = factors().address(SECRET, "zoë.łuk", "Baobab Télécom & Co")
    read = pyotp.parse_uri(address)
    assert isinstance(read, pyotp.TOTP)
    assert (read.secret, read.issuer, read.name) == (
        SECRET,
        "Baobab Télécom & Co",
        "zoë.łuk",
    )
    assert (read.digits, read.interval) == (6, 30)


def test_recovery_codes_are_many_different_and_kept_as_digests() -> None:
    codes = factors().recovery_codes()
    assert len(set(codes)) == RECOVERY_CODES
    assert {len(code) for code in codes} == {16}
    digests = {recovery_digest(code, "f1") for code in codes}
    assert len(digests) == RECOVERY_CODES
    assert recovery_digest(codes[0], "f2") not in digests


def test_the_ring_can_be_replaced() -> None:
    one = factors(replace(RING, factors={}))
    one.replace(RING)
    assert one.is_current(one.seal("SECRET", "zoë", "f1"))
