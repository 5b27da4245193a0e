"""PhysioCLR: positives and negatives by physiological features, and reconstruction that looks at peaks."""

from __future__ import annotations

import torch
from torch import Tensor

from ecgloss import _validate
from ecgloss.engine import pair_stats
from ecgloss.engine.normalise import normalise
from ecgloss.functional.rows import RowTerms, check_reduction, reduce_rows
from ecgloss.functional.supcon import POSITIVES, check_labels
from ecgloss.pairs import feature_pairs

DENOMINATORS = ("negatives", "all")


def physioclr(
    h: Tensor,
    h_shuffled: Tensor,
    features: Tensor,
    *,
    h_neighbour: Tensor | None = None,
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
            negative of anybody.
        h_neighbour: (B, D) embeddings of a neighbouring segment of each recording.
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
    check_reduction(reduction, weight, (len(h),), h)
    partners = [("h_shuffled", h_shuffled)] + ([] if h_neighbour is None else [("h_neighbour", h_neighbour)])
    for name, other in partners:
        _validate.check_matrix(name, other)
        if other.shape != h.shape or other.device != h.device:
            expected, got = (f"{tuple(x.shape)} on {x.device}" for x in (h, other))
            raise ValueError(f"{name} must have the shape and device of h, {expected}; got {got}")
    if not isinstance(features, Tensor):
        raise TypeError(f"features must be a torch.Tensor; got {type(features).__name__}")
    if features.dim() != 2 or len(features) != len(h) or not features.numel() or features.device != h.device:
        got = f"{tuple(features.shape)} on {features.device}"
        raise ValueError(f"features must have shape ({len(h)}, F) with F >= 1, on {h.device}; got {got}")
    if patient is not None:
        check_labels("patient", patient, h)
    # A recording of the same patient with unlike features is in P and in N; where both make the denominator, once.
    rule = feature_pairs(features, threshold, patient, denominator == "negatives", include_self)
    stats = pair_stats(h, None, temperature, rule, backend=backend)
    single = _partners(h, [other for _, other in partners], temperature, stats.negative_lse.dtype)  # (B, 1 or 2)
    positive_lse = torch.logsumexp(torch.cat([stats.positive_lse[:, None], single], 1), 1)
    lse = stats.negative_lse
    if denominator == "all":
        lse = torch.logaddexp(lse, positive_lse)
    attraction = positive_lse
    if positives == "mean_out":
        attraction = (stats.positive_sum + single.sum(1)) / (stats.positive_count + single.shape[1])
    counts = ~torch.isneginf(lse.detach())
    rows = torch.where(counts, torch.where(counts, lse, 0.0) - attraction, 0.0)
    terms = reduce_rows(rows, counts, weight, reduction, lse)
    return terms if return_terms else terms.loss


def _partners(h: Tensor, others: list[Tensor], temperature: float | Tensor, dtype: torch.dtype) -> Tensor:
    """s of each anchor with its own partners, (B, P)."""
    with torch.autocast(h.device.type, enabled=False):
        units = [normalise(x) for x in (h, *others)]
        cosines = torch.stack([(units[0] * unit).sum(1) for unit in units[1:]], 1).to(dtype)
        if isinstance(temperature, Tensor):
            temperature = temperature.to(device=cosines.device, dtype=dtype)
        return cosines / temperature


def peak_aware_mse(
    x_hat: Tensor, x: Tensor, peak_mask: Tensor, *, global_weight: float = 0.2, peak_weight: float = 0.1
) -> Tensor:
    """The reconstruction terms of PhysioCLR (arXiv 2509.08116): a MSE(x^, x) + b MSE over samples of P, QRS and T.

    Args:
        x_hat: (..., T) reconstructed signals.
        x: (..., T) signals.
        peak_mask: (..., T) bool, or a shape that broadcasts to it: samples inside P, QRS or T. Without any, the second
            term is 0.
        global_weight: a >= 0.
        peak_weight: b >= 0.

    Returns:
        0-d, fp32 or wider.

    Raises:
        ValueError: for shapes that differ or negative weights.
        TypeError: for signals that are no float tensors or a mask that is not bool.

    Example:
        >>> x, mask = torch.zeros(1, 4), torch.tensor([[True, False, False, True]])
        >>> round(peak_aware_mse(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), x, mask).item(), 4)  # 0.2 / 4 + 0.1 / 2
        0.1
    """
    _validate.check_number("global_weight", global_weight, low=0.0)
    _validate.check_number("peak_weight", peak_weight, low=0.0)
    for name, signal in (("x_hat", x_hat), ("x", x), ("peak_mask", peak_mask)):
        if not isinstance(signal, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor; got {type(signal).__name__}")
        if name != "peak_mask" and signal.dtype not in _validate.FLOATS:
            raise TypeError(f"{name} must be float16, bfloat16, float32 or float64; got {signal.dtype}")
    if x_hat.shape != x.shape:
        raise ValueError(f"x_hat must have the shape of x, {tuple(x.shape)}; got {tuple(x_hat.shape)}")
    if peak_mask.dtype != torch.bool:
        raise TypeError(f"peak_mask must be bool; got {peak_mask.dtype}")
    try:
        mask = peak_mask.expand(x.shape)
    except RuntimeError as error:
        raise ValueError(f"peak_mask must broadcast to {tuple(x.shape)}; got {tuple(peak_mask.shape)}") from error
    wide = torch.promote_types(torch.promote_types(x_hat.dtype, x.dtype), torch.float32)
    squares = (x_hat.to(wide) - x.to(wide)).square()  # the difference of half-precision signals needs more digits
    peaks = torch.where(mask, squares, 0.0).sum() / mask.sum().clamp(min=1)
    return global_weight * squares.mean() + peak_weight * peaks
