"""CLEF: contrastive learning weighted by clinical risk, with alignment."""

from __future__ import annotations

from typing import Literal, NamedTuple, overload

from torch import Tensor
from torch.distributed import ProcessGroup

from ecgloss import _validate
from ecgloss.engine.dispatch import checked_pair_stats
from ecgloss.engine.distributed import gather_rows
from ecgloss.functional.clef_options import PRESET, ClefOptions, resolve
from ecgloss.functional.rows import check_reduction, gather_weight, reduce_rows, single_positive
from ecgloss.pairs import RiskWeights, risk_pairs


class ClefTerms(NamedTuple):
    """The CLEF loss and its two terms: loss = lambda_w contrastive + lambda_d alignment.

    Attributes:
        loss: 0-d, or (N,) with ``reduction="none"``.
        contrastive: 0-d, or (N,).
        alignment: 0-d.
    """

    loss: Tensor
    contrastive: Tensor
    alignment: Tensor


@overload
def clef(
    z1: Tensor,
    z2: Tensor,
    risk: Tensor,
    missing: Tensor | None = ...,
    *,
    preset: str = ...,
    temperature: float | Tensor | Literal["preset"] = ...,
    alpha: float | Literal["preset"] = ...,
    weight_norm: str = ...,
    similarity: str = ...,
    reliability: str | None = ...,
    nan_risk: str = ...,
    risk_scale: float | str = ...,
    risk_power: int | Literal["preset"] = ...,
    contrastive_weight: float | Literal["preset"] = ...,
    align_weight: float | Literal["preset"] = ...,
    n_attributes: int | None = ...,
    group: ProcessGroup | None = ...,
    backend: str = ...,
    check_finite: bool = ...,
    weight: Tensor | None = ...,
    reduction: str = ...,
    return_terms: Literal[False] = ...,
) -> Tensor: ...


@overload
def clef(
    z1: Tensor,
    z2: Tensor,
    risk: Tensor,
    missing: Tensor | None = ...,
    *,
    preset: str = ...,
    temperature: float | Tensor | Literal["preset"] = ...,
    alpha: float | Literal["preset"] = ...,
    weight_norm: str = ...,
    similarity: str = ...,
    reliability: str | None = ...,
    nan_risk: str = ...,
    risk_scale: float | str = ...,
    risk_power: int | Literal["preset"] = ...,
    contrastive_weight: float | Literal["preset"] = ...,
    align_weight: float | Literal["preset"] = ...,
    n_attributes: int | None = ...,
    group: ProcessGroup | None = ...,
    backend: str = ...,
    check_finite: bool = ...,
    weight: Tensor | None = ...,
    reduction: str = ...,
    return_terms: Literal[True],
) -> ClefTerms: ...


