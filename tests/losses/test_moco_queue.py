"""MoCoLoss holds each of the last K keys once, in order, and no write disturbs a gradient."""

from __future__ import annotations

import io

import pytest
import torch
from backends import BACKENDS
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

import ecgloss
import ecgloss.functional as F

WIDTH = 3
BACKEND = pytest.mark.parametrize("backend", BACKENDS)


def rows(n: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def oldest_first(x: Tensor, position: Tensor) -> list[object]:
    """The ring from the entry that will be overwritten next."""
    return x.roll(-int(position), 0).tolist()


@st.composite
def histories(draw):
    """A queue's size and batches that fit, each with risks, without, or in evaluation mode."""
    size = draw(st.integers(1, 13))
    kind = st.sampled_from(["risks", "no risks", "evaluation"])
    return size, draw(st.lists(st.tuples(st.integers(1, size), kind), max_size=9))


def saved_and_loaded(module: ecgloss.MoCoLoss) -> ecgloss.MoCoLoss:
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = ecgloss.MoCoLoss(WIDTH, len(module.queue), backend="chunked", seed=1)
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


@settings(max_examples=60, deadline=None)
@given(histories(), st.integers(0, 8))
def test_the_queue_holds_the_last_keys_once_and_in_order(history, saved_at):
    """Against a list to which keys are appended, also when the module is saved and loaded on the way."""
    size, batches = history
    module = ecgloss.MoCoLoss(WIDTH, size, backend="chunked")
    keys, risks, written = module.queue.tolist(), [None] * size, 0
    for step, (count, kind) in enumerate(batches):
        if step == saved_at:
            module = saved_and_loaded(module)
        module.train(kind != "evaluation")
        k, risk = rows(count, step), torch.rand(count, generator=torch.Generator().manual_seed(step)).double()
        module(k + 1, k, risk if kind == "risks" else None)
        if kind == "evaluation":
            continue
        keys += normalize(k, dim=1).tolist()
        risks += risk.tolist() if kind == "risks" else [None] * count
        written += count
    assert int(module.position) == written % size
    assert oldest_first(module.queue, module.position) == keys[-size:]
    held = oldest_first(module.queue_risk, module.position)
    assert [None if x != x else x for x in held] == risks[-size:]  # NaN: unknown


@pytest.mark.parametrize("kind", ["exactly the queue", "larger"])
def test_a_batch_as_large_as_the_queue_replaces_it_and_a_larger_one_is_refused(kind):
    module = ecgloss.MoCoLoss(WIDTH, 5)
    module(rows(2, 0), rows(2, 1))
    before = module.queue.clone()
    if kind == "larger":
        with pytest.raises(ValueError, match="k must not hold more keys than the queue, 5; got 6"):
            module(rows(6, 2), rows(6, 3))
        assert torch.equal(module.queue, before)
        assert module.position == 2
    else:
        module(rows(5, 2), rows(5, 3))
        assert oldest_first(module.queue, module.position) == normalize(rows(5, 3), dim=1).tolist()


def test_evaluation_writes_nothing_and_computes_the_same_loss():
    module = ecgloss.MoCoLoss(WIDTH, 8)
    q, k, risk = rows(3, 0), rows(3, 1), torch.rand(3)
    module(q, k, risk)
    before = {name: x.clone() for name, x in module.state_dict().items()}
    value = module.eval()(q, k, risk)
    for name, x in module.state_dict().items():
        torch.testing.assert_close(x, before[name], rtol=0, atol=0, equal_nan=True)
    assert module.train()(q, k, risk) == value
    assert not torch.equal(module.queue, before["queue"])


def test_a_loaded_module_goes_on_where_the_saved_one_was():
    module = ecgloss.MoCoLoss(WIDTH, 7, backend="chunked")
    for step in range(3):
        module(rows(3, step), rows(3, step + 10), torch.rand(3))
    other = saved_and_loaded(module)
    q, k, risk = rows(3, 5), rows(3, 6), torch.rand(3)
    for _ in range(2):
        assert module(q, k, risk) == other(q, k, risk)


@BACKEND
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("with_risk", [True, False])
def test_the_backward_pass_sees_the_queue_as_the_loss_did(backend, dtype, training, with_risk):
    """Two losses before one backward, as gradient accumulation has it; the second writes over what the first read."""
    module = ecgloss.MoCoLoss(WIDTH, 6, backend=backend)
    module = module.double() if dtype == torch.float64 else module
    module(rows(4, 9), rows(4, 8), torch.rand(4))
    q, k = rows(5, 0, dtype).requires_grad_(), rows(5, 1, dtype)
    risk = torch.rand(5) if with_risk else None
    queue, queue_risk = module.queue.clone().to(dtype), module.queue_risk.clone() if with_risk else None
    value = module.train(training)(q, k, risk)
    module.train()(rows(6, 2), rows(6, 3), torch.rand(6))
    assert not torch.equal(module.queue.to(dtype), queue)
    expected = F.moco(q, k, queue, risk=risk, queue_risk=queue_risk, backend=backend)
    assert value == expected
    (mine,), (theirs,) = (torch.autograd.grad(x, q) for x in (value, expected))
    assert torch.equal(mine, theirs)
    assert theirs.norm() > 1e-3


@BACKEND
def test_queue_and_batch_weigh_by_the_risks_they_were_written_with(backend):
    module = ecgloss.MoCoLoss(WIDTH, 4, weight_norm="none", alpha=0.1, backend=backend)
    first, second = torch.tensor([0.1, 0.3, 0.2, 0.6]), torch.tensor([0.5, 0.2])
    keys = rows(4, 1)
    module(rows(4, 0), keys, first)
    expected = F.moco(
        rows(2, 2), rows(2, 3), keys, risk=second, queue_risk=first, weight_norm="none", alpha=0.1, backend=backend
    )
    # The queue holds the keys normalised: one rounding of fp32.
    torch.testing.assert_close(module(rows(2, 2), rows(2, 3), second), expected, rtol=2e-6, atol=0)


def test_queries_and_keys_get_the_gradients_of_moco():
    module = ecgloss.MoCoLoss(WIDTH, 6)
    q, k = rows(3, 0).requires_grad_(), rows(3, 1).requires_grad_()
    module(q, k).backward()
    assert q.grad.norm() > 0
    assert k.grad is None, "keys come from the momentum encoder"
    assert not module.queue.requires_grad


def test_first_entries_are_unit_vectors_that_follow_the_seed():
    first, same, other = (ecgloss.MoCoLoss(WIDTH, 50, seed=seed).queue for seed in (3, 3, 4))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(50))
    assert first.mean(0).norm() < 0.5  # in all directions


@pytest.mark.slow
def test_the_module_compiles_and_writes():
    module, plain = (ecgloss.MoCoLoss(WIDTH, 7, backend="chunked") for _ in range(2))
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for step in range(3):
        q, k = rows(3, step).requires_grad_(), rows(3, step + 10)
        value, expected = compiled(q, k), plain(q, k)
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)  # fp32
        torch.testing.assert_close(
            torch.autograd.grad(value, q), torch.autograd.grad(expected, q), rtol=1e-4, atol=1e-7
        )
    assert torch.equal(module.queue, plain.queue)
    assert module.position == plain.position == 2


def test_print_shows_the_temperature():
    assert "temperature=0.2" in repr(ecgloss.MoCoLoss(4, 8, 0.2))
    assert "temperature" not in repr(ecgloss.MoCoLoss(4, 8, ecgloss.LogTemperature(0.2))).splitlines()[0]
