"""The kinds of panel, each with the look that all dashboards share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Literal

from grafana_foundation_sdk.builders import (
    barchart,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.builders.dashboard import DashboardLink as DashboardLinkBuilder
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    ScaleDistribution,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLink,
    DashboardLinkType,
    DashboardSpecialValueMapOptions,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Panel,
    SpecialValueMap,
    SpecialValueMatch,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

from deploy.dashboards.links import Runbook
from deploy.dashboards.variables import DATASOURCE

AnyPanel = Builder[Panel]
States = Mapping[int, tuple[str, str]]
"""A word and a colour for each value."""
HEIGHT = 8
LOW = 4
TABLE_HEIGHT = 6
_HEADROOM = 1.1
CALM, WARNING, ALARM = "green", "orange", "red"
_REFERENCE = "#8e8e8e"
_NO_TRAFFIC = SpecialValueMap(
    options=DashboardSpecialValueMapOptions(
        match=SpecialValueMatch.NULL_AND_NAN, result=ValueMappingResult(text="no traffic", index=0)
    )
)
"""A ratio is not a number where there was nothing to divide by; the last number is then null."""
_DASHES = {"fill": "dash", "dash": [8, 6]}


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel."""

    expression: str
    legend: str
    """With the labels that it needs as ``{{label}}``."""
    draws: Literal["series", "reference", "limit"] = "series"
    """A reference is drawn grey and dashed, a limit red and dashed."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A value from which on something is wrong."""

    value: float
    wrong: Literal["above", "below"] = "above"


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of a table, for each model."""

    title: str
    expression: str
    unit: str
    decimals: int | None = None
    limit: Limit | None = None


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    limit: Limit | None = None,
    runbook: Runbook | None = None,
    stacked: Literal["no", "normal", "percent"] = "no",
    from_zero: bool = True,
    limit_in_sight: bool = False,
    logarithmic: bool = False,
    no_value: str = "No data",
    at_least: str | None = None,
    legend: bool = True,
    colors: Mapping[str, str] | None = None,
) -> AnyPanel:
    """Lines over time.

    Args:
        title: Of the panel.
        description: What it says, for somebody who sees it for the first time.
        unit: As Grafana calls it.
        queries: What is drawn.
        width: Of 24 columns.
        limit: Drawn as a dashed line.
        runbook: What to do about it.
        stacked: Whether the lines are areas one upon another.
        from_zero: Whether the axis begins at zero.
        limit_in_sight: Whether the axis reaches up to the limit also where the lines do not.
        logarithmic: Whether the axis has a logarithmic scale.
        no_value: What it says where there are no data.
        at_least: Shortest span of one point, such as ``10m``, for figures that are noisy.
        colors: Of the series whose names mean good or bad.
        legend: Whether there is one below; of many series only the tooltip tells.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .no_value(no_value)
        .span(width)
        .height(HEIGHT)
        .links(_links(runbook))
        .line_width(2 if stacked == "no" else 1)
        .fill_opacity(0 if stacked == "no" else 50)
        .show_points(VisibilityMode.AUTO)
        .color_scheme(FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
        .legend(_legend(shown=legend))
        .tooltip(
            common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
        )
        .thresholds(_thresholds(limit))
    )
    if limit is not None:
        panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        )
    if from_zero and not logarithmic:
        panel.axis_soft_min(0)
    if limit_in_sight and limit is not None:
        panel.axis_soft_max(_HEADROOM * limit.value)
    for name, color in (colors or {}).items():
        panel.override_by_name(
            name, [DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color})]
        )
    if logarithmic:
        panel.scale_distribution(
            common.ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10)
        )
    if stacked != "no":
        panel.stacking(common.StackingConfig().mode(StackingMode(stacked)).group("A"))
    if at_least is not None:
        panel.interval(at_least)
    for name, query in zip(ascii_uppercase, queries, strict=False):
        panel.with_target(_target(name, query))
        if query.draws != "series":
            panel.override_by_query(name, _dashed(query.draws))
    return panel


def number(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    width: int = 4,
    height: int = LOW,
    limit: Limit | None = None,
    runbook: Runbook | None = None,
    states: States | None = None,
    names: bool = True,
    decimals: int | None = None,
    no_value: str = "No data",
) -> AnyPanel:
    """Latest value, one figure for each series; ``states`` puts words and colours for values."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .no_value(no_value)
        .span(width)
        .height(height)
        .links(_links(runbook))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.VALUE)
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .thresholds(_thresholds(limit, calm="text" if limit is None else CALM))
        .with_target(_target("A", query, instant=True))
    )
    if names:
        panel.text_mode(BigValueTextMode.VALUE_AND_NAME)
    panel.mappings([_NO_TRAFFIC] if states is None else [_named(states)])
    if decimals is not None:
        panel.decimals(decimals)
    return panel


def distribution(
    title: str, description: str, unit: str, query: Query, *, width: int = 8
) -> AnyPanel:
    """Heatmap of how many observations fell into each bucket."""
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit("short")
        .span(width)
        .height(HEIGHT)
        .calculate(calculate=False)
        .cell_gap(0)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .cell_values(heatmap.CellValues().unit("short").decimals(0))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .color(
            heatmap.HeatmapColorOptions()
            .mode(HeatmapColorMode.SCHEME)
            .scheme("Blues")
            .reverse(reverse=False)
            .exponent(0.5)
            .steps(64)
        )
        .mode(TooltipDisplayMode.SINGLE)
        .show_y_histogram()
        .show_legend()
        .with_target(_target("A", query, form=PromQueryFormat.HEATMAP))
    )


def timeline(
    title: str,
    description: str,
    query: Query,
    *,
    states: States,
    width: int = 8,
    runbook: Runbook | None = None,
) -> AnyPanel:
    """States over time, as coloured bars."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit("none")
        .span(width)
        .height(HEIGHT)
        .links(_links(runbook))
        .row_height(0.8)
        .show_value(VisibilityMode.NEVER)
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .mappings([_named(states)])
        .legend(_legend())
        .with_target(_target("A", query))
    )


