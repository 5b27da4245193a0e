"""Help and usage errors: from the table of options, at once, and with what may have been meant; closed outputs."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import ecgloss
from ecgloss import _streams, usage
from ecgloss.cli import main
from ecgloss.option_table import option_table
from ecgloss.run_files import belongs_to_a_run

REPOSITORY = Path(ecgloss.__file__).parent.parent


def test_the_table_has_the_options_of_the_commands():
    same = json.loads(json.dumps(option_table())) == json.loads(usage.TABLE.read_text(encoding="utf-8"))
    assert same, "the options have changed; run: python -m ecgloss.option_table"


QUICK = """
import sys, time
from ecgloss.cli import main
codes = [main(words) for words in (["--help"], ["pretrain", "--help"], [], ["pretrian"], ["pretrain", "--lr", "x"],
         ["evaluate", "--dat", "d"], ["pretrain", "--config", sys.argv[1]], ["embed"], ["pretrain"])]
assert codes == [0, 0, *7 * [2]], codes
assert not {"torch", "numpy", "jsonargparse"} & set(sys.modules), "something heavy was imported"
print(time.process_time(), file=sys.__stdout__)
"""


def test_help_and_usage_errors_take_half_a_second_of_cpu_at_most(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("epochz: 3\n")
    words = [sys.executable, "-c", QUICK, str(file)]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert float(done.stdout.splitlines()[-1]) < 0.5  # all nine of them


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pretrian"], "there is no command 'pretrian'; did you mean pretrain? (see ecgloss --help)"),
        (["--foo"], "a command comes before options: pretrain, embed"),
        (["pretrain", "--data", "d", "--loss", "clfe"], "got clfe, did you mean clef? (see ecgloss pretrain --help)"),
        (["pretrain", "--data", "d", "--alpha", "1"], "no option --alpha; did you mean --clef.alpha?"),
        (["pretrain", "--data", "d", "-x"], "no option -x; the help lists all"),
        (["pretrain", "--data", "d", "--lr"], "--lr needs a value"),
        (["pretrain", "--data", "d", "--lr", "--epochs", "3"], "--lr needs a value"),
        (["pretrain", "--data", "d", "--lr", "-1"], "lr must be positive; got -1"),
        (["pretrain", "--data", "d", "--temperature", "hot"], "--temperature must be preset or a number; got hot"),
        (["pretrain", "--data", "d", "--clef.risk_power", "3"], "--clef.risk_power must be preset, 1 or 2; got 3"),
        (["pretrain", "--data", "d", "--metadata.shuffle_risk", "si"], "must be true or false; got si"),
        (["evaluate", "--checkpoint", "r"], "evaluate needs --data and --task (see ecgloss evaluate --help)"),
        (["cache", "x", "--data", "d", "--out", "o"], "cache takes no further word; got 'x'"),
    ],
)
def test_usage_errors_say_what_was_meant(words, said, capsys):
    assert main(words) == 2
    line = capsys.readouterr().err.removesuffix("\n")
    assert said in line
    assert "\n" not in line


def test_what_an_encoding_lacks_is_written_plainly_and_closed_outputs_are_silent(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", None)
    _streams.prepare_streams()
    print("R² ρ τ 語")
    print("nothing", file=sys.stderr)
    stream.flush()
    assert stream.buffer.getvalue() == "R² rho tau ?\n".encode("cp1252")  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such shell")
@pytest.mark.parametrize(
    ("shell", "codes"),
    [
        ("{} data list | head -n 0; echo ${{PIPESTATUS[0]}}", {"0", "141"}),
        ("{} data list >&-; echo $?", {"0"}),
        ("{} data list >/dev/full; echo $?", {"1"}),
        ("env -u HOME LC_ALL=C PYTHONIOENCODING=ascii {} data describe ptbxl >/dev/null; echo $?", {"0"}),
    ],
)
def test_outputs_of_all_kinds_end_without_a_traceback(shell, codes):
    command = shell.format(f"{shlex.quote(sys.executable)} -m ecgloss")
    done = subprocess.run(["bash", "-c", command], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] in codes, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_no_command_writes_over_the_files_of_a_run(tmp_path, capsys):
    run, checkpoint = tmp_path / "run", tmp_path / "run" / "checkpoints" / "step-00000001"
    checkpoint.mkdir(parents=True)
    for path in (run / "config.json", checkpoint / "card.json"):
        path.write_text("{}")
    own = [run / "config.json", run / "metrics.jsonl", run / "split.json", checkpoint / "x", run / "checkpoints" / "x"]
    assert all(belongs_to_a_run(path) for path in own)
    assert not any(belongs_to_a_run(path) for path in (run / "embeddings.parquet", run / "risk" / "results.json"))
    for path in own:
        assert main(["embed", "--checkpoint", str(run), "--data", "synthetic:3", "--out", str(path)]) == 2
        assert "belongs to a training run, which would be damaged" in capsys.readouterr().err
    assert (run / "config.json").read_text() == "{}"
