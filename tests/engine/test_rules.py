"""Every rule, square and rectangular: statistics and gradients against loops over pairs, and memory of order N D."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from backends import BACKENDS, STREAMING
from covering import each_value, pairwise
from oracles import (
    naive_dissimilarity,
    naive_features,
    naive_gaussian,
    naive_labels,
    naive_omega,
    naive_pair_stats,
    naive_weights,
)
from tensor_memory import measure
from torch import Tensor

from ecgloss.engine import PairStats, pair_stats
from ecgloss.pairs import (
    FeaturePairs,
    Layout,
    RiskPairs,
    RiskWeights,
    Rule,
    UniformPairs,
    feature_pairs,
    gaussian_pairs,
    label_pairs,
    risk_pairs,
    view_pairs,
)

# fp64 against fp64 with other orders of summation: rounding times the 1/tau of the temperature below.
TIGHT = {"rtol": 1e-9, "atol": 1e-11}
STATISTICS = ("positive_sum", "positive_lse", "positive_count", "negative_lse")
N, M, D = 6, 9, 4
Matrix = list[list[float]]


@dataclass
class Case:
    """A rule and what the loops make of the same side information: omega and positive weights, exclusions included."""

    rule: Rule
    omega: Matrix
    positive: Matrix


def zeros(n: int, m: int) -> Matrix:
    return [[0.0] * m for _ in range(n)]


def without(matrix: Matrix, excluded: list[set[int]]) -> Matrix:
    return [[0.0 if j in left_out else x for j, x in enumerate(row)] for row, left_out in zip(matrix, excluded)]


def case(rule: Rule, omega: Matrix, positive: Matrix, excluded: list[set[int]], pair: list[int] | None = None) -> Case:
    positive = without(positive, excluded)
    for i, j in enumerate(pair or []):
        positive[i][j] = 1.0
    return Case(rule, without(omega, excluded), positive)


def nothing(n: int) -> list[set[int]]:
    return [set() for _ in range(n)]


def itself(n: int) -> list[set[int]]:
    return [{i} for i in range(n)]


def sample(n: int) -> list[set[int]]:
    return [{i, (i + n // 2) % n} for i in range(n)]


def ones(n: int, m: int) -> Matrix:
    return [[1.0] * m for _ in range(n)]


def uniform(name: str) -> Case:
    partner = [(i + N // 2) % N for i in range(N)]
    if name == "two views":
        return case(view_pairs(N // 2), ones(N, N), zeros(N, N), sample(N), partner)
    if name == "matched":
        rule = UniformPairs(Layout.matched(N, M))
        return case(rule, ones(N, M), zeros(N, M), itself(N), list(range(N)))
    return case(UniformPairs(Layout.queue(N, M)), ones(N, M), zeros(N, M), nothing(N))


def labels(columns: bool) -> Case:
    rows = [3, 1, 3, 1, 3, 8]  # 8: no positive in a square
    if columns:
        others = [1, 1, 3, 5, 5, 3, 1, 9, 9]
        rule = label_pairs(torch.tensor(rows), columns=torch.tensor(others))
        return case(rule, *naive_labels(rows, others), nothing(N))
    return case(label_pairs(torch.tensor(rows)), *naive_labels(rows, rows), itself(N))


def features(columns: bool, labelled: bool, overlap: bool, include_self: bool) -> Case:
    g = torch.Generator().manual_seed(5)
    f = 3 * torch.randn(N, 3, generator=g, dtype=torch.float64)
    others = 2 * torch.randn(M, 3, generator=g, dtype=torch.float64)
    mine, theirs = [0, 1, 0, 2, 3, 1], [0, 0, 1, 2, 7, 7, 1, 0, 3]
    names = torch.tensor(mine) if labelled else None
    if columns:
        other_names = torch.tensor(theirs) if labelled else None
        rule = feature_pairs(f, 0.25, names, overlap, columns=others, column_labels=other_names)
        naive = naive_features(f, others, 0.25, mine if labelled else None, theirs if labelled else None, overlap)
        return case(rule, *naive, nothing(N))
    rule = feature_pairs(f, 0.25, names, overlap, include_self)
    naive = naive_features(f, f, 0.25, mine if labelled else None, mine if labelled else None, overlap)
    return case(rule, *naive, nothing(N) if include_self else itself(N))


def gaussian(columns: bool, k: int) -> Case:
    g = torch.Generator().manual_seed(6)
    y, other = 60 + 10 * torch.randn(N, k, generator=g).double(), 60 + 10 * torch.randn(M, k, generator=g).double()
    shaped = y[:, 0] if k == 1 else y
    if columns:
        rule = gaussian_pairs(shaped, 8.0, columns=other[:, 0] if k == 1 else other)
        return case(rule, *naive_gaussian(y.tolist(), other.tolist(), 8.0), nothing(N))
    return case(gaussian_pairs(shaped, 8.0), *naive_gaussian(y.tolist(), y.tolist(), 8.0), itself(N))


def risk(layout: str, norm: str, alpha: float = 0.2, equal: bool = False) -> Case:
    n = {"two views": N // 2, "one view": N}.get(layout, N + M)
    g = torch.Generator().manual_seed(7)
    r = torch.full((n,), 0.1).double() if equal else torch.rand(n, generator=g, dtype=torch.float64)
    if not equal:
        r[-2] = torch.nan
    f = torch.rand(n, generator=g, dtype=torch.float64)
    weights = RiskWeights.of(r, f, alpha=alpha)
    d = naive_dissimilarity(r[:, None], alpha=alpha, power=2, scale="minmax", nan_risk="neutral")
    w = naive_weights(d, f, "multiply")
    zero = equal and alpha == 0
    if layout == "two views":
        w = [[w[i % n][j % n] for j in range(N)] for i in range(N)]
        partner = [(i + n) % N for i in range(N)]
        return case(risk_pairs(weights, norm), naive_omega(w, norm, sample(N), zero), zeros(N, N), sample(N), partner)
    if layout == "one view":
        rule = RiskPairs(Layout.one_view(N), weights, norm)
        return case(rule, naive_omega(w, norm, itself(N), zero), zeros(N, N), itself(N))
    w = [[w[i][N + j] for j in range(M)] for i in range(N)]
    if layout == "matched":
        rule = RiskPairs(Layout.matched(N, M), weights, norm)
        return case(rule, naive_omega(w, norm, itself(N), zero), zeros(N, M), itself(N), list(range(N)))
    return case(risk_pairs(weights, norm, columns=M), naive_omega(w, norm, nothing(N), zero), zeros(N, M), nothing(N))


CASES: dict[str, Callable[[], Case]] = {
    "uniform, two views": partial(uniform, "two views"),
    "uniform, matched": partial(uniform, "matched"),
    "uniform, queue": partial(uniform, "queue"),
    "features with self": partial(features, columns=False, labelled=True, overlap=False, include_self=True),
}
for columns in (False, True):
    CASES[f"labels, columns {columns}"] = partial(labels, columns)
    for labelled, overlap in ((False, False), (True, False), (True, True)):
        name = f"features, columns {columns}, labels {labelled}, overlap {overlap}"
        CASES[name] = partial(features, columns, labelled, overlap, include_self=False)
    for k in (1, 3):
        CASES[f"gaussian of {k}, columns {columns}"] = partial(gaussian, columns, k)
for layout in ("two views", "one view", "matched", "queue"):
    for norm in ("none", "mean", "softmax"):
        for alpha, equal in ((0.2, False), (0.0, False), (0.0, True)):
            CASES[f"risk, {layout}, {norm}, alpha {alpha}, equal {equal}"] = partial(risk, layout, norm, alpha, equal)


def embeddings(rule: Rule, dtype: torch.dtype = torch.float64, d: int = D) -> tuple[Tensor, Tensor | None]:
    g = torch.Generator().manual_seed(11)
    n, m = rule.layout.n_rows, rule.layout.n_columns
    q, k = (torch.randn(rows, d, generator=g).to(dtype).requires_grad_() for rows in (n, m))
    return q, None if rule.layout.square else k


def functional(stats: dict[str, Tensor]) -> Tensor:
    """A random linear functional of the finite statistics."""
    g = torch.Generator().manual_seed(12)
    total = torch.zeros((), dtype=torch.float64)
    for name in ("positive_sum", "positive_lse", "negative_lse"):
        c = torch.randn(len(stats[name]), generator=g, dtype=torch.float64)
        total = total + torch.where(torch.isfinite(stats[name]), c * stats[name], 0.0).sum()
    return total


def as_dict(stats: PairStats) -> dict[str, Tensor]:
    return {name: getattr(stats, name) for name in STATISTICS}


@pytest.mark.parametrize("block", [None, 2])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_statistics_and_gradients_equal_loops_over_pairs(name, backend, block, monkeypatch):
    if block is not None:  # several blocks of rows, the last one ragged or not
        monkeypatch.setattr("ecgloss.engine.chunked.MIN_BLOCK", block)
        monkeypatch.setattr("ecgloss.engine.chunked.MIN_ENTRIES", 1)
    c = CASES[name]()
    q, k = embeddings(c.rule)
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    stats = as_dict(pair_stats(q, k, tau, c.rule, backend=backend))
    expected = naive_pair_stats(q, q if k is None else k, tau, c.omega, c.positive)
    for statistic in STATISTICS:
        torch.testing.assert_close(stats[statistic], expected[statistic], **TIGHT, msg=lambda m, s=statistic: s + m)
    assert not stats["positive_count"].requires_grad
    inputs = [x for x in (q, k, tau) if x is not None]
    gradients = torch.autograd.grad(functional(stats), inputs)
    for mine, theirs in zip(gradients, torch.autograd.grad(functional(expected), inputs)):
        torch.testing.assert_close(mine, theirs, **TIGHT)


def test_the_cases_hold_rows_without_positives_and_rows_without_negatives():
    """Cases in which every row has both would prove nothing about those that have not."""
    assert any(not any(row) and any(map(any, c.positive)) for c in (f() for f in CASES.values()) for row in c.positive)
    assert any(not any(row) for c in (f() for f in CASES.values()) for row in c.omega)


@pairwise(name=CASES, streaming=STREAMING, tau=[0.01, 0.1])
def test_fp32_is_as_accurate_as_materialised_code(name, tau, streaming):
    rule = CASES[name]().rule

    def evaluate(dtype: torch.dtype, backend: str) -> list[Tensor]:
        q, k = embeddings(rule, dtype)
        stats = as_dict(pair_stats(q, k, tau, rule, backend=backend))
        gradients = torch.autograd.grad(functional(stats), [x for x in (q, k) if x is not None])
        return [torch.where(torch.isfinite(x), x, 0.0).double() for x in (*stats.values(), *gradients)]

    truth = evaluate(torch.float64, "reference")
    for mine, plain, true in zip(evaluate(torch.float32, streaming), evaluate(torch.float32, "reference"), truth):
        # The floor covers rows where the plain code happens to be exact: some roundings of fp32.
        assert (mine - true).norm() <= 2 * (plain - true).norm() + 2e-6 * true.norm()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("labels", [[1, 1, 1, 1], [1, 2, 3, 4]], ids=["no negatives", "no positives"])
def test_missing_classes_have_no_gradient_instead_of_nan(backend, labels):
    rule = label_pairs(torch.tensor(labels))
    q, _ = embeddings(rule)
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    stats = pair_stats(q, None, tau, rule, backend=backend)
    missing = stats.negative_lse if labels[0] == labels[1] else stats.positive_lse
    assert torch.isneginf(missing).all()
    for g in torch.autograd.grad(missing.sum(), (q, tau)):
        torch.testing.assert_close(g, torch.zeros_like(g), rtol=0, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_far_gaussian_positives_underflow_without_nan(backend):
    """e^-d^2 is 0 in fp32 beyond d = 10; a weight of 0 must not meet an infinite exponential."""
    rule = gaussian_pairs(torch.tensor([0.0, 1.0, 60.0, 500.0]), bandwidth=2.0)
    q, _ = embeddings(rule, torch.float32)
    stats = pair_stats(q, None, 0.005, rule, backend=backend)
    assert torch.isfinite(stats.positive_lse[:2]).all()
    assert torch.isneginf(stats.positive_lse[3])
    (g,) = torch.autograd.grad((stats.positive_lse[:3] + stats.positive_sum[:3]).sum(), q)
    assert torch.isfinite(g).all()


@pytest.mark.parametrize("backend", STREAMING)
@pytest.mark.parametrize("views", [1, 2, 3])
@pytest.mark.parametrize("alignment", ["cosine", "minmax"])
@pytest.mark.parametrize("power", [1, 2])
def test_alignment_of_any_number_of_views(backend, views, alignment, power):
    g = torch.Generator().manual_seed(9)
    weights = RiskWeights.of(torch.rand(4, generator=g), torch.rand(4, generator=g), risk_power=power)
    layout = Layout(4 * views, 4 * views, True, tuple(range(0, 4 * views, 4)), None)
    rule = RiskPairs(layout, weights, "none")
    q, _ = embeddings(rule)
    errors = [pair_stats(q, None, 0.2, rule, alignment=alignment, backend=b).alignment for b in ("reference", backend)]
    torch.testing.assert_close(*errors, **TIGHT)
    torch.testing.assert_close(*(torch.autograd.grad(e, q)[0] for e in errors), **TIGHT)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_queue_without_gradient_gets_none_and_half_precision_queries_meet_full_precision_keys(backend):
    rule = UniformPairs(Layout.queue(N, M))
    q, k = embeddings(rule, torch.float32)
    k = k.detach()
    expected = pair_stats(q, k, 0.2, rule, backend=backend).negative_lse
    torch.testing.assert_close(
        pair_stats(q.detach().bfloat16(), k, 0.2, rule, backend=backend).negative_lse,
        expected.detach(),
        rtol=0,
        atol=0.1,  # 8 bits of mantissa, over tau
    )
    (g,) = torch.autograd.grad(expected.sum(), q)
    k.requires_grad_()
    both = torch.autograd.grad(pair_stats(q, k, 0.2, rule, backend=backend).negative_lse.sum(), (q, k))
    torch.testing.assert_close(g, both[0])
    alone = torch.autograd.grad(pair_stats(q.detach(), k, 0.2, rule, backend=backend).negative_lse.sum(), k)[0]
    torch.testing.assert_close(alone, both[1])


@pytest.mark.slow
@pytest.mark.parametrize("backend", STREAMING)
def test_compiles_without_graph_breaks(backend):
    g = torch.Generator().manual_seed(1)
    q, k = (torch.randn(n, D, generator=g).requires_grad_() for n in (N, M))
    r, y = torch.rand(N + M, generator=g), torch.rand(N, 2, generator=g)
    names = torch.tensor([0, 0, 1, 1, 2, 0])

    def loss(a, b):
        square = [label_pairs(names), feature_pairs(y, 0.9, names, True), gaussian_pairs(y, 0.5)]
        wide = [UniformPairs(Layout.matched(N, M)), risk_pairs(RiskWeights.of(r), "mean", columns=M)]
        stats = [pair_stats(a, None, 0.5, rule, backend=backend) for rule in square]
        stats += [pair_stats(a, b, 0.5, rule, backend=backend) for rule in wide]
        return torch.stack([(s.positive_sum + s.negative_lse.clamp(min=-9)).sum() for s in stats]).sum()

    expected = loss(q, k)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")(q, k)
    torch.testing.assert_close(compiled, expected, rtol=1e-5, atol=0)
    for mine, theirs in zip(torch.autograd.grad(compiled, (q, k)), torch.autograd.grad(expected, (q, k))):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def large(name: str, n: int) -> Rule:
    g = torch.Generator().manual_seed(2)
    names, f = torch.randint(0, 50, (n,), generator=g), torch.randn(n, 16, generator=g)
    rules: dict[str, Callable[[], Rule]] = {
        "uniform": lambda: UniformPairs(Layout.queue(n // 2, n)),
        "labels": lambda: label_pairs(names),
        "labels, columns": lambda: label_pairs(names[: n // 2], columns=names),
        "features": lambda: feature_pairs(f, 0.25, names),
        "features, columns": lambda: feature_pairs(f[: n // 2], 0.25, columns=f),
        "gaussian": lambda: gaussian_pairs(f[:, :2], 1.0),
        "risk, mean": lambda: risk_pairs(RiskWeights.of(f[:, 0]), "mean", columns=n // 2),
        "risk, softmax": lambda: risk_pairs(RiskWeights.of(f[:, :2]), "softmax", columns=n // 2),
    }
    rule = rules[name]()
    if isinstance(rule, RiskPairs):
        assert rule.weights.matrix  # O(B) numbers per batch, found in blocks of rows of their own
    return rule


@pytest.mark.slow
@each_value(
    backend=STREAMING,
    name=[
        "uniform",
        "labels",
        "labels, columns",
        "features",
        "features, columns",
        "gaussian",
        "risk, mean",
        "risk, softmax",
    ],
)
def test_no_rule_stores_n_by_m(name, backend):
    def cost(n: int) -> tuple[int, int, int]:
        rule = large(name, n)
        q, k = embeddings(rule, torch.float32, d=128)

        def loss() -> Tensor:
            stats = pair_stats(q, k, 0.1, rule, backend=backend)
            parts = (stats.positive_sum, stats.positive_lse, stats.negative_lse)
            return torch.stack([torch.where(torch.isfinite(x), x, 0.0).sum() for x in parts]).sum()

        return measure(loss)

    small, big = cost(2048), cost(4096)
    for before, after in zip(small, big):
        assert after <= 2.2 * before  # quadratic growth would be 4
    assert big[0] <= 5 * 4 * 4096 * 128  # autograd saves q and k, both as they are and normalised, and O(N) numbers
    # The kernels keep q and k in one tensor, in whole panels of 48 rows with their norms.
    rows = 4096 + (2048 if "columns" in name or name == "uniform" else 0)
    assert big[2] <= (rows + 2 * 48) * (128 + 1)


Z = torch.ones(4, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pair_stats(Z, Z, 0.1, view_pairs(2)), ValueError, r"k must be None.*got \(4, 3\)"),
        (lambda: pair_stats(Z, None, 0.1, UniformPairs(Layout.queue(4, 5))), ValueError, "k must be given.*got None"),
        (lambda: pair_stats(Z, None, 0.1, view_pairs(3)), ValueError, r"q must have shape \(6, D\).*got \(4, 3\)"),
        (lambda: pair_stats(Z, Z, 0.1, UniformPairs(Layout.queue(4, 5))), ValueError, r"k must have shape \(5, D\)"),
        (lambda: pair_stats(Z, Z[:, :2], 0.1, UniformPairs(Layout.queue(4, 4))), ValueError, "width of q, 3; got 2"),
        (lambda: pair_stats(Z, Z.double(), 0.1, UniformPairs(Layout.queue(4, 4))), ValueError, "both be float64"),
        (lambda: pair_stats(Z.int(), None, 0.1, view_pairs(2)), TypeError, "q must be a float16.*torch.int32"),
        (lambda: pair_stats(Z, None, 0.1, view_pairs(2), alignment="cosine"), ValueError, "needs a rule with weights"),
        (lambda: pair_stats(Z, None, 0.1, view_pairs(2), alignment="dot"), ValueError, "alignment must be one of"),
        (lambda: Layout.matched(4, 3), ValueError, "m >= n; got n = 4 and m = 3"),
        (lambda: Layout(3, 3, True, (0,), 1), ValueError, "positive must be one of the shifts"),
        (lambda: Layout(3, 4, True, (0,), None), ValueError, "got 3 rows and 4 columns"),
        (lambda: label_pairs(Z[0]), TypeError, "labels must hold integers; got torch.float32"),
        (lambda: label_pairs(Z.int()), ValueError, r"labels must have shape \(N,\); got \(4, 3\)"),
        (lambda: feature_pairs(Z, 1.5), ValueError, r"threshold must lie in \[-1, 1\]; got 1.5"),
        (lambda: feature_pairs(Z, 0.2, torch.arange(3)), ValueError, "labels must have 4 rows.*got 3"),
        (lambda: feature_pairs(Z, 0.2, torch.arange(4), columns=Z), ValueError, "rows and columns, or for neither"),
        (lambda: feature_pairs(Z, 0.2, column_labels=torch.arange(4)), ValueError, "column_labels need columns"),
        (lambda: feature_pairs(Z, 0.2, include_self=True, columns=Z), ValueError, "include_self is for rows"),
        (lambda: feature_pairs(Z, 0.2, columns=Z[:, :2]), ValueError, "columns must have 3 numbers.*got 2"),
        (lambda: gaussian_pairs(Z, 0.0), ValueError, "bandwidth must lie in"),
        (lambda: gaussian_pairs(Z * torch.nan, 1.0), ValueError, "metadata must be finite.*row 0"),
        (lambda: gaussian_pairs(Z.int(), 1.0), TypeError, "metadata must be float16"),
        (
            lambda: risk_pairs(RiskWeights.of(Z[:, 0]), "max"),
            ValueError,
            "norm must be one of 'none', 'mean', 'softmax'",
        ),
        (
            lambda: RiskPairs(Layout.queue(4, 4), RiskWeights.of(Z[:, 0]), "none"),
            ValueError,
            "4 rows and then the 4 columns; got 4 samples",
        ),
        (lambda: RiskPairs(Layout.one_view(6), RiskWeights.of(Z[:, 0]), "none"), ValueError, "whole views of the 4"),
        (
            lambda: FeaturePairs(Layout.two_views(2), Z, Z, 0.2, None, None, False),
            ValueError,
            "the layout's positive must be None; got 2",
        ),
    ],
)
def test_contradictions_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
