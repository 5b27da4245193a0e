"""Options of a pretraining run; a YAML file or the command line maps onto these."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from ecgloss.data.augment import Augmentation
from ecgloss.data.preprocess import Preprocessing
from ecgloss.functional.clef_options import ClefOptions, resolve

Preset = Literal["preset"]
# Runs begun before these options existed lack them, and go on with their defaults.
_NEWER = frozenset({"momentum", "queue", "bandwidth", "label_column"})


@dataclass(frozen=True)
class ClefConfig:
    """Options of the CLEF loss; "preset" means the preset's value.

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

        Example:
            >>> ClefConfig(preset="official", alpha=0.1).resolve(0.07).weight_norm
            'softmax'
        """
        options = asdict(self)
        if options["reliability"] == "ignore":  # "none" would be read as a missing value on a command line
            options["reliability"] = None
        return resolve(options.pop("preset"), temperature=temperature, **options)


@dataclass(frozen=True)
class PretrainConfig:
    """A pretraining run. The defaults are the CLEF authors' hyper-parameters.

    Attributes:
        data: A folder of WFDB records, a converted cache, or "synthetic" ("synthetic:500" for 500 recordings).
        out: Folder of the run: checkpoints, metrics.jsonl, split.json, card.
        loss: The method: clef, simclr, moco, byol, supcon (recordings of one class are positives), cmsc (recordings of
            one patient are positives) or yaware (recordings of similar age and sex are positives).
        model: Size of the ResNeXt1D: small (0.4 M), medium (31 M) or large (296 M parameters).
        epochs: Passes over the training recordings.
        batch_size: Recordings per step, over all devices.
        lr: Learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        restart_epochs: Epochs of the first cosine cycle of the learning rate.
        restart_factor: Length of each cycle relative to the one before.
        min_lr: Learning rate at the end of a cycle.
        temperature: Temperature of the loss; byol has none.
        clef: Options of the CLEF loss.
        momentum: Momentum of moco's momentum encoder or byol's target network, in [0, 1); "preset" is 0.999 for moco
            and 0.996 for byol.
        queue: Number of keys of earlier batches that moco keeps as negatives, at least batch_size.
        bandwidth: Width of yaware's Gaussian kernel, in standard deviations of age and sex.
        label_column: The classes of supcon: a classification task of the data, or sex. Required for supcon.
        region: SCORE2 risk region, by the cardiovascular mortality of the patients' country: low, moderate, high or
            very_high.
        seconds: Length of the input window in seconds.
        windows: Whether both views show the "same" window of a recording or "independent" windows (which must then be
            shorter than the recordings).
        same_lead_probability: Probability that both views of a recording show the same lead.
        augmentation: Noise and masking of the views.
        sampling_rate: Rate in Hz to which all recordings are resampled.
        low_hz: Lower edge of the pass band in Hz.
        high_hz: Upper edge of the pass band in Hz.
        leads: Leads to train on; default: all leads of each recording.
        seed: Seed of the split, the initial weights, the order of recordings and the augmentation.
        checkpoint_steps: Steps between checkpoints, besides those at the end of every epoch; 0 for these alone.
        keep_checkpoints: How many of the newest checkpoints to keep.
        accelerator: Lightning Fabric accelerator: auto, cpu, cuda, mps.
        devices: Number of devices.
        precision: Lightning Fabric precision, e.g. 32-true, bf16-mixed.
        workers: Number of processes that prepare batches; with 0, the training process does it.
        cache: Folder of converted caches; default: $ECGLOSS_CACHE or ~/.cache/ecgloss.
    """

    data: str
    out: str
    loss: Literal["clef", "simclr", "moco", "byol", "supcon", "cmsc", "yaware"] = "clef"
    model: Literal["small", "medium", "large"] = "small"
    epochs: int = 100
    batch_size: int = 64
    lr: float = 1e-4
    weight_decay: float = 5e-4
    restart_epochs: int = 10
    restart_factor: int = 2
    min_lr: float = 1e-6
    temperature: float = 0.07
    clef: ClefConfig = field(default_factory=ClefConfig)
    momentum: float | Preset = "preset"
    queue: int = 4096
    bandwidth: float = 1.0
    label_column: str | None = None
    region: Literal["low", "moderate", "high", "very_high"] = "moderate"
    seconds: float = 10.0
    windows: Literal["same", "independent"] = "same"
    same_lead_probability: float = 0.8
    augmentation: Augmentation = field(default_factory=Augmentation)
    sampling_rate: float = 500.0
    low_hz: float = 0.67
    high_hz: float = 40.0
    leads: tuple[str, ...] | None = None
    seed: int = 42
    checkpoint_steps: int = 0
    keep_checkpoints: int = 2
    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    workers: int = 0
    cache: str | None = None

    def __post_init__(self) -> None:
        low = {"epochs": 1, "batch_size": 2, "restart_epochs": 1, "restart_factor": 1, "checkpoint_steps": 0}
        low |= {"keep_checkpoints": 1, "devices": 1, "queue": 1}
        low |= {"workers": 0, "weight_decay": 0, "min_lr": 0, "seed": 0}
        for name, least in low.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}; got {getattr(self, name)}")
        if self.seed >= 2**63:
            raise ValueError(f"seed must be below 2**63; got {self.seed}")
        for name in ("lr", "temperature", "seconds", "bandwidth"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive; got {getattr(self, name)}")
        if not 0 <= self.same_lead_probability <= 1:
            raise ValueError(f"same_lead_probability must lie in [0, 1]; got {self.same_lead_probability}")
        self._check_method()

    def _check_method(self) -> None:
        """Options of single methods."""
        if self.momentum != "preset" and not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1); got {self.momentum}")
        if self.loss == "moco" and self.queue < self.batch_size:
            raise ValueError(f"queue must hold a batch of keys: queue is {self.queue}, batch_size {self.batch_size}")
        if self.loss in ("moco", "byol") and self.precision in ("16-true", "bf16-true"):
            raise ValueError(
                f"loss {self.loss} needs another precision, 32-true or a mixed one; got {self.precision}, "
                "in which the small steps of the momentum encoder are rounded away"
            )
        if self.loss == "supcon" and self.label_column is None:
            raise ValueError("loss supcon needs label_column, a classification task of the data such as sex")
        if self.loss != "supcon" and self.label_column is not None:
            raise ValueError(f"label_column is for loss supcon; got {self.label_column} with loss {self.loss}")

    @property
    def preprocessing(self) -> Preprocessing:
        """What is done to every signal."""
        return Preprocessing(self.sampling_rate, self.low_hz, self.high_hz, leads=self.leads)

    @property
    def window(self) -> int:
        """Samples per input window."""
        return round(self.seconds * self.sampling_rate)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON or YAML file."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> PretrainConfig:
        """The inverse of :meth:`to_json`; options that older runs did not have yet may be missing.

        Raises:
            ValueError: for missing or unknown options, or values out of range.

        Example:
            >>> config = PretrainConfig(data="synthetic", out="runs/demo", leads=("I", "II"))
            >>> PretrainConfig.from_json(config.to_json()) == config
            True
        """
        names = {f.name for f in fields(cls)}
        odd = (set(content) ^ names) - _NEWER
        if odd:
            raise ValueError(f"missing or unknown options: {', '.join(sorted(odd))}")
        content = dict(content)
        augmentation = dict(content["augmentation"])
        for name in ("noises", "mask_fraction"):
            augmentation[name] = tuple(augmentation[name])
        content["augmentation"] = Augmentation(**augmentation)
        content["clef"] = ClefConfig(**content["clef"])
        content["leads"] = None if content["leads"] is None else tuple(content["leads"])
        return cls(**content)
