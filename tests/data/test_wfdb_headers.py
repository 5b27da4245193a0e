from __future__ import annotations

from pathlib import Path

import pytest

from ecgloss.data.wfdb.channels import millivolts
from ecgloss.data.wfdb.headers import InvalidRecordError, find_headers, inside, record_name
from ecgloss.data.wfdb.specification import parse_header


def header(folder: Path, text: str) -> Path:
    path = folder / "r.hea"
    path.write_bytes(text.encode("latin-1"))
    return path


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd.dat", "/etc/passwd", "a/../b.dat", "..", "sub/x.dat", "C:x.dat", "a\\b.dat", "s3://b/x", "a::b"],
)
@pytest.mark.parametrize("text", ["r 1 100 1000\n{} 16 1000/mV\n", "r/2 1 100 1000\nr_1 500\n{} 500\n"])
def test_a_header_cannot_name_a_file_outside_its_folder(tmp_path, name, text):
    with pytest.raises(InvalidRecordError, match="not a file in its own folder"):
        parse_header(header(tmp_path, text.format(name)))


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../b", "~root/x", "C:/x", "a\\..\\b", "", "x\0"])
def test_a_table_cannot_name_a_file_outside_the_dataset(name):
    with pytest.raises(InvalidRecordError, match="leads outside"):
        inside(Path("db"), name)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_an_empty_header_says_so(tmp_path, text):
    with pytest.raises(InvalidRecordError, match=r"r\.hea is empty"):
        parse_header(header(tmp_path, text))


def test_microvolts_are_not_read_as_volts(tmp_path):
    found = parse_header(header(tmp_path, "r 2 100 1\nr.dat 16 10(0)/\xb5V 16\nr.dat 16 10/mv 16\n"))
    assert [millivolts(signal.unit) for signal in found.signals] == [1e-3, 1.0]


def test_headers_are_found_at_any_depth_in_a_fixed_order_without_hidden_files(tmp_path):
    for name in ("b/2.hea", "a.hea", "b/c/d/1.hea", ".git/x.hea", "b/._2.hea", "b/2.dat"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("r 1 100 1000\nr.dat 16\n")
    assert [record_name(path, tmp_path) for path in find_headers(tmp_path)] == ["a", "b/2", "b/c/d/1"]


def test_segments_are_not_counted_beside_their_record(tmp_path):
    (tmp_path / "m.hea").write_text("m/2 1 100 1000\nm_1 500\nm_2 500\n")
    for name in ("m_1", "m_2", "other"):
        (tmp_path / f"{name}.hea").write_text(f"{name} 1 100 500\n{name}.dat 16\n")
    assert [path.stem for path in find_headers(tmp_path)] == ["m", "other"]
