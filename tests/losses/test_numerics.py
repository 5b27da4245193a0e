"""Hard inputs and half precision: finite, and as accurate as the plain materialised code in the same dtype."""

from __future__ import annotations

import pytest
import torch
from backends import BACKENDS, COMPILERS, STREAMING
from covering import each_value, pairwise
from error_rule import FLOOR
from rule_cases import KINDS, TAUS, embeddings
from torch import Tensor

import ecgloss.functional as F

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def evaluate(z: Tensor, risk: Tensor, missing: Tensor, **options) -> tuple[Tensor, Tensor]:
    leaf = z.clone().requires_grad_()
    b = len(z) // 2
    loss = F.clef(leaf[:b], leaf[b:], risk, missing, **options)
    loss.backward()
    return loss.detach(), leaf.grad


@pairwise(
    backend=STREAMING,
    dtype=DTYPES,
    preset=["paper", "official"],
    kind=KINDS,
    tau=TAUS,
    shape=[(3, 7), (63, 64), (40, 123)],
)
def test_presets_are_as_accurate_as_materialised_code(backend, dtype, preset, kind, tau, shape, rng):
    b, d = shape
    z = embeddings(kind, 2 * b, d, rng).to(dtype)
    risk, missing = torch.rand(b, generator=rng, dtype=torch.float64) ** 3, torch.rand(b, generator=rng)
    options = {"preset": preset, "temperature": tau}
    loss, grad = evaluate(z, risk, missing, backend=backend, **options)
    plain_loss, plain_grad = evaluate(z, risk, missing, backend="reference", **options)
    true_loss, true_grad = evaluate(z.double(), risk, missing, backend="reference", **options)
    # The plain result may be exact by luck: the same problem with other roundings, as a loss does not depend on scale.
    scaled = {s: evaluate(s * z.float(), risk, missing, backend="reference", **options) for s in (1.7, 0.6)}
    plain_error = max((x - true_loss).abs() for x in (plain_loss, *(other for other, _ in scaled.values())))
    assert loss.dtype == torch.float32
    assert grad.dtype == dtype
    assert torch.isfinite(loss)
    assert torch.isfinite(grad).all()
    bound = 2 * plain_error + 2e-6 * true_loss.abs()
    one_rounding = 2**-24 / tau / (2 * b) ** 0.5  # of S in fp32 in every row: the plain loss may be exact by luck
    assert (loss - true_loss).abs() <= bound + one_rounding
    nonzero = z.norm(dim=1) > 0  # the gradient of a zero row is 1e12 large and hides the rest
    for rows in (nonzero, ~nonzero):
        truth = true_grad[rows]
        limit = torch.finfo(dtype).max
        truth = truth.clamp(-limit, limit)
        others = [(s * g[rows].double()).clamp(-limit, limit) for s, (_, g) in scaled.items()]
        plain = max((g - truth).norm() for g in (plain_grad[rows].double(), *others))
        bound = 2 * plain + FLOOR[dtype] * truth.norm()
        assert (grad[rows].double() - truth).norm() <= bound


@pairwise(
    backend=STREAMING,
    similarity=["cosine", "minmax"],
    reliability=["multiply", "revert", None],
    spread=[0.05, 0.005],  # cosines within 0.01 and 0.0001 of each other
)
def test_closed_form_alignment_equals_the_direct_sum_on_nearly_parallel_embeddings(
    backend, similarity, reliability, spread, rng
):
    """In fp32 sums the closed form would be wrong by up to 12 % here."""
    b, d = 256, 64
    z = (torch.randn(d, generator=rng) + spread * torch.randn(2 * b, d, generator=rng)).float()
    risk, missing = torch.rand(b, generator=rng) ** 3, torch.randint(0, 7, (b,), generator=rng) / 6
    risk[::5] = torch.nan
    options = {"similarity": similarity, "reliability": reliability, "contrastive_weight": 0.0}
    loss, grad = evaluate(z, risk, missing, backend=backend, **options)
    plain_loss, plain_grad = evaluate(z, risk, missing, backend="reference", **options)
    true_loss, true_grad = evaluate(z.double(), risk, missing, backend="reference", **options)
    exact_loss, exact_grad = evaluate(z.double(), risk, missing, backend=backend, **options)
    torch.testing.assert_close(exact_loss, true_loss, rtol=1e-9, atol=0)
    torch.testing.assert_close(exact_grad, true_grad, rtol=1e-6, atol=1e-9 * true_grad.abs().max().item())
    assert (loss - true_loss).abs() <= 2 * (plain_loss - true_loss).abs() + 1e-6 * true_loss
    assert (grad - true_grad).norm() <= 2 * (plain_grad - true_grad).norm() + 1e-5 * true_grad.norm()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("norm", ["none", "mean", "softmax"])
@pytest.mark.parametrize("alpha", [0.0, 0.2])
@pytest.mark.parametrize("risk", [[0.1, 0.1, 0.1], [float("nan")] * 3, [0.1, float("nan"), 0.3]])
def test_degenerate_risks_give_finite_gradients(backend, norm, alpha, risk, rng):
    z1, z2 = (torch.randn(3, 4, generator=rng).requires_grad_() for _ in range(2))
    loss = F.clef(z1, z2, torch.tensor(risk), alpha=alpha, weight_norm=norm, backend=backend)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(z1.grad).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("preset", ["paper", "official"])
