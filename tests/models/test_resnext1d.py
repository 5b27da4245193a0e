"""ResNeXt1D: the published network, its shapes and its paddings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn

from ecgloss.models import ResNeXt1D, resnext1d
from ecgloss.models.resnext1d import SIZES

PARAMETERS = {"small": 443_184, "medium": 30_587_632, "large": 296_301_312}

# The oracle: the same network in plain NumPy with explicit windows. It shares no padding, convolution or
# pooling code with torch.


def swish(x):
    return x / (1.0 + np.exp(-x))


def convolve(x, weight, bias, stride=1):
    """(C, L) signal, (O, C / groups, K) weight: one window of K samples per output, zeros outside."""
    length, kernel = x.shape[1], weight.shape[2]
    n_out = (length + stride - 1) // stride
    total = max(0, (n_out - 1) * stride + kernel - length)
    padded = np.zeros((x.shape[0], length + total))
    padded[:, total // 2 : total // 2 + length] = x
    windows = sliding_window_view(padded, kernel, axis=1)[:, : (n_out - 1) * stride + 1 : stride]  # (C, n_out, K)
    groups = x.shape[0] // weight.shape[1]
    windows = windows.reshape(groups, -1, n_out, kernel)
    weight = weight.reshape(groups, -1, *weight.shape[1:])
    y = np.einsum("gcnk,gock->gon", windows, weight, optimize=True).reshape(-1, n_out)
    return y + bias[:, None]


def halve(x):
    """Maximum of every two samples; a last odd sample is compared with zero."""
    if x.shape[1] % 2:
        x = np.concatenate([x, np.zeros((x.shape[0], 1))], axis=1)
    return np.maximum(x[:, 0::2], x[:, 1::2])


def oracle(state, x, blocks):
    """Embedding of one (C, T) signal."""

    def conv(name, signal, stride=1):
        return convolve(signal, state[f"{name}.conv.weight"], state[f"{name}.conv.bias"], stride)

    def linear(name, vector):
        return state[f"{name}.weight"] @ vector + state[f"{name}.bias"]

    x = swish(conv("first_conv", x, 2))
    for stage, n_blocks in enumerate(blocks):
        for block in range(n_blocks):
            name = f"stage_list.{stage}.block_list.{block}"
            stride = 2 if block == 0 else 1
            y = conv(f"{name}.conv1", x if stage == block == 0 else swish(x))
            y = conv(f"{name}.conv2", swish(y), stride)
            y = conv(f"{name}.conv3", swish(y))
            gate = 1.0 / (1.0 + np.exp(-linear(f"{name}.se_fc2", swish(linear(f"{name}.se_fc1", y.mean(1))))))
            shortcut = halve(x) if block == 0 else x
            grown = np.zeros_like(y)
            first = (y.shape[0] - shortcut.shape[0]) // 2
            grown[first : first + shortcut.shape[0]] = shortcut
            x = y * gate[:, None] + grown
    return x.mean(1)


def seeded(size, in_channels=1, seed=0):
    """A float64 encoder whose weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return resnext1d(size, in_channels).double()


