"""Reports open anywhere: one file, no scripts, nothing loaded, hostile text shown as text."""

from __future__ import annotations

import base64
import io
import os
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from ecgloss.evaluate import Estimate, ResultRow, Section, write_report
from ecgloss.evaluate.tables import html

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>&amp;'"


class Document(HTMLParser):
    """Tags, attributes and text of a report."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []  # everything that was opened was closed

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and data.strip():
            self.text.setdefault(self.open[-1], []).append(data)

    def values(self, name: str) -> list[str]:
        return [value or "" for _, attribute, value in self.attributes if attribute == name]


def figure() -> Figure:
    drawn = Figure(figsize=(2, 1))
    drawn.subplots().plot([0, 1])
    return drawn


@pytest.fixture
def report(tmp_path: Path) -> Document:
    """A report in which every text is hostile."""
    table = html([ResultRow(HOSTILE, HOSTILE, HOSTILE, Estimate(0.5, 0.4, 0.6))])
    sections = [Section(HOSTILE, f"{HOSTILE}\n\nSecond\nline", figure(), table, HOSTILE), Section("Plain")]
    return Document(write_report(tmp_path / "report.html", title=HOSTILE, subtitle=HOSTILE, sections=sections))


def test_a_report_runs_no_script_and_loads_nothing(report):
    allowed = "html head meta title style body main h1 h2 p section figure img div table thead tbody tr th td strong"
    assert set(report.tags) <= set(allowed.split())
    assert not any(name.startswith("on") for _, name, _ in report.attributes)
    assert report.values("href") == []
    assert all(value.startswith("data:image/png;base64,") for value in report.values("src"))
    style = "".join(report.text["style"])
    assert "url(" not in style
    assert "@import" not in style
    assert any("default-src 'none'" in value for value in report.values("content"))


def test_hostile_text_is_shown_as_it_is(report):
    assert report.text["title"] == report.text["h1"] == [HOSTILE]
    assert report.text["h2"] == [HOSTILE, "Plain"]
    assert report.text["p"] == [HOSTILE, HOSTILE, "Second line"]
    assert report.values("alt") == [HOSTILE]
    assert HOSTILE in report.text["th"]


def test_figures_are_png_images_of_the_drawn_size(report):
    (source,) = report.values("src")
    image = Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1], validate=True)))
    image.load()
    assert image.format == "PNG"
    assert image.size == (320, 160)  # 2 x 1 inches at 160 dots


def test_a_figure_without_a_description_is_described_by_the_title(tmp_path):
    path = write_report(tmp_path / "r.html", title="", subtitle="", sections=[Section("Curves", figure=figure())])
    assert Document(path).values("alt") == ["Curves"]


def test_the_same_content_gives_the_same_file(tmp_path):
    paths = [
        write_report(tmp_path / name, title="t", subtitle="s", sections=[Section("a", "b", figure())])
        for name in ("one.html", "two.html")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_text_that_is_no_unicode_does_not_stop_a_report(tmp_path):
    path = write_report(tmp_path / "r.html", title="M\udcfcller", subtitle="µ", sections=[])
    assert Document(path).text["h1"] == ["M?ller"]


class Broken(Figure):
    def savefig(self, *args, **kwargs):
        raise RuntimeError("no renderer")


def test_a_failing_figure_leaves_the_old_report_whole(tmp_path):
    path = write_report(tmp_path / "r.html", title="old", subtitle="", sections=[])
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="no renderer"):
        write_report(path, title="new", subtitle="", sections=[Section("a", figure=Broken())])
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["r.html"]


def test_a_report_that_cannot_be_written_leaves_the_old_one_and_no_litter(tmp_path, monkeypatch):
    path = write_report(tmp_path / "r.html", title="old", subtitle="", sections=[])
    before = path.read_bytes()
    write = Path.write_text

    def half(self, data, **options):
        write(self, data[: len(data) // 2], **options)
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="disk full"):
        write_report(path, title="new", subtitle="", sections=[])
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["r.html"]


def test_a_report_replaces_the_old_one_in_a_folder_that_is_made(tmp_path):
    for title in ("old", "new"):
        path = write_report(str(tmp_path / "a" / "b" / "r.html"), title=title, subtitle="", sections=[])
    assert Document(path).text["h1"] == ["new"]
    assert os.listdir(path.parent) == ["r.html"]
