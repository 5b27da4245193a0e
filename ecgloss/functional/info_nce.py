"""InfoNCE of queries and keys: in-batch negatives (CPC, CLIP), or a queue of older keys (MoCo)."""

from __future__ import annotations

import torch
from torch import Tensor

from ecgloss import _validate
from ecgloss.engine import PairStats, pair_stats
from ecgloss.engine.matched_rows import row_cosines
from ecgloss.functional.clef_options import ClefOptions
from ecgloss.functional.rows import RowTerms, check_reduction, reduce_rows, single_positive
from ecgloss.pairs import Layout, RiskWeights, Rule, UniformPairs, risk_pairs


def info_nce(
    q: Tensor,
    k: Tensor,
    *,
    negatives: Tensor | None = None,
    temperature: float | Tensor = 0.07,
    symmetric: bool = False,
    backend: str = "auto",
    weight: Tensor | None = None,
    reduction: str = "mean",
    return_terms: bool = False,
) -> Tensor | RowTerms:
    """InfoNCE (arXiv 1807.03748, equation 4): key i is the positive of query i.

    ::

        l_i = log(e^{s_ii} + sum_{j != i} e^{s_ij}) - s_ii            negatives are the other keys, or
        l_i = log(e^{s_ii} + sum_j e^{q_i . n_j / tau}) - s_ii        the given ``negatives`` alone, as in MoCo

    Args:
        q: (N, D) queries, any float dtype; they are normalised here.
        k: (M, D) keys, M >= N; those from N on are negatives only. With ``symmetric`` or ``negatives`` M = N.
        negatives: (K, D) keys that are negatives of every query, in place of the other keys.
        temperature: tau > 0, a float or a 0-d tensor (which gets its gradient if it requires one).
        symmetric: The mean of both directions, as in CLIP (arXiv 2103.00020).
        backend: ``"auto"``, ``"triton"``, ``"cpp"``, ``"chunked"`` or ``"reference"``; see :func:`ecgloss.backends`.
        weight: (N,) weights of the queries (and, with ``symmetric``, of their keys).
        reduction: ``"mean"`` (of the queries, by their weights), ``"sum"`` or ``"none"``: (N,).
        return_terms: Return :class:`RowTerms` instead of the loss alone; with ``symmetric`` its rows are the means of
            both directions, and its ``lse`` that of the queries.

    Returns:
        The loss, a 0-d fp32 tensor (fp64 for fp64 embeddings), or the loss and its terms.

    Raises:
        ValueError: for shapes, devices, ranges or options that are not accepted, naming the argument.
        TypeError: for wrong types or dtypes.

    Example:
        >>> q, k = torch.eye(4), torch.eye(4)
        >>> round(info_nce(q, k, temperature=1.0).item(), 4)  # log(e + 3) - 1
        0.7437
        >>> queue = torch.nn.functional.normalize(torch.ones(1, 4))  # similarity 1/2 with every query
        >>> round(info_nce(q, k, negatives=queue, temperature=1.0).item(), 4)  # log(e + e^0.5) - 1
        0.4741
    """
    if negatives is not None:
        if symmetric:
            raise ValueError("symmetric InfoNCE takes its negatives from the batch; got negatives as well")
        return moco(
            q,
            k,
            negatives,
            temperature=temperature,
            backend=backend,
            weight=weight,
            reduction=reduction,
            return_terms=return_terms,
        )
    _validate.check_matrix("q", q)
    _validate.check_matrix("k", k)
    _validate.check_temperature(temperature)
    if k.shape[0] < q.shape[0] or (symmetric and k.shape[0] != q.shape[0]):
        wanted = f"{q.shape[0]} rows" if symmetric else f"at least the {q.shape[0]} rows of q"
        raise ValueError(f"k must have {wanted}; got {k.shape[0]}")
    check_reduction(reduction, weight, (q.shape[0],), q)
    stats = pair_stats(q, k, temperature, UniformPairs(Layout.matched(q.shape[0], k.shape[0])), backend=backend)
    rows, lse = single_positive(stats)
    if symmetric:
        other = pair_stats(k, q, temperature, UniformPairs(Layout.matched(q.shape[0], q.shape[0])), backend=backend)
        rows = (rows + single_positive(other)[0]) / 2
    terms = reduce_rows(rows, None, weight, reduction, lse)
    return terms if return_terms else terms.loss


