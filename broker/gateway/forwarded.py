"""Who the client is when a trusted proxy stands in front: X-Forwarded-For and Forwarded (RFC 7239).

Each proxy appends whom it was spoken to by, so the fields are read from the right, from the peer we
see to the first address that is not a trusted proxy's: what stands left of it is that client's
own claim. Whatever is in doubt is not believed, and the nearest address a trusted proxy vouches
for is taken instead. No more than MOST_HOPS are looked at, for whoever is trusted, or has got in
among them, may send thousands. Pure functions; whether the peer may be asked at all is for the
caller.
"""

from __future__ import annotations

import ipaddress
import re
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from ipaddress import IPv4Network, IPv6Network

X_FORWARDED_FOR: Final = b"x-forwarded-for"
FORWARDED: Final = b"forwarded"
MOST_HOPS: Final = 32  # proxies between us and a client; real chains have a handful
MOST_BYTES: Final = 4096  # of Forwarded, whose elements may hold commas and quotes without end

_WITH_PORT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?")
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PAIR: Final = re.compile(
    rb"(" + _TOKEN + rb")=(?:(" + _TOKEN + rb')|"((?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*)")'
)
_PAIRS: Final = re.compile(_PAIR.pattern + rb"(?:;" + _PAIR.pattern + rb")*")


def is_trusted(address: str, trusted: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether a socket's peer, or an address that ``node`` has read, lies in one of the networks.
    The empty address of a Unix socket lies in none."""
    if not address:
        return False
    found = ipaddress.ip_address(address)
    return any(found in network for network in trusted)


def client(block: bytes, peer: str, trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """The client's address. ``block``: the lines of a head as they came; ``peer``: the trusted
    proxy it came from.

    A proxy that writes one of the two fields passes on the other as the client sent it; so when
    both are there and do not agree, neither is believed.
    """
    plain: list[bytes] = []
    standard: list[bytes] = []
    for line in block.split(b"\r\n"):
        name, _, value = line.partition(b":")
        name = name.lower()
        if name == X_FORWARDED_FOR:
            plain.append(value.strip(b" \t"))
        elif name == FORWARDED:
            standard.append(value.strip(b" \t"))
    # Repeated fields are one list, in their order (RFC 9110 5.3).
    by_plain = _walk(_from_plain(b",".join(plain)), peer, trusted) if plain else None
    by_standard = _walk(_from_standard(b",".join(standard)), peer, trusted) if standard else None
    if by_plain is not None and by_standard is not None:
        return by_plain if by_plain == by_standard else peer
    return by_plain or by_standard or peer


def _walk(
    nodes: Iterator[str | None], peer: str, trusted: Sequence[IPv4Network | IPv6Network]
) -> str:
    """From the peer outwards. None among the nodes is one that cannot be read."""
    nearest = peer
    for found in nodes:
        if found is None:
            return nearest
        nearest = found
        if not is_trusted(found, trusted):
            return nearest
    return nearest


def _from_plain(value: bytes) -> Iterator[str | None]:
    """The nodes of X-Forwarded-For, the last one first."""
    for element in reversed(value.rsplit(b",", MOST_HOPS)[-MOST_HOPS:]):  # the rest is left whole
        yield node(element.strip(b" \t"))


def _from_standard(value: bytes) -> Iterator[str | None]:
    """The nodes of Forwarded (RFC 7239 4), the last one first."""
    for element in islice(_elements(value), MOST_HOPS):
        if _PAIRS.fullmatch(element) is None:
            yield None
            continue
        found = [
            pair[2] if pair[3] is None else pair[3]
            for pair in _PAIR.finditer(element)
            if pair[1].lower() == b"for"
        ]
        yield node(found[0]) if len(found) == 1 else None


def _elements(value: bytes) -> Iterator[bytes]:
    """The elements of Forwarded, the last one first. A comma inside a quoted string ends none: an
    odd number of quotes that are not escaped follows it. What a proxy of ours has appended is well
    formed, so that whatever a client made of the part left of it cannot reach into it."""
    cut = len(value) > MOST_BYTES
    value = value[-MOST_BYTES:]
    end = len(value)
    quoted = False
    comma, quote = value.rfind(b","), value.rfind(b'"')
    while comma >= 0 or quote >= 0:
        if quote > comma:
            before = value[:quote]
            if not (quote - len(before.rstrip(b"\\"))) % 2:
                quoted = not quoted
            quote = value.rfind(b'"', 0, quote)
        else:
            if not quoted:
                yield value[comma + 1 : end].strip(b" \t")
                end = comma
            comma = value.rfind(b",", 0, comma)
    if not cut:
        yield value[:end].strip(b" \t")


def node(text: bytes) -> str | None:
    """One address, IPv4 or IPv6, with or without a port, as ``doorstep.plain_address`` would write
    it; None for anything else: names, ``unknown``, obfuscated identifiers, zones."""
    plain = text.decode("latin-1")
    with_port = _WITH_PORT.fullmatch(plain)
    if with_port is not None:
        plain = with_port[1] or with_port[2]
    if "%" in plain:  # a zone means something on the proxy's host only (RFC 4007 11.2)
        return None
    try:
        found = ipaddress.ip_address(plain)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(found)
