"""Second factors: secrets and recovery codes made, secrets sealed, codes told right from wrong.

A secret is sealed with AES-256-GCM under a key of the ring, bound to its employee and enrolment:
what lies in Redis can neither be read nor be put under another name. Keys of a ring that seal no
more stay in it, so that everything sealed before can be read. Codes are TOTP as authenticator apps
take it for granted (RFC 6238: SHA-1, six digits, 30 s); pyotp computes them. No I/O; whether a code
was used before is the ledger's to say.
"""

from __future__ import annotations

import base64
import secrets
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING

import pyotp
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.errors import FactorUnreadable
from broker.policy.second_factor import DIGITS, RECOVERY_LETTERS, STEP_SECONDS, steps_to_try

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.site.tokens import KeyRing

RECOVERY_CODES = 10
_NONCE = 12  # bytes; random: a key seals some thousand secrets, the limit is 2^32 (SP 800-38D, 8.3)


class Factors:
    """``wall_clock`` returns Unix seconds. A ring without keys for it can seal and read nothing."""

    def __init__(self, ring: KeyRing, site: str, wall_clock: Callable[[], float]) -> None:
        self._site = site
        self._now = wall_clock
        self._ring = ring

    def replace(self, ring: KeyRing) -> None:
        """Seal and read with another ring from now on."""
        self._ring = ring

    # --- secrets

    def fresh_secret(self) -> str:
        """160 bits in base32 (RFC 4226, 4: R6)."""
        return pyotp.random_base32(32)

    def seal(self, secret: str, employee: str, factor_id: str) -> str:
        """Raises FactorUnreadable when there is no key."""
        kid, key = next(iter(self._ring.factors.items()), ("", b""))
        if not kid:
            raise FactorUnreadable("the key ring has no key for second factors")
        nonce = secrets.token_bytes(_NONCE)
        text = AESGCM(key).encrypt(nonce, secret.encode("ascii"), self._bound(employee, factor_id))
        return f"{kid}.{base64.urlsafe_b64encode(nonce + text).decode()}"

    def unseal(self, sealed: str, employee: str, factor_id: str) -> str:
        """Raises FactorUnreadable: another ring's, another person's, or tampered with."""
        kid, _, text = sealed.partition(".")
        key = self._ring.factors.get(kid)
        if key is None:
            raise FactorUnreadable(f"the key ring has no key {kid!r}, which sealed a second factor")
        try:
            raw = base64.urlsafe_b64decode(text)
            bound = self._bound(employee, factor_id)
            return AESGCM(key).decrypt(raw[:_NONCE], raw[_NONCE:], bound).decode("ascii")
        except (InvalidTag, ValueError) as error:
            raise FactorUnreadable("a second factor in the ledger has been altered") from error

    def is_current(self, sealed: str) -> bool:
        """Whether it is sealed with the key that seals at present."""
        return sealed.partition(".")[0] == next(iter(self._ring.factors), "")

    def _bound(self, employee: str, factor_id: str) -> bytes:
        return "\0".join((self._site, employee, factor_id)).encode("utf-8")

    # --- codes

    def matching_step(self, secret: str, code: str) -> int | None:
        """The step that ``code`` belongs to, near the present; None: it is wrong. All of them are
        compared, in constant time each."""
        totp = pyotp.TOTP(secret, digits=DIGITS, interval=STEP_SECONDS)
        found = None
        for step in steps_to_try(self._now()):
            if compare_digest(totp.generate_otp(step), code) and found is None:
                found = step
        return found

    def address(self, secret: str, employee: str, company: str) -> str:
        """The ``otpauth://`` address that a QR code carries."""
        return pyotp.TOTP(secret, digits=DIGITS, interval=STEP_SECONDS).provisioning_uri(
            name=employee, issuer_name=company
        )

    # --- recovery codes

    def recovery_codes(self) -> tuple[str, ...]:
        return tuple(pyotp.random_base32(32)[:RECOVERY_LETTERS] for _ in range(RECOVERY_CODES))


def recovery_digest(code: str, factor_id: str) -> str:
    """What is kept of a recovery code. Against 80 random bits a slow hash protects nothing more."""
    return sha256(f"{factor_id} {code}".encode("ascii")).hexdigest()
