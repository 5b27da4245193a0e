"""CLEF as a module."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.distributed import ProcessGroup

from ecgloss import functional
from ecgloss._validate import check_option
from ecgloss.functional.clef import clef_terms
from ecgloss.functional.clef_options import PRESET, resolve
from ecgloss.functional.rows import REDUCTIONS
from ecgloss.losses.base import LogTemperature, Loss


class CLEFLoss(Loss):
    """CLEF as a module; every argument is that of :func:`ecgloss.functional.clef`.

    The temperature may be trained: an ``nn.Parameter``, or a :class:`LogTemperature`. A plain tensor becomes a buffer.

    Example:
        >>> import torch
        >>> criterion = CLEFLoss(preset="official")
        >>> criterion(torch.eye(4), torch.eye(4), torch.tensor([0.01, 0.04, 0.09, 0.2])).shape
        torch.Size([])
    """

    def __init__(
        self,
        preset: str = "paper",
        *,
        temperature: float | Tensor | LogTemperature | Literal["preset"] = PRESET,
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
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        check_option("reduction", reduction, REDUCTIONS)
        self.options = resolve(
            preset,
            temperature=PRESET if isinstance(temperature, LogTemperature) else temperature,
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
        self._hold_temperature(temperature if isinstance(temperature, LogTemperature) else self.options.temperature)
        self.n_attributes = n_attributes
        self.group = group
        self.backend = backend
        self.check_finite = check_finite
        self.reduction = reduction

    def forward(
        self, z1: Tensor, z2: Tensor, risk: Tensor, missing: Tensor | None = None, *, weight: Tensor | None = None
    ) -> Tensor:
        """The loss of two views; shapes as in :func:`ecgloss.functional.clef`."""
        return self._terms(z1, z2, risk, missing, weight, wants_terms=False).loss

    def terms(
        self, z1: Tensor, z2: Tensor, risk: Tensor, missing: Tensor | None = None, *, weight: Tensor | None = None
    ) -> functional.ClefTerms:
        """The loss with its two terms, for logging."""
        return self._terms(z1, z2, risk, missing, weight, wants_terms=True)

    def extra_repr(self) -> str:
        """Options, as ``print`` shows them."""
        trained = () if self.log_temperature is None else ("temperature",)  # which shows itself
        return ", ".join(f"{name}={value!r}" for name, value in vars(self.options).items() if name not in trained)

    def _terms(
        self, z1: Tensor, z2: Tensor, risk: Tensor, missing: Tensor | None, weight: Tensor | None, wants_terms: bool
    ) -> functional.ClefTerms:
        return clef_terms(
            z1,
            z2,
            risk,
            missing,
            self.options,
            temperature=self._tau(),
            n_attributes=self.n_attributes,
            group=self.group,
            backend=self.backend,
            check_finite=self.check_finite,
            weight=weight,
            reduction=self.reduction,
            wants_terms=wants_terms,
        )
