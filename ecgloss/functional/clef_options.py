"""Options of the CLEF loss: presets, overrides, checks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

from torch import Tensor

from ecgloss._validate import check_number, check_option, check_temperature
from ecgloss.pairs import WEIGHT_NORMS
from ecgloss.pairs.risk_weights import NAN_RISK, RELIABILITY

PRESET: Final = "preset"  # as the value of an option: take what the preset says
SIMILARITIES = ("cosine", "minmax")


@dataclass(frozen=True)
class ClefOptions:
    """Every option of the CLEF loss.

    Attributes:
        temperature: tau.
        alpha: Minimum dissimilarity in [0, 1].
        weight_norm: omega = W (``"none"``), W over its row mean (``"mean"``) or softmax of the row (``"softmax"``).
        similarity: What the alignment compares with 1 - W: ``"cosine"`` or ``"minmax"``-scaled cosine.
        reliability: What missing metadata does to W: ``"multiply"``, ``"revert"`` or None.
        nan_risk: What an unknown risk does: ``"neutral"``, ``"zero"`` or ``"raise"``.
        risk_scale: ``"minmax"`` over the batch or a fixed positive scale.
        risk_power: Exponent q of the risk difference, 2 or 1.
        contrastive_weight: lambda_w.
        align_weight: lambda_d.
    """

    temperature: float | Tensor = 0.07
    alpha: float = 0.2
    weight_norm: str = "none"
    similarity: str = "cosine"
    reliability: str | None = "multiply"
    nan_risk: str = "neutral"
    risk_scale: float | str = "minmax"
    risk_power: int = 2
    contrastive_weight: float = 1.0
    align_weight: float = 1.0

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_number("alpha", self.alpha, low=0.0, high=1.0)
        check_option("weight_norm", self.weight_norm, WEIGHT_NORMS)
        check_option("similarity", self.similarity, SIMILARITIES)
        check_option("reliability", self.reliability, RELIABILITY)
        check_option("nan_risk", self.nan_risk, NAN_RISK)
        check_option("risk_power", self.risk_power, (1, 2))
        check_number("contrastive_weight", self.contrastive_weight, low=0.0)
        check_number("align_weight", self.align_weight, low=0.0)
        if isinstance(self.risk_scale, str):
            check_option("risk_scale", self.risk_scale, ("minmax", "a positive number"))
        else:
            check_number("risk_scale", self.risk_scale, low=0.0, open_low=True)


NAMES: Final = tuple(option.name for option in fields(ClefOptions))
PRESETS: Final = {
    "paper": ClefOptions(),
    "official": ClefOptions(
        weight_norm="softmax", similarity="minmax", nan_risk="zero", contrastive_weight=0.5, align_weight=0.5
    ),
}


def resolve(preset: str, **overrides: Any) -> ClefOptions:
    """The preset's options with those overrides that are not ``"preset"``.

    Raises:
        ValueError: for an unknown preset or a value that is not accepted, naming the option.
        TypeError: for a value of the wrong type.

    Example:
        >>> resolve("official", alpha=0.1, similarity="preset").alpha
        0.1
    """
    check_option("preset", preset, PRESETS)
    given = {}
    for name, value in overrides.items():
        if name not in NAMES:
            raise TypeError(f"the CLEF loss has no option {name!r}; it has {', '.join(NAMES)}")
        if not (isinstance(value, str) and value == PRESET):
            given[name] = value
    if not given:
        return PRESETS[preset]
    # Neither dataclasses.replace nor __dict__: torch.compile traces them in no version, or only in some.
    return ClefOptions(**{name: given.get(name, getattr(PRESETS[preset], name)) for name in NAMES})
