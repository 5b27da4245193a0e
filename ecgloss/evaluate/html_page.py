"""One self-contained HTML file: text, tables and figures, no scripts, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ecgloss._files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 160  # an 8 inch figure stays sharp at twice the width of the text column

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --page: #ffffff; --line: #d7dde5; --band: #f4f6f9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --soft: #a3adba; --page: #14181e; --line: #333c48; --band: #1c222b; }
}
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.55;
       font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 54rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0.5rem 0; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 0.5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
p { margin: 0.6rem 0; overflow-wrap: break-word; }
.subtitle { color: var(--soft); }
figure { margin: 1rem 0; }
img { display: block; width: 100%; height: auto; background: #ffffff; border-radius: 6px; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 0.4rem 0.9rem 0.4rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { color: var(--soft); font-weight: 600; }
tbody tr:nth-child(even) { background: var(--band); }
"""


@dataclass(frozen=True)
class Section:
    """One section of a report.

    Attributes:
        title: Heading, plain text.
        text: Paragraphs of plain text, separated by blank lines.
        figure: A matplotlib figure, embedded as PNG.
        table_html: A trusted ``<table>``, e.g. from :func:`ecgloss.evaluate.tables.html`; the only part that
            is not escaped.
        alt: What the figure shows, for readers who cannot see it; the title if empty.
    """

    title: str
    text: str = ""
    figure: Figure | None = None
    table_html: str | None = None
    alt: str = ""


def write_report(path: str | os.PathLike[str], *, title: str, subtitle: str, sections: Sequence[Section]) -> Path:
    """Write a report that opens anywhere, also offline and years later.

    The file appears complete or not at all. Missing folders are made.

    Args:
        path: The HTML file.
        title: Heading of the report, plain text.
        subtitle: One line below it, plain text.
        sections: The parts, in order.

    Returns:
        The path written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_report(f"{folder}/report.html", title="PTB-XL", subtitle="lead I", sections=[
        ...         Section("Risk < 5 %", "One paragraph.")])
        ...     "Risk &lt; 5 %" in path.read_text(encoding="utf-8")
        True
    """
    path = Path(path)
    body = "\n".join(_section(section) for section in sections)
    document = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
<p class="subtitle">{html.escape(subtitle)}</p>
{body}
</main>
</body>
</html>
"""
    with replacing(path) as temporary:  # text that is no Unicode (old headers) becomes question marks
        temporary.write_text(document, encoding="utf-8", errors="replace", newline="\n")
    return path


def _section(section: Section) -> str:
    """One ``<section>``."""
    parts = [f"<h2>{html.escape(section.title)}</h2>"]
    paragraphs = (" ".join(block.split()) for block in section.text.split("\n\n"))
    parts += [f"<p>{html.escape(paragraph)}</p>" for paragraph in paragraphs if paragraph]
    if section.table_html is not None:
        parts.append(f'<div class="table">{section.table_html}</div>')
    if section.figure is not None:
        alt = html.escape(section.alt or section.title)
        parts.append(f'<figure><img alt="{alt}" src="{_png_uri(section.figure)}"></figure>')
    return "<section>\n" + "\n".join(parts) + "\n</section>"


def _png_uri(figure: Figure) -> str:
    """The figure as a ``data:`` address; without metadata, so that equal figures give equal files."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, facecolor="white", metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
