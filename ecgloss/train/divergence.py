"""A run that diverges: said with its step and what to try, and never saved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from ecgloss.models.pretrained import not_finite


def refuse_not_finite(loss: float, step: int, options: Mapping[str, Any]) -> None:
    """Refuse a loss that is NaN or infinite.

    Args:
        loss: Its value.
        step: The step, from 1.
        options: Those of the run, of which some can help.

    Raises:
        FloatingPointError: Says at which step, and what to try.

    Example:
        >>> refuse_not_finite(float("nan"), 7, {"lr": 10.0, "precision": "32-true"})
        Traceback (most recent call last):
            ...
        FloatingPointError: the loss is nan at step 7: training has diverged. The newest checkpoint is from before and \
can be used. Train again, into another --out, with --lr below 10.0
    """
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss} at step {step}: {_advice(options)}")


def refuse_diverged(step: int, options: Mapping[str, Any], encoder: nn.Module, method: nn.Module) -> None:
    """Refuse weights that are NaN or infinite, before they are saved.

    Args:
        step: Steps done.
        options: As above.
        encoder: Of which all parameters and buffers must be finite.
        method: Of which all parameters must be; a queue may hold unknown risks.

    Raises:
        FloatingPointError: Says at which step, and what to try.
    """
    for name, tensors in {"encoder": encoder.state_dict(), "method": dict(method.named_parameters())}.items():
        bad = not_finite(tensors)
        if bad:
            raise FloatingPointError(
                f"the {name} holds NaN or infinity after step {step}, in {bad[0]}: {_advice(options)}"
            )


def _advice(options: Mapping[str, Any]) -> str:
    """What to try."""
    ways = [f"--lr below {options['lr']}"] if "lr" in options else ["a lower --lr"]
    if isinstance(options.get("temperature"), float):
        ways.append(f"--temperature above {options['temperature']}")
    if options.get("precision", "32-true") != "32-true":
        ways.append("--precision 32-true")
    return (
        "training has diverged. The newest checkpoint is from before and can be used. Train again, into another --out, "
        f"with {' or '.join(ways)}"
    )
