"""What a conversion stores. A change here means that caches made before hold other numbers: raise CONTENTS in
`ecgloss.data.cache.format`, so that they are not used any more, and write the new numbers down here."""

from __future__ import annotations

import numpy as np

from ecgloss.data.cache.format import CONTENTS, columns
from ecgloss.data.opening import open_dataset
from ecgloss.data.preprocess import Preprocessing

VERSION = 2
COLUMNS = (
    "name patient group leads n_samples source_rate age sex smoker diabetes sbp total_chol hdl_chol "
    "shard offset gain checksum part labels values"
)
MICROVOLTS = [
    [-2.2, -3.3, 0.1, 43.3, -482.5, 1001.9, -450.9, 32.8, -9.2, 6.5, 27.3, 6.0, -43.2],
    [3.3, 238.0, -417.7, 493.6, -464.5, 323.0, -94.4, -149.0, 336.2, -468.3, 532.6, -429.9, -133.4],
]


def test_the_numbers_of_a_conversion_are_those_of_its_version(write_record, tmp_path):
    time = np.arange(1500) / 360
    x = np.stack([np.sin(2 * np.pi * 1.3 * time) ** 15, 0.5 * np.sin(2 * np.pi * 7 * time) + 0.1 * time])
    x[1, 300:310] = np.nan
    write_record("known/a", signal=x, rate=360.0, comments=["Age: 61", "Sex: F"])
    found = open_dataset(tmp_path / "db", preprocessing=Preprocessing(), cache_dir=tmp_path / "c", progress=False)
    assert CONTENTS == VERSION
    assert columns().names == COLUMNS.split()
    row = found.index.iloc[0]
    about = [row["name"], row["patient"], row["n_samples"], row["source_rate"], row["age"], row["sex"]]
    assert about == ["known/a", "known/a", 2084, 360.0, 61.0, "female"]
    np.testing.assert_allclose(1e3 * found.signal(0)[:, ::173], MICROVOLTS, atol=0.05)
