"""Files are whole or not there: a crash, a full disk or another process never leaves half of one."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecgloss._files import read_json, read_json_lines, replacing, write_json


class PowerCut(BaseException):
    """Not an Exception: nothing in the package may catch it."""


def write_half(path: Path, error: BaseException) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise error


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"  # readers see the old file until the new one is complete
        assert temporary.parent == path.parent  # a rename across file systems is not one step
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), PowerCut()])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)):
        write_half(path, error)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_first_write_leaves_no_file(tmp_path):
    with pytest.raises(PowerCut):
        write_half(tmp_path / "a.txt", PowerCut())
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_is_a_folder_stays_one(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="a"), replacing(tmp_path / "a") as temporary:
        temporary.write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").is_dir()


def test_missing_folders_are_made(tmp_path):
    with replacing(tmp_path / "deep" / "er" / "a.txt") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "deep" / "er" / "a.txt").read_text() == "x"


def test_two_writers_of_one_file_do_not_share_a_temporary(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as first, replacing(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the outer block ends last
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask_so_that_colleagues_can_read_results(tmp_path, mask, mode):
    os.umask(mask)
    write_json(tmp_path / "a.json", {})
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == mode
    assert os.umask(mask) == mask  # looking at the mask did not change it


def test_json_survives_the_way_to_disk_and_back(tmp_path):
    content = {"lead": "aVR", "rate": 0.1, "names": ["Überleitung", "µV"], "none": None, "deep": {"n": 3}}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content


def test_content_that_is_no_json_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"new": object()})
    assert read_json(tmp_path / "a.json") == {"old": 1}
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe\x00", b"\x80\x04pickle"])
def test_damaged_json_is_named(tmp_path, content):
    path = tmp_path / "card.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"card\.json is not valid JSON"):
        read_json(path)


def test_json_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read .*gone\.json: No such file"):
        read_json(tmp_path / "gone.json")
    with pytest.raises(ValueError, match=r"cannot read .*: Is a directory"):
        read_json(tmp_path)


def test_a_log_cut_off_at_any_byte_keeps_every_whole_line(tmp_path):
    lines = [{"step": step, "loss": step / 7} for step in range(1, 4)]
    whole = "".join(json.dumps(line) + "\n" for line in lines).encode()
    path: Path = tmp_path / "metrics.jsonl"
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        assert read_json_lines(path) == lines[: whole[:length].count(b"\n")]
