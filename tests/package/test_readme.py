"""The README's figures are those of the committed result files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_figures_come_from_the_result_files():
    spec = importlib.util.spec_from_file_location("readme_tables", REPOSITORY / "bench" / "readme_tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert tables.filled(text) == text, "run python bench/readme_tables.py"
