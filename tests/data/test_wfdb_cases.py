"""Kinds of WFDB records that real databases hold: the right millivolts, or one line that says why not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ecgloss.data import Preprocessing, open_dataset
from ecgloss.data.wfdb import InvalidRecordError, find_headers, read_record
from ecgloss.data.wfdb.headers import record_name

DATA = Path(os.environ.get("ECGLOSS_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
CASES = DATA.parent / "cases" / "data"
COUNTS = np.stack([np.arange(-500, 500), np.arange(500, -500, -1)]).astype("<i2")
LINE = "r.dat 16 200(0)/mV 16 0 {} 0 0 {}"


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Path]:
    """Writes a record of two leads of 1,000 samples: a header's text, or changes to a right one."""

    def write(*changes: tuple[str, str], raw: bytes | None = None, text: str | None = None) -> Path:
        (tmp_path / "r.dat").write_bytes(COUNTS.T.tobytes() if raw is None else raw)
        right = "\n".join(["r 2 250 1000", LINE.format(-500, "I"), LINE.format(500, "II"), "# Age: 61"]) + "\n"
        right = right if text is None else text
        for old, new in changes:
            assert old in right
            right = right.replace(old, new)
        (tmp_path / "r.hea").write_bytes(right.encode("latin-1"))
        return tmp_path / "r.hea"

    return write


def assert_right(header: Path, rate: float = 250.0) -> None:
    found = read_record(header)
    assert found.leads == ("I", "II")
    assert found.sampling_rate == rate
    np.testing.assert_allclose(found.signal, COUNTS / 200, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        ("200(0)/mV", "2.0E2(0)/mV"),
        ("200(0)/mV", "2.0e+2/mV"),
        ("200(0)/mV", "200.0(0.0)/mV"),
        ("200(0)/mV", "20e1(0)/mV"),
        ("200(0)/mV", "200."),
        ("200(0)/mV", "0(0)/mV"),  # 0: not calibrated, which means 200
        ("200(0)/mV", "200000(0)/V"),
        ("200(0)/mV", "0.2(0)/uV"),
        (" 16 0 ", " 16.0 0.0 "),
        (" -500 0 0 I\n", " -500.0 0 0 I\n"),
        ("r 2 250 1000", "r 2 250 0"),
        ("r 2 250 1000", "r 2 250"),
        ("r 2 250 1000", "r 2.0 2.5e2 1e3"),
        ("r 2 250 1000", "r 2 250/1000(5) 1000"),
        ("r 2 250 1000", "r 2"),
        ("r 2 250 1000", "r 2 250 1000 2014-05-08 05:05:15"),
        ("r 2 250 1000", "r 2 250 1000 05/08/14 12:60:70 noon"),
        ("r 2 250 1000", "r.mat 2 250 1000"),
        ("\n", "\r\n"),
        ("\n", "\n\n"),
        ("# Age", LINE.format(0, "III") + "\n# Age"),
        ("# Age: 61", "# Age: 61 \x85 and so on"),
        ("r 2 250", "\xef\xbb\xbfr 2 250"),
        (" 0 0 II\n", " 0 0 ii\n"),
    ],
)
def test_every_form_of_a_right_header_gives_the_right_millivolts(record, change):
    assert_right(record(change))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("200(0)/mV", "200x(0)/mV"),
        ("200(0)/mV", "200(0/mV"),
        ("200(0)/mV", "0x10/mV"),
        ("200(0)/mV", "1e999/mV"),
        ("200(0)/mV", "200(0.5)/mV"),
        ("dat 16 ", "dat 16:-3 "),
        ("dat 16 ", "dat 16x0 "),
        ("dat 16 ", "dat 16+1.5 "),
        (" 16 0 ", " sixteen 0 "),
        (" -500 0 0 I\n", " -500.5 0 0 I\n"),
        ("r 2 250 1000", "r 2 250 10.5"),
        ("r 2 250 1000", "r 2 -250 1000"),
        ("r 2 250 1000", "r 2 250Hz 1000"),
        ("r 2 250 1000", "r two 250 1000"),
        ("r 2 250 1000", "r 2 nan 1000"),
        ("r 2 250 1000", "r"),
    ],
)
def test_a_field_that_is_not_understood_is_named_and_becomes_no_lead(record, change, reason):
    with pytest.raises(InvalidRecordError, match=r"^r\.hea: invalid header: ") as caught:
        read_record(record((change, reason)))
    assert "\n" not in str(caught.value)