def side_by_side(
    title: str, description: str, *columns: Column, width: int = 24, no_value: str = "-"
) -> AnyPanel:
    """One row for each model and a column for each figure."""
    names = dict(zip(ascii_uppercase, columns, strict=False))
    titles = {f"Value #{name}": column.title for name, column in names.items()}
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit("short")
        .no_value(no_value)
        .span(width)
        .height(TABLE_HEIGHT)
        .transformations(
            [
                DataTransformerConfig(id_val="merge", options={}),
                DataTransformerConfig(
                    id_val="organize",
                    options={
                        "excludeByName": {"Time": True},
                        "indexByName": {
                            name: place for place, name in enumerate(["Time", "model", *titles])
                        },
                        "renameByName": {"model": "Model", **titles},
                    },
                ),
            ]
        )
    )
    for name, column in names.items():
        query = Query(column.expression, "{{model}}")
        panel.with_target(_target(name, query, instant=True, form=PromQueryFormat.TABLE))
        properties = [DynamicConfigValue("unit", column.unit)]
        if column.decimals is not None:
            properties.append(DynamicConfigValue("decimals", column.decimals))
        if column.limit is not None:
            properties += [
                DynamicConfigValue("thresholds", _thresholds(column.limit).build()),
                DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
            ]
        panel.override_by_name(column.title, properties)
    return panel


def bars(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    titles: Sequence[str],
    by: str,
    by_title: str,
    width: int,
    runbook: Runbook | None = None,
    no_value: str = "No data",
) -> AnyPanel:
    """Bars side by side for each value of a label that is a number.

    Args:
        title: Of the panel.
        description: What it says, for somebody who sees it for the first time.
        unit: As Grafana calls it.
        queries: Latest values, a bar each.
        titles: Of the bars, one for each query.
        by: The label.
        by_title: What the label says.
        width: Of 24 columns.
        runbook: What to do about it.
        no_value: What it says where there are no data.
    """
    names = dict(zip(ascii_uppercase, titles, strict=False))
    panel = (
        barchart.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .no_value(no_value)
        .span(width)
        .height(HEIGHT)
        .links(_links(runbook))
        .x_field(by_title)
        .x_tick_label_max_length(6)
        .color_scheme(FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .transformations(
            [
                DataTransformerConfig(id_val="merge", options={}),
                _converted(by, "number"),
                DataTransformerConfig(
                    id_val="sortBy", options={"fields": {}, "sort": [{"field": by}]}
                ),
                _converted(by, "string"),  # Bars stand for names, in the order of the numbers.
                DataTransformerConfig(
                    id_val="organize",
                    options={
                        "excludeByName": {"Time": True},
                        "indexByName": {},
                        "renameByName": {
                            by: by_title,
                            **{f"Value #{name}": text for name, text in names.items()},
                        },
                    },
                ),
            ]
        )
    )
    for name, query in zip(names, queries, strict=True):
        panel.with_target(_target(name, query, instant=True, form=PromQueryFormat.TABLE))
    return panel


def words(title: str, description: str, markdown: str, *, width: int = 24) -> AnyPanel:
    """Text."""
    return (
        text.Panel().title(title).description(description).content(markdown).span(width).height(LOW)
    )


def _target(
    name: str,
    query: Query,
    *,
    instant: bool = False,
    form: PromQueryFormat = PromQueryFormat.TIME_SERIES,
) -> prometheus.Dataquery:
    target = (
        prometheus.Dataquery()
        .ref_id(name)
        .datasource(DATASOURCE)
        .expr(query.expression)
        .legend_format(query.legend)
        .format(form)
        .editor_mode(QueryEditorMode.CODE)
        .exemplar(exemplar=False)
    )
    return target.instant() if instant else target.range()


def _converted(field: str, to: str) -> DataTransformerConfig:
    conversion = {"targetField": field, "destinationType": to}
    return DataTransformerConfig(
        id_val="convertFieldType", options={"conversions": [conversion], "fields": {}}
    )


def _thresholds(limit: Limit | None, *, calm: str = CALM) -> ThresholdsConfig:
    steps = [Threshold(value=None, color=calm)]
    if limit is not None and limit.wrong == "above":
        steps.append(Threshold(value=limit.value, color=ALARM))
    elif limit is not None:
        steps = [Threshold(value=None, color=ALARM), Threshold(value=limit.value, color=CALM)]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _named(states: States) -> ValueMap:
    return ValueMap(
        options={
            str(value): ValueMappingResult(text=word, color=color, index=index)
            for index, (value, (word, color)) in enumerate(states.items())
        }
    )


def _dashed(draws: str) -> list[DynamicConfigValue]:
    color = ALARM if draws == "limit" else _REFERENCE
    return [
        DynamicConfigValue("custom.lineStyle", _DASHES),
        DynamicConfigValue("custom.fillOpacity", 0),
        DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color}),
    ]


def _legend(*, shown: bool = True) -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .show_legend(show_legend=shown)
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .calcs([])
    )


def _links(runbook: Runbook | None) -> list[Builder[DashboardLink]]:
    if runbook is None:
        return []
    return [
        DashboardLinkBuilder("Runbook")
        .type(DashboardLinkType.LINK)
        .url(runbook.url)
        .target_blank(target_blank=True)
    ]
