"""`import ecgloss` stays light: torch and numpy only."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

import ecgloss
from ecgloss._extras import MissingExtraError, install_command, require

OPTIONAL = [
    "wfdb",
    "h5py",
    "edfio",
    "pandas",
    "scipy",
    "sklearn",
    "matplotlib",
    "neurokit2",
    "pyarrow",
    "lightning_fabric",
    "jsonargparse",
]


def test_import_needs_no_optional_dependency():
    parts = ["ecgloss", "ecgloss.risk", "ecgloss.models", "ecgloss.data", "ecgloss.plots"]
    block = f"""
import importlib, sys
import torch, numpy
before = set(sys.modules)
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {OPTIONAL!r} + ["triton"]:
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Missing())
for part in {parts!r}:
    importlib.import_module(part)
    print(part, sorted({{m.split(".")[0] for m in set(sys.modules) - before}}))
"""
    run = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stderr == ""
    lines = run.stdout.splitlines()
    assert [line.split()[0] for line in lines] == parts
    for line in lines:
        assert not set(OPTIONAL) & set(eval(line.partition(" ")[2])), line


def test_dir_shows_what_is_for_users_and_nothing_else():
    assert {"CLEFLoss", "data", "models", "monitor", "risk", "train"} <= set(dir(ecgloss))
    assert [name for name in dir(ecgloss) if name.startswith("_")] == ["__version__"]


def test_a_missing_extra_names_what_to_install():
    with pytest.raises(
        MissingExtraError, match=r"the extra eval brings; run: pip install 'scikit-learn>=.*'matplotlib>="
    ):
        require("surely_not_installed", "eval")


def test_extras_are_installed_by_name_of_their_packages_and_never_as_ecgloss_from_an_index(monkeypatch):
    assert "ecgloss" not in install_command("train")
    assert all(package in install_command("train") for package in ("jsonargparse[signatures]", "wfdb"))

    def not_installed(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.requires", not_installed)
    assert install_command("train") == "pip install '.[train]' in the checkout of ecgloss"
