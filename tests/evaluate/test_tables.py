"""Result tables: every value in its cell, hostile names harmless, bold only where it is earned."""

from __future__ import annotations

import math
from html.parser import HTMLParser

import pytest

from ecgloss.evaluate import Estimate, ResultRow
from ecgloss.evaluate.tables import html, markdown, metric_name, text

HOSTILE = '<script>alert("x")</script> a|b \\| c\nnext'


def row(method: str, low: float, high: float, metric: str = "auroc", labels: str = "50") -> ResultRow:
    return ResultRow(method, metric, labels, Estimate((low + high) / 2, low, high))


def markdown_cells(table: str) -> list[list[str]]:
    """Cells as a Markdown reader splits them: at every pipe that is not escaped."""
    rows = []
    for line in table.split("\n"):
        cells, escaped = [""], False
        for character in line:
            if character == "|" and not escaped:
                cells.append("")
            else:
                cells[-1] += character
            escaped = character == "\\" and not escaped
        rows.append([cell.strip() for cell in cells[1:-1]])
    return rows


class Cells(HTMLParser):
    """Text per cell, and every tag."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(document)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        self.rows[-1][-1] += data


def test_markdown_keeps_hostile_names_in_one_cell_and_free_of_html():
    table = markdown([row(HOSTILE, 0.5, 0.6), ResultRow("ok", HOSTILE, HOSTILE, Estimate(1, 1, 1))])
    assert "<" not in table
    cells = markdown_cells(table)
    assert len(cells) == 4
    assert {len(line) for line in cells} == {3}
    assert cells[2][0].startswith("&lt;script&gt;")


def test_html_shows_hostile_names_as_text():
    cells = Cells(html([row(HOSTILE, 0.5, 0.6), ResultRow("ok", HOSTILE, HOSTILE, Estimate(1, 1, 1))]))
    assert set(cells.tags) <= {"table", "thead", "tbody", "tr", "th", "td", "strong"}
    assert cells.rows[1][0] == HOSTILE
    assert cells.rows[0][2] == f"{HOSTILE}, {HOSTILE} labels"


def test_text_has_one_line_per_method_and_aligned_columns():
    lines = text([row("a\nb\x1b[31m\udcfc", 0.5, 0.6), row("much longer name", 0.7, 0.8)]).split("\n")
    assert len(lines) == 4
    starts = [line.index(cell) for line, cell in zip(lines, ("AUROC", "-  -", "0.550", "0.750"))]
    assert starts[0] == starts[1] + 3 == starts[2] == starts[3]
    assert all(line.isprintable() and not line.endswith(" ") for line in lines)


ROWS = [
    row("a", 0.5, 0.6),
    row("b", 0.7, 0.8),
    row("a", 0.4, 0.45, "f1", "all"),
    row("c", 0.1, 0.2, "f1", "all"),
]


def test_every_value_is_in_its_cell_and_absent_ones_are_a_dash():
    expected = [
        ["Method", "AUROC, 50 labels", "F1, all labels"],
        ["a", "0.550 [0.500, 0.600]", "0.425 [0.400, 0.450]"],
        ["b", "0.750 [0.700, 0.800]", "–"],
        ["c", "–", "0.150 [0.100, 0.200]"],
    ]
    plain = [[cell.strip("*") for cell in line] for line in markdown_cells(markdown(ROWS))]
    assert [plain[0], *plain[2:]] == expected
    assert Cells(html(ROWS)).rows == expected
    assert all(cell in text(ROWS) for line in expected for cell in line)


def bold(rows: list[ResultRow]) -> set[str]:
    """Methods in bold, which Markdown and HTML must agree on."""
    lines = markdown_cells(markdown(rows))[2:]
    found = {line[0] for line in lines if any(cell.startswith("**") for cell in line[1:])}
    assert html(rows).count("<strong>") == sum(cell.startswith("**") for line in lines for cell in line)
    return found


def test_a_value_is_bold_if_its_whole_interval_is_better_than_all_others():
    assert bold([row("a", 0.5, 0.6), row("b", 0.61, 0.7), row("c", 0.1, 0.2)]) == {"b"}


@pytest.mark.parametrize(
    "rows",
    [
        [row("a", 0.5, 0.6), row("b", 0.6, 0.7)],  # they touch
        [row("a", 0.5, 0.65), row("b", 0.6, 0.7)],  # they overlap
        [row("b", 0.6, 0.7)],  # nothing to be better than
        [row("a", math.nan, math.nan), row("b", 0.6, 0.7)],  # unknown is not worse
        [row("a", 0.5, 0.6), row("b", 0.7, 0.8), row("c", math.nan, math.nan)],
    ],
)
def test_no_value_is_bold_without_a_clear_winner(rows):
    assert bold(rows) == set()


def test_a_smaller_error_is_better():
    assert bold([row("a", 5, 6, "mae"), row("b", 7, 8, "mae")]) == {"a"}


def test_columns_have_winners_of_their_own():
    rows = [row("a", 0.1, 0.2), row("b", 0.3, 0.4), row("a", 0.8, 0.9, "f1"), row("b", 0.3, 0.4, "f1")]
    assert bold(rows) == {"a", "b"}


def test_an_unknown_interval_is_shown_as_such():
    rows = [ResultRow("a", "r2", "all", Estimate(0.5, math.nan, math.nan)), row("b", math.nan, math.nan, "r2", "all")]
    assert [line[1] for line in markdown_cells(markdown(rows))[2:]] == ["0.500 [n/a]", "n/a"]
    assert metric_name("r2") == "R²"


@pytest.mark.parametrize("render", [markdown, text, html])
def test_tables_without_rows_or_with_two_values_for_one_cell_are_errors(render):
    with pytest.raises(ValueError, match="at least one result"):
        render([])
    with pytest.raises(ValueError, match="method 'a' has two values for auroc, 50 labels"):
        render([row("a", 0.1, 0.2), row("a", 0.3, 0.4)])
