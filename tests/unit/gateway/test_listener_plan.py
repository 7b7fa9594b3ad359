"""What of a listener's settings reaches the gateway."""

from __future__ import annotations

from ipaddress import ip_network

from broker.settings import Listener
from broker.wiring.gateway import listener_plan


def test_trusted_proxies_reach_the_gateway() -> None:
    plan = listener_plan(
        Listener(address="127.0.0.1:8080", trusted_proxies=["10.0.0.0/8", "2001:db8::7"])
    )
    assert plan.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("2001:db8::7"))
    assert listener_plan(Listener(address="127.0.0.1:8080")).trusted_proxies == ()


def test_the_balancers_reach_the_gateway() -> None:
    listener = Listener.model_validate(
        {"address": "127.0.0.1:8080", "proxy_protocol": {"from": ["10.0.0.7"]}}
    )
    assert listener_plan(listener).proxy_protocol_from == (ip_network("10.0.0.7"),)