def clef(
    z1: Tensor,
    z2: Tensor,
    risk: Tensor,
    missing: Tensor | None = None,
    *,
    preset: str = "paper",
    temperature: float | Tensor | Literal["preset"] = PRESET,
    alpha: float | Literal["preset"] = PRESET,
    weight_norm: str = PRESET,
    similarity: str = PRESET,
    reliability: str | None = PRESET,
    nan_risk: str = PRESET,
    risk_scale: float | str = PRESET,
    risk_power: int | Literal["preset"] = PRESET,
    contrastive_weight: float | Literal["preset"] = PRESET,
    align_weight: float | Literal["preset"] = PRESET,
    n_attributes: int | None = None,
    group: ProcessGroup | None = None,
    backend: str = "auto",
    check_finite: bool = False,
    weight: Tensor | None = None,
    reduction: str = "mean",
    return_terms: bool = False,
) -> Tensor | ClefTerms:
    r"""CLEF: contrastive loss weighted by clinical risk, plus alignment (arXiv 2512.02180).

    With S the cosine similarities of all N = 2B rows, s = S / tau, p(i) the other view of row i, and W the clinical
    dissimilarity of :mod:`ecgloss.pairs.risk_weights`::

        l_i = log(e^{s_ip} + sum_{k not in {i, p}} omega_ik e^{s_ik}) - s_ip        L_w = mean_i l_i
        L_d = mean_{ik} (S^_ik - (1 - W_b(i)b(k)))^2                               L = lambda_w L_w + lambda_d L_d

    ==================  ======================  =================
    option              preset "paper"          preset "official"
    ==================  ======================  =================
    weight_norm         none (omega = W)        softmax
    similarity          cosine                  minmax
    reliability         multiply                multiply
    nan_risk            neutral                 zero
    lambda_w, lambda_d  1, 1                    1/2, 1/2
    temperature         0.07                    0.07
    alpha               0.2                     0.2
    ==================  ======================  =================

    ``"official"`` is the authors' released training code. Any option overrides its preset.

    Args:
        z1: (B, D) embeddings of the first views, any float dtype; they are normalised here, in fp32 or wider.
        z2: (B, D) embeddings of the second views of the same samples.
        risk: (B,) clinical risk scores, e.g. SCORE2 as a fraction; (B, K) for several scores at once, whose squared
            differences add up (scale the columns to weigh them). NaN = unknown. Data: no gradient flows to it. A NumPy
            array or a column of pandas is copied to the device of z1; so is ``missing``.
        missing: (B,) fraction of the risk's inputs that are missing, in [0, 1], or integer counts with
            ``n_attributes``. None: metadata is complete.
        preset: ``"paper"`` or ``"official"``; ``"preset"`` as the value of any option below means: as the preset says.
        temperature: tau > 0, a float or a 0-d tensor (which gets its gradient if it requires one).
        alpha: Minimum dissimilarity of two patients, in [0, 1].
        weight_norm: ``"none"``, ``"mean"`` (equal risks give NT-Xent) or ``"softmax"``.
        similarity: ``"cosine"``, or ``"minmax"``: scaled over all N^2 entries, with gradient to the extreme pairs.
        reliability: With M_bc = exp(-f_b f_c): ``"multiply"`` W = M D, ``"revert"`` M D + (1-M) mean(D), None D.
        nan_risk: ``"neutral"`` (pairs with an unknown risk get the mean dissimilarity), ``"zero"`` or ``"raise"``.
        risk_scale: ``"minmax"`` over the (global) batch, or a fixed positive scale for |r_b - r_c|^q, cut at 1.
        risk_power: q, 2 or 1.
        contrastive_weight: lambda_w >= 0.
        align_weight: lambda_d >= 0; 0 skips the term.
        n_attributes: What integer ``missing`` is counted out of.
        group: Process group the loss spans; every rank passes its own rows and gets the loss of the global batch, with
            gradients that DistributedDataParallel's averaging turns into the single-process ones.
        backend: ``"auto"``, ``"triton"``, ``"cpp"``, ``"chunked"`` or ``"reference"``; see :func:`ecgloss.backends`.
        check_finite: Raise on NaN or infinite embeddings, naming the rows (synchronises a GPU).
        weight: (B,) or (2B,) weights of the anchors in the contrastive term; with ``group`` those of this rank.
        reduction: ``"mean"`` (of the anchors, by their weights), ``"sum"`` or ``"none"``: (N,) losses of all anchors,
            to each of which the alignment is added.
        return_terms: Return :class:`ClefTerms` instead of the loss alone.

    Returns:
        The loss, a 0-d fp32 tensor (fp64 for fp64 embeddings), or the loss and its terms. With B = 2 samples each
        anchor has two negatives, and min-max risks are 0 and 1 whatever they were: finite, and of little use.

    Raises:
        ValueError: for shapes, devices, ranges or options that are not accepted, naming the argument.
        TypeError: for wrong types or dtypes.

    Example:
        >>> import torch
        >>> z1, z2 = torch.eye(4, requires_grad=True), torch.eye(4)
        >>> risk = torch.tensor([0.02, 0.05, 0.11, float("nan")])
        >>> loss = clef(z1, z2, risk, missing=torch.tensor([0, 1, 0, 6]), n_attributes=6)
        >>> loss.backward()
        >>> z1.grad.shape
        torch.Size([4, 4])
    """
    options = resolve(
        preset,
        temperature=temperature,
        alpha=alpha,
        weight_norm=weight_norm,
        similarity=similarity,
        reliability=reliability,
        nan_risk=nan_risk,
        risk_scale=risk_scale,
        risk_power=risk_power,
        contrastive_weight=contrastive_weight,
        align_weight=align_weight,
    )
    terms = clef_terms(
        z1,
        z2,
        risk,
        missing,
        options,
        n_attributes=n_attributes,
        group=group,
        backend=backend,
        check_finite=check_finite,
        weight=weight,
        reduction=reduction,
        wants_terms=return_terms,
    )
    return terms if return_terms else terms.loss


def clef_terms(
    z1: Tensor,
    z2: Tensor,
    risk: Tensor,
    missing: Tensor | None,
    options: ClefOptions,
    *,
    temperature: float | Tensor | None = None,
    n_attributes: int | None = None,
    group: ProcessGroup | None = None,
    backend: str = "auto",
    check_finite: bool = False,
    weight: Tensor | None = None,
    reduction: str = "mean",
    wants_terms: bool = True,
) -> ClefTerms:
    """The loss for options that are checked already; other arguments as in :func:`clef`.

    A ``temperature`` replaces that of the options, where it is trained. Without ``wants_terms``, only the loss is sure
    to be computed.
    """
    _validate.check_views(z1, z2, check_finite=check_finite)
    risk, missing = _validate.as_tensor(risk, z1), _validate.as_tensor(missing, z1)
    _validate.check_risk(risk, z1, nan_risk=options.nan_risk)
    if missing is not None:
        _validate.check_missing(missing, z1, n_attributes)
    check_reduction(reduction, weight, (z1.shape[0], 2 * z1.shape[0]), z1)
    weight = gather_weight(weight, z1.shape[0], group)
    if group is not None:
        z1, z2, risk = gather_rows(z1, group), gather_rows(z2, group), gather_rows(risk, group)
        missing = None if missing is None else gather_rows(missing, group)
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
    aligns = options.align_weight != 0 or wants_terms
    term_weights = (options.contrastive_weight, options.align_weight if aligns else 0.0)
    stats = checked_pair_stats(
        z1,
        z2,
        None,
        options.temperature if temperature is None else temperature,
        risk_pairs(weights, options.weight_norm),
        options.similarity if aligns else None,
        term_weights,
        backend,
    )
    alignment = stats.alignment
    if reduction == "mean" and weight is None:
        loss = stats.loss(*term_weights)
        contrastive = stats.contrastive() if wants_terms else loss
    else:
        rows, lse = single_positive(stats)
        contrastive = reduce_rows(rows, None, weight, reduction, lse).loss
        loss = term_weights[0] * contrastive
        if alignment is not None:
            loss = loss + term_weights[1] * (rows.shape[0] if reduction == "sum" else 1) * alignment
    return ClefTerms(loss, contrastive, loss if alignment is None else alignment)
