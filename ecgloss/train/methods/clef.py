"""CLEF: negatives weighted by clinical risk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn
from torch.distributed import ProcessGroup

from ecgloss.functional import monitor
from ecgloss.functional.clef_options import ClefOptions, resolve
from ecgloss.losses import CLEFLoss
from ecgloss.models.encoder import Encoder
from ecgloss.pairs.look import look_at_weights
from ecgloss.risk import region_of
from ecgloss.train.methods.base import Method, Terms, embed

if TYPE_CHECKING:
    from ecgloss.train.config import PretrainConfig
    from ecgloss.train.side_information import SideInformation

Preset = Literal["preset"]
_WEIGHTS = ("alpha", "risk_scale", "risk_power", "reliability", "nan_risk")


@dataclass(frozen=True)
class ClefConfig:
    """Options of the CLEF loss; "preset" takes the preset's value.

    A preset is a named set of values of all options: that of the paper, or that of the authors' released code.

    Attributes:
        preset: "paper" for the paper's formulas, or "official" for the authors' released code.
        alpha: Dissimilarity of two patients with equal risks, in [0, 1].
        weight_norm: Weights of negatives: none (W), mean (W divided by its row mean) or softmax (of the row of W).
        similarity: Similarity in the alignment term: cosine, or minmax (cosine scaled by its range in the batch).
        reliability: Effect of missing metadata on the weight of a pair: multiply (lower it), revert (move it towards
            the mean dissimilarity) or ignore.
        nan_risk: Treatment of an unknown risk: neutral (its pairs get the mean dissimilarity of known pairs), zero (the
            risk is set to 0) or raise (an error).
        risk_scale: Scale of the risk differences |r_b - r_c|^q: "minmax" (their maximum in the batch), or a fixed
            positive number.
        risk_power: Exponent q of the risk difference, 2 or 1.
        contrastive_weight: Weight of the contrastive term.
        align_weight: Weight of the alignment term.
    """

    preset: Literal["paper", "official"] = "paper"
    alpha: float | Preset = "preset"
    weight_norm: Literal["preset", "none", "mean", "softmax"] = "preset"
    similarity: Literal["preset", "cosine", "minmax"] = "preset"
    reliability: Literal["preset", "multiply", "revert", "ignore"] = "preset"
    nan_risk: Literal["preset", "neutral", "zero", "raise"] = "preset"
    risk_scale: float | Literal["preset", "minmax"] = "preset"
    risk_power: Literal["preset", 1, 2] = "preset"
    contrastive_weight: float | Preset = "preset"
    align_weight: float | Preset = "preset"

    def resolve(self, temperature: float) -> ClefOptions:
        """The options of the loss with the preset filled in.

        Raises:
            ValueError: for a value that is not accepted, naming the option.

        Example:
            >>> ClefConfig(preset="official", alpha=0.1).resolve(0.07).weight_norm
            'softmax'
        """
        options = asdict(self)
        if options["reliability"] == "ignore":  # "none" would be read as a missing value on a command line
            options["reliability"] = None
        return resolve(options.pop("preset"), temperature=temperature, **options)


@dataclass(frozen=True)
class ClefRunOptions:
    """Options of a run that only CLEF has.

    Attributes:
        clef: Options of the CLEF loss.
    """

    clef: ClefConfig = field(default_factory=ClefConfig)


class Clef(Method):
    """CLEF on the embeddings and the risks of a batch."""

    name = "clef"
    compares_risk = True

    def __init__(self, config: PretrainConfig, encoder: Encoder, group: ProcessGroup | None) -> None:
        super().__init__(config, encoder, group)
        country = config.metadata.country
        self.risk, self.region = config.risk, config.region if country is None else region_of(country)
        self.criterion = CLEFLoss(**vars(config.clef.resolve(config.tau)), group=group)

    @classmethod
    def check_options(cls, config: PretrainConfig) -> None:
        """The loss accepts every option."""
        config.clef.resolve(config.tau)

    def forward(self, encoder: nn.Module, view1: Tensor, view2: Tensor, side: SideInformation) -> Terms:
        """The loss, and its two terms."""
        z1, z2 = embed(encoder, view1, view2)
        loss, contrastive, alignment = self.criterion.terms(z1, z2, side.risk, side.missing)
        return Terms(loss, {"contrastive": contrastive, "alignment": alignment}, (z1, z2))

    def monitor(self, z1: Tensor, z2: Tensor, side: SideInformation) -> dict[str, Tensor]:
        """Monitors, with the effective number of negatives by the weights of the loss."""
        z1, z2, risk, missing = (self.gather(x) for x in (z1, z2, side.risk, side.missing))
        return monitor(z1, z2, risk, missing, options=self.criterion.options)._asdict()

    def describe(self) -> dict[str, Any]:
        """Risk, its region ("prevent" for the USA), and the options of the loss with its preset filled in."""
        return {"risk": self.risk, "region": self.region, **vars(self.criterion.options)}

    def check(self, config: PretrainConfig, side: SideInformation, gaps: Mapping[str, str]) -> list[str]:
        """Unknown risks are allowed; weights that hardly tell patients apart are named."""
        options = vars(self.criterion.options)
        look = look_at_weights(side.risk, side.missing, **{name: options[name] for name in _WEIGHTS})
        return ([gaps["risk"]] if "risk" in gaps else []) + look.sentences("clef.risk_scale")
