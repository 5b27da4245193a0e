"""Faults around a run: other processes, full disks, signals, divergence. What was saved before is kept, and goes on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ecgloss import _files
from ecgloss._file_errors import FileError
from ecgloss._signals import Stopped, stop_at_once, stop_when_asked
from ecgloss.models.pretrained import checkpoints, load_encoder
from ecgloss.train import checkpoint as checkpoint_module
from ecgloss.train import step_log as step_log_module
from ecgloss.train.cautions import about_batches, about_risk, about_windows
from ecgloss.train.config import PretrainConfig
from ecgloss.train.lock import LOCK, only_one
from ecgloss.train.pretrain import pretrain
from ecgloss.train.run import resume_config


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def config(tmp_path: Path, cache: str) -> PretrainConfig:
    """A run of one epoch of 2 steps."""
    out = str(tmp_path / "run")
    small = {"epochs": 1, "batch_size": 8, "sampling_rate": 100.0, "seconds": 3.0, "loss": "simclr"}
    return PretrainConfig(
        data="synthetic:24", out=out, cache=cache, accelerator="cpu", checkpoint_steps=1, validate=False, **small
    )


def weights(run: str | Path) -> bytes:
    return (checkpoints(run)[-1] / "encoder.safetensors").read_bytes()


# One process at a time


def test_the_second_of_two_processes_refuses_and_a_killed_one_leaves_no_lock(tmp_path):
    hold = (
        "import sys, time; from pathlib import Path; from ecgloss.train.lock import only_one\n"
        "with only_one(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
    )
    run = tmp_path / "runs" / "a"
    with subprocess.Popen([sys.executable, "-c", hold, str(run)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=r"runs/a is being written by another process; wait .*another --out"):
            only_one(run).__enter__()
        process.kill()
    with only_one(run):  # of the killed process only an empty file is left
        assert (run / LOCK).read_bytes() == b""


def test_a_folder_made_for_the_lock_goes_again_if_nothing_came_of_it(tmp_path):
    run = tmp_path / "runs" / "a"
    with pytest.raises(KeyError), only_one(run):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with only_one(run):
        (run / "config.json").write_text("{}")
    assert (run / "config.json").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_a_worker_that_outlives_its_process_does_not_hold_the_lock(tmp_path):
    lock = only_one(tmp_path / "run")
    lock.__enter__()
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    lock.__exit__(None, None, None)
    with only_one(tmp_path / "run"):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_run_is_locked_and_nothing_of_it_changes(config):
    with only_one(Path(config.out)):
        Path(config.out, "mine").write_text("")
        with pytest.raises(ValueError, match="is being written by another process"):
            pretrain(config, progress=False)
        assert sorted(path.name for path in Path(config.out).iterdir()) == [LOCK, "mine"]


# Files that cannot be written


def test_a_full_disk_at_each_write_loses_nothing_and_the_run_goes_on(config, monkeypatch, tmp_path):
    whole = pretrain(replace(config, out=str(tmp_path / "whole")), progress=False)
    full = OSError(errno.ENOSPC, "No space left on device")
    left = [0]

    def failing(real):
        """One of many writes fails, in whichever way it is done."""

        def write(*args, **options):
            left[0] -= 1
            if left[0] == 0:
                raise full
            return real(*args, **options)

        return write

    count = 0
    while count < 60:
        count += 4
        left[0], said = count, "cannot write x: No space left on device; free some space"
        with monkeypatch.context() as patch:
            for module, name in [
                (_files.os, "replace"),
                (checkpoint_module, "save_file"),
                (checkpoint_module, "_flush"),
            ]:
                patch.setattr(module, name, failing(getattr(module, name)))
            started = (Path(config.out) / "config.json").exists()
            try:
                pretrain(resume_config(config.out) if started else config, resume=started, progress=False)
                break
            except FileError as error:
                said = str(error)
        assert said.startswith("cannot write ")
        assert said.endswith("No space left on device; free some space")
        for folder in checkpoints(config.out):
            load_encoder(folder)
        assert list(Path(config.out).rglob(".step-*.tmp")) == []
    assert count > 4
    assert weights(config.out) == weights(whole.run)


def test_a_metrics_line_that_cannot_be_written_is_named_and_the_run_goes_on(config, monkeypatch):
    class Full:
        def write(self, line: bytes) -> int:
            return len(line) // 2  # as much as there was room for

        def close(self) -> None:
            pass

    with monkeypatch.context() as patch:
        init = checkpoint_module.MetricsLog.__init__

        def full(self, *args):
            init(self, *args)
            self._file.close()
            self._file = Full()

        patch.setattr(checkpoint_module.MetricsLog, "__init__", full)
        with pytest.raises(FileError, match=r"metrics\.jsonl: No space left on device; free some space"):
            pretrain(config, progress=False)
    assert pretrain(resume_config(config.out), resume=True, progress=False).steps == 2


def test_a_folder_that_has_vanished_is_named(config, monkeypatch):
    read = step_log_module.StepLog.read

    def vanish(self):
        result = read(self)
        Path(config.out).rename(Path(config.out).with_name("elsewhere"))
        return result

    monkeypatch.setattr(step_log_module.StepLog, "read", vanish)
    with pytest.raises(FileError, match="run/checkpoints: No such file or directory; its folder is gone"):
        pretrain(config, progress=False)
    assert not Path(config.out).exists()


def test_a_damaged_line_and_state_are_named_with_the_way_out(config):
    pretrain(config, progress=False)
    metrics, state = Path(config.out) / "metrics.jsonl", checkpoints(config.out)[-1] / "state.json"
    text = metrics.read_text()
    metrics.write_text("{]\n" + text)
    with pytest.raises(ValueError, match=r"line 1 of .*metrics\.jsonl is damaged; delete the line to go on without it"):
        pretrain(resume_config(config.out), resume=True, progress=False)
    metrics.write_text(text)
    state.write_text(state.read_text().replace('"step": 2', '"step": "two"'))
    with pytest.raises(ValueError, match=r"state\.json is damaged: position\.step .*delete the folder of this checkp"):
        pretrain(resume_config(config.out), resume=True, progress=False)


# Divergence


def test_weights_that_are_not_finite_are_never_saved(config, monkeypatch):
    def spoil(step, options, model, method, real=checkpoint_module.refuse_diverged):
        if step == 2:
            with torch.no_grad():
                next(model.parameters())[0] = torch.nan
        real(step, options, model, method)

    monkeypatch.setattr(checkpoint_module, "refuse_diverged", spoil)
    with pytest.raises(
        FloatingPointError, match=r"encoder holds NaN or infinity after step 2.*with --lr below 0\.0001"
    ):
        pretrain(config, progress=False)
    load_encoder(config.out)
    assert [path.name for path in checkpoints(config.out)] == ["step-00000001"]


# Signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_saves_says_so_and_ends_with_its_code(number, code, config, monkeypatch, tmp_path):
    config = replace(config, checkpoint_steps=0)
    whole = pretrain(replace(config, out=str(tmp_path / "whole")), progress=False)
    add = step_log_module.StepLog.add

    def asked(self, step, *args, **values):
        if step == 1:
            os.kill(os.getpid(), number)
        add(self, step, *args, **values)

    with monkeypatch.context() as patch:
        patch.setattr(step_log_module.StepLog, "add", asked)
        with pytest.raises(
            Stopped, match=f"{number.name}: saved step 1; continue with: ecgloss pretrain --resume"
        ) as e:
            pretrain(config, progress=False)
    assert e.value.code == code
    assert signal.getsignal(number) == signal.SIG_DFL
    pretrain(resume_config(config.out), resume=True, progress=False)
    assert weights(config.out) == weights(whole.run)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_second_signal_and_one_before_the_first_step_end_at_once():
    with stop_when_asked() as request:
        with pytest.raises(Stopped):
            terminate()
        request.wait()
        terminate()
        assert request
        with pytest.raises(Stopped):
            terminate()
    with stop_at_once(), pytest.raises(Stopped):
        terminate()


def test_what_fails_after_a_signal_counts_as_stopped_and_nohup_is_respected():
    def fail() -> None:
        with stop_when_asked() as request:
            request.wait()
            terminate()
            raise RuntimeError("DataLoader worker is killed by signal: Terminated")

    with pytest.raises(Stopped, match="the newest checkpoint is the last one"):
        fail()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_at_once():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


# What is said before the first step


def test_what_does_not_fit_the_recordings_is_said_with_counts():
    assert about_batches(24, 8) == []
    assert "2 of them are left out" in about_batches(34, 8)[0]
    assert "1 of them is left out" in about_batches(9, 8)[0]
    assert "every batch has all 24 recordings" in about_batches(24, 64)[0]
    lengths = np.array([900, 1000, 2000])
    assert about_windows(lengths, 500, "independent") == []
    assert [sentence[:6] for sentence in about_windows(lengths, 1000, "same")] == ["1 of 3"]
    assert "2 of 3 training recordings are not longer" in about_windows(lengths, 1000, "independent")[1]
    nan = torch.nan
    assert about_risk(torch.tensor([0.1, nan])) == []
    assert "only 1 of 3 training recordings (33 %)" in about_risk(torch.tensor([0.1, nan, nan]))[0]
    assert "only 0 of 2" in about_risk(torch.tensor([[0.1, nan], [nan, 0.1]]))[0]
