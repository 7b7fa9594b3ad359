"""What a PromQL expression asks of the broker, read by a parser and held against its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import promql_parser

from broker.telemetry import names
from loadtest.pictures.prometheus import filled_in

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Prometheus itself puts these on what it scrapes.
OF_THE_TARGET = frozenset(("instance", "job"))


def exposed() -> dict[str, frozenset[str]]:
    """Every series of the broker and its labels; a histogram is three of them."""
    found: dict[str, frozenset[str]] = {}
    for metric in names.every():
        labels = frozenset(metric.labels) | OF_THE_TARGET
        if metric.kind == "histogram":
            found[f"{metric.name}_bucket"] = labels | {"le"}
            found[f"{metric.name}_sum"] = found[f"{metric.name}_count"] = labels
        else:
            found[metric.name] = labels
    return found


def faults(expression: str, known: Mapping[str, frozenset[str]]) -> list[str]:
    """Series that are not known, and labels that none of those below them has.

    A label in ``by (...)`` or ``on (...)`` must be one of the series under it: a typo there makes
    one group of all, silently.
    """
    found: list[str] = []

    def labels_below(node: Any) -> frozenset[str]:
        below: set[str] = set()

        def visit(each: Any) -> None:
            if isinstance(each, promql_parser.VectorSelector):
                below.update(known.get(each.name or "", ()))

        promql_parser.walk(node, visit)
        return frozenset(below)

    def look(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            if node.name is None or node.name not in known:
                found.append(f"no metric {node.name}")
                return
            found.extend(
                f"{node.name} has no label {matcher.name}"
                for matcher in node.matchers.matchers
                if matcher.name not in known[node.name]
            )
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            below = labels_below(node.expr)
            found.extend(f"by {x}: not below" for x in node.modifier.labels if x not in below)
        elif isinstance(node, promql_parser.BinaryExpr) and node.modifier is not None:
            matching = node.modifier.matching
            below = labels_below(node)
            found.extend(
                f"on {x}: not below"
                for x in (matching.labels if matching else ())
                if x not in below
            )

    promql_parser.walk(promql_parser.parse(filled_in(expression)), look)
    return found