def moco(
    q: Tensor,
    k: Tensor,
    queue: Tensor,
    *,
    risk: Tensor | None = None,
    queue_risk: Tensor | None = None,
    weight_norm: str = "mean",
    alpha: float = 0.2,
    risk_scale: float | str = "minmax",
    temperature: float | Tensor = 0.07,
    backend: str = "auto",
    weight: Tensor | None = None,
    reduction: str = "mean",
    return_terms: bool = False,
) -> Tensor | RowTerms:
    """InfoNCE against a queue of keys (MoCo, arXiv 1911.05722), whose entries may weigh by clinical risk.

    ::

        l_i = log(e^{q_i . k_i / tau} + sum_j omega_ij e^{q_i . queue_j / tau}) - q_i . k_i / tau

    With risks, ``omega`` is that of :func:`clef` with W = D between the anchor's and the entry's risk; an unknown risk
    (NaN, as of entries that were never filled) takes the mean dissimilarity.

    Args:
        q: (N, D) queries, any float dtype.
        k: (N, D) their keys, of the momentum encoder. No gradient flows to them.
        queue: (K, D) older keys. No gradient flows to them.
        risk: (N,) risks of the queries; None: every entry weighs 1.
        queue_risk: (K,) risks of the entries; needed with ``risk``.
        weight_norm: ``"mean"`` (equal risks give MoCo), ``"none"`` or ``"softmax"``.
        alpha: Minimum dissimilarity of two patients, in [0, 1].
        risk_scale: ``"minmax"`` over queries and queue, or a fixed positive scale.
        temperature: tau > 0, a float or a 0-d tensor (which gets its gradient if it requires one).
        backend: ``"auto"``, ``"triton"``, ``"cpp"``, ``"chunked"`` or ``"reference"``; see :func:`ecgloss.backends`.
        weight: (N,) weights of the queries.
        reduction: ``"mean"`` (of the queries, by their weights), ``"sum"`` or ``"none"``: (N,).
        return_terms: Return :class:`RowTerms` instead of the loss alone.

    Returns:
        The loss, a 0-d fp32 tensor (fp64 for fp64 embeddings), or the loss and its terms.

    Raises:
        ValueError: for shapes, devices, ranges or options that are not accepted, naming the argument.
        TypeError: for wrong types or dtypes.

    Example:
        >>> q, queue = torch.eye(3), -torch.eye(3)
        >>> plain = moco(q, q, queue, temperature=1.0)
        >>> risk = torch.tensor([0.1, 0.2, 0.3])
        >>> equal = moco(q, q, queue, risk=risk * 0, queue_risk=risk * 0, temperature=1.0)
        >>> bool(plain == equal)
        True
    """
    for name, z in (("q", q), ("k", k), ("queue", queue)):
        _validate.check_matrix(name, z)
    _validate.check_temperature(temperature)
    if k.shape != q.shape or k.device != q.device:
        expected, got = (f"{tuple(z.shape)} on {z.device}" for z in (q, k))
        raise ValueError(f"k must have the shape and device of q, {expected}; got {got}")
    if queue.shape[1] != q.shape[1] or queue.device != q.device:
        expected, got = (f"{z.shape[1]} on {z.device}" for z in (q, queue))
        raise ValueError(f"queue must have the width and device of q, {expected}; got {got}")
    if (queue.dtype == torch.float64) != (q.dtype == torch.float64):
        raise ValueError(f"q and queue must both be float64, or neither; got {q.dtype} and {queue.dtype}")
    check_reduction(reduction, weight, (q.shape[0],), q)
    ClefOptions(alpha=alpha, weight_norm=weight_norm, risk_scale=risk_scale)  # checks
    rule = _queue_rule(q, queue, risk, queue_risk, weight_norm, alpha, risk_scale)
    stats = pair_stats(q, queue.detach(), temperature, rule, backend=backend)
    rows, lse = single_positive(_with_positive(stats, q, k, temperature))
    terms = reduce_rows(rows, None, weight, reduction, lse)
    return terms if return_terms else terms.loss


def _queue_rule(
    q: Tensor,
    queue: Tensor,
    risk: Tensor | None,
    queue_risk: Tensor | None,
    weight_norm: str,
    alpha: float,
    risk_scale: float | str,
) -> Rule:
    """Every entry of the queue is a negative, of weight 1 or by risk."""
    if (risk is None) != (queue_risk is None):
        given, lacking = ("queue_risk", "risk") if risk is None else ("risk", "queue_risk")
        raise ValueError(f"{given} needs {lacking} as well; got {given} alone")
    if risk is None or queue_risk is None:
        return UniformPairs(Layout.queue(q.shape[0], queue.shape[0]))
    _validate.check_risk(risk, q, nan_risk="neutral")
    _validate.check_risk(queue_risk, queue, nan_risk="neutral", name="queue_risk")
    if queue_risk.shape[1:] != risk.shape[1:]:
        raise ValueError(
            f"queue_risk must hold as many scores per entry as risk, {tuple(risk.shape)}; got {tuple(queue_risk.shape)}"
        )
    risks = torch.cat([risk, queue_risk.to(risk.dtype)])
    weights = RiskWeights.of(risks, alpha=alpha, risk_scale=risk_scale)
    return risk_pairs(weights, weight_norm, columns=queue.shape[0])


def _with_positive(stats: PairStats, q: Tensor, k: Tensor, temperature: float | Tensor) -> PairStats:
    """Statistics of the queue's negatives, with the key as the positive of its query."""
    cosine = row_cosines(q, k.detach()).squeeze(1).to(stats.negative_lse.dtype)
    if isinstance(temperature, Tensor):
        temperature = temperature.to(device=cosine.device, dtype=cosine.dtype)
    positive = cosine / temperature
    return PairStats((positive, positive, torch.ones_like(positive), stats.negative_lse))
