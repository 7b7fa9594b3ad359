"""Fields that become something else behind a CGI or servlet adapter."""

from __future__ import annotations

import pytest

from broker.gateway.http1 import HeadReader


@pytest.mark.parametrize("name", [b"Proxy", b"proxy", b"Content.Length", b"Transfer.Encoding"])
def test_names_that_backends_turn_into_their_own_settings_do_not_go_on(name: bytes) -> None:
    """``Proxy`` becomes HTTP_PROXY in CGI environments (CVE-2016-5385)."""
    reader = HeadReader(header_count=20, request_line_limit=200)
    head = reader.request(b"GET / HTTP/1.1\r\nHost: a\r\n" + name + b": http://evil.test/")
    assert head.fields.lines == []
