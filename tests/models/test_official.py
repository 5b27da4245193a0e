"""load_clef: published checkpoints come in exactly, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from ecgloss.models import load_clef, resnext1d
from ecgloss.models.resnext1d import SIZES


def batch_norm(name, channels):
    return {
        f"{name}.weight": torch.ones(channels),
        f"{name}.bias": torch.zeros(channels),
        f"{name}.running_mean": torch.zeros(channels),
        f"{name}.running_var": torch.ones(channels),
        f"{name}.num_batches_tracked": torch.tensor(0),
    }


def official_state(model):
    """The weights as the authors' network stores them: prefixed, and with BatchNorm that never runs."""
    size = SIZES[model.size]
    state = dict(model.state_dict()) | batch_norm("first_bn", size.base)
    channels = size.base
    for stage, (width, n_blocks) in enumerate(zip(size.filters, size.blocks, strict=True)):
        for block in range(n_blocks):
            name = f"stage_list.{stage}.block_list.{block}"
            state |= batch_norm(f"{name}.bn1", channels)
            state |= batch_norm(f"{name}.bn2", int(width * size.ratio))
            state |= batch_norm(f"{name}.bn3", int(width * size.ratio))
            channels = width
    return {f"backbone.{key}": value for key, value in state.items()}


def lightning(state):
    """What a Lightning trainer writes around a state_dict."""
    return {
        "epoch": 3,
        "global_step": 12,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 4}}}},
        "callbacks": {"EarlyStopping{}": {"best_score": torch.tensor(0.3), "wait_count": 0}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-4}]}],
        "lr_schedulers": [{"T_0": 10, "last_epoch": 4}],
    }


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return resnext1d("small")


@pytest.fixture
def save(tmp_path):
    def write(content, name="clef.ckpt"):
        path = tmp_path / name
        torch.save(content, path)
        return path

    return write


def signals(in_channels=1):
    return torch.randn(2, in_channels, 300, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("size", "with_unused"), [("small", 447_792), ("medium", 30_654_000), ("large", 296_623_360)])
def test_skipped_entries_are_exactly_the_unused_parameters_of_the_published_network(size, with_unused):
    with torch.device("meta"):
        state = official_state(resnext1d(size))
    trained = (value for key, value in state.items() if key.endswith((".weight", ".bias")))
    assert sum(value.numel() for value in trained) == with_unused


@pytest.mark.parametrize(("size", "in_channels"), [("small", 1), ("small", 12), ("medium", 1)])
def test_published_form_gives_identical_embeddings(save, size, in_channels):
    model = resnext1d(size, in_channels)
    loaded = load_clef(save(lightning(official_state(model))))
    assert (loaded.size, loaded.in_channels) == (size, in_channels)
    x = signals(in_channels)
    assert torch.equal(loaded(x), model(x))


def test_plain_state_dict_without_prefix_is_accepted(save, model):
    loaded = load_clef(save(model.state_dict(), "weights.pt"))
    assert torch.equal(loaded(signals()), model(signals()))


def test_safetensors_file_is_accepted(tmp_path, model):
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "clef.safetensors"
    safetensors.save_file(official_state(model), path)
    assert torch.equal(load_clef(path)(signals()), model(signals()))


def test_dense_head_is_skipped(save, model):
    head = {"backbone.dense.weight": torch.ones(4, 256), "backbone.dense.bias": torch.zeros(4)}
    loaded = load_clef(save(lightning(official_state(model) | head)))
    assert torch.equal(loaded(signals()), model(signals()))


def test_loaded_weights_train_in_float32(save, model):
    loaded = load_clef(save({key: value.double() for key, value in model.state_dict().items()}))
    loaded(signals()).sum().backward()
    assert all(p.dtype == torch.float32 and p.grad is not None for p in loaded.parameters())