def test_smallest_batch(backend, preset, rng):
    z1, z2 = (torch.randn(2, 1, generator=rng).requires_grad_() for _ in range(2))
    F.clef(z1, z2, torch.tensor([0.1, 0.2]), preset=preset, backend=backend).backward()
    assert torch.isfinite(z1.grad).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_embeddings_give_nan_like_torch(backend, rng):
    z1, z2 = torch.randn(4, 3, generator=rng), torch.randn(4, 3, generator=rng)
    z1[2, 1] = torch.nan
    for preset in ("paper", "official"):
        assert torch.isnan(F.clef(z1, z2, torch.rand(4, generator=rng), preset=preset, backend=backend))
    assert torch.isnan(F.ntxent(z1, z2, backend=backend))


@pytest.mark.parametrize("backend", BACKENDS)
def test_ties_of_the_extreme_similarities_share_the_gradient(backend):
    """Rows along the axes: S is exactly 0 or 1, so min S has many ties."""
    z = torch.eye(4, dtype=torch.float64).requires_grad_()
    options = {"similarity": "minmax", "contrastive_weight": 0.0, "backend": backend, "risk_power": 1}
    risk = torch.tensor([0.0, 0.1, 0.3, 0.4], dtype=torch.float64)
    (g,) = torch.autograd.grad(F.clef(z, z.detach(), risk, **options), z)
    order = [3, 2, 1, 0]  # reverses the risks, which leaves all differences as they are
    torch.testing.assert_close(g[order][:, order], g, rtol=1e-12, atol=1e-15)
    assert g.abs().max() > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_does_not_lower_the_precision_of_the_loss(backend, rng):
    z1, z2 = (torch.randn(16, 8, generator=rng).requires_grad_() for _ in range(2))
    risk = torch.rand(16, generator=rng)
    expected = F.clef(z1, z2, risk, preset="official", backend=backend)
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.clef(z1, z2, risk, preset="official", backend=backend)
        if backend != "reference":  # torch's own operators do not promise this, so reference is differentiated outside
            (g,) = torch.autograd.grad(loss, z1)
    if backend == "reference":
        (g,) = torch.autograd.grad(loss, z1)
    torch.testing.assert_close(loss, expected, rtol=0, atol=0)
    torch.testing.assert_close(g, torch.autograd.grad(expected, z1)[0], rtol=0, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_non_contiguous_views_and_no_grad(backend, rng):
    z1, z2 = torch.randn(5, 9, generator=rng).T, torch.randn(9, 10, generator=rng)[:, ::2]
    risk = torch.rand(9, generator=rng)
    with torch.no_grad():
        loss = F.clef(z1, z2, risk, backend=backend)
    expected = F.clef(z1.contiguous(), z2.contiguous(), risk, backend=backend)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    assert not loss.requires_grad


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_one_view_requires_grad(backend, rng):
    """As with a frozen target encoder."""
    z1, z2 = torch.randn(6, 4, generator=rng).requires_grad_(), torch.randn(6, 4, generator=rng)
    risk = torch.rand(6, generator=rng)
    both = z2.clone().requires_grad_()
    (g,) = torch.autograd.grad(F.clef(z1, z2, risk, backend=backend), z1)
    torch.testing.assert_close(g, torch.autograd.grad(F.clef(z1, both, risk, backend=backend), z1)[0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_collapsed_encoder_gives_a_finite_official_loss(backend, dtype, rng):
    """All embeddings equal: the min-max has nothing to scale."""
    z = torch.randn(5, generator=rng, dtype=dtype).expand(24, 5).clone().requires_grad_()
    risk = torch.rand(12, generator=rng)
    loss = F.clef(z[:12], z[12:], risk, preset="official", backend=backend)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(z.grad).all()
    if dtype == torch.float64:
        torch.testing.assert_close(loss, F.clef(z[:12], z[12:], risk, preset="official", backend="reference"))


@pytest.mark.slow
@each_value(backend=STREAMING, compiler=COMPILERS, preset=["paper", "official"])
def test_compiles_without_graph_breaks(backend, preset, compiler, rng, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # what other versions of the ops left is none of ours
    z1, z2 = (torch.randn(12, 6, generator=rng).requires_grad_() for _ in range(2))
    risk, missing = torch.rand(12, generator=rng), torch.rand(12, generator=rng)

    def loss(a, b):
        return F.clef(a, b, risk, missing, preset=preset, backend=backend) + F.ntxent(a, b, backend=backend)

    expected = loss(z1, z2)
    compiled = torch.compile(loss, fullgraph=True, backend=compiler)(z1, z2)
    torch.testing.assert_close(compiled, expected, rtol=1e-5, atol=0)
    for g, h in zip(torch.autograd.grad(compiled, (z1, z2)), torch.autograd.grad(expected, (z1, z2))):
        torch.testing.assert_close(g, h, rtol=1e-4, atol=1e-7)
