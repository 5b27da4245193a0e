"""Row i compared with row i of other embeddings: positives that are no column of a similarity matrix, and BYOL."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ecgloss._transforms import needs_plain_torch
from ecgloss.engine.higher_order import differentiable_gradients, inputs_to_save, needs_graph, saved_inputs
from ecgloss.engine.normalise import least_norm, normalise, through_sphere, unit_rows


def row_cosines(z: Tensor, *others: Tensor) -> Tensor:
    """cos(z_i, other_i) of every row and every other matrix.

    Args:
        z: (N, D) embeddings, any float dtype.
        others: (N, D) each.

    Returns:
        (N, number of others) in fp32 (fp64 for fp64).

    Example:
        >>> row_cosines(torch.eye(2), torch.ones(2, 2), torch.eye(2))
        tensor([[0.7071, 1.0000],
                [0.7071, 1.0000]])
    """
    if needs_plain_torch() or not torch.is_grad_enabled():
        return _cosines(z, *others)
    cosines: Tensor = _RowCosines.apply(z, *others)
    return cosines


def row_distances(p: Tensor, z: Tensor) -> Tensor:
    """2 - 2 cos(p_i, z_i) of every row, (N,), with the digits that are lost where cos is nearly 1.

    With unit rows u and v it is |u - v|^2, plus 1 - |u|^2 of a row whose norm is below the least one.

    Args:
        p: (N, D) embeddings, any float dtype.
        z: (N, D), without a gradient.

    Example:
        >>> row_distances(torch.eye(2), torch.ones(2, 2).flip(0))
        tensor([0.5858, 0.5858])
    """
    if needs_plain_torch() or not torch.is_grad_enabled():
        return _distances(p, z)
    distances: Tensor = _RowDistances.apply(p, z)
    return distances


class _RowCosines(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *embeddings: Tensor) -> Tensor:
        (u, *others), norms = zip(*map(unit_rows, embeddings))
        ctx.save_for_backward(u, *others, *norms, *inputs_to_save(ctx, *embeddings))
        ctx.dtypes = [x.dtype for x in embeddings]
        if len(others) == 1:
            single: Tensor = (u * others[0]).sum(1, keepdim=True)
            return single
        return torch.stack([(u * other).sum(1) for other in others], 1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        saved, n = ctx.saved_tensors, len(ctx.dtypes)
        wanted, others, unit, norm = ctx.needs_input_grad, range(1, n), saved[:n], saved[n : 2 * n]
        if needs_graph(g):
            inputs = saved_inputs(ctx, saved[2 * n :])
            return tuple(differentiable_gradients(lambda *x: (_cosines(*x),), inputs, wanted, (g,)))
        columns = (g,) if len(others) == 1 else g.split(1, 1)
        gradients: list[Tensor | None] = [None] * len(wanted)
        if wanted[0]:
            du = columns[0] * unit[1]
            for i in others[1:]:
                du.addcmul_(columns[i - 1], unit[i])
            gradients[0] = through_sphere(du, unit[0], norm[0], ctx.dtypes[0])
        for i in others:
            if wanted[i]:
                gradients[i] = through_sphere(columns[i - 1] * unit[0], unit[i], norm[i], ctx.dtypes[i])
        return tuple(gradients)


class _RowDistances(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, p: Tensor, z: Tensor) -> Tensor:
        (u, p_norm), (v, z_norm) = unit_rows(p), unit_rows(z)
        difference = u - v
        ctx.save_for_backward(u, v, p_norm, difference, *inputs_to_save(ctx, p, z))
        ctx.dtype = p.dtype
        return difference.square().sum(1) + _shortfall(torch.cat([p_norm, z_norm], 1))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, None]:
        u, v, norm, difference, *inputs = ctx.saved_tensors
        if needs_graph(g):
            inputs = saved_inputs(ctx, inputs)
            return differentiable_gradients(lambda *x: (_distances(*x),), inputs, (True, False), (g,))[0], None
        # -2 v, of which 2 (u - v) is the part along the sphere, with more digits.
        du = torch.where(norm < least_norm(), -v, difference) * (2 * g)[:, None]
        return through_sphere(du, u, norm, ctx.dtype), None


def _shortfall(norms: Tensor) -> Tensor:
    """Sum of 1 - |u|^2 of unit rows whose embeddings have these norms (N, 2), (N,): 0 from the least norm on."""
    return (1 - (norms / least_norm()).square()).clamp(min=0).sum(1)


def _cosines(z: Tensor, *others: Tensor) -> Tensor:
    """:func:`row_cosines` in plain torch."""
    unit = normalise(z)
    return torch.stack([(unit * normalise(other)).sum(1) for other in others], 1)


def _distances(p: Tensor, z: Tensor) -> Tensor:
    """:func:`row_distances` in plain torch."""
    u, v = normalise(p), normalise(z)
    short = [torch.where(_is_short(x), 1 - unit.square().sum(1), 0.0) for x, unit in ((p, u), (z, v))]
    return (u - v).square().sum(1) + short[0] + short[1]


def _is_short(z: Tensor) -> Tensor:
    """(N,) whether a row's norm is below the least one."""
    return unit_rows(z.detach())[1][:, 0] < least_norm()