def test_loading_leaves_the_random_state_alone(save, model):
    path = save(lightning(official_state(model)))
    before = torch.get_rng_state()
    load_clef(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_missing_and_unexpected_entries_are_all_listed(save, model):
    state = official_state(model)
    del state["backbone.first_conv.conv.bias"], state["backbone.stage_list.5.block_list.1.se_fc2.bias"]
    state["backbone.projector.weight"] = torch.ones(2)
    state["backbone.stage_list.0.block_list.0.bn4.weight"] = torch.ones(2)
    with pytest.raises(ValueError, match="does not fit ResNeXt1D 'small'") as caught:
        load_clef(save(lightning(state)))
    message = str(caught.value)
    assert "2 missing: first_conv.conv.bias, stage_list.5.block_list.1.se_fc2.bias" in message
    assert "2 unexpected: projector.weight, stage_list.0.block_list.0.bn4.weight" in message


def test_a_long_list_says_how_many_more(save, model):
    state = {key: value for key, value in model.state_dict().items() if not key.startswith("stage_list.5")}
    with pytest.raises(ValueError, match=r"20 missing: .*, and 12 more"):
        load_clef(save(state))


def test_another_shape_is_named_with_both_shapes(save, model):
    state = official_state(model)
    state["backbone.stage_list.0.block_list.0.se_fc1.weight"] = torch.ones(16, 31)
    with pytest.raises(ValueError, match=r"se_fc1.weight \(16, 31\) instead of \(16, 32\)"):
        load_clef(save(lightning(state)))


def test_entries_outside_the_backbone_are_reported(save, model):
    state = official_state(model) | {"predictor.0.weight": torch.ones(2), "queue": torch.ones(2)}
    with pytest.raises(ValueError, match=r"2 entries beside those under 'backbone\.': predictor.0.weight, queue"):
        load_clef(save(lightning(state)))


def test_a_network_that_used_its_batch_norm_is_refused(save, model):
    state = official_state(model)
    state["backbone.first_bn.num_batches_tracked"] = torch.tensor(100)
    with pytest.raises(ValueError, match=r"first_bn.num_batches_tracked is not 0: .* trained with BatchNorm"):
        load_clef(save(lightning(state)))


class Malicious:
    """Unpickling this object with full rights creates a file."""

    def __init__(self, victim: Path) -> None:
        self.victim = str(victim)

    def __reduce__(self):
        return (os.mkdir, (self.victim,))


def test_a_pickled_object_is_refused_and_never_run(tmp_path, save, model):
    victim = tmp_path / "executed"
    path = save(lightning(official_state(model)) | {"hyper_parameters": Malicious(victim)})
    with pytest.raises(ValueError, match="could run code") as caught:
        load_clef(path)
    assert not victim.exists()
    assert str(path) in str(caught.value)
    assert "save only its state_dict" in str(caught.value)
    assert "\n" not in str(caught.value)
    torch.load(path, weights_only=False)  # the file was a real threat
    assert victim.exists()


class Hyperparameters:
    """A harmless configuration object, as Lightning may pickle one into a checkpoint."""


def test_pickled_hyper_parameters_are_refused_by_name(save, model):
    path = save(lightning(official_state(model)) | {"hyper_parameters": Hyperparameters()})
    with pytest.raises(ValueError, match=r"Python object \(.*Hyperparameters\)"):
        load_clef(path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 truncated", b"\x80\x02}q\x00."])
def test_a_damaged_file_is_one_clear_error(tmp_path, content):
    path = tmp_path / "clef_small.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"clef_small\.ckpt") as caught:
        load_clef(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_checkpoint_is_one_clear_error(save, model):
    path = save(lightning(official_state(model)))
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(ValueError, match="is not a readable checkpoint"):
        load_clef(path)


def test_a_damaged_safetensors_file_is_one_clear_error(tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "clef.safetensors"
    path.write_bytes(b"\x00" * 40)
    with pytest.raises(ValueError, match=r"clef.safetensors is not a readable checkpoint"):
        load_clef(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"layer.weight": torch.ones(2)}, "not a CLEF encoder: no 'first_conv.conv.weight'"),
        ({"state_dict": {"first_conv.conv.weight": torch.ones(48, 1, 16)}}, r"shape \(48, 1, 16\); expected"),
        ({"state_dict": {"first_conv.conv.weight": torch.ones(32, 1, 7)}}, r"shape \(32, 1, 7\); expected"),
        ({"state_dict": {"first_conv.conv.weight": "text"}}, "entries that are not tensors: first_conv"),
        ({"epoch": 3, "lr": 0.1}, "entries that are not tensors: epoch, lr"),
        ({}, "holds no state_dict"),
        ([torch.ones(2)], "holds no state_dict"),
        (torch.ones(2), "holds no state_dict"),
    ],
)
def test_another_models_file_says_what_was_found(save, content, message):
    with pytest.raises(ValueError, match=message):
        load_clef(save(content))


def test_no_such_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint file at .*absent\.ckpt"):
        load_clef(tmp_path / "absent.ckpt")


def test_a_folder_is_not_a_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint file at"):
        load_clef(str(tmp_path))
