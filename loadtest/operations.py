"""What operations do during a run: raise capacity, lower it again.

The only place that knows how the admin API is asked. A broker without raises (its
``/capacity/raise`` is 404) can still be raised where its configuration file is at hand, as with a
demo: the limits in the file are changed and published, which is what operations would do there.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from broker.cli.client import AdminClient
from broker.errors import NotFound, Refused

if TYPE_CHECKING:
    from loadtest.site import Site

REASON = "load test"
PUBLISHED_STEP = 1.25  # each published step of a ramp, as the broker's own


class NotPossible(Exception):
    """This site's capacity cannot be changed from here; the text says why."""


class Operations:
    """``step_seconds``: how long each step of a ramp lasts in this run."""

    def __init__(self, site: Site, step_seconds: float = 60.0) -> None:
        self._site = site
        self._step = step_seconds
        self._api = AdminClient(site.admin, site.admin_token)

    def capacity(self) -> Any:
        """The broker's own account: limits, what is taken. Raises what AdminClient raises."""
        return self._api.get("capacity")

    def raise_to(
        self, factor: float, populations: list[str], lasts: float, *, now: bool = False
    ) -> str:
        """``broker capacity raise FACTORx --open-to ... --for ...``: returns what was done, in
        words. The ramp goes on by itself (or, where limits are published, before this returns);
        ``now``: without one. Raises NotPossible."""
        body = {
            "scale": factor,
            "open_to": populations,
            "for_seconds": max(60, math.ceil(lasts)),
            "step_seconds": max(1, round(self._step)),
            "now": now,
            "reason": REASON,
        }
        try:
            version = self.capacity()["version"]
            self._api.post("capacity/raise", body, if_match=version)
        except NotFound:
            if now:
                self.publish(factor, open_to=populations)
                return f"raised to {factor:g}x (published)"
            return self._publish_up_to(factor, populations)
        except Refused as error:
            raise NotPossible(str(error)) from error
        return f"raise to {factor:g}x"

    def lower(self) -> str:
        """``broker capacity lower``: back to the level underneath. Raises NotPossible."""
        try:
            self._api.post(
                "capacity/lower", {"reason": REASON}, if_match=self.capacity()["version"]
            )
        except NotFound:
            self.publish(1.0)
            return "lowered to 1x (published)"
        except Refused as error:
            raise NotPossible(str(error)) from error
        return "lowered to 1x"

    # --- by publishing the configuration

    def _publish_up_to(self, factor: float, populations: list[str]) -> str:
        reached = 1.0
        while reached < factor:
            reached = min(factor, reached * PUBLISHED_STEP)
            self.publish(reached, open_to=populations)
            if reached < factor:
                time.sleep(self._step)
        return f"raised to {factor:g}x (published)"

    def publish(
        self, factor: float, *, open_to: list[str] | None = None, idle: float | None = None
    ) -> None:
        """Limits of the configured base times ``factor``. ``idle``: seats' idle time in seconds,
        from then on part of the base, which is kept beside the configuration. Raises NotPossible.
        """
        if not self._site.state:
            raise NotPossible("this broker has no raises, and its configuration is not at hand")
        file = Path(self._site.state) / "broker.yaml"
        kept = file.with_name("broker.base.yaml")
        base = yaml.safe_load((kept if kept.exists() else file).read_text("utf-8"))
        if idle is not None:
            base["seats"]["idle"] = f"{idle:.0f}s"
        kept.write_text(yaml.safe_dump(base, sort_keys=False, allow_unicode=True), "utf-8")
        document = multiplied(base, factor, open_to or [])
        version = self.capacity()["version"]
        file.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), "utf-8")
        try:
            self._api.post("reload", {"publish": True}, if_match=version)
        except Refused as error:
            raise NotPossible(str(error)) from error


def multiplied(base: dict[str, Any], factor: float, open_to: list[str]) -> dict[str, Any]:
    """The configuration with its seats and connections multiplied, rounded up. Pure."""
    document: dict[str, Any] = yaml.safe_load(yaml.safe_dump(base))
    _times(document["seats"], factor)
    _times(document["connections"], factor)
    for pool in document["pools"].values():
        _times(pool["connections"], factor)
        for cell in pool.get("populations", {}).values():
            _times(cell, factor)
    for population in document["populations"]:
        _times(population.get("seats", {}), factor)
        if population["name"] in open_to:
            population["admitted"] = True
    return document


def _times(share: dict[str, Any], factor: float) -> None:
    for name in ("limit", "guaranteed", "maximum"):
        if share.get(name) is not None:
            share[name] = math.ceil(int(share[name]) * factor)
