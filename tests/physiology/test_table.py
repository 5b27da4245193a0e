"""The table of a dataset: kept, the same from any number of processes, gone on with after a kill."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as parquet
import pytest

from ecgloss.cli import main
from ecgloss.physiology import feature_table, physiology_of, table


def test_the_table_is_kept_and_goes_on_after_a_kill(cohort, monkeypatch):
    plain = physiology_of(cohort, progress=False, keep=False)
    monkeypatch.setattr(table, "_PART", 4)
    real, calls = table._row, []

    def dies(dataset, lead, i):
        calls.append(i)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return real(dataset, lead, i)

    monkeypatch.setattr(table, "_row", dies)
    with pytest.raises(KeyboardInterrupt):
        physiology_of(cohort, progress=False)
    found = physiology_of(cohort, progress=False)
    assert calls == [*range(10), *range(8, 12)]  # the two whole parts were kept
    again = physiology_of(cohort, progress=False)
    assert len(calls) == 14
    for other in (found, again):
        assert np.array_equal(other.features, plain.features, equal_nan=True)
        assert other.lead == plain.lead == ("II",) * 12
        for a, b in zip(other.delineations, plain.delineations):
            assert (a.failures, a.quality) == (b.failures, b.quality)
            assert all(np.array_equal(getattr(a, m), getattr(b, m), equal_nan=True) for m in table.MARKS)
    assert not list(cohort.folder.parent.glob("*.parts"))


def test_processes_change_nothing(cohort, monkeypatch):
    monkeypatch.setattr(table, "_PART", 6)
    one, two = (physiology_of(cohort, lead="V5", workers=w, progress=False, keep=False) for w in (0, 2))
    assert np.array_equal(one.features, two.features, equal_nan=True)


def test_a_lead_that_nothing_has_is_an_error(cohort):
    with pytest.raises(ValueError, match="no recording has lead V9; the available leads are I, II"):
        physiology_of(cohort, lead="V9")


def test_a_damaged_table_names_the_file(cohort, tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(ValueError, match=r"a\.parquet cannot be used as a table of features"):
        table.read_physiology(path)


def test_the_command_writes_names_and_units(cohort, tmp_path, capsys):
    out = tmp_path / "features.parquet"
    assert main(["features", "--data", str(cohort.folder), "--out", str(out)]) == 0
    assert "150 features of 12 recordings" in capsys.readouterr().out
    schema = parquet.read_schema(out)
    for feature in feature_table():
        metadata = schema.field(feature.name).metadata
        assert metadata[b"unit"].decode() == feature.unit
        assert metadata[b"formula"].decode() == feature.formula
    assert schema.metadata[b"fingerprint"].decode() == cohort.fingerprint
    assert main(["features", "--data", str(cohort.folder), "--out", str(tmp_path)]) == 2
    assert main(["features", "--data", str(cohort.folder), "--out", str(out), "--workers", "-1"]) == 2
