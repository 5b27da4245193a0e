"""The command line: commands work together, and whatever goes wrong is said in one line that names the culprit."""

from __future__ import annotations

import json
import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
import wfdb

import ecgloss
from ecgloss import cli, commands
from ecgloss._files import read_json, read_json_lines
from ecgloss.cli import main
from ecgloss.data import CARDS
from ecgloss.models import load_encoder
from ecgloss.models.pretrained import checkpoints
from ecgloss.train.checkpoint import MetricsLog

COMMANDS = ["pretrain", "embed", "evaluate", "cache", "features", "risk", "data", "info"]
SMALL = ["--sampling-rate", "100", "--seconds", "3", "--batch-size", "8", "--accelerator", "cpu"]
NOTE = re.compile(r"\d+%\||^simclr: ")  # a progress bar, or what is said before the first step
REPOSITORY = Path(ecgloss.__file__).parent.parent


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the converted caches and one finished run, ``run``."""
    folder = tmp_path_factory.mktemp("cli")
    arguments = ["--data", "synthetic:40", "--epochs", "1", "--cache", str(folder / "cache")]
    assert main(["pretrain", *arguments, *SMALL, "--out", str(folder / "run")]) == 0
    return folder


@pytest.fixture
def training(shared: Path, tmp_path: Path) -> list[str]:
    """Arguments of a run of 3 steps in ``tmp_path/run``."""
    files = ["--cache", str(shared / "cache"), "--out", str(tmp_path / "run")]
    return ["pretrain", "--data", "synthetic:40", "--epochs", "1", *SMALL, *files]


@pytest.fixture
def probing(shared: Path) -> list[str]:
    """Arguments of an evaluation, all but the checkpoint and the task."""
    return ["evaluate", "--data", "synthetic:40", "--cache", str(shared / "cache")]


@pytest.fixture
def fails(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[str], int], str]:
    """Run a command that must fail with an exit code; returns the one line of the error."""
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)

    def run(words: list[str], code: int) -> str:
        capsys.readouterr()
        assert main(words) == code
        captured = capsys.readouterr()
        lines = [line for line in captured.err.splitlines() if line.strip() and not NOTE.search(line)]
        assert len(lines) == 1, captured.err
        assert lines[0].startswith("ecgloss: error: ")
        assert "Traceback" not in captured.out
        assert list(working.iterdir()) == []
        return lines[0].removeprefix("ecgloss: error: ")

    return run


def copy_of_run(shared: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A run that may be damaged, and its checkpoint."""
    run = tmp_path / "copy"
    shutil.copytree(shared / "run", run)
    return run, checkpoints(run)[-1]


def write_record(folder: Path, name: str, seed: int) -> None:
    """Ten seconds of irregular spikes at 100 Hz; no two seeds look alike."""
    generator = np.random.default_rng(seed)
    times = np.arange(1000) / 100.0
    peaks = np.cumsum(generator.uniform(0.6, 1.2, size=18))
    train = np.exp(-(((times[:, None] - peaks) / 0.03) ** 2)).sum(1)
    gains = generator.uniform(0.5, 1.5, 2)
    wfdb.wrsamp(
        name,
        fs=100,
        units=["mV", "mV"],
        sig_name=["I", "II"],
        p_signal=(gains[:, None] * train + generator.normal(0, 0.02, (2, 1000))).T,
        fmt=["16", "16"],
        adc_gain=[1000.0, 1000.0],
        baseline=[0, 0],
        comments=[f"Age: {40 + seed}", f"Sex: {'Male' if seed % 2 else 'Female'}"],
        write_dir=str(folder),
    )


