"""What a training loop logs besides the loss: whether views find each other, and how embeddings spread."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from ecgloss import _validate
from ecgloss.engine.distributed import gather_rows
from ecgloss.engine.normalise import unit_rows, without_autocast
from ecgloss.functional.clef_options import ClefOptions
from ecgloss.pairs import RiskWeights

_ENTRIES = 2**18  # of a block of similarities: 1 MiB in fp32, which fits in a core's cache
_ENTRIES_ON_A_DEVICE = 2**22  # 16 MiB: few launches


class Monitor(NamedTuple):
    """Monitors of a batch of N = 2B unit rows x, of which row p(i) is the other view of row i; all 0-d, no gradient.

    Attributes:
        top1: Share of the rows whose nearest other row is their other view:
            ``mean_i [#{k != i, p : S_ik >= S_ip} < 1]``. Equal similarities count against it, so that embeddings that
            are all the same score 0.
        top5: The same among the five nearest, ``[... < 5]``. 1 where there are fewer than five other rows.
        positive_similarity: ``mean_i S_ip``, the cosine of two views of a sample.
        negative_similarity: Mean of ``S_ik`` over all i and k != i, p(i).
        alignment: ``mean_b |x_b - x_p(b)|^2`` (Wang and Isola, arXiv 2005.10242, equation 1 with alpha = 2).
        uniformity: ``log mean_{b < c} e^{-2 |x_b - x_c|^2}`` within a view, and the mean of both views (their equation
            2 with t = 2, as their code takes it): 0 where all rows are the same, lower the more evenly they spread.
        effective_negatives: ``mean_i (sum_k omega_ik)^2 / sum_k omega_ik^2`` over the negatives k != i, p(i) (Kish's
            effective sample size): how many equally weighted negatives the weights leave. N - 2 without weights; 0 for
            a row whose negatives all weigh 0.
    """

    top1: Tensor
    top5: Tensor
    positive_similarity: Tensor
    negative_similarity: Tensor
    alignment: Tensor
    uniformity: Tensor
    effective_negatives: Tensor


@torch.no_grad()
def monitor(
    z1: Tensor,
    z2: Tensor,
    risk: Tensor | None = None,
    missing: Tensor | None = None,
    *,
    options: ClefOptions | None = None,
    n_attributes: int | None = None,
    group: ProcessGroup | None = None,
) -> Monitor:
    """Contrastive accuracy, similarities, alignment, uniformity, and the effective number of negatives of a batch.

    One pass of plain torch over blocks of rows, on any device: besides the normalised embeddings, memory is O(N), never
    N x N. It takes longer than the kernels' forward pass, so call it every few steps. Nothing is read by the host.

    Args:
        z1: (B, D) embeddings of the first views, any float dtype.
        z2: (B, D) embeddings of the second views of the same samples.
        risk: (B,) or (B, K) risk scores, NaN = unknown, by whose W negatives weigh; None: all weigh 1.
        missing: (B,) fraction of missing inputs, or counts with ``n_attributes``.
        options: How W and omega follow from risks, ``CLEFLoss().options``; default: those of the preset ``"paper"``.
        n_attributes: What integer ``missing`` is counted out of.
        group: Process group whose ranks' rows make the batch; every rank gets the same values.

    Returns:
        The monitors, 0-d each, in fp32 (fp64 for fp64 embeddings).

    Raises:
        ValueError: for shapes, devices, ranges or options that are not accepted, naming the argument.
        TypeError: for wrong types or dtypes.

    Example:
        >>> import torch
        >>> z = torch.eye(4)
        >>> found = monitor(z, z)
        >>> [round(x.item(), 3) for x in (found.top1, found.negative_similarity, found.uniformity)]
        [1.0, 0.0, -4.0]
        >>> monitor(z, z, torch.tensor([0.0, 0.0, 0.0, 1.0])).effective_negatives  # W of rows 0 to 2: 0.2, 0.2, 1
        tensor(4.2222)
    """
    _validate.check_views(z1, z2, check_finite=False)
    options = options or ClefOptions()
    risk, missing = _validate.as_tensor(risk, z1), _validate.as_tensor(missing, z1)
    if risk is not None:
        _validate.check_risk(risk, z1, nan_risk=options.nan_risk)
    if missing is not None:
        if risk is None:
            raise ValueError("missing needs risk: without risks all negatives weigh 1")
        _validate.check_missing(missing, z1, n_attributes)
    if group is not None:
        z1, z2 = gather_rows(z1, group), gather_rows(z2, group)
        risk = None if risk is None else gather_rows(risk, group)
        missing = None if missing is None else gather_rows(missing, group)
    with without_autocast(z1.device.type):
        x = torch.cat([unit_rows(z1)[0], unit_rows(z2)[0]])
        top1, top5, positive, negative, uniformity = _of_pairs(x)
        alignment = (x[: len(z1)] - x[len(z1) :]).square().sum(1).mean()
        effective = x.new_full((), len(x) - 2.0) if risk is None else _effective(risk, missing, options, n_attributes)
    return Monitor(top1, top5, positive, negative, alignment, uniformity, effective.to(x.dtype))


def _of_pairs(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Top-1, top-5, mean positive and negative similarity, uniformity of rows (N, D)."""
    n = len(x)
    batch = n // 2
    nearer, positive, negative = x.new_empty(n), x.new_empty(n), x.new_empty(n)
    spread = x.new_empty(n)  # log sum of e^{-2 |x_i - x_k|^2} over the other rows of the view of i
    for rows in _blocks(n, x.device):
        here = torch.arange(len(rows), device=x.device)
        s = x[rows] @ x.T
        partner = (rows + batch) % n
        found = s[here, partner]
        positive[rows] = found
        s[here, rows] = -torch.inf
        nearer[rows] = (s >= found[:, None]).sum(1).to(x.dtype) - 1  # the partner itself
        second = rows >= batch
        within = torch.where(second[:, None], s[:, batch:], s[:, :batch])
        spread[rows] = torch.logsumexp(4 * within - 4, dim=1)
        s[here, rows] = 0
        s[here, partner] = 0
        negative[rows] = s.sum(1)
    views = spread.view(2, batch)
    uniformity = torch.logsumexp(views, dim=1).mean() - math.log(batch * (batch - 1))
    top1, top5 = ((nearer < k).to(x.dtype).mean() for k in (1, 5))
    return top1, top5, positive.mean(), negative.sum() / (n * (n - 2)), uniformity


def _effective(risk: Tensor, missing: Tensor | None, options: ClefOptions, n_attributes: int | None) -> Tensor:
    """Mean effective number of negatives; every sample has two views of the same weight."""
    weights = RiskWeights.of(
        risk,
        missing,
        alpha=options.alpha,
        risk_scale=options.risk_scale,
        risk_power=options.risk_power,
        reliability=options.reliability,
        nan_risk=options.nan_risk,
        n_attributes=n_attributes,
    )
    numbers = weights.values.new_empty(len(risk))
    for rows in _blocks(len(risk), risk.device):
        w = weights.matrix.tile(rows, weights.values.dtype)
        if options.weight_norm == "softmax":  # the common factor of a row cancels, as the mean of a row does
            w = w.exp_().scatter_(1, rows[:, None], 0.0)
        squares = w.square().sum(1)
        numbers[rows] = torch.where(squares > 0, 2 * w.sum(1).square() / squares, 0.0)
    return numbers.mean()


def _blocks(n: int, device: torch.device) -> Iterator[Tensor]:
    """Row numbers in blocks of n columns: of a bounded number of entries, or 32 rows if that is more."""
    size = max(32, (_ENTRIES if device.type == "cpu" else _ENTRIES_ON_A_DEVICE) // n)
    for start in range(0, n, size):
        yield torch.arange(start, min(start + size, n), device=device)
