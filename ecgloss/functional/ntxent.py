"""NT-Xent, the loss of SimCLR."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor
from torch.distributed import ProcessGroup

from ecgloss import _validate
from ecgloss.engine.dispatch import checked_pair_stats
from ecgloss.engine.distributed import gather_rows
from ecgloss.functional.rows import RowTerms, check_reduction, gather_weight, reduce_rows, single_positive
from ecgloss.pairs import view_pairs


@overload
def ntxent(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: float | Tensor = ...,
    group: ProcessGroup | None = ...,
    backend: str = ...,
    check_finite: bool = ...,
    weight: Tensor | None = ...,
    reduction: str = ...,
    return_terms: Literal[False] = ...,
) -> Tensor: ...


@overload
def ntxent(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: float | Tensor = ...,
    group: ProcessGroup | None = ...,
    backend: str = ...,
    check_finite: bool = ...,
    weight: Tensor | None = ...,
    reduction: str = ...,
    return_terms: Literal[True],
) -> RowTerms: ...


def ntxent(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: float | Tensor = 0.07,
    group: ProcessGroup | None = None,
    backend: str = "auto",
    check_finite: bool = False,
    weight: Tensor | None = None,
    reduction: str = "mean",
    return_terms: bool = False,
) -> Tensor | RowTerms:
    """NT-Xent, the loss of SimCLR (arXiv 2002.05709, equation 1).

    ::

        l_i = log(sum_{k != i} e^{s_ik}) - s_ip        s = cos / tau        L = mean over all N = 2B rows

    Args:
        z1: (B, D) embeddings of the first views, any float dtype.
        z2: (B, D) embeddings of the second views of the same samples.
        temperature: tau > 0, a float or a 0-d tensor (which gets its gradient if it requires one).
        group: Process group the loss spans, as in :func:`clef`.
        backend: ``"auto"``, ``"triton"``, ``"cpp"``, ``"chunked"`` or ``"reference"``; see :func:`ecgloss.backends`.
        check_finite: Raise on NaN or infinite embeddings, naming the rows (synchronises a GPU).
        weight: (B,) or (2B,) weights of the anchors; with ``group`` those of this rank.
        reduction: ``"mean"`` (of the anchors, by their weights), ``"sum"`` or ``"none"``: (2B,).
        return_terms: Return :class:`RowTerms` instead of the loss alone.

    Returns:
        The loss, a 0-d fp32 tensor (fp64 for fp64 embeddings), or the loss and its terms.

    Raises:
        ValueError: for shapes, devices, ranges or options that are not accepted, naming the argument.
        TypeError: for wrong types or dtypes.

    Example:
        >>> import torch
        >>> z = torch.eye(4)
        >>> round(ntxent(z, z, temperature=1.0).item(), 4)  # log(e + 6) - 1
        1.1654
        >>> ntxent(z, z, reduction="none").shape
        torch.Size([8])
    """
    _validate.check_views(z1, z2, check_finite=check_finite)
    _validate.check_temperature(temperature)
    check_reduction(reduction, weight, (z1.shape[0], 2 * z1.shape[0]), z1)
    weight = gather_weight(weight, z1.shape[0], group)
    if group is not None:
        z1, z2 = gather_rows(z1, group), gather_rows(z2, group)
    stats = checked_pair_stats(z1, z2, None, temperature, view_pairs(z1.shape[0]), backend=backend)
    if reduction == "mean" and weight is None and not return_terms:
        return stats.loss()
    rows, lse = single_positive(stats)
    terms = reduce_rows(rows, None, weight, reduction, lse)
    return terms if return_terms else terms.loss
