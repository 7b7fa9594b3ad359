"""What operations do during a run: raise capacity, lower it again. The only place of the load tests
that knows how the admin API is asked.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from broker.cli.client import AdminClient
from broker.errors import BrokerError

if TYPE_CHECKING:
    from loadtest.site import Site

REASON = "load test"
FACTOR = 1.25  # of each step of a ramp, as the broker's own


class NotPossible(Exception):
    """The broker refused; the text is its own."""


class Operations:
    """``step_seconds``: how long each step of a ramp lasts in this run."""

    def __init__(self, site: Site, step_seconds: float = 60.0) -> None:
        self._step = step_seconds
        self._api = AdminClient(site.admin, site.admin_token)

    def capacity(self) -> Any:
        """The broker's own account: limits, what is taken. Raises what AdminClient raises."""
        return self._api.get("capacity")

    def raise_to(
        self, factor: float, populations: list[str], lasts: float, *, now: bool = False
    ) -> None:
        """``broker capacity raise FACTORx --open-to ... --for ... --ramp 1.25/...``: its first step
        is in force when this returns, the others follow. ``now``: in one step. Raises NotPossible.
        """
        ramp = None if now else {"factor": FACTOR, "every": max(1.0, self._step)}
        order = {"scale": factor, "open_to": populations, "lasts": max(60, math.ceil(lasts))}
        self._order("raise", {**order, "ramp": ramp})

    def lower(self, factor: float) -> None:
        """``broker capacity lower``; to 1: the raise ends. Raises NotPossible."""
        self._order("lower", {} if factor == 1 else {"scale": factor})

    def publish(self) -> None:
        """``broker reload --publish``: the limits in the configuration. Raises NotPossible."""
        self._order_at("reload", {"publish": True})

    def _order(self, what: str, order: dict[str, Any]) -> None:
        self._order_at(f"capacity/{what}", {**order, "reason": REASON})

    def _order_at(self, path: str, order: dict[str, Any]) -> None:
        try:
            self._api.post(path, order, if_match=self.capacity()["version"])
        except BrokerError as error:
            raise NotPossible(error.reason) from error
