"""SupCon: rows with the same label are positives of each other; patients as labels give CMSC."""

from __future__ import annotations

import torch
from torch import Tensor

from ecgloss import _validate
from ecgloss.engine import pair_stats
from ecgloss.functional.rows import RowTerms, check_reduction, log_add, reduce_rows
from ecgloss.pairs import label_pairs

POSITIVES = ("mean_out", "sum_in")


def supcon(
    z: Tensor,
    labels: Tensor,
    *,
    temperature: float | Tensor = 0.07,
    positives: str = "mean_out",
    backend: str = "auto",
    weight: Tensor | None = None,
    reduction: str = "mean",
    return_terms: bool = False,
) -> Tensor | RowTerms:
    """Supervised contrastive loss (arXiv 2004.11362, equations 2 and 3).

    With P(i) the other rows of the same label and A(i) all other rows::

        mean_out:  l_i = log sum_{a in A(i)} e^{s_ia} - 1/|P(i)| sum_{p in P(i)} s_ip
        sum_in:    l_i = log sum_{a in A(i)} e^{s_ia} - log( 1/|P(i)| sum_{p in P(i)} e^{s_ip} )

    A row with a label of its own has no positives: it contributes 0 and is not counted in the mean (which is 0 if no
    row has any). Patient numbers as labels give the patient-level loss of CLOCS (CMSC, arXiv 2005.13249): views,
    segments and leads of a patient are positives.

    Args:
        z: (N, D) embeddings of all views, one after the other, any float dtype.
        labels: (N,) integers.
        temperature: tau > 0, a float or a 0-d tensor (which gets its gradient if it requires one).
        positives: ``"mean_out"`` (L_out) or ``"sum_in"`` (L_in).
        backend: ``"auto"``, ``"triton"``, ``"cpp"``, ``"chunked"`` or ``"reference"``; see :func:`ecgloss.backends`.
        weight: (N,) weights of the anchors.
        reduction: ``"mean"`` (of the anchors that count, by their weights), ``"sum"`` or ``"none"``: (N,).
        return_terms: Return :class:`RowTerms` instead of the loss alone.

    Returns:
        The loss, a 0-d fp32 tensor (fp64 for fp64 embeddings), or the loss and its terms.

    Raises:
        ValueError: for shapes, devices, ranges or options that are not accepted, naming the argument.
        TypeError: for wrong types or dtypes.

    Example:
        >>> z, labels = torch.eye(3)[[0, 0, 1]], torch.tensor([7, 7, 8])
        >>> terms = supcon(z, labels, temperature=1.0, return_terms=True)
        >>> [round(x, 4) for x in terms.rows.tolist()]  # log(e + 1) - 1; label 8 is alone
        [0.3133, 0.3133, 0.0]
        >>> int(terms.counted)
        2
    """
    _validate.check_matrix("z", z)
    _validate.check_temperature(temperature)
    _validate.check_option("positives", positives, POSITIVES)
    check_reduction(reduction, weight, (z.shape[0],), z)
    check_labels("labels", labels, z)
    stats = pair_stats(z, None, temperature, label_pairs(labels), backend=backend)
    count = stats.positive_count
    counts = count > 0
    friends = torch.where(counts, stats.positive_lse, 0.0)
    everyone = log_add(friends, stats.negative_lse)
    lse = torch.where(counts, everyone, stats.negative_lse)
    if positives == "mean_out":
        attraction = stats.positive_sum / count.clamp(min=1)
    else:
        attraction = friends - torch.log(count.clamp(min=1))
    rows = torch.where(counts, everyone - attraction, 0.0)
    terms = reduce_rows(rows, counts, weight, reduction, lse)
    return terms if return_terms else terms.loss


def check_labels(name: str, labels: Tensor, z: Tensor) -> None:
    """One integer per row of z, on its device."""
    if not isinstance(labels, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor; got {type(labels).__name__}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"{name} must hold integers; got {labels.dtype}")
    if labels.shape != (z.shape[0],):
        raise ValueError(f"{name} must have shape ({z.shape[0]},), one per embedding; got {tuple(labels.shape)}")
    if labels.device != z.device:
        raise ValueError(f"{name} must be on the device of the embeddings, {z.device}; got {labels.device}")
