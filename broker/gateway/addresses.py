"""The addresses of a server that is configured by name: asked for again and again, in nobody's way.

The resolver is asked in the background; what it said last is used meanwhile, and for as long as it
says nothing. That it fails is not the server's fault. A name may have several addresses: they take
turns, and one that could not be reached stands last until the resolver has spoken again.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

AGAIN: Final = 1.0  # seconds until a resolver that failed is asked again

_log = logging.getLogger(__name__)


class NameUnknown(OSError):
    """The name has no address at present, and had none before."""


def is_name(host: str) -> bool:
    """Whether ``host`` has to be looked up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


async def look_up(host: str) -> tuple[str, ...]:
    """The addresses in the order of RFC 6724, each once. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))


class Addresses:
    """Those of one name. ``every``: seconds between two questions; ``moved`` is called when some
    are others than before; ``spawn`` keeps a task alive."""

    def __init__(
        self,
        host: str,
        every: Callable[[], float],
        clock: Callable[[], float],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        moved: Callable[[], None],
    ) -> None:
        self.host = host
        self.known: tuple[str, ...] = ()
        self._every = every
        self._clock = clock
        self._spawn = spawn
        self._moved = moved
        self._unreachable: set[str] = set()
        self._turn = 0
        self._due = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._failed = False

    @property
    def asking(self) -> bool:
        """Whether the resolver owes us an answer."""
        return self._asking is not None

    async def get(self, patience: float) -> list[str]:
        """All addresses, in the order in which to try them. Waits for the resolver, ``patience``
        seconds, only while no address is known at all. Raises NameUnknown."""
        if self._asking is None and self._clock() >= self._due:
            self._asking = self._spawn(self._ask())
        if not self.known and self._asking is not None:
            await asyncio.wait((self._asking,), timeout=patience)
        known = self.known
        if not known:
            raise NameUnknown(f"{self.host} has no address at present")
        self._turn += 1
        start = self._turn % len(known)
        order = known[start:] + known[:start]
        return sorted(order, key=self._unreachable.__contains__)

    def unreachable(self, address: str) -> None:
        """It is tried last until the resolver has spoken again."""
        self._unreachable.add(address)

    def reached(self, address: str) -> None:
        self._unreachable.discard(address)

    async def _ask(self) -> None:
        try:
            found = await look_up(self.host)
        except (OSError, UnicodeError) as error:  # the latter: a label that no DNS can hold
            self._due = self._clock() + AGAIN
            if not self._failed:
                why = getattr(error, "strerror", None) or error
                _log.warning("%s cannot be resolved: %s", self.host, why)
            self._failed = True
        else:
            self._due = self._clock() + self._every()
            self._failed = False
            self._unreachable.clear()
            moved = bool(self.known) and set(self.known) != set(found)
            self.known = found
            if moved:
                _log.info("%s has moved to %s", self.host, ", ".join(found))
                self._moved()
        finally:
            self._asking = None
