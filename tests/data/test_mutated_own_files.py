"""Damaged own files, with fixed seeds: recordings or one clean line, no hang, no memory without reason."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest
from bounded import ends_within, growth_below
from scipy.io import savemat

from ecgloss.data.files import SignalOptions, file_entries

FILES = 60
MOST_MIB = 200
INTERNALS = re.compile(
    r"Traceback|NoneType|no attribute|out of range|unpack|<class|<built-in|0x[0-9a-f]{6}|\n|site-packages"
)
NUMBERS = [b"0", b"-1", b"99999999", b"1e308", b"nan", b"        ", b"65535", b"EDF+D", b"I,I", b"\xff\xfe"]


def array() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 400, (3, 2, 400)).astype(np.float32)


def write_hdf5(path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.create_dataset("signals", data=array(), chunks=(1, 2, 400), compression="gzip")
        file["signals"].attrs["units"] = "uV"
        file["patient"] = [1, 2, 3]


def write_matlab73(path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        file["ecg"] = array().T
        file["ecg"].attrs["MATLAB_class"] = np.bytes_("single")
        file["units"] = np.array([[ord("u")], [ord("V")]], np.uint16)
        file["units"].attrs["MATLAB_class"] = np.bytes_("char")


def write_edf(path: Path) -> None:
    edfio = pytest.importorskip("edfio")
    signal_class, file = (edfio.BdfSignal, edfio.Bdf) if path.suffix == ".bdf" else (edfio.EdfSignal, edfio.Edf)
    made = [signal_class(row, 100, label=f"ECG {lead}", physical_dimension="uV") for lead, row in zip("I", array()[0])]
    file(made, annotations=[edfio.EdfAnnotation(0.5, 1, "a")], data_record_duration=1).write(path)


def write_csv(path: Path) -> None:
    separator = "\t" if path.suffix == ".tsv" else ","
    rows = [separator.join(("time_s", "I", "II (uV)"))]
    rows += [separator.join((f"{k / 100:.2f}", f"{a:.3f}", f"{b:.3f}")) for k, (a, b) in enumerate(array()[0].T)]
    path.write_text("\n".join(rows))


WRITERS = {
    "x.h5": write_hdf5,
    "y.mat": write_matlab73,
    "x.mat": lambda path: savemat(path, {"ecg": array(), "units": "uV", "fs": 100.0}),
    "z.mat": lambda path: savemat(path, {"ecg": array(), "leads": "I,II"}, do_compression=True),
    "x.edf": write_edf,
    "x.bdf": write_edf,
    "x.csv": write_csv,
    "x.tsv": write_csv,
    "x.npy": lambda path: np.save(path, array()),
    "x.npz": lambda path: np.savez(path, signals=array(), units="uV"),
}


def mutated(raw: bytes, draw: random.Random) -> bytes:
    """One to three changes, most of them near the beginning, where a file describes itself."""
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(min(len(raw), draw.choice((300, 2500, len(raw))))) if raw else 0
        kind = draw.randrange(5)
        if kind == 0:
            raw = raw[:at] + bytes([draw.randrange(256)]) + raw[at + 1 :]
        elif kind == 1:
            word = draw.choice(NUMBERS)
            raw = raw[:at] + word + raw[at + len(word) :]
        elif kind == 2:
            raw = raw[:at] + draw.randbytes(8) + raw[at + 8 :]
        elif kind == 3:
            raw = raw[:at] if draw.random() < 0.5 else raw[:at] + raw[at + draw.randint(1, 300) :]
        else:
            raw = raw[:at] + raw[at : at + 64] + raw[at:]
    return raw


def recordings(path: Path, said: SignalOptions):
    """All that a file holds."""
    return [recording for entry in file_entries(path, said, ("I", "II")) for recording in entry.read()]


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", WRITERS)
def test_mutated_files_are_read_or_refused_in_one_line(tmp_path, name):
    path, draw = tmp_path / name, random.Random(name)
    WRITERS[name](path)
    raw, said = path.read_bytes(), SignalOptions(units="uV", source_rate=100.0)
    recordings(path, said)  # loads what is needed
    outcomes = {"read": 0, "refused": 0}
    with growth_below(MOST_MIB):
        for k in range(FILES):
            path.write_bytes(mutated(raw, draw))
            try:
                with ends_within(5):
                    found = recordings(path, said)
            except ValueError as error:
                assert not INTERNALS.search(str(error)), (k, error)  # noqa: PT017
                outcomes["refused"] += 1
                continue
            assert sum(recording.signal.nbytes for recording in found) < 2**24
            outcomes["read"] += 1
    assert min(outcomes.values()) > 0, outcomes
