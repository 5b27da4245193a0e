"""Few pairs in plain torch: S is stored, and one function holds the loss and its gradient.

Where the C++ extension is not built, and on devices without kernels, a step of a small batch takes as long as its
operations take to be started. Autograd of the definition (:mod:`.reference`) starts twice as many as are needed here.
For rows with a single positive, L_w = mean_i softplus(lse_i - s_ip), and with G = dL/dS:

    dL/ds_ik = share_i e^(x_ik - lse_i), -share_i at the positive        share_i = sigmoid(lse_i - s_ip) / N
    dL_d/dS_ik = 2 a e_ik / n,  e = a (S - m) - T                        n pairs; a and m depend on min S and max S
    dq^ = G k, dk^ = G^T q
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as torch_f
from torch import Tensor

from ecgloss.engine.higher_order import differentiable_gradients, inputs_to_save, needs_graph, saved_inputs
from ecgloss.engine.normalise import through_sphere, unit_rows, without_autocast
from ecgloss.engine.reference import columns_of, embedding_statistics
from ecgloss.engine.stats import PairStats, may_be_empty, stretch_and_start, without_empty
from ecgloss.pairs import Rule, is_weighted


def pair_stats(
    first: Tensor,
    second: Tensor | None,
    k: Tensor | None,
    tau: Tensor,
    rule: Rule,
    alignment: str | None,
    term_weights: tuple[float, float],
) -> PairStats:
    """Statistics of embeddings that are not normalised, of a rule with single positives.

    Args:
        first: (N, D) embeddings, or the first rows of them.
        second: The other rows, or None.
        k: (M, D) columns, or None where they are the rows.
        tau: 0-d temperature on the device of the embeddings, in their dtype but at least fp32.
        rule: What relates a row to a column.
        alignment: ``"cosine"``, ``"minmax"`` or None.
        term_weights: Weights of L_w and L_d in the loss.
    """
    if is_weighted(rule):
        rule.prepare()
    loss, contrastive, aligned, positive, lse = _Dense.apply(
        first, second, k, tau, _Problem(rule, alignment, term_weights)
    )
    rows = (positive, positive, torch.ones_like(positive), lse)
    return PairStats(rows, aligned, contrastive, term_weights, loss)


LINEAR = 80  # from here on softplus(x) is x to fp64 rounding, and e^x is still a number of fp32


class _Problem:
    """What is computed; torch.compile passes it on as it is."""

    def __init__(self, rule: Rule, alignment: str | None, term_weights: tuple[float, float]) -> None:
        self.rule, self.alignment, self.term_weights = rule, alignment, term_weights


class _Dense(torch.autograd.Function):
    """Loss, L_w, L_d (0-d), s_ip and negative_lse (N,)."""

    @staticmethod
    def forward(
        ctx: Any, first: Tensor, second: Tensor | None, k: Tensor | None, tau: Tensor, problem: _Problem
    ) -> tuple[Tensor | None, ...]:
        rule = problem.rule
        q, q_norm = unit_rows(first if second is None else torch.cat([first, second]))
        columns, k_norm = (q, None) if k is None else unit_rows(k)
        rows, excluded, positive = columns_of(rule.layout, q.device)
        assert positive is not None
        s = q @ columns.T
        x = s / tau
        s_positive = x.gather(1, positive)[:, 0]
        relations = rule.relations(rows, s.dtype)
        if relations.log_weight is not None:
            x += relations.log_weight
        lse = torch.logsumexp(x.scatter_(1, excluded, -torch.inf), dim=1)
        margin = lse - s_positive
        contrastive = torch_f.softplus(margin, threshold=LINEAR).mean()
        loss = problem.term_weights[0] * contrastive
        aligned = error = None
        extremes: tuple[Tensor, ...] = ()
        if problem.alignment is not None:
            error, extremes = _alignment_error(s, rule, rows, problem.alignment)
            aligned = error.square().mean()
            loss = loss + problem.term_weights[1] * aligned
        ctx.set_materialize_grads(False)
        inputs = inputs_to_save(ctx, first, second, k)
        ctx.save_for_backward(q, q_norm, columns, k_norm, tau, x, lse, margin, s, error, *inputs, *extremes)
        ctx.problem = problem
        ctx.may_be_empty = may_be_empty(rule.layout, relations)
        ctx.sizes = (first.shape[0], None if second is None else second.shape[0], k is None)
        ctx.dtypes = (first.dtype, q.dtype if k is None else k.dtype)
        return loss, contrastive, aligned, s_positive, lse

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        if needs_graph(*grads):
            inputs = (*saved_inputs(ctx, saved[10:13]), saved[4])
            definition = functools.partial(_definition, problem=ctx.problem)
            return *differentiable_gradients(definition, inputs, ctx.needs_input_grad[:4], grads), None
        with without_autocast(saved[0].device.type):
            return *_gradients(ctx, (*saved[:10], *saved[13:]), *grads), None


def _definition(
    first: Tensor, second: Tensor | None, k: Tensor | None, tau: Tensor, problem: _Problem
) -> tuple[Tensor | None, ...]:
    """What :class:`_Dense` returns, in plain torch."""
    stats = embedding_statistics(first, second, k, tau, problem.rule, problem.alignment, problem.term_weights)
    return stats.fused_loss, stats.fused_contrastive, stats.alignment, stats.positive_lse, stats.negative_lse


def _alignment_error(s: Tensor, rule: Rule, rows: Tensor, alignment: str) -> tuple[Tensor, tuple[Tensor, ...]]:
    """a (S - m) - 1 + W, (N, M), and for "minmax" min S, max S and a."""
    assert is_weighted(rule)
    weight = rule.weight(rows, s.dtype)
    if alignment == "cosine":
        return s - 1 + weight, ()
    low, high = s.amin(), s.amax()
    stretch, start = stretch_and_start(alignment, low, high)
    return stretch * (s - start) - 1 + weight, (low, high, stretch)


def _gradients(
    ctx: Any,
    saved: tuple[Tensor, ...],
    g_loss: Tensor | None,
    g_contrastive: Tensor | None,
    g_aligned: Tensor | None,
    g_positive: Tensor | None,
    g_lse: Tensor | None,
) -> tuple[Tensor | None, ...]:
    """Gradients of the first and second rows, of k and of tau, as far as they are asked for."""
    q, q_norm, columns, k_norm, tau, x, lse, margin, s, error, *extremes = saved
    weights, (first, second, square) = ctx.problem.term_weights, ctx.sizes
    *_, positive = columns_of(ctx.problem.rule.layout, q.device)
    assert positive is not None
    by_contrastive = _sum(g_loss, weights[0], g_contrastive)
    share = torch.zeros_like(lse) if by_contrastive is None else torch.sigmoid(margin) * (by_contrastive / lse.shape[0])
    negative = share if g_lse is None else share + g_lse
    if ctx.may_be_empty:
        lse = without_empty(lse)
    g = (x - lse[:, None]).exp_().mul_(negative[:, None])
    g.scatter_(1, positive, (-share if g_positive is None else g_positive - share)[:, None])
    dtau = -(g * s).sum() / (tau * tau) if ctx.needs_input_grad[3] else None
    g.div_(tau)
    by_alignment = _sum(g_loss, weights[1], g_aligned) if error is not None else None
    if by_alignment is not None:
        _add_alignment_gradient(g, s, error, by_alignment, *extremes)
    dk, wants_rows = None, ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
    if not square and ctx.needs_input_grad[2]:
        dk = through_sphere(g.T @ q, columns, k_norm, ctx.dtypes[1])
    if not wants_rows:
        return None, None, dk, dtau
    unit_gradient = g @ columns + g.T @ q if square else g @ columns
    dz = through_sphere(unit_gradient, q, q_norm, ctx.dtypes[0])
    if second is None:
        return dz, None, dk, dtau
    return *dz.split([first, second]), dk, dtau


def _sum(g_loss: Tensor | None, weight: float, g_term: Tensor | None) -> Tensor | None:
    """dL/d(term) from the gradients of the weighted loss and of the term itself."""
    if g_loss is None:
        return g_term
    weighted = g_loss if weight == 1.0 else weight * g_loss
    return weighted if g_term is None else weighted + g_term


def _add_alignment_gradient(
    g: Tensor,
    s: Tensor,
    error: Tensor,
    by_alignment: Tensor,
    low: Tensor | None = None,
    high: Tensor | None = None,
    stretch: Tensor | None = None,
) -> None:
    """Add dL/dS of the alignment to g; ties share the gradient of an extreme evenly."""
    scale = 2 * by_alignment / error.numel()
    if low is None or high is None or stretch is None:
        g += scale * error
        return
    scaled = scale * stretch
    g += scaled * error
    by_stretch = scaled * stretch * (error * (s - low)).sum()  # -dL/d(max S) = stretch^2 dL/d(stretch)
    for extreme, gradient in ((low, by_stretch - scaled * error.sum()), (high, -by_stretch)):
        ties = (s == extreme).to(s.dtype)
        g += ties * (gradient / ties.sum())
