"""Result tables: one row per method, one column per metric and number of labels."""

from __future__ import annotations

import html as _html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ecgloss.evaluate.metrics import METRICS
from ecgloss.evaluate.resampling import Estimate

_ABSENT = "–"


@dataclass(frozen=True)
class ResultRow:
    """One measured value.

    Attributes:
        method: What was measured, e.g. "random" or "CLEF".
        metric: A name in :data:`~ecgloss.evaluate.metrics.METRICS`, e.g. "auroc"; any other name is shown as it is, and
            its larger values count as better.
        labels: Labelled recordings the probe learnt from, e.g. "50" or "all".
        estimate: The value with its interval.
    """

    method: str
    metric: str
    labels: str
    estimate: Estimate


def markdown(rows: Sequence[ResultRow]) -> str:
    """A Markdown table.

    A value is bold only if its whole interval is better than the whole interval of every other method in the
    column. That is a strict reading; two models on the same recordings are compared by
    :func:`~ecgloss.evaluate.resampling.paired_difference`.

    Raises:
        ValueError: if there is no row, or one method has two values in one column.

    Example:
        >>> print(markdown([ResultRow("random", "auroc", "50", Estimate(0.6, 0.5, 0.7)),
        ...                 ResultRow("CLEF", "auroc", "50", Estimate(0.8, 0.75, 0.85))]))
        | Method | AUROC, 50 labels |
        |:--|:--|
        | random | 0.600 [0.500, 0.700] |
        | CLEF | **0.800 [0.750, 0.850]** |
    """
    table = _arrange(rows)
    lines = ["| " + " | ".join(map(_escape_markdown, table.header)) + " |", "|:--" * len(table.header) + "|"]
    for method, cells in table.body:
        shown = [f"**{cell.text}**" if cell.stands_out else cell.text for cell in cells]
        lines.append("| " + " | ".join([_escape_markdown(method), *shown]) + " |")
    return "\n".join(lines)


def text(rows: Sequence[ResultRow]) -> str:
    """A table with aligned columns for the terminal.

    Raises:
        ValueError: as :func:`markdown`.

    Example:
        >>> print(text([ResultRow("CLEF", "mae", "all", Estimate(7.5, 7.0, 8.0))]))
        Method  MAE, all labels
        ------  --------------------
        CLEF    7.500 [7.000, 8.000]
    """
    table = _arrange(rows)
    lines = [[_one_line(name) for name in table.header]]
    lines += [[_one_line(method), *(cell.text for cell in cells)] for method, cells in table.body]
    widths = [max(map(len, column)) for column in zip(*lines)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def html(rows: Sequence[ResultRow]) -> str:
    """An HTML ``<table>`` for :class:`~ecgloss.evaluate.html_page.Section`; names are escaped, bold as in Markdown.

    Raises:
        ValueError: as :func:`markdown`.

    Example:
        >>> html([ResultRow("<b>", "f1", "all", Estimate(0.5, 0.4, 0.6))]).count("&lt;b&gt;")
        1
    """
    table = _arrange(rows)
    head = "".join(f'<th scope="col">{_html.escape(name)}</th>' for name in table.header)
    body = ""
    for method, cells in table.body:
        shown = "".join(
            f"<td><strong>{cell.text}</strong></td>" if cell.stands_out else f"<td>{cell.text}</td>" for cell in cells
        )
        body += f'<tr><th scope="row">{_html.escape(method)}</th>{shown}</tr>'
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def metric_name(metric: str) -> str:
    """Name of a metric in tables and figures; a metric that is not registered keeps its own.

    Example:
        >>> metric_name("auroc"), metric_name("PR-AUC")
        ('AUROC', 'PR-AUC')
    """
    return METRICS[metric].title if metric in METRICS else metric


@dataclass(frozen=True)
class _Cell:
    """One value as shown."""

    text: str
    stands_out: bool


@dataclass(frozen=True)
class _Table:
    """Header and rows, in order of first appearance."""

    header: list[str]
    body: list[tuple[str, list[_Cell]]]


def _arrange(rows: Sequence[ResultRow]) -> _Table:
    """Rows to a grid of cells."""
    if not rows:
        raise ValueError("rows: a table needs at least one result")
    values: dict[tuple[str, str, str], Estimate] = {}
    for row in rows:
        key = (row.method, row.metric, row.labels)
        if key in values:
            raise ValueError(f"rows: method {row.method!r} has two values for {row.metric}, {row.labels} labels")
        values[key] = row.estimate
    methods = list(dict.fromkeys(row.method for row in rows))
    columns = list(dict.fromkeys((row.metric, row.labels) for row in rows))
    winner = {c: _winner({m: values[(m, *c)] for m in methods if (m, *c) in values}, c[0]) for c in columns}
    body = [
        (m, [_Cell(str(values.get((m, *c), _ABSENT)), stands_out=winner[c] == m) for c in columns]) for m in methods
    ]
    return _Table(["Method", *(f"{metric_name(metric)}, {labels} labels" for metric, labels in columns)], body)


def _winner(column: dict[str, Estimate], metric: str) -> str | None:
    """The method whose whole interval is better than all others', if there is one."""
    if len(column) < 2 or any(math.isnan(e.low) or math.isnan(e.high) for e in column.values()):
        return None
    sign = METRICS[metric].sign if metric in METRICS else 1.0
    spans = {method: sorted((sign * e.low, sign * e.high)) for method, e in column.items()}
    best = max(spans, key=lambda method: spans[method][0])
    return best if all(spans[best][0] > span[1] for m, span in spans.items() if m != best) else None


def _escape_markdown(name: str) -> str:
    """Escape what would end a table cell or a line, or be read as HTML."""
    return " ".join(_html.escape(name, quote=False).replace("\\", "\\\\").replace("|", "\\|").split())


def _one_line(name: str) -> str:
    """Replace line breaks and control characters by spaces."""
    return " ".join("".join(character if character.isprintable() else " " for character in name).split())