def test_big_endian_samples(record):
    header = record(("dat 16 ", "dat 61 "), raw=COUNTS.T.astype(">i2").tobytes())
    assert_right(header)
    assert_right(record(("dat 16 ", "dat 61+4 "), raw=b"head" + COUNTS.T.astype(">i2").tobytes()))


def test_a_signal_stored_late_is_moved_and_its_checksum_is_that_of_what_is_stored(record):
    late = COUNTS.copy()
    late[1] = np.concatenate([[7, 7, 7], COUNTS[1, :-3]])
    checksum = (int(late[1].sum()) + 32768) % 65536 - 32768
    lines = f"r 2 250 1000\n{LINE.format(-500, 'I')}\nr.dat 16:3 200(0)/mV 16 0 7 {checksum} 0 II\n"
    found = read_record(record(text=lines, raw=late.T.tobytes()))
    np.testing.assert_allclose(found.signal[0], COUNTS[0] / 200, atol=1e-6)
    np.testing.assert_allclose(found.signal[1, :-3], COUNTS[1, :-3] / 200, atol=1e-6)
    assert np.isnan(found.signal[1, -3:]).all()
    with pytest.raises(InvalidRecordError, match="the skew of lead II is 99999999 frames, longer than the record"):
        read_record(record(("16:3", "16:99999999"), text=lines, raw=late.T.tobytes()))


@pytest.mark.parametrize("name", ["EEG (C4-A1)", "foot GSR", "Resp (sum)", "CS12", "ABP", "EMG chin", "SpO2"])
def test_other_signals_in_mv_are_no_leads(record, name):
    assert read_record(record((" 0 0 II\n", f" 0 0 {name}\n"))).leads == ("I",)
    with pytest.raises(InvalidRecordError, match="no channel is an ECG lead: the channels are"):
        read_record(record((" 0 0 II\n", f" 0 0 {name}\n"), (" 0 0 I\n", f" 0 0 {name}\n")))


@pytest.mark.parametrize("name", ["MLII", "V4R", "ECG lead II", "Abdomen_1", "CM5", "D3", "vx", "aVF"])
def test_leads_of_other_names_are_kept(record, name):
    assert len(read_record(record((" 0 0 II\n", f" 0 0 {name}\n"))).leads) == 2


def test_a_unit_nv_is_no_voltage(record):
    assert read_record(record(("0 0 0 II", "0 0 0 II"), ("200(0)/mV 16 0 500", "200(0)/NV 16 0 500"))).leads == ("I",)


def segment(folder: Path, name: str, first: int, frames: int, per_frame: int = 1) -> None:
    counts = np.arange(first, first + frames * per_frame).astype("<i2")
    counts.tofile(folder / f"{name}.dat")
    (folder / f"{name}.hea").write_text(f"{name} 1 50 {frames}\n{name}.dat 16x{per_frame} 200/mV 16 0 {first} 0 0 I\n")


