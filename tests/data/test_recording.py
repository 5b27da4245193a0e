from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ecgloss.data.recording import STANDARD_LEADS, Metadata, Recording, normalise_lead


@pytest.mark.parametrize("spelling", [str.lower, str.upper, str, lambda name: f" {name} "])
def test_a_lead_is_found_whatever_its_spelling(spelling):
    for lead in (*STANDARD_LEADS, "MLII", "VX", "VY", "VZ"):
        assert normalise_lead(spelling(lead)) == lead


def test_names_that_are_not_leads_stay_as_they_are():
    assert [normalise_lead(name) for name in ("ECG1", " avx", "resp", "V10")] == ["ECG1", "avx", "resp", "V10"]


def test_a_signal_without_one_row_per_lead_is_refused():
    with pytest.raises(ValueError, match=r"'r'.*2 leads.*\(1, 9\)"):
        Recording("r", "p", np.zeros((1, 9), np.float32), ("I", "II"), 500.0)


def test_an_unknown_sex_is_refused_instead_of_becoming_a_third_class():
    with pytest.raises(ValueError, match="'M'"):
        Metadata(sex="M")


@pytest.mark.slow
def test_importing_the_data_package_needs_no_optional_dependency():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['pandas', 'wfdb', 'scipy', 'pyarrow', 'tqdm']));"
        "import ecgloss.data as d; d.Preprocessing(); d.Metadata(); d.Split; dir(d)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
