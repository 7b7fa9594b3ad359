"""The identity headers that backends receive, ready to be injected last."""

from __future__ import annotations

from urllib.parse import quote

HEADER_SAFE = " !#$&'()*+,-./:<=>?@[]^_`{|}~"


def identity_headers(employee: str, groups: tuple[str, ...], population: str) -> bytes:
    """The ready identity block. Values are percent-encoded outside printable ASCII, and ``;`` and
    ``%`` too, so that no directory entry can break a header or forge a second group."""
    listed = ";".join(quote(group, safe=HEADER_SAFE) for group in groups)
    block = (
        f"X-Remote-User: {quote(employee, safe=HEADER_SAFE)}\r\n"
        f"X-Remote-Groups: {listed}\r\n"
        f"X-Remote-Population: {population}\r\n"
    )
    return block.encode("ascii")
