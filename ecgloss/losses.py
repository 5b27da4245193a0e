"""The losses as modules: they hold options and call :mod:`ecgloss.functional`."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn
from torch.distributed import ProcessGroup

from ecgloss import _validate, functional
from ecgloss.options import PRESET, resolve


class _Loss(nn.Module):
    """What the losses share: a temperature that is part of the module's state where it is a tensor."""

    temperature: float | Tensor

    def _hold_temperature(self, temperature: float | Tensor) -> None:
        if isinstance(temperature, Tensor) and not isinstance(temperature, nn.Parameter):
            self.register_buffer("temperature", temperature)
        else:
            self.temperature = temperature


class CLEFLoss(_Loss):
    """CLEF as a module; every argument is that of :func:`ecgloss.functional.clef`.

    An ``nn.Parameter`` as the temperature is trained with the module; a plain tensor becomes a buffer.

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
    ) -> None:
        super().__init__()
        self.options = resolve(
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
        self._hold_temperature(self.options.temperature)
        self.n_attributes = n_attributes
        self.group = group
        self.backend = backend
        self.check_finite = check_finite

    def forward(self, z1: Tensor, z2: Tensor, risk: Tensor, missing: Tensor | None = None) -> Tensor:
        """The loss of two views, 0-d; shapes as in :func:`ecgloss.functional.clef`."""
        return functional.clef(z1, z2, risk, missing, **self._arguments(), return_terms=False)

    def terms(self, z1: Tensor, z2: Tensor, risk: Tensor, missing: Tensor | None = None) -> functional.ClefTerms:
        """The loss with its two terms, for logging."""
        return functional.clef(z1, z2, risk, missing, **self._arguments(), return_terms=True)

    def extra_repr(self) -> str:
        """Options, as ``print`` shows them."""
        return ", ".join(f"{name}={value!r}" for name, value in vars(self.options).items())

    def _arguments(self) -> dict[str, Any]:
        """Keyword arguments of the function."""
        return {
            **vars(self.options),
            "temperature": self.temperature,
            "n_attributes": self.n_attributes,
            "group": self.group,
            "backend": self.backend,
            "check_finite": self.check_finite,
        }


class NTXentLoss(_Loss):
    """NT-Xent (SimCLR) as a module; arguments as in :func:`ecgloss.functional.ntxent`.

    An ``nn.Parameter`` as the temperature is trained with the module; a plain tensor becomes a buffer.

    Example:
        >>> import torch
        >>> NTXentLoss(temperature=0.5)(torch.eye(4), torch.eye(4)).shape
        torch.Size([])
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.07,
        *,
        group: ProcessGroup | None = None,
        backend: str = "auto",
        check_finite: bool = False,
    ) -> None:
        super().__init__()
        _validate.check_temperature(temperature)
        self._hold_temperature(temperature)
        self.group = group
        self.backend = backend
        self.check_finite = check_finite

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """The loss of two views, 0-d; shapes as in :func:`ecgloss.functional.ntxent`."""
        return functional.ntxent(
            z1,
            z2,
            temperature=self.temperature,
            group=self.group,
            backend=self.backend,
            check_finite=self.check_finite,
        )

    def extra_repr(self) -> str:
        """Options, as ``print`` shows them."""
        return f"temperature={self.temperature!r}, backend={self.backend!r}"
