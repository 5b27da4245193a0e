"""PhysioCLR: positives and negatives by physiological features."""

from __future__ import annotations

import torch
from torch import Tensor

from ecgloss import _validate
from ecgloss.engine import pair_stats
from ecgloss.engine.matched_rows import row_cosines
from ecgloss.functional.rows import RowTerms, check_reduction, log_add, reduce_rows
from ecgloss.functional.supcon import POSITIVES, check_labels
from ecgloss.pairs import Rule, feature_pairs, label_pairs

DENOMINATORS = ("negatives", "all")


def physioclr(
    h: Tensor,
    h_shuffled: Tensor,
    features: Tensor | None,
    *,
    h_neighbour: Tensor | None = None,
    has_neighbour: Tensor | None = None,
    patient: Tensor | None = None,
    threshold: float = 0.25,
    temperature: float | Tensor = 0.1,
    denominator: str = "negatives",
    positives: str = "sum_in",
    include_self: bool = False,
    backend: str = "auto",
    weight: Tensor | None = None,
    reduction: str = "mean",
    return_terms: bool = False,
) -> Tensor | RowTerms:
    """The contrastive term of PhysioCLR (arXiv 2509.08116).

    With C the cosine of the features of two recordings, for anchor i::

        P(i)   = {h_k : C_ik >= threshold} + {h_k of the same patient} + {h_shuffled_i} + {h_neighbour_i}
        N(i)   = {h_k : C_ik < threshold}
        l_i    = logsumexp_{n in Den(i)} s_in - logsumexp_{p in P(i)} s_ip        Den = N, or N and P together

    An anchor without anything in its denominator is skipped: it contributes 0 and is not counted.

    Args:
        h: (B, D) embeddings of the recordings, any float dtype.
        h_shuffled: (B, D) embeddings of the same recordings with their beats shuffled.
        features: (B, F) physiological features, z-scored (and reduced) on the training set. NaN: neither positive nor
            negative of anybody. A row of zeros: C = 0 with all others. None: no features; the recordings of other
            patients (without ``patient``: all others) are the negatives.
        h_neighbour: (B, D) embeddings of a neighbouring segment of each recording.
        has_neighbour: (B,) bool, which recordings have one; default: all. Other rows of ``h_neighbour`` are not used.
        patient: (B,) integers; recordings of one patient are positives.
        threshold: delta, cosine of features in [-1, 1].
        temperature: tau > 0, a float or a 0-d tensor (which gets its gradient if it requires one).
        denominator: ``"negatives"`` (the authors' code) or ``"all"``: positives as well.
        positives: ``"sum_in"`` (as above) or ``"mean_out"``: the mean of s_ip in place of the log-sum-exp.
        include_self: Whether an anchor is among its own positives, as in the authors' code.
        backend: ``"auto"``, ``"triton"``, ``"cpp"``, ``"chunked"`` or ``"reference"``; see :func:`ecgloss.backends`.
        weight: (B,) weights of the anchors.
        reduction: ``"mean"`` (of the anchors that count, by their weights), ``"sum"`` or ``"none"``: (B,).
        return_terms: Return :class:`RowTerms` instead of the loss alone; ``lse`` is that of the denominator.

    Returns:
        The loss, a 0-d fp32 tensor (fp64 for fp64 embeddings), or the loss and its terms.

    Raises:
        ValueError: for shapes, devices, ranges or options that are not accepted, naming the argument.
        TypeError: for wrong types or dtypes.

    Example:
        >>> h, features = torch.eye(3), torch.tensor([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0]])
        >>> terms = physioclr(h, h, features, temperature=1.0, return_terms=True)
        >>> [round(x, 4) for x in terms.rows.tolist()]  # e^0 against e^1 + e^0, twice; 2 e^0 against e^1
        [-1.3133, -1.3133, -0.3069]
    """
    _validate.check_matrix("h", h)
    _validate.check_temperature(temperature)
    _validate.check_option("denominator", denominator, DENOMINATORS)
    _validate.check_option("positives", positives, POSITIVES)
    check_reduction(reduction, weight, (h.shape[0],), h)
    partners = [("h_shuffled", h_shuffled)] + ([] if h_neighbour is None else [("h_neighbour", h_neighbour)])
    for name, other in partners:
        _validate.check_matrix(name, other)
        if other.shape != h.shape or other.device != h.device:
            expected, got = (f"{tuple(x.shape)} on {x.device}" for x in (h, other))
            raise ValueError(f"{name} must have the shape and device of h, {expected}; got {got}")
    known = _check_has_neighbour(has_neighbour, h_neighbour, h)
    rule = physioclr_pairs(h, features, patient, threshold, denominator, include_self)
    stats = pair_stats(h, None, temperature, rule, backend=backend)
    single = _partners(h, [other for _, other in partners], temperature, stats.negative_lse.dtype)  # (B, 1 or 2)
    count = single.shape[1] + torch.zeros_like(stats.positive_count)
    total = single.sum(1)
    if known is not None:
        total, count = torch.where(known, total, single[:, 0]), torch.where(known, count, count - 1)
        single = torch.stack([single[:, 0], single[:, 1].masked_fill(~known, -torch.inf)], 1)
    positive_lse = torch.logsumexp(torch.cat([stats.positive_lse[:, None], single], 1), 1)
    lse = stats.negative_lse
    if denominator == "all":
        lse = log_add(positive_lse, lse)
    attraction = positive_lse
    if positives == "mean_out":
        attraction = (stats.positive_sum + total) / (stats.positive_count + count)
    counts = ~torch.isneginf(lse.detach())
    rows = torch.where(counts, torch.where(counts, lse, 0.0) - attraction, 0.0)
    terms = reduce_rows(rows, counts, weight, reduction, lse)
    return terms if return_terms else terms.loss


