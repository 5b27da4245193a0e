"""The README's figures are those of the committed result files."""

from __future__ import annotations

import readme_tables


def test_figures_come_from_the_result_files():
    text = (readme_tables.ROOT / "README.md").read_text(encoding="utf-8")
    assert readme_tables.filled(text) == text, "run python bench/readme_tables.py"
