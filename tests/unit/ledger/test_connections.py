"""What ``ledger.url`` may say."""

from __future__ import annotations

import pytest

from broker.errors import ConfigurationError
from broker.ledger.connections import FORMS, Address


def test_sentinels_with_everything() -> None:
    address = Address.read(
        "sentinel://anna:p%40ss@a:1,[::1]:2,c/site?db=3&ssl=true&ssl_ca_certs=/ca.pem"
        "&sentinel_password=other"
    )
    assert address.hosts == (("a", 1), ("::1", 2), ("c", 26379))
    assert address.name == "site"
    tls = {"ssl": True, "ssl_ca_certs": "/ca.pem"}
    assert address.options == {"username": "anna", "password": "p@ss", "db": 3, **tls}
    assert address.guards == {"password": "other", **tls}


def test_a_cluster_by_some_of_its_nodes() -> None:
    address = Address.read("cluster://:s3cret@a,b:7000?ssl=no")
    assert address.hosts == (("a", 6379), ("b", 7000))
    assert address.options == {"password": "s3cret", "ssl": False}


@pytest.mark.parametrize(
    "url",
    ["redis://:s3cret@h:6379/2", "rediss://h?ssl_cert_reqs=none", "unix:///run/redis.sock?db=1"],
)
def test_one_node_as_redis_py_reads_it(url: str) -> None:
    assert Address.read(url).hosts == ()


@pytest.mark.parametrize(
    "url",
    [
        "http://s3cret@h",
        "redis://:s3cret@h:port",
        "redis://:s3cret@h?colour=blue",
        "sentinel://:s3cret@h:26379",
        "sentinel://:s3cret@h:26379/a/b",
        "sentinel://:s3cret@h:26379,/site",
        "sentinel://:s3cret@h:26379/site?db=first",
        "sentinel://:s3cret@h:26379/site?colour=blue",
        "sentinel://:s3cret@h:26379/site?ssl=perhaps",
        "cluster://:s3cret@h:6379/site",
        "cluster://:s3cret@h:6379?db=1",
        "cluster://:s3cret@h:6379?colour=blue",
    ],
)
def test_anything_else_is_refused_without_telling_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Address.read(url)
    assert FORMS in caught.value.reason
    assert "s3cret" not in caught.value.reason
