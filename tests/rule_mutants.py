"""Faults that somebody could make in a rule: each must make a promtool test fail."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from deploy.alerting.rules import Alert, Group, Record, Severity

_COMPARISON = re.compile(r"(>=|<=|==|!=|>|<) ([\d.]+)")
_FLIPPED = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "==": "!=", "!=": "=="}
_MATCHER = re.compile(r'(\w+)(?:=|!~|=~)"[^"]*"')
_AND = re.compile(r"\nand(?: on \([\w, ]+\))?\n")
_BY = re.compile(r"by \(([\w, ]+)\)")


@dataclass(frozen=True)
class Mutant:
    """The groups of a rule file with one fault."""

    fault: str
    group: str
    groups: Sequence[Group]


def mutants(groups: Sequence[Group]) -> Iterator[Mutant]:
    """Every fault of every rule, one at a time."""
    for g, group in enumerate(groups):
        for r, rule in enumerate(group.rules):
            name = rule.record if isinstance(rule, Record) else rule.name
            for fault, wrong in _of_rule(rule):
                rules = [*group.rules[:r], wrong, *group.rules[r + 1 :]]
                changed = [*groups[:g], replace(group, rules=rules), *groups[g + 1 :]]
                yield Mutant(f"{name}[{r}]: {fault}", group.name, changed)
    without_job = [
        replace(
            group,
            rules=[replace(rule, expr=_without_matcher(rule.expr, "job")) for rule in group.rules],
        )
        for group in groups
    ]
    yield Mutant("every selector without the job", groups[0].name, without_job)


def _of_rule(rule: Record | Alert) -> Iterator[tuple[str, Record | Alert]]:
    for fault, expr in _of_expression(rule.expr):
        yield fault, replace(rule, expr=expr)
    if isinstance(rule, Alert):
        if rule.hold_seconds:
            yield "for removed", replace(rule, hold_seconds=0)
        other = Severity.TICKET if rule.severity is Severity.PAGE else Severity.PAGE
        yield "another severity", replace(rule, severity=other)
        yield "no description", replace(rule, description="")
    for label in rule.labels:
        left = {name: value for name, value in rule.labels.items() if name != label}
        yield f"label {label} dropped", replace(rule, labels=left)


def _of_expression(expr: str) -> Iterator[tuple[str, str]]:
    for found in _COMPARISON.finditer(expr):
        operator, limit = found.groups()
        tenfold = f"{float(limit) * 10 or 10:.9g}"
        for fault, text in (
            (f"threshold x10 at {found[0]!r}", f"{operator} {tenfold}"),
            (f"flipped at {found[0]!r}", f"{_FLIPPED[operator]} {limit}"),
        ):
            yield fault, expr[: found.start()] + text + expr[found.end() :]
    for label in sorted(set(_MATCHER.findall(expr)) - {"job"}):
        yield f"matcher {label} dropped", _without_matcher(expr, label)
    for label in sorted({name for by in _BY.findall(expr) for name in by.split(", ")}):
        yield f"label {label} dropped", _BY.sub(partial(_without, label), expr)
    if joint := _AND.search(expr):
        clauses = _AND.split(expr)
        for k, clause in enumerate(clauses):
            yield f"without {clause!r}", joint[0].join(clauses[:k] + clauses[k + 1 :])
    if either := re.search(r"\(\s*([^()]+)\s+or\s+([^()]+?)\s*\)", expr):
        for k in (1, 2):
            yield f"only {either[k]!r}", expr.replace(either[0], f"({either[k]})")


def _without(label: str, by: re.Match[str]) -> str:
    return f"by ({', '.join(name for name in by[1].split(', ') if name != label)})"


def _without_matcher(expr: str, label: str) -> str:
    return re.sub(rf'(?<=[{{,])\s*{label}(?:=|!~|=~)"[^"]*"(,\s*)?', "", expr).replace(", }", "}")