def arrays(model):
    return {name: value.numpy() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("size", PARAMETERS)
def test_each_size_has_the_published_number_of_parameters(size):
    with torch.device("meta"):
        model = resnext1d(size)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[size]
    assert not list(model.buffers()), "running statistics would be a module that is never used"
    assert (model.size, model.in_channels) == (size, 1)


@pytest.mark.parametrize(("size", "features"), [("small", 256), ("medium", 1024), ("large", 2048)])
def test_embedding_length_is_the_announced_one(size, features):
    with torch.device("meta"):
        model = resnext1d(size, in_channels=2)
        assert model(torch.empty(3, 2, 1000)).shape == (3, features)
    assert model.out_features == features


def test_names_are_those_of_the_published_state_dictionaries():
    names = list(resnext1d("small").state_dict())
    assert names[:12] == [
        "first_conv.conv.weight",
        "first_conv.conv.bias",
        *(
            f"stage_list.0.block_list.0.{part}.{kind}"
            for part in ("conv1.conv", "conv2.conv", "conv3.conv", "se_fc1", "se_fc2")
            for kind in ("weight", "bias")
        ),
    ]
    assert len(names) == 2 + 10 * sum(SIZES["small"].blocks)


@pytest.mark.parametrize(
    ("size", "in_channels", "length"),
    [("small", 1, 256), ("small", 1, 1000), ("small", 12, 257), ("small", 3, 2501), ("medium", 1, 271)],
)
def test_output_equals_an_independent_numpy_network(size, in_channels, length):
    model = seeded(size, in_channels)
    x = np.random.default_rng(1).standard_normal((in_channels, length))
    with torch.no_grad():
        got = model(torch.from_numpy(x)[None])[0].numpy()
    # float64 sums of up to some thousand terms in another order: 1e-12 relative; three digits of margin
    np.testing.assert_allclose(got, oracle(arrays(model), x, SIZES[size].blocks), rtol=1e-9, atol=1e-12)


@settings(max_examples=12, deadline=None)
@given(length=st.integers(256, 5003), in_channels=st.integers(1, 12), seed=st.integers(0, 99))
def test_any_length_and_any_number_of_leads_give_the_defined_output(length, in_channels, seed):
    model = seeded("small", in_channels, seed)
    x = np.random.default_rng(seed).standard_normal((in_channels, length))
    with torch.no_grad():
        got = model(torch.from_numpy(x)[None])[0].numpy()
    np.testing.assert_allclose(got, oracle(arrays(model), x, SIZES["small"].blocks), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("length", "left", "outputs"), [(10, 7, 5), (11, 7, 6), (256, 7, 128), (257, 7, 129)])
def test_stem_padding_is_right_heavy(length, left, outputs):
    """Even L: 7 zeros on either side (total 14); odd L: 7 left, 8 right (total 15)."""
    stem = resnext1d("small").first_conv
    x = torch.arange(1.0, length + 1)
    for tap in (0, left, 15):
        with torch.no_grad():
            stem.conv.weight.zero_()
            stem.conv.bias.zero_()
            stem.conv.weight[0, 0, tap] = 1.0
            picked = stem(x[None, None])[0, 0]
        where = [2 * i - left + tap for i in range(outputs)]
        expected = [float(x[i]) if 0 <= i < length else 0.0 for i in where]
        assert picked.tolist() == expected


def test_stride_one_padding_keeps_the_length_and_is_right_heavy():
    convolution = resnext1d("small").stage_list[2].block_list[1].conv2  # 7 zeros left, 8 right
    x = torch.arange(1.0, 10.0).repeat(1, 32, 1)
    with torch.no_grad():
        convolution.conv.weight.zero_()
        convolution.conv.bias.zero_()
        convolution.conv.weight[0, 0, 7] = 1.0
        assert torch.equal(convolution(x)[0, 0], x[0, 0])
        convolution.conv.weight[0, 0] = torch.eye(16)[15]
        assert convolution(x)[0, 0].tolist() == [9.0, *[0.0] * 8]


def test_shortcut_pools_with_zeros_and_pads_channels_symmetrically():
    block = resnext1d("small").stage_list[1].block_list[0]  # 32 -> 64 channels
    x = torch.full((1, 32, 5), -1.0)
    x[..., 0] = 3.0
    shortcut = block._shortcut(x)
    assert shortcut.shape == (1, 64, 3)
    # windows (3, -1), (-1, -1), (-1, zero)
    assert torch.equal(shortcut[0, 16:48], torch.tensor([3.0, -1.0, 0.0]).expand(32, 3))
    assert not shortcut[0, :16].any()
    assert not shortcut[0, 48:].any()


@pytest.mark.parametrize("length", [256, 257, 1001])
def test_every_parameter_gets_a_gradient(length):
    model = resnext1d("small", in_channels=2)
    model(torch.randn(2, 2, length, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


def test_recordings_of_a_batch_do_not_influence_each_other():
    model = seeded("small")
    x = torch.randn(3, 1, 500, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        together, alone = model(x), torch.cat([model(row[None]) for row in x])
    # float64 convolutions choose another algorithm for another batch size: rounding only
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-12)


def test_training_and_evaluation_mode_agree():
    model = seeded("small")
    x = torch.randn(2, 1, 300, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert torch.equal(model.train()(x), model.eval()(x))


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    # relative to the largest feature; units of bfloat16 and float32: 2^-8 and 2^-24, about 40 layers deep
    [(torch.bfloat16, 0.1), (torch.float32, 1e-5)],
)
def test_lower_precision_stays_near_float64(dtype, tolerance):
    model = seeded("small", 2)
    x = torch.randn(2, 2, 999, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        exact = model(x)
        low = model.to(dtype)(x.to(dtype))
    assert low.dtype == dtype
    assert (low.double() - exact).abs().max() < tolerance * exact.abs().max()


@pytest.mark.parametrize("length", [0, 1, 255])
def test_too_short_a_signal_is_refused_with_the_limit(length):
    with pytest.raises(ValueError, match=f"at least 256 samples per lead, got {length}"):
        resnext1d("small")(torch.zeros(1, 1, length))


@pytest.mark.parametrize("shape", [(1000,), (2, 1000), (2, 3, 1000), (1, 2, 1, 1000)])
def test_wrong_number_of_leads_or_axes_is_named(shape):
    with pytest.raises(ValueError, match=r"x must be \(B, 2, T\), got"):
        resnext1d("small", in_channels=2)(torch.zeros(shape))


def test_unknown_size_lists_the_known_ones():
    with pytest.raises(ValueError, match="small, medium, large; got 'huge'"):
        resnext1d("huge")


def test_zero_leads_are_refused():
    with pytest.raises(ValueError, match="in_channels is the number of leads, at least 1; got 0"):
        resnext1d("small", in_channels=0)


def test_encoder_is_a_module_that_survives_a_state_dict_round_trip():
    first, second = seeded("small", 1, seed=5), seeded("small", 1, seed=6)
    x = torch.randn(1, 1, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    assert isinstance(first, ResNeXt1D)
    assert isinstance(first, nn.Module)
    assert not torch.equal(first(x), second(x))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))
