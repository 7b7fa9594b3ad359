"""The few kinds of panel and variable that all dashboards share, on Grafana's Foundation SDK.

Queries follow how the metrics are merged (``broker/telemetry/names.py``): every host tells the
ledger's numbers alike, so they are ``max``-ed over hosts, while what a host counts by itself is
summed. This module knows neither the broker nor which panels there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
    VariableSort,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The datasource that the reader has chosen above the dashboard.
DATASOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")

Step = tuple[float | None, str]
#: More is worse, from these values on; None: from the lowest.
CALM: Final[tuple[Step, ...]] = ((None, "green"),)


def full(orange: float, red: float) -> tuple[Step, ...]:
    """Green below ``orange``, then orange, from ``red`` on red."""
    return ((None, "green"), (orange, "orange"), (red, "red"))


def healthy_from(value: float) -> tuple[Step, ...]:
    """Red below ``value``, green from it on."""
    return ((None, "red"), (value, "green"))


def _thresholds(steps: tuple[Step, ...]) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=color) for value, color in steps])
    )


def _query(expression: str, legend: str, ref: str) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .datasource(DATASOURCE)
        .expr(expression)
        .legend_format(legend)
        .ref_id(ref)
        .range()
    )


def number(
    title: str, text: str, expression: str, unit: str = "short", steps: tuple[Step, ...] = CALM
) -> stat.Panel:
    """One big number with its recent course behind it."""
    return (
        stat.Panel()
        .title(title)
        .description(text)
        .datasource(DATASOURCE)
        .unit(unit)
        .thresholds(_thresholds(steps))
        .color_mode(BigValueColorMode.BACKGROUND)
        .graph_mode(BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .with_target(_query(expression, "", "A"))
        .height(4)
        .span(4)
    )


def course(
    title: str, text: str, queries: Iterable[tuple[str, str]], unit: str = "short"
) -> timeseries.Panel:
    """Lines over time: ``queries`` are pairs of an expression and its legend."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(text)
        .datasource(DATASOURCE)
        .unit(unit)
        .min(0)
        .fill_opacity(10)
        .show_points(VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .height(7)
        .span(8)
    )
    for place, (expression, legend) in enumerate(queries):
        panel.with_target(_query(expression, legend, chr(ord("A") + place)))
    return panel


def _choice(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """Several values or all of them; the query is asked again when the time range changes."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def board(
    uid: str, title: str, text: str, panels: Iterable[stat.Panel | timeseries.Panel]
) -> dashboard.Dashboard:
    """A dashboard with the variables and the annotation that all of them have."""
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(text)
        .tags(["broker"])
        .time("now-3h", "now")
        .refresh("10s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Source").type("prometheus")
        )
        .with_variable(_choice("pool", "Pool", "label_values(broker_servers, pool)"))
        .with_variable(
            _choice("population", "Population", "label_values(broker_seats_limit, population)")
        )
        .annotation(
            dashboard.AnnotationQuery()
            .name("Capacity changed")
            .datasource(DATASOURCE)
            .enable(True)
            .icon_color("purple")
            # Over two scrapes and more: a window of one scrape holds one sample and never changes.
            .expr("max(changes(broker_capacity_scale[1m])) > 0")
        )
    )
    for panel in panels:
        built.with_panel(panel)
    return built
