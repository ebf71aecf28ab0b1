"""The results as Markdown, and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks.serving.machine import Machine
from benchmarks.serving.results import Bound, Part, Row, Table
from benchmarks.serving.rounds import Spread

_COLUMNS = ("", "must", "reach", "measured", "lowest to highest", "A/A", "verdict")
_NOTHING = "-"
_EXACT_BELOW = 100
"""Larger figures need no decimals."""


def summary(parts: Sequence[Part]) -> str:
    """Lay out every figure that has a goal, and those that are only reported."""
    return _grid(_COLUMNS, [_cells(row) for part in parts for row in part.rows])


def details(part: Part) -> str:
    """Lay out the tables and remarks of one part."""
    pieces = [f"## {part.title}", _grid(_COLUMNS, [_cells(row) for row in part.rows])]
    pieces += [f"{table.title}:\n\n{_table(table)}" for table in part.tables]
    pieces += part.remarks
    return "\n\n".join(pieces)


def as_json(machine: Machine, parts: Sequence[Part]) -> str:
    """Serialise everything."""
    rows = [
        {**asdict(row), "part": part.title, "verdict": row.verdict}
        for part in parts
        for row in part.rows
    ]
    tables = [{**asdict(table), "part": part.title} for part in parts for table in part.tables]
    remarks = {part.title: list(part.remarks) for part in parts}
    content = {"machine": asdict(machine), "rows": rows, "tables": tables, "remarks": remarks}
    return json.dumps(content, indent=1, allow_nan=False)


def _cells(row: Row) -> list[str]:
    unit = f" {row.unit}" if row.unit else ""
    itself = row.against_itself
    return [
        row.what,
        _bound(row.goal.must) + (unit if isinstance(row.goal.must, float) else ""),
        _bound(row.goal.reach) + (unit if isinstance(row.goal.reach, float) else ""),
        _NOTHING if row.value is None else _figure(row.value.median) + unit,
        _NOTHING if row.value is None else _range(row.value),
        _NOTHING if itself is None else f"{itself.lowest:.3f} to {itself.highest:.3f}",
        row.verdict,
    ]


def _range(value: Spread) -> str:
    return f"{_figure(value.lowest)} to {_figure(value.highest)}"


def _bound(bound: Bound) -> str:
    if bound is None:
        return _NOTHING
    return bound if isinstance(bound, str) else f"{bound:g}"


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= _EXACT_BELOW else f"{value:.3g}"


def _table(table: Table) -> str:
    return _grid(table.columns, table.lines)


def _grid(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(columns)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rule, *lines))