def test_segments_keep_the_rate_of_their_frames_and_may_have_gaps(tmp_path):
    segment(tmp_path, "m_1", 0, 300, 5)
    segment(tmp_path, "m_2", 1500, 200, 5)
    (tmp_path / "m.hea").write_text("m/3 1 50 600\nm_1 300\n~ 100\nm_2 200\n")
    found = read_record(tmp_path / "m.hea")
    assert found.sampling_rate == 250.0
    expected = np.concatenate([np.arange(1500), np.full(500, np.nan), np.arange(1500, 2500)]) / 200
    np.testing.assert_allclose(found.signal[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("master", "reason"),
    [
        ("m/4 1 50 2000\nm_1 300\nm_2 200\n", "2 of 4 segments are listed"),
        ("m/3 1 50 33554432\nm_1 300\n~ 33553932\nm_2 200\n", "too long: 33554432 samples, of which 500"),
        ("m/2 1 50 500\nm_1 300\nm_2 201\n", "segment m_2 has 200 frames, the record says 201"),
        ("m/2 1 60 500\nm_1 300\nm_2 200\n", "segment m_1 has 50 frames per second, the record 60"),
        ("m/1 1 50 500\n~ 500\n", "no segment holds a signal"),
        ("m/2 1 50 500\nm_1 300\nm_3 200\n", "m_3.hea is missing"),
        ("m/2 1 50 500\nm_1 -300\nm_2 200\n", "length of a segment '-300' is below 0"),
    ],
)
def test_segments_that_do_not_fit_are_named(tmp_path, master, reason):
    segment(tmp_path, "m_1", 0, 300)
    segment(tmp_path, "m_2", 300, 200)
    (tmp_path / "m.hea").write_text(master)
    with pytest.raises(InvalidRecordError, match=reason):
        read_record(tmp_path / "m.hea")


def test_segments_listed_short_but_whole_are_read(tmp_path):
    segment(tmp_path, "m_1", 0, 300)
    segment(tmp_path, "m_2", 300, 200)
    (tmp_path / "m.hea").write_text("m/3 1 50 500\nm_1 300\nm_2 200\n")
    np.testing.assert_allclose(read_record(tmp_path / "m.hea").signal[0], np.arange(500) / 200, atol=1e-6)


def test_pipes_named_like_headers_or_signals_are_not_waited_for(record, tmp_path):
    header = record()
    os.mkfifo(tmp_path / "x.hea")
    assert list(find_headers(tmp_path)) == [header]
    (tmp_path / "r.dat").unlink()
    os.mkfifo(tmp_path / "r.dat")
    with pytest.raises(InvalidRecordError, match=r"r\.dat is missing"):
        read_record(header)


def test_a_signal_behind_a_link_is_read_only_beside_its_header_or_in_its_repository(record, tmp_path):
    header = record()
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "r.hea").write_text(header.read_text())
    (tmp_path / "db" / "r.dat").symlink_to(tmp_path / "r.dat")
    with pytest.raises(InvalidRecordError, match=r"r\.dat is a link that leads outside the folder of the record"):
        read_record(tmp_path / "db" / "r.hea")
    (tmp_path / "db" / "r.hea").unlink()
    (tmp_path / "db" / "r.hea").symlink_to(header)  # a folder of links to whole records
    assert_right(tmp_path / "db" / "r.hea")
    (tmp_path / "repository" / "a").mkdir(parents=True)
    (tmp_path / "repository" / ".git" / "annex").mkdir(parents=True)
    (tmp_path / "r.dat").rename(tmp_path / "repository" / ".git" / "annex" / "key")
    (tmp_path / "repository" / "a" / "r.hea").write_text(header.read_text())
    (tmp_path / "repository" / "a" / "r.dat").symlink_to("../.git/annex/key")
    assert_right(tmp_path / "repository" / "a" / "r.hea")


def test_linked_folders_are_mentioned_and_upper_case_headers_read(record, tmp_path):
    record()
    header = tmp_path / "r.hea"
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "r2.HEA").write_text(header.read_text())
    (tmp_path / "r.dat").rename(tmp_path / "db" / "r.dat")
    header.unlink()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "db" / "b").symlink_to(tmp_path / "elsewhere")
    found = open_dataset(
        tmp_path / "db", preprocessing=Preprocessing(250.0), cache_dir=tmp_path / "cache", progress=False
    )
    assert found.index["name"].tolist() == ["r2"]
    (skip,) = found.skipped
    assert str(skip) == "b: is a link to a folder, which is not followed; give that folder as well"


@pytest.mark.parametrize("case", sorted(p.parent.parent.name for p in CASES.glob("*/truth/truth.json")) or ["none"])
def test_handed_over_cases_have_the_right_millivolts(case):
    """To half a quantisation step of 200 counts per mV."""
    if case == "none":
        pytest.skip(f"no cases at {CASES} (beside the folder of ECGLOSS_TEST_DATA)")
    folder = CASES / case
    truth = json.loads((folder / "truth" / "truth.json").read_text())
    names = {name.replace("/", "_"): name for name in truth}
    for file in sorted((folder / "truth").glob("*.npy")):
        name = names.get(file.stem, file.stem)
        header = next((h for h in find_headers(folder / "data") if record_name(h, folder / "data") == name), None)
        if header is None and case == "symlink-folder":
            continue  # it is mentioned, not read
        assert header is not None, name
        expected = np.load(file, allow_pickle=False)
        np.testing.assert_allclose(read_record(header).signal, expected, atol=0.5 / 200)
