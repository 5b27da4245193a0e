"""y-Aware InfoNCE: everybody is a positive, by the similarity of metadata."""

from __future__ import annotations

import torch
from torch import Tensor

from ecgloss import _validate
from ecgloss.engine import pair_stats
from ecgloss.functional.rows import RowTerms, check_reduction, reduce_rows
from ecgloss.pairs import gaussian_pairs


def y_aware(
    z1: Tensor,
    z2: Tensor,
    metadata: Tensor,
    *,
    bandwidth: float = 1.0,
    temperature: float | Tensor = 0.07,
    backend: str = "auto",
    weight: Tensor | None = None,
    reduction: str = "mean",
    return_terms: bool = False,
) -> Tensor | RowTerms:
    """y-Aware InfoNCE (arXiv 2106.08808, equation 2), on all N = 2B rows.

    ::

        w_ik = exp(-|y_i - y_k|^2 / (2 sigma^2))        w_ip = 1 for the other view p of a sample
        l_i  = -sum_{k != i} w_ik / (sum_{j != i} w_ij) log( e^{s_ik} / sum_{j != i} e^{s_ij} )

    The authors' code adds the rows of both views up and divides by B, which is twice this mean.

    Args:
        z1: (B, D) embeddings of the first views, any float dtype.
        z2: (B, D) embeddings of the second views of the same samples.
        metadata: (B,) or (B, K) real numbers y, e.g. age and sex, scaled so that distances mean something.
        bandwidth: sigma > 0, in the unit of ``metadata``.
        temperature: tau > 0, a float or a 0-d tensor (which gets its gradient if it requires one).
        backend: ``"auto"``, ``"triton"``, ``"cpp"``, ``"chunked"`` or ``"reference"``; see :func:`ecgloss.backends`.
        weight: (B,) or (2B,) weights of the anchors.
        reduction: ``"mean"`` (of the anchors, by their weights), ``"sum"`` or ``"none"``: (2B,).
        return_terms: Return :class:`RowTerms` instead of the loss alone.

    Returns:
        The loss, a 0-d fp32 tensor (fp64 for fp64 embeddings), or the loss and its terms.

    Raises:
        ValueError: for shapes, devices, ranges or options that are not accepted, NaN metadata included.
        TypeError: for wrong types or dtypes.

    Example:
        >>> z = torch.eye(4)
        >>> far = torch.tensor([0.0, 1e3, 2e3, 3e3])  # all ages far apart: NT-Xent
        >>> round(y_aware(z, z, far, temperature=1.0).item(), 4)
        1.1654
    """
    _validate.check_views(z1, z2, check_finite=False)
    _validate.check_temperature(temperature)
    check_reduction(reduction, weight, (z1.shape[0], 2 * z1.shape[0]), z1)
    if not isinstance(metadata, Tensor):
        raise TypeError(f"metadata must be a torch.Tensor; got {type(metadata).__name__}")
    if metadata.dim() not in (1, 2) or metadata.shape[0] != z1.shape[0] or not metadata.numel():
        shapes = f"({z1.shape[0]},) or ({z1.shape[0]}, K) with K >= 1"
        raise ValueError(f"metadata must have shape {shapes}; got {tuple(metadata.shape)}")
    if metadata.device != z1.device:
        raise ValueError(f"metadata must be on the device of z1, {z1.device}; got {metadata.device}")
    rule = gaussian_pairs(torch.cat([metadata, metadata]), bandwidth)
    stats = pair_stats((z1, z2), None, temperature, rule, backend=backend)
    rows = stats.negative_lse - stats.positive_sum / stats.positive_count
    terms = reduce_rows(rows, None, weight, reduction, stats.negative_lse)
    return terms if return_terms else terms.loss
