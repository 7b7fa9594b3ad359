"""The one WebSocket message of the benchmark: 128 bytes, there and back (RFC 6455 section 5.2).

The client's masking key is zero, which the protocol allows, so that neither end of the measurement
spends its time on XOR: proxies pass bytes on and see no difference.
"""

from __future__ import annotations

PAYLOAD = b"0123456789abcdef" * 8
_LENGTH = bytes([126, 0, len(PAYLOAD)])
MESSAGE = bytes([0x82]) + bytes([0x80 | 126, 0, len(PAYLOAD)]) + bytes(4) + PAYLOAD
ECHO = bytes([0x82]) + _LENGTH + PAYLOAD
FROM_CLIENT = len(MESSAGE)
FROM_SERVER = len(ECHO)


def answer(data: bytes, count: int) -> bytes:
    """The echoes of the first ``count`` messages in ``data``."""
    if count == 1:
        return ECHO[:4] + data[8:FROM_CLIENT]
    return b"".join(
        ECHO[:4] + data[start + 8 : start + FROM_CLIENT]
        for start in range(0, count * FROM_CLIENT, FROM_CLIENT)
    )
