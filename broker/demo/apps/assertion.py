"""Verifying ``X-Broker-Assertion`` as any application should: against the broker's published keys.

The key set comes from a URL (with the CA to trust) or a file. It is fetched when first needed and
again when a key id is unknown, at most every five seconds, so that a rotation needs nobody here.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import jwt
from jwt import PyJWK, PyJWKSet

from broker.demo.loopback import client

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = "X-Broker-Assertion"
ASK_AGAIN_AFTER = 5.0
PATIENCE = aiohttp.ClientTimeout(total=3.0)


class NotVerified(Exception):
    """The assertion is missing, wrong, or cannot be checked at the moment; the text says which."""


@dataclass(frozen=True, slots=True)
class Verified:
    """Claims whose signature, audience and time were checked, and the key that signed them."""

    claims: dict[str, Any]
    key_id: str


class Verifier:
    """``source``: an ``https://`` URL or a file. ``clock``: monotonic seconds."""

    def __init__(
        self, source: str, ca: Path | None, audience: str, clock: Callable[[], float]
    ) -> None:
        self._source = source
        self._ca = ca
        self._audience = audience
        self._clock = clock
        self._keys: dict[str, PyJWK] = {}
        self._asked = -ASK_AGAIN_AFTER
        self._asking = asyncio.Lock()

    async def verify(self, token: str) -> Verified:
        """Raises NotVerified."""
        if not token:
            raise NotVerified("There is no assertion: the request did not come through the broker.")
        try:
            key_id = str(jwt.get_unverified_header(token).get("kid", ""))
            key = self._keys.get(key_id) or await self._fetch(key_id)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["ES256"],
                audience=self._audience,
                leeway=5,
                options={"require": ["aud", "exp", "iat", "sub"]},
            )
        except jwt.InvalidTokenError as error:
            raise NotVerified(f"The assertion is not valid: {error}.") from error
        return Verified(claims, key_id)

    async def _fetch(self, key_id: str) -> PyJWK:
        async with self._asking:
            if key_id not in self._keys and self._clock() - self._asked >= ASK_AGAIN_AFTER:
                self._asked = self._clock()
                self._keys = await self._load()
        try:
            return self._keys[key_id]
        except KeyError:
            raise NotVerified(f"The broker publishes no key {key_id!r}.") from None

    async def _load(self) -> dict[str, PyJWK]:
        try:
            if self._source.startswith("https://"):
                async with (
                    client(self._ca, timeout=PATIENCE) as session,
                    session.get(self._source, raise_for_status=True) as answer,
                ):
                    document = await answer.json(content_type=None)
            else:
                text = await asyncio.to_thread(Path(self._source).read_text)
                document = json.loads(text)
            keys = PyJWKSet.from_dict(document).keys
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError, jwt.PyJWTError) as error:
            self._asked = self._clock() - ASK_AGAIN_AFTER + 1.0
            raise NotVerified(f"The broker's keys cannot be read: {error!r}.") from error
        return {str(key.key_id): key for key in keys}
