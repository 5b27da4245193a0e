"""What the loss modules share: temperatures, fixed or trained."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ecgloss._transforms import differentiates_forward
from ecgloss._validate import check_number, check_temperature


class LogTemperature(nn.Module):
    """A temperature that is trained by its logarithm, as in CLIP (arXiv 2103.00020): it stays positive.

    Pass it as the ``temperature`` of any loss module, or call it for the 0-d tensor that the functions take. Put
    its parameter into an optimiser group without weight decay.

    Args:
        initial: Temperature at the start.
        low: Least temperature it may reach; CLIP's is 0.01.
        high: Largest temperature.

    Raises:
        ValueError: unless 0 < low <= initial <= high.
        TypeError: for values that are no numbers.

    Example:
        >>> temperature = LogTemperature(0.1)
        >>> round(temperature().item(), 4)
        0.1
        >>> [name for name, _ in temperature.named_parameters()]
        ['log']
    """

    def __init__(self, initial: float = 0.07, *, low: float = 0.01, high: float = 10.0) -> None:
        super().__init__()
        check_number("low", low, low=0.0, open_low=True)
        check_number("high", high, low=low)
        check_number("initial", initial, low=low, high=high)
        self.low, self.high = low, high
        self.log = nn.Parameter(torch.tensor(math.log(initial)))

    def forward(self) -> Tensor:
        """The temperature, 0-d, cut to [low, high]; beyond them a gradient can only lead back."""
        tau: Tensor = self.log.exp()
        if differentiates_forward():
            return tau.clamp(self.low, self.high)
        bounded: Tensor = _Bounded.apply(tau, self.low, self.high)
        return bounded

    def extra_repr(self) -> str:
        """Bounds, as ``print`` shows them."""
        return f"low={self.low}, high={self.high}"


class _Bounded(torch.autograd.Function):
    """A clamp that lets gradients pass which lead back inside: a plain one would hold a temperature there for good."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, low: float, high: float) -> Tensor:
        return x.clamp(low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, float], output: Tensor) -> None:
        x, *ctx.bounds = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        low, high = ctx.bounds
        # Descent goes against the gradient: below, a positive one leads further down.
        outward = ((x < low) & (g > 0)) | ((x > high) & (g < 0))
        return torch.where(outward, 0.0, g), None, None


class Loss(nn.Module):
    """A temperature that is part of the module's state where it is a tensor, a parameter or a module."""

    temperature: float | Tensor

    def _hold_temperature(self, temperature: float | Tensor | LogTemperature) -> None:
        self.log_temperature = temperature if isinstance(temperature, LogTemperature) else None
        if isinstance(temperature, LogTemperature):
            return
        check_temperature(temperature)
        if isinstance(temperature, Tensor) and not isinstance(temperature, nn.Parameter):
            self.register_buffer("temperature", temperature)
        else:
            self.temperature = temperature

    def _tau(self) -> float | Tensor:
        """The temperature as the functions take it."""
        if self.log_temperature is not None:
            tau: Tensor = self.log_temperature()
            return tau
        return self.temperature
