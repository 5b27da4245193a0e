"""PhysioCLR: recordings of like physiology attract, beats are shuffled, and waves are reconstructed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from ecgloss._validate import check_number
from ecgloss.functional.physioclr import physioclr, physioclr_pairs
from ecgloss.functional.reconstruction import squared_errors
from ecgloss.models.encoder import Encoder
from ecgloss.models.physioclr import PhysioCLRDecoder
from ecgloss.pairs import shares
from ecgloss.train.methods.base import Terms, widened
from ecgloss.train.methods.momentum import MomentumMethod, momentum_copy
from ecgloss.train.pair_features import PairFeatures, quantile_of
from ecgloss.train.seeds import generator

if TYPE_CHECKING:
    from ecgloss.train.beat_views import Beats
    from ecgloss.train.config import PretrainConfig
    from ecgloss.train.side_information import SideInformation
    from ecgloss.train.waves import Waves


@dataclass(frozen=True)
class PhysioClrConfig:
    """Options of PhysioCLR.

    Attributes:
        pairs: Positives besides the shuffled view: patient (neighbouring segment and other recordings of the patient),
            features (recordings of like physiology), both, or none.
        shuffle: Whether the second view has its beats shuffled.
        reconstruction: Whether the signals are reconstructed from the encoder's tokens.
        global_weight: Weight of the reconstruction error of all samples.
        peak_weight: Weight of the reconstruction error inside P, QRS and T.
        threshold: Cosine of features, in [-1, 1], from which on recordings are alike; or quantile:Q, that quantile of
            the cosines of training recordings.
        features: What is compared: physiology (150 features of one lead), or encoder (a momentum encoder's embeddings).
        components: Principal components of the features.
        denominator: What an anchor is pushed away from: negatives, or all (its positives as well).
        positives: Positives of an anchor: sum_in (the log of their sum) or mean_out (the mean of their logarithms).
        projection: Width of the head that the contrastive term sees; 0 for none.
    """

    pairs: Literal["both", "patient", "features", "none"] = "both"
    shuffle: bool = True
    reconstruction: bool = True
    global_weight: float = 0.2
    peak_weight: float = 0.1
    threshold: float | str = 0.25
    features: Literal["physiology", "encoder"] = "physiology"
    components: int = 50
    denominator: Literal["negatives", "all"] = "negatives"
    positives: Literal["sum_in", "mean_out"] = "sum_in"
    projection: int = 128

    @property
    def has_neighbours(self) -> bool:
        """Whether a neighbouring segment, and other recordings of the patient, are positives."""
        return self.pairs in ("patient", "both")

    @property
    def has_features(self) -> bool:
        """Whether recordings of like physiology are positives."""
        return self.pairs in ("features", "both")

    def check(self) -> None:
        """Check every value.

        Raises:
            ValueError: for one that is not accepted, naming the option.
        """
        for name in ("global_weight", "peak_weight"):
            check_number(f"physioclr.{name}", getattr(self, name), low=0.0)
        if self.components < 1 or self.projection < 0:
            raise ValueError(
                "physioclr.components must be at least 1 and physioclr.projection at least 0; "
                f"got {self.components} and {self.projection}"
            )
        try:
            quantile_of(self.threshold)
        except ValueError as error:
            raise ValueError(f"physioclr.{error}") from error


@dataclass(frozen=True)
class PhysioClrRunOptions:
    """Options of a run that only PhysioCLR has.

    Attributes:
        physioclr: Options of PhysioCLR.
    """

    physioclr: PhysioClrConfig = field(default_factory=PhysioClrConfig)


class PhysioClr(MomentumMethod):
    """L = L_con + a MSE + b MSE inside the waves (arXiv 2509.08116); each of the terms can be switched off.

    With ``features="encoder"``, C is the cosine of a momentum encoder's embeddings, centred and scaled per dimension
    over the batch, since those of an untrained encoder are nearly parallel.
    """

    name = "physioclr"
    hint = "like physiology, shuffled beats, reconstruction"
    usual_momentum = 0.999
    usual_temperature = 0.1

    def __init__(self, config: PretrainConfig, encoder: Encoder, group: ProcessGroup | None) -> None:
        super().__init__(config, encoder, group)
        self.options, self.temperature = config.physioclr, config.tau
        self.threshold: float | None = None if quantile_of(self.options.threshold) else float(self.options.threshold)
        self.learned: PairFeatures | None = None
        self.momentum_encoder = momentum_copy(encoder, self.momentum) if self._compares_embeddings else None
        width = self.options.projection
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator(config.seed, "head", "physioclr").initial_seed())
            self.projection = _head(encoder.out_features, width) if width else nn.Identity()
            self.decoder = _decoder(encoder, config) if self.options.reconstruction else None

    @classmethod
    def check_options(cls, config: PretrainConfig) -> None:
        """Its own options; the momentum matters where the encoder gives the features."""
        config.physioclr.check()
        if config.physioclr.features == "encoder":
            super().check_options(config)

    @classmethod
    def brings_patients_together(cls, config: PretrainConfig) -> bool:
        """Where other recordings of the patient are positives."""
        return config.physioclr.has_neighbours

    @classmethod
    def needs_waves(cls, config: PretrainConfig) -> bool:
        """Always: for features, for the beats that are shuffled, or for the waves that are reconstructed."""
        return True

    @classmethod
    def needs_features(cls, config: PretrainConfig) -> bool:
        """Where they say which recordings are alike."""
        return config.physioclr.has_features and config.physioclr.features == "physiology"

    @property
    def _compares_embeddings(self) -> bool:
        return self.options.has_features and self.options.features == "encoder"

    def learn(self, waves: Waves) -> None:
        """Take scaler and threshold from the training recordings."""
        self.learned = waves.features
        if waves.features is not None:
            self.threshold = waves.features.threshold(self.options.threshold)

    def forward(
        self, encoder: nn.Module, view1: Tensor, view2: Tensor, side: SideInformation, beats: Beats | None = None
    ) -> Terms:
        """The loss, and its terms; without ``beats`` there are no neighbouring segments and no reconstruction."""
        known = None if beats is None or not self.options.has_neighbours else beats.has_neighbour
        views = [view1, view2] if beats is None or known is None else [view1, view2, beats.neighbour[known]]
        tokens, embeddings = self._encode(encoder, torch.cat(views))
        h, shuffled, *beside = self.projection(embeddings).split([len(view) for view in views])
        contrastive, parts = self._contrastive(
            h, shuffled, beside, known, view1 if beats is None else beats.target, side
        )
        loss, parts = contrastive, {"contrastive": contrastive, **parts}
        if self.decoder is not None and tokens is not None and beats is not None:
            mse, peak_mse = self._reconstruction(tokens[: len(view1)], beats)
            loss = loss + self.options.global_weight * mse + self.options.peak_weight * peak_mse
            parts |= {"mse": mse, "peak_mse": peak_mse}
        if beats is not None and self.options.shuffle:
            parts["unchanged"] = self.gather(beats.unchanged.float()).mean()
        return Terms(loss, parts, (h, shuffled))

    def _encode(self, encoder: nn.Module, x: Tensor) -> tuple[Tensor | None, Tensor]:
        """Tokens where they are reconstructed from, and embeddings, which are then their means."""
        if self.decoder is None:
            return None, widened(encoder(x))
        tokens: Tensor = encoder.tokens(x)  # type: ignore[operator]
        return tokens, widened(tokens.mean(1))

    def _contrastive(
        self,
        h: Tensor,
        shuffled: Tensor,
        beside: list[Tensor],
        known: Tensor | None,
        clean: Tensor,
        side: SideInformation,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The contrastive term of the whole batch, and the shares of positives and negatives."""
        h, shuffled, beside = widened(h), widened(shuffled), [widened(x) for x in beside]
        neighbour = None
        if known is not None:
            neighbour = self.gather(shuffled.masked_scatter(known[:, None], torch.cat(beside)))
        h, shuffled, patient = self.gather(h), self.gather(shuffled), self.gather(side.patient)
        bad = None if side.usable is None else ~self.gather(side.usable)
        if known is not None:
            known = self.gather(known)
            known = known if bad is None else known & ~bad
        if bad is not None:  # such an anchor has a patient of its own
            patient = torch.where(bad, -1 - torch.arange(len(bad), device=bad.device), patient)
        features, threshold = self._features(clean, side, bad)
        together = patient if self.options.has_neighbours else None
        loss = physioclr(
            h,
            shuffled,
            features,
            h_neighbour=neighbour,
            has_neighbour=known,
            patient=together,
            threshold=threshold,
            temperature=self.temperature,
            denominator=self.options.denominator,
            positives=self.options.positives,
        )
        assert isinstance(loss, Tensor)
        rule = physioclr_pairs(h, features, together, threshold, self.options.denominator)
        return loss, shares(rule, h.device)._asdict()

    def _features(self, clean: Tensor, side: SideInformation, bad: Tensor | None) -> tuple[Tensor | None, float]:
        """What is compared, and the threshold; zeros, unlike all others, where nothing is known."""
        if not self.options.has_features:
            return None, 0.0
        if self.momentum_encoder is None:
            if side.features is None or self.threshold is None:
                raise ValueError("pairs by features need side.features, and learn() where the threshold is a quantile")
            features, threshold = self.gather(side.features), self.threshold
        else:
            with torch.no_grad():
                embeddings = self.gather(widened(self.momentum_encoder(clean)))
                centred = embeddings - embeddings.mean(0)
                features = centred / centred.square().mean(0).sqrt().clamp(min=1e-12)
                threshold = self._batch_threshold(features)
        if bad is not None:
            # cos = 0: negatives of all, which leaves the shuffled view; not where 0 would be alike
            features = torch.where(bad[:, None], 0.0 if threshold > 0 else torch.nan, features)
        return features, threshold

    def _batch_threshold(self, features: Tensor) -> float:
        """The threshold on cosines of embeddings; a quantile is that of pairs of the batch, eight per row."""
        q = quantile_of(self.options.threshold)
        if q is None:
            return float(self.options.threshold)
        unit = torch.nn.functional.normalize(features, dim=1)
        shifts = range(1, min(8, len(unit) - 1) + 1)
        cosines = torch.cat([(unit * unit.roll(shift, 0)).sum(1) for shift in shifts])
        return float(torch.quantile(cosines.float(), q).clamp(-1, 1))

    def _reconstruction(self, tokens: Tensor, beats: Beats) -> tuple[Tensor, Tensor]:
        """Mean squared errors over the whole batch: of all samples, and of those inside waves."""
        assert self.decoder is not None
        errors = squared_errors(self.decoder(tokens, beats.target.shape[-1]), beats.target, beats.waves[:, None])
        sums = self.gather(torch.stack([errors.all, errors.peaks])[None]).sum(0)
        counts = self.gather(torch.tensor([[beats.target.numel()]], device=sums.device)).sum()
        return sums[0] / counts, sums[1] / self.gather(errors.peak_samples[None]).sum().clamp(min=1)

    def after_step(self, encoder: nn.Module) -> None:
        """The momentum encoder follows, where there is one."""
        if self.momentum_encoder is not None:
            self.momentum_encoder.update_parameters(encoder)

    def describe(self) -> dict[str, Any]:
        """Every option, the threshold as it is used (null: of every batch), and the scaling of the features."""
        scaler = {} if self.learned is None else {"scaler": self.learned.scaler.to_json()}
        momentum = {"momentum": self.momentum} if self.momentum_encoder is not None else {}
        asked = {**asdict(self.options), "threshold": self.threshold, "threshold_option": self.options.threshold}
        return {"temperature": self.temperature, **asked, **momentum, **scaler}

    def check(self, config: PretrainConfig, side: SideInformation, gaps: Mapping[str, str]) -> list[str]:
        """Recordings without usable features are allowed; their shuffled view is then their only positive."""
        notes = [gaps["waves"]] if "waves" in gaps else []
        if self.threshold is not None and self.learned is not None:
            alike = float((self.learned.cosines >= self.threshold).float().mean())
            notes.append(f"threshold {self.threshold:.3f}: {alike:.1%} of the pairs of training recordings are alike")
        if self.options.has_neighbours:
            patients, counts = side.patient.unique(return_counts=True)
            several = int((counts > 1).sum())
            notes.append(f"{several} of {len(patients)} training patients have more than one recording")
        return notes


def _head(inputs: int, width: int) -> nn.Sequential:
    """Two layers without batch statistics, so that processes need not exchange any."""
    return nn.Sequential(nn.Linear(inputs, inputs), nn.GELU(), nn.Linear(inputs, width))


def _decoder(encoder: Encoder, config: PretrainConfig) -> PhysioCLRDecoder:
    """A decoder that fits the encoder's tokens.

    Raises:
        ValueError: if the encoder has none.
    """
    if not hasattr(encoder, "tokens"):
        raise ValueError(
            f"loss physioclr reconstructs signals from tokens: model {config.model} has no method tokens(x), "
            "(B, C, T) -> (B, N, D) with the embedding as their mean; add one, choose --model physioclr-small, "
            "or switch it off with --physioclr.reconstruction false"
        )
    parameter = next(encoder.parameters())
    with torch.no_grad():
        x = torch.zeros(1, encoder.in_channels, config.window, device=parameter.device, dtype=parameter.dtype)
        tokens = cast(Callable[[Tensor], Tensor], encoder.tokens)(x)
    doublings = max(math.ceil(math.log2(config.window / tokens.shape[1])), 0)
    return PhysioCLRDecoder(tokens.shape[2], encoder.in_channels, doublings=doublings)
