"""Where the admin listener may be, and under which names it answers."""

from __future__ import annotations

import pytest

from broker.admin.plan import allowed_hosts, require_private
from broker.errors import ConfigurationError


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8444", "127.9.9.9:1", "[::1]:8444", "localhost:8444", "unix:/run/a.sock"]
)
def test_private_addresses(address: str) -> None:
    require_private(address)


@pytest.mark.parametrize("address", ["0.0.0.0:8444", "[::]:8444", "10.0.0.1:8444", "admin:8444"])
def test_others_need_tls(address: str) -> None:
    with pytest.raises(ConfigurationError, match="loopback or a Unix socket"):
        require_private(address)
    require_private(address, tls=True)


def test_names_answered_to() -> None:
    assert allowed_hosts(["127.0.0.1:9001"], ["Admin.corp"]) == {
        "127.0.0.1:9001",
        "localhost:9001",
        "admin.corp:9001",
        "admin.corp",
    }
    assert allowed_hosts(["unix:/run/a.sock"], []) == {"localhost"}