def _partners(h: Tensor, others: list[Tensor], temperature: float | Tensor, dtype: torch.dtype) -> Tensor:
    """s of each anchor with its own partners, (B, P)."""
    cosines = row_cosines(h, *others).to(dtype)
    if isinstance(temperature, Tensor):
        temperature = temperature.to(device=cosines.device, dtype=dtype)
    return cosines / temperature


def physioclr_pairs(
    h: Tensor,
    features: Tensor | None,
    patient: Tensor | None,
    threshold: float = 0.25,
    denominator: str = "negatives",
    include_self: bool = False,
) -> Rule:
    """The rule that relates the recordings of a batch; arguments as in :func:`physioclr`, checked against ``h``."""
    if patient is not None:
        check_labels("patient", patient, h)
    if features is None:
        if include_self:
            raise ValueError("include_self needs features; got features=None")
        return label_pairs(torch.arange(h.shape[0], device=h.device) if patient is None else patient)
    if not isinstance(features, Tensor):
        raise TypeError(f"features must be a torch.Tensor; got {type(features).__name__}")
    if features.dim() != 2 or features.shape[0] != h.shape[0] or not features.numel() or features.device != h.device:
        got = f"{tuple(features.shape)} on {features.device}"
        raise ValueError(f"features must have shape ({h.shape[0]}, F) with F >= 1, on {h.device}; got {got}")
    # A recording of the same patient with unlike features is in P and in N; where both make the denominator, once.
    return feature_pairs(features, threshold, patient, denominator == "negatives", include_self)


def _check_has_neighbour(known: Tensor | None, h_neighbour: Tensor | None, h: Tensor) -> Tensor | None:
    if known is None:
        return None
    if h_neighbour is None:
        raise ValueError("has_neighbour says which rows of h_neighbour count; got has_neighbour alone")
    if not isinstance(known, Tensor) or known.dtype != torch.bool:
        kind = known.dtype if isinstance(known, Tensor) else type(known).__name__
        raise TypeError(f"has_neighbour must be a bool tensor; got {kind}")
    if known.shape != h.shape[:1] or known.device != h.device:
        got = f"{tuple(known.shape)} on {known.device}"
        raise ValueError(f"has_neighbour must have shape ({h.shape[0]},) on {h.device}; got {got}")
    return known
