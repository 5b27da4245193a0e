"""`import ecgloss` stays light: torch and numpy only."""

from __future__ import annotations

import subprocess
import sys

import pytest

OPTIONAL = [
    "wfdb",
    "pandas",
    "scipy",
    "sklearn",
    "matplotlib",
    "neurokit2",
    "pyarrow",
    "lightning_fabric",
    "jsonargparse",
]


@pytest.mark.parametrize("module", ["ecgloss", "ecgloss.risk", "ecgloss.models", "ecgloss.data", "ecgloss.plots"])
def test_import_needs_no_optional_dependency(module):
    block = f"""
import sys
import torch, numpy
before = set(sys.modules)
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {OPTIONAL!r} + ["triton"]:
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Missing())
import {module}
print(sorted({{m.split(".")[0] for m in set(sys.modules) - before}}))
"""
    run = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert not set(OPTIONAL) & set(eval(run.stdout))


def test_a_missing_extra_names_what_to_install():
    from ecgloss._extras import MissingExtraError, require

    with pytest.raises(MissingExtraError, match=r"pip install 'ecgloss\[eval\]'"):
        require("surely_not_installed", "eval")