# What works


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_can_be_typed(command, capsys):
    assert main([command, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    program, *words = shlex.split(re.split(" (?:positional arguments|options): ", text.split(" Example: ")[1])[0])
    assert program == "ecgloss"
    make, _ = commands.COMMANDS[command]
    assert words[0] == command
    make(cli.require("jsonargparse", "train")).parse_args([cli._underscores(word) for word in words[1:]])
    assert set(commands.COMMANDS) == set(COMMANDS)


def test_help_lists_the_commands_and_version_is_that_of_the_package(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.split() == ["ecgloss", ecgloss.__version__]


def test_pretrain_embed_evaluate_report(shared, probing, capsys, tmp_path):
    run = shared / "run"
    card = load_encoder(run)[1]
    assert (card.progress["epochs"], card.preprocessing["sampling_rate"], card.seconds) == (1, 100.0, 3.0)

    table = tmp_path / "embeddings.parquet"
    words = ["--checkpoint", str(run), "--data", "synthetic:40", "--cache", str(shared / "cache")]
    assert main(["embed", *words, "--out", str(table)]) == 0
    assert "40 embeddings of width 256" in capsys.readouterr().out
    columns = parquet.read_table(table).to_pydict()
    assert np.isfinite(np.array(columns["embedding"])).all()
    assert np.array(columns["embedding"]).shape == (40, 256)
    assert len(set(columns["record"])) == 40

    out = tmp_path / "report"
    assert main([*probing, "--checkpoint", str(run), "--task", "age", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"checkpoint +\S+ \[\S+, \S+\]", printed)
    assert re.search(r"checkpoint minus random encoder, MAE: \S+ \[\S+, \S+\]", printed)
    results = read_json(out / "results.json")
    assert set(results["results"]) == {"random encoder", "checkpoint"}
    assert results["split"].startswith("that of pretraining")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Linear probe: age" in page
    assert "data:image/png;base64," in page
    assert "<h2>Training</h2>" in page


@pytest.mark.parametrize("task", ["risk", "sex"])
def test_tasks_of_both_kinds_and_few_labels(shared, probing, task, capsys):
    words = [*probing, "--checkpoint", str(shared / "run"), "--task", task, "--lead", "ii", "--label-fraction", "0.5"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert re.search(r", \d+ labels", printed)
    assert "all labels" not in printed


def test_a_configuration_file_gives_options_and_the_command_line_wins(shared, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(
        "data: synthetic:40\nepochs: 7\nbatch_size: 8\nsampling_rate: 100\nseconds: 3\nloss: clef\n"
        "clef: {alpha: 0.3, preset: official}\naugmentation: {noises: [motion]}\naccelerator: cpu\n"
    )
    files = ["--cache", str(shared / "cache"), "--out", str(tmp_path / "run")]
    assert main(["pretrain", "--config", str(file), "--epochs", "1", "--lr", "0.01", *files]) == 0
    config = read_json(tmp_path / "run" / "config.json")
    assert (config["epochs"], config["lr"]) == (1, 0.01)  # typed
    assert (config["batch_size"], config["clef"]["alpha"], config["clef"]["preset"]) == (8, 0.3, "official")
    assert config["augmentation"]["noises"] == ["motion"]
    assert config["temperature"] == "preset"  # given nowhere
    assert read_json_lines(tmp_path / "run" / "metrics.jsonl")[0]["lr"] == 0.01


def test_dashes_and_underscores_are_the_same(capsys):
    printed = []
    for words in (["--batch-size", "9", "--clef.weight-norm=mean"], ["--batch_size=9", "--clef.weight_norm", "mean"]):
        assert main(["pretrain", *words, "--out=a-b_c", "--print-config"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "batch_size: 9" in printed[0]
    assert "weight_norm: mean" in printed[0]
    assert "out: a-b_c" in printed[0]  # values stay as they are


def test_leads_are_a_list_with_commas(training, tmp_path):
    assert main([*training, "--leads", "ii, V5"]) == 0
    assert load_encoder(tmp_path / "run")[1].leads == ["II", "V5"]


@pytest.mark.parametrize("data", [".", "records/"])
def test_the_default_folder_of_a_run_is_named_after_data_and_loss(data, tmp_path, monkeypatch, shared):
    folder = tmp_path / "records"
    folder.mkdir()
    for seed in range(6):
        write_record(folder, f"r{seed}", seed)
    monkeypatch.chdir(folder if data == "." else tmp_path)
    words = ["--data", data, "--loss", "simclr", "--epochs", "1", "--cache", str(shared / "cache"), *SMALL]
    assert main(["pretrain", *words]) == 0
    assert checkpoints(Path("runs") / "records-simclr")


def test_a_converted_cache_is_data(shared, tmp_path, capsys):
    out = tmp_path / "converted"
    assert main(["cache", "--data", "synthetic:40", "--sampling-rate", "100", "--out", str(out)]) == 0
    assert "40 recordings" in capsys.readouterr().out
    # The cache says what it was made with; the name of its source plays no part, so results are those of the source.
    words = ["pretrain", "--data", str(out), "--epochs", "1", *SMALL, "--out", str(tmp_path / "run")]
    assert main(words) == 0
    ours, theirs = (checkpoints(run)[-1] / "encoder.safetensors" for run in (tmp_path / "run", shared / "run"))
    assert ours.read_bytes() == theirs.read_bytes()
    assert not (tmp_path / "cache").exists()


def test_info_says_what_is_usable(capsys):
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"ecgloss {ecgloss.__version__}, torch ")
    assert all(backend.name in text for backend in ecgloss.backends())
    assert all(
        re.search(rf"  {extra} +(installed|incomplete)", text)
        for extra in ("data", "hdf5", "edf", "features", "eval", "train")
    )


def test_info_works_without_the_extras_and_names_those_that_are_missing(capsys, monkeypatch):
    for module in ("jsonargparse", "lightning_fabric"):
        monkeypatch.setitem(sys.modules, module, None)
    find = cli.sys.modules["importlib.util"].find_spec
    absent = ("jsonargparse", "lightning_fabric")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in absent else find(name))
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"incomplete, without lightning_fabric, jsonargparse: pip install .*jsonargparse", text)
    assert main(["pretrain", "--data", "synthetic"]) == 1
    assert "jsonargparse is not installed, which the extra train brings; run: pip install" in capsys.readouterr().err


def test_an_interrupted_run_says_how_to_go_on_and_resume_finishes_it(training, tmp_path, shared, monkeypatch, capsys):
    write = MetricsLog.write

    def interrupt(self, **values):
        write(self, **values)
        if values["step"] == 2:
            raise KeyboardInterrupt

    run = str(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(MetricsLog, "write", interrupt)
        assert main([*training, "--checkpoint-steps", "1"]) == 130
    assert "ecgloss pretrain --resume RUN" in capsys.readouterr().err
    assert len(checkpoints(run)) == 1
    assert main(["pretrain", "--resume", run]) == 0
    assert "3 steps" in capsys.readouterr().out
    assert [line["step"] for line in read_json_lines(Path(run) / "metrics.jsonl")] == [1, 2, 3]
    ours, theirs = (checkpoints(path)[-1] / "encoder.safetensors" for path in (run, shared / "run"))
    assert ours.read_bytes() == theirs.read_bytes()  # as if nothing had happened


def test_broken_records_are_listed_with_reasons_and_the_rest_trains(tmp_path, capsys, shared):
    folder = tmp_path / "records"
    folder.mkdir()
    for seed in range(15):
        write_record(folder, f"r{seed:02}", seed)
    (folder / "r12.hea").write_bytes(b"\x00\xffnot a header\n%%%\n")
    (folder / "r13.dat").write_bytes(b"")
    samples = (folder / "r14.dat").read_bytes()
    (folder / "r14.dat").write_bytes(samples[: len(samples) // 2])

    run, files = tmp_path / "run", ["--cache", str(shared / "cache")]
    words = ["--data", str(folder), "--epochs", "1", *SMALL, *files]
    assert main(["pretrain", *words, "--batch-size", "4", "--out", str(run)]) == 0
    captured = capsys.readouterr()
    assert "skipped 3 of 15 records:" in captured.err
    reasons = dict(re.findall(r"^  (r\d\d): (.+)$", captured.err, flags=re.MULTILINE))
    assert set(reasons) == {"r12", "r13", "r14"}
    assert "r12.hea" in reasons["r12"]
    assert reasons["r13"] == "r13.dat is empty"
    assert reasons["r14"] == "r14.dat is truncated: 2000 bytes, the header announces 4000"
    card = load_encoder(run)[1]
    assert (card.data["recordings"], card.data["skipped"]) == (12, 3)
    assert set(read_json(run / "split.json")["recordings"]) == {f"r{i:02}" for i in range(12)}
    assert len(read_json_lines(run / "metrics.jsonl")) == card.data["training_recordings"] // 4 > 0

    table = tmp_path / "e.parquet"
    assert main(["embed", "--checkpoint", str(run), "--data", str(folder), *files, "--out", str(table)]) == 0
    assert "r14.dat is truncated" in capsys.readouterr().err  # said again where the recordings are used again
    assert parquet.read_table(table).column("age").to_pylist() == [40 + seed for seed in range(12)]


# What fails


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "command"),
        (["frobnicate"], "'frobnicate'"),
        (["pretrain"], "--data"),
        (["pretrain", "--data", ""], "--data is empty"),
        (["pretrain", "--resume", ""], "--resume is empty"),
        (["pretrain", "--data", "d", "--out", ""], "--out is empty"),
        (["pretrain", "--data", "d", "--loss", "magic"], "--loss must be clef, .* or yaware; got magic"),
        (["pretrain", "--data", "d", "--epochs", "many"], "--epochs must be a whole number; got many"),
        (["pretrain", "--data", "d", "--epochs", "1.5"], "--epochs must be a whole number; got 1.5"),
        (["pretrain", "--data", "d", "--epochs", "0"], "epochs must be at least 1; got 0"),
        (["pretrain", "--data", "d", "--batch-size", "1"], "batch_size must be at least 2; got 1"),
        (["pretrain", "--data", "d", "--lr", "-1"], "lr must be positive; got -1"),
        (["pretrain", "--data", "d", "--lr", "nan"], "--lr must be a number; got nan"),
        (["pretrain", "--data", "d", "--sampling-rate", "50"], r"high_hz .*25 Hz"),
        (["pretrain", "--data", "d", "--clef.alpha", "2"], r"alpha must lie in \[0, 1\]; got 2"),
        (["pretrain", "--data", "d", "--leads", "I,I"], "leads must not repeat"),
        (["pretrain", "--data", "d", "--leads", ","], "leads must be a non-empty"),
        (["pretrain", "--data", "d", "--augmentation.noises", "[tango]"], "noises must name.*tango"),
        (
            ["pretrain", "--data", "d", "--epoch", "3"],
            "no option --epoch; did you mean --epochs.*ecgloss pretrain --help",
        ),
        (["pretrain", "--config", "gone.yaml"], r"gone\.yaml"),
        (["embed", "--data", "d", "--out", "e.parquet"], "checkpoint"),
        (["evaluate", "--checkpoint", "run", "--data", "d"], "task"),
        (["evaluate", "--checkpoint", "r", "--data", "", "--task", "sex"], "--data is empty"),
        (["evaluate", "--checkpoint", "r", "--data", "d", "--task", "t", "--label-fraction", "0"], "--label_fraction"),
        (["evaluate", "--checkpoint", "r", "--data", "d", "--task", "t", "--seed", "-1"], "--seed .*got -1"),
        (
            ["evaluate", "--checkpoint", "r", "--data", "d", "--task", "t", "--region", "mars"],
            "--region must be low, moderate, high or very_high; got mars",
        ),
        (
            ["evaluate", "--checkpoint", "r", "--data", "d", "--task", "t", "--protocol", "magic"],
            "--protocol must be linear; got magic",
        ),
        (["cache", "--data", "d", "--out", "c", "--low-hz", "50"], "low_hz < high_hz, got 50"),
        (["cache", "--data", "d"], "out"),
    ],
)
def test_bad_usage_is_one_line_and_code_2(words, named, fails):
    assert re.search(named, fails(words, 2))


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_named(command, fails):
    required = {
        "embed": ["--checkpoint", "r", "--data", "d", "--out", "o"],
        "evaluate": ["--checkpoint", "r", "--data", "d", "--task", "t"],
        "cache": ["--data", "d", "--out", "o"],
    }
    assert "--wobble" in fails([command, *required.get(command, []), "--wobble", "3"], 2)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("data: !!python/object/apply:os.system ['touch owned']", "python/object/apply:os.system"),
        ("lr: !!python/name:os.system", "python/name:os.system"),
        ("data: [synthetic", "is no valid YAML"),
        ("dtaa: synthetic", "no option dtaa; did you mean data?"),
        ("clef: {alhpa: 0.3}", "no option clef.alhpa; did you mean clef.alpha?"),
        ("epochs: many", "epochs must be a whole number; got many"),
        ("a: &a [1, 1]\nb: [*a, *a]", "uses an alias, *a; write its values out"),
        ("data: " + "[" * 5000 + "]" * 5000, "is nested more than 20 deep"),
        ("- 1", "must hold options"),
    ],
)
def test_a_configuration_file_cannot_run_code_and_its_mistakes_are_named(content, named, fails, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(content)
    assert named in fails(["pretrain", "--config", str(file), "--out", "run"], 2)  # `fails` sees that nothing was made


def test_data_that_is_no_data_is_named(fails, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    cases = {
        "gone": "does not exist",
        "photos/cat.jpg": "is not a folder",
        "empty": "no WFDB record",
        "photos": "no WFDB record",
    }
    for name, reason in cases.items():
        for command in (["pretrain", *SMALL], ["cache", "--sampling-rate", "100"]):
            message = fails([*command, "--data", str(tmp_path / name), "--out", str(tmp_path / "out")], 1)
            assert str(tmp_path / name) in message
            assert reason in message
    assert "synthetic:lots" in fails(["pretrain", "--data", "synthetic:lots", "--out", str(tmp_path / "out")], 1)
    assert not (tmp_path / "out").exists()


def test_a_lead_that_no_recording_has_is_named_with_those_there_are(training, shared, probing, fails, tmp_path):
    message = fails([*training, "--leads", "V9"], 1)
    assert "V9" in message
    assert "aVR" in message
    assert not (tmp_path / "run").exists()
    message = fails([*probing, "--checkpoint", str(shared / "run"), "--task", "sex", "--lead", "V9"], 1)
    assert "V9" in message
    assert "aVR" in message


def test_a_wrong_task_lists_the_tasks(shared, probing, fails):
    message = fails([*probing, "--checkpoint", str(shared / "run"), "--task", "astrology"], 1)
    assert "'astrology'" in message
    assert all(task in message for task in ("hypertrophy", "age", "sex", "risk"))


def test_a_checkpoint_that_is_none_is_named(probing, fails, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("gone", "empty"):
        message = fails([*probing, "--checkpoint", str(tmp_path / name), "--task", "sex"], 1)
        assert str(tmp_path / name) in message
        assert "card.json" in message  # what was expected


class Bomb:
    """Makes a file if anybody unpickles it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_a_damaged_checkpoint_is_named_and_a_pickle_is_never_loaded(shared, probing, fails, tmp_path):
    run, folder = copy_of_run(shared, tmp_path)
    weights = (folder / "encoder.safetensors").read_bytes()
    owned = tmp_path / "owned"
    damaged = [b"", weights[:100], weights[:-8], bytes(reversed(weights)), pickle.dumps(Bomb(owned))]
    for content in damaged:
        (folder / "encoder.safetensors").write_bytes(content)
        message = fails([*probing, "--checkpoint", str(run), "--task", "sex"], 1)
        assert f"cannot read {folder / 'encoder.safetensors'}" in message
    assert not owned.exists()
    (folder / "encoder.safetensors").write_bytes(weights)
    for text in ("", "{", "[]", '{"format": 2}', '{"format": 1}'):
        (folder / "card.json").write_text(text)
        message = fails([*probing, "--checkpoint", str(run), "--task", "sex"], 1)
        assert str(folder / "card.json") in message


def test_an_existing_run_or_cache_is_not_overwritten(training, shared, fails, tmp_path):
    before = {path: path.read_bytes() for path in (shared / "run").rglob("*") if path.is_file()}
    message = fails([*training, "--out", str(shared / "run")], 1)
    assert str(shared / "run") in message
    assert "--resume" in message
    assert {path: path.read_bytes() for path in (shared / "run").rglob("*") if path.is_file()} == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    words = ["cache", "--data", "synthetic:3", "--sampling-rate", "100", "--out", str(tmp_path / "mine")]
    assert str(tmp_path / "mine") in fails(words, 1)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "option",
    [
        ["--epochs", "3"],
        ["--epochs", "100"],  # the default, but not what the run was started with
        ["--epochs", "0"],
        ["--data", "synthetic:50"],
        ["--leads", "II"],
        ["--clef.alpha", "0.3"],
        ["--out", "elsewhere"],
    ],
)
def test_resume_takes_no_other_option(option, shared, fails):
    assert "--resume RUN takes no other options" in fails(["pretrain", "--resume", str(shared / "run"), *option], 2)


def test_resuming_what_is_no_run_is_named(fails, tmp_path):
    for name in ("gone", "working"):
        message = fails(["pretrain", "--resume", str(tmp_path / name)], 1)
        assert f"{tmp_path / name} is not a training run" in message


def test_a_run_whose_split_or_configuration_is_damaged_is_named(shared, fails, tmp_path):
    for name in ("split.json", "config.json"):
        run, _ = copy_of_run(shared, tmp_path)
        (run / name).write_text("{")
        assert str(run / name) in fails(["pretrain", "--resume", str(run)], 1)
        shutil.rmtree(run)


def test_an_unexpected_error_is_one_line_too(training, monkeypatch, fails):
    def broken(_):
        raise LookupError("the moon\nis in the way")

    monkeypatch.setattr(commands, "_say_skipped", broken)
    assert (
        fails([*training, "--loss", "simclr", "--schedule", "constant"], 1)
        == "unexpected LookupError: the moon is in the way (--debug shows where)"
    )


@pytest.mark.parametrize("place", [0, 1, -1])
def test_debug_shows_where(place, tmp_path):
    words = ["cache", "--data", str(tmp_path / "gone"), "--out", str(tmp_path / "out")]
    words.insert(place if place >= 0 else len(words), "--debug")
    with pytest.raises(ValueError, match="gone does not exist"):
        main(words)


@pytest.mark.slow
def test_as_a_process(tmp_path):
    """One process per way out: help for scripts that only see the exit code and the streams."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "ECGLOSS_CACHE": str(tmp_path / "cache")}
    working = tmp_path / "working"
    working.mkdir()

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ecgloss", *words]
        return subprocess.run(command, cwd=working, env=environment, capture_output=True, text=True, check=False)

    failed = run("cache", "--data", "gone", "--out", "out")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.splitlines() == [
        "ecgloss: error: data source gone does not exist; give a folder of WFDB records, a file (.npy, .npz, .h5, "
        '.hdf5, .mat, .edf, .bdf, .csv, .tsv) or a folder of such, or "synthetic"'
    ]
    done = run("cache", "--data", "synthetic:3", "--sampling-rate", "100", "--out", "out")
    assert done.returncode == 0
    assert done.stdout == "3 recordings: out\n"  # results alone: the progress bar is on stderr
    assert [path.name for path in working.iterdir()] == ["out"]
    assert json.loads((working / "out" / "cache.json").read_text())["skipped"] == []


@pytest.mark.parametrize("command", ["embed", "evaluate"])
def test_an_unusable_device_is_refused_before_any_work(command, capsys):
    words = [command, "--checkpoint", "nowhere", "--data", "nowhere", "--device", "mars"]
    words += ["--out", "x.parquet"] if command == "embed" else ["--task", "risk"]
    assert main(words) == 2
    assert "--device mars cannot be used here" in capsys.readouterr().err


def test_a_folder_cannot_be_a_parquet_file_nor_a_file_a_report_folder(tmp_path, capsys):
    words = ["--checkpoint", "nowhere", "--data", "nowhere"]
    assert main(["embed", *words, "--out", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    taken = tmp_path / "taken"
    taken.write_text("")
    assert main(["evaluate", *words, "--task", "risk", "--out", str(taken)]) == 2
    assert "is a file" in capsys.readouterr().err


def test_data_lists_the_cards_and_describes_one(capsys):
    assert main(["data", "list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed[1:]] == [card.name for card in CARDS]
    for card in CARDS:
        assert main(["data", "describe", card.name]) == 0
        text = " ".join(capsys.readouterr().out.split())
        for fact in (card.title, card.licence, card.download, card.citation, *card.tasks, *card.defects, *card.notes):
            assert " ".join(fact.split()) in text
        assert all(other in text for other in card.overlaps)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "data needs list, or describe and the name of a database; got nothing"),
        (["show"], "data needs list, or describe and the name of a database; got 'show'"),
        (["describe"], "data describe needs a name; choose one of ptbxl, "),
        (["describe", "mimic"], "no database is called 'mimic'; choose one of ptbxl, mimic-iv-ecg, "),
        (["list", "ludb"], "data list takes no name, got 'ludb'; use: ecgloss data describe ludb"),
    ],
)
def test_data_says_what_it_needs(words, message, capsys):
    assert main(["data", *words]) == 2
    assert message in capsys.readouterr().err
