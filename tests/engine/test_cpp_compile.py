"""torch.compile sees the C++ kernels as one op per pass: whole graphs, any batch size, the same numbers."""

from __future__ import annotations

import pytest
import torch
from backends import COMPILERS, needs_cpp
from covering import exhaustive_except

import ecgloss.functional as F
from ecgloss.engine import pair_stats
from ecgloss.pairs import Layout, UniformPairs, label_pairs

pytestmark = [needs_cpp, pytest.mark.slow]
PREFERRED = exhaustive_except(COMPILERS[:1], COMPILERS)  # inductor compiles C++, in seconds


def ntxent(z1, z2, tau, risk, names):
    return F.ntxent(z1, z2, temperature=tau, backend="cpp")


def clef(z1, z2, tau, risk, names):
    return F.clef(z1, z2, risk, preset="official", temperature=tau, backend="cpp")


def supcon(z1, z2, tau, risk, names):
    stats = pair_stats(torch.cat([z1, z2]), None, tau, label_pairs(torch.cat([names, names])), backend="cpp")
    return (stats.negative_lse - stats.positive_sum / stats.positive_count).mean()


def clip(z1, z2, tau, risk, names):
    rule = UniformPairs(Layout.matched(z1.shape[0], z2.shape[0]))
    return pair_stats(z1, z2, tau, rule, backend="cpp").loss()


LOSSES = {f.__name__: f for f in (ntxent, clef, supcon, clip)}


def batch(b: int, seed: int = 1) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    z = [torch.randn(b, 6, generator=g).requires_grad_() for _ in range(2)]
    names = torch.arange(b) % 5
    return [*z, torch.tensor(0.2, requires_grad=True), torch.rand(b, generator=g), names]


def assert_same(compiled, loss, b: int) -> None:
    given = batch(b)
    mine, expected = compiled(*given), loss(*given)
    # The kernels are the same; what is compiled around them may add up in another order.
    torch.testing.assert_close(mine, expected, rtol=1e-6, atol=0)
    leaves = given[:3]
    for g, h in zip(torch.autograd.grad(mine, leaves), torch.autograd.grad(expected, leaves)):
        torch.testing.assert_close(g, h, rtol=1e-5, atol=1e-7)


@pytest.fixture(autouse=True)
def fresh_compiler(monkeypatch, tmp_path):
    """Compiled code of one test, or of another version of the ops, is no part of another."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("compiler", PREFERRED)
@pytest.mark.parametrize("name", LOSSES)
def test_a_compiled_training_step_holds_the_loss_in_one_graph(name, compiler):
    compiled = torch.compile(LOSSES[name], fullgraph=True, backend=compiler)
    assert_same(compiled, LOSSES[name], 9)


@pytest.mark.parametrize("compiler", PREFERRED)
@pytest.mark.parametrize("name", ["ntxent", "supcon", "clip"])
def test_a_last_batch_of_another_size_does_not_compile_again(name, compiler):
    loss = LOSSES[name]
    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend=compiler)
    assert_same(compiled, loss, 127)
    with torch.compiler.set_stance("fail_on_recompile"):
        assert_same(compiled, loss, 193)


@pytest.mark.parametrize("compiler", PREFERRED)
def test_clef_follows_a_batch_of_another_size(compiler):
    compiled = torch.compile(clef, fullgraph=True, dynamic=True, backend=compiler)
    for b in (127, 193):
        assert_same(compiled, clef, b)
