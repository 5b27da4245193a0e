"""Options of a pretraining run; a YAML file or the command line maps onto these.

Options that only one method has are in its module, see :mod:`ecgloss.train.methods`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, Literal

from ecgloss._value_types import check_values
from ecgloss.data.augment import Augmentation
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.recording import STANDARD_LEADS, normalise_lead
from ecgloss.models.card_check import LONGEST_S, MOST_LEADS
from ecgloss.models.registry import check_model
from ecgloss.train.metadata import BEFORE, MetadataOptions
from ecgloss.train.methods import METHODS, MethodOptions
from ecgloss.train.schedule import Kind, Schedule

KINDS, WATCHED, PARTS = ("restarts", "cosine", "constant"), ("validation", "training"), ("train", "all")
LOGGERS = (None, "tensorboard", "wandb", "csv")

_LATER = {
    "in_channels",
    "table",
    "columns",
    "units",
    "source_rate",
    "dataset_name",
    "split",
    "fractions",
    "risk",
    "notch_hz",
    "normalisation",
    "metadata",
    "schedule",
    "warmup_epochs",
    "accumulate",
    "clip_norm",
    "patience",
    "min_delta",
    "watch",
    "train_on",
    "validate",
    "log_steps",
    "logger",
}  # options that a config.json may lack

# More is a typing error, or a damaged file, and would take any amount of memory or time.
MOST = {"in_channels": MOST_LEADS, "seconds": LONGEST_S, "workers": 1024, "devices": 10_000, "queue": 2**26}
MOST |= {"epochs": 10**9, "restart_epochs": 10**9, "restart_factor": 1000, "lr": 1e30}


@dataclass(frozen=True)
class TrainingOptions:
    """What is trained on which data, and how it is optimised.

    Attributes:
        data: A folder of WFDB records, a converted cache, a file of own recordings or a folder of such, or "synthetic"
            ("synthetic:500" for 500 recordings).
        out: Folder of the run: checkpoints, metrics.jsonl, split.json, config.json.
        loss: The method, a name in :data:`ecgloss.train.methods.METHODS`.
        model: Size of the ResNeXt1D: small (0.4 M), medium (31 M) or large (296 M parameters); a Transformer,
            physioclr (87 M) or physioclr-small (0.9 M); or another encoder, package.module:factory, which is called
            with in_channels=N and returns a module (B, N, T) -> (B, D).
        in_channels: Leads that the encoder sees at once: 1 for one random lead per view, or the number of leads.
        epochs: Passes over the training recordings.
        batch_size: Recordings per step, over all devices.
        accumulate: Batches per step, whose gradients are added. Every batch has its own negatives: this is not a larger
            batch.
        lr: Learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        schedule: Learning rate over the epochs: cosine cycles with restarts, one cosine for all epochs, or constant.
        warmup_epochs: Epochs, or a part of one, in which the learning rate rises from 0.
        restart_epochs: Epochs of the first cosine cycle of restarts.
        restart_factor: Length of each cycle relative to the one before.
        min_lr: Learning rate at the end of a cycle.
        clip_norm: Largest norm of the gradient, to which longer ones are scaled; 0: any.
        watch: Which loss chooses the best checkpoint and stops a run early, the mean of an epoch of "validation" or of
            "training"; without validation recordings that of training.
        patience: Epochs without improvement after which the run stops; 0: it does not.
        min_delta: Improvement that counts for patience.
        temperature: Temperature of the loss; "preset": 0.1 for physioclr, 0.07 for the others. byol has none.
    """

    data: str
    out: str
    loss: str = "clef"
    model: str = "small"
    in_channels: int = 1
    epochs: int = 100
    batch_size: int = 64
    accumulate: int = 1
    lr: float = 1e-4
    weight_decay: float = 5e-4
    schedule: Kind = "restarts"
    warmup_epochs: float = 0.0
    restart_epochs: int = 10
    restart_factor: int = 2
    min_lr: float = 1e-6
    clip_norm: float = 0.0
    watch: Literal["validation", "training"] = "validation"
    patience: int = 0
    min_delta: float = 0.0
    temperature: float | Literal["preset"] = "preset"


@dataclass(frozen=True)
class InputOptions:
    """What is known of the recordings besides their signals, and how the two views of a recording are made.

    Attributes:
        table: Table of recordings or patients to join to the data: CSV, TSV or Parquet.
        columns: What its columns mean, as record=file,patient=pid,risk=my_score; other headings are recognised.
        units: Units of own files that do not say them: mV, uV or V.
        source_rate: Sampling rate in Hz of own files that do not say it.
        dataset_name: Name of the array of signals in an HDF5, MATLAB or .npz file, where it cannot be recognised.
        split: A split file, such as split.json of another run; a column of the table (train, validation, test, or folds
            1 to 10: 9 validates, 10 tests); folds, that of the database; or all, to train on every recording. Default:
            that of the database if it has one (PTB-XL), else a new one by patient.
        fractions: Fractions of the patients that train, validate and test in a new split; default: 0.7, 0.15, 0.15.
        train_on: Recordings of which part train: those of "train", or "all" of them, whatever their part. The split is
            kept for evaluation, which says that all were seen.
        risk: Risk that clef compares: a score (score2, auto, score2_diabetes, prevent, prevent_ascvd, prevent_hf,
            cha2ds2_vasc, cha2ds2_va, or a coefficient file), or a regression task of the data or its table; several are
            separated by commas.
        region: SCORE2 risk region, by the cardiovascular mortality of the patients' country: low, moderate, high or
            very_high.
        metadata: Missing inputs of the risk, the range of the score, and metadata hidden on purpose.
        seconds: Length of the input window in seconds.
        windows: Whether both views show the "same" window of a recording or "independent" windows (which must then be
            shorter than the recordings).
        same_lead_probability: Probability that both views of a recording show the same lead.
        augmentation: Noise and masking of the views.
        sampling_rate: Rate in Hz to which all recordings are resampled.
        low_hz: Lower edge of the pass band in Hz.
        high_hz: Upper edge of the pass band in Hz.
        leads: Leads to train on; default: all of each recording.
        notch_hz: Frequency of mains hum that a notch takes out, 50 or 60; default: none.
        normalisation: Whether each lead of a window is z-scored by itself ("recording"), mV are divided by the root
            mean square of the training recordings ("dataset"), or the encoder sees mV ("none").
    """

    table: str | None = None
    columns: str | dict[str, str] | None = None
    units: str | None = None
    source_rate: float | None = None
    dataset_name: str | None = None
    split: str | None = None
    fractions: tuple[float, float, float] | None = None
    train_on: Literal["train", "all"] = "train"
    risk: str = "score2"
    region: Literal["low", "moderate", "high", "very_high"] = "moderate"
    metadata: MetadataOptions = field(default_factory=MetadataOptions)
    seconds: float = 10.0
    windows: Literal["same", "independent"] = "same"
    same_lead_probability: float = 0.8
    augmentation: Augmentation = field(default_factory=Augmentation)
    sampling_rate: float = 500.0
    low_hz: float = 0.67
    high_hz: float = 40.0
    leads: tuple[str, ...] | None = None
    notch_hz: float | None = None
    normalisation: Literal["recording", "dataset", "none"] = "recording"


@dataclass(frozen=True)
class ExecutionOptions:
    """Where a run computes, what it keeps, and its seed.

    Attributes:
        seed: Seed of the split, the initial weights, the order of recordings and the augmentation.
        checkpoint_steps: Steps between checkpoints, besides those at the end of every epoch; 0 for these alone.
        keep_checkpoints: How many of the newest checkpoints to keep, besides the best.
        validate: Whether the loss of the validation recordings is computed after every epoch.
        log_steps: Steps between monitors, and between readings of losses, which make the host wait for a GPU.
        logger: Where losses and monitors go besides metrics.jsonl.
        accelerator: Lightning Fabric accelerator: auto, cpu, cuda, mps.
        devices: Number of devices.
        precision: Lightning Fabric precision, e.g. 32-true, bf16-mixed.
        workers: Number of processes that prepare batches; with 0, the training process does it.
        cache: Folder of converted caches; default: $ECGLOSS_CACHE or ~/.cache/ecgloss.
    """

    seed: int = 42
    checkpoint_steps: int = 0
    keep_checkpoints: int = 2
    validate: bool = True
    log_steps: int = 10
    logger: Literal["tensorboard", "wandb", "csv"] | None = None
    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    workers: int = 0
    cache: str | None = None


@dataclass(frozen=True)
class PretrainConfig(ExecutionOptions, InputOptions, MethodOptions, TrainingOptions):
    """A pretraining run: all options of its bases, first those of the last one. Most defaults are the
    CLEF authors'; what differs is in :data:`ecgloss.train.recipes.RECIPES`, under ``clef-paper``.

    Raises:
        ValueError: for an option out of range, naming it.

    Example:
        >>> PretrainConfig(data="synthetic", out="runs/demo", loss="moco", queue=128).batch_size
        64
    """

    def __post_init__(self) -> None:
        if self.loss not in METHODS:
            raise ValueError(f"loss must be one of {', '.join(METHODS)}; got {self.loss}")
        check_model(self.model)
        self.input_leads  # noqa: B018  it checks them
        low = {"epochs": 1, "batch_size": 2, "restart_epochs": 1, "restart_factor": 1, "checkpoint_steps": 0}
        low |= {"keep_checkpoints": 1, "devices": 1, "accumulate": 1, "log_steps": 1}
        low |= {"warmup_epochs": 0, "clip_norm": 0, "patience": 0, "min_delta": 0}
        low |= {"workers": 0, "weight_decay": 0, "min_lr": 0, "seed": 0}
        for name, least in low.items():
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be at least {least}; got {getattr(self, name)}")
        if self.seed >= 2**63:
            raise ValueError(f"seed must be below 2**63; got {self.seed}")
        for name, most in MOST.items():
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most:,}; got {getattr(self, name):,}")
        positive = {"lr": self.lr, "temperature": self.tau, "seconds": self.seconds}
        for name, value in positive.items():
            if not value > 0:
                raise ValueError(f"{name} must be positive; got {value}")
        for name, accepted in (("schedule", KINDS), ("watch", WATCHED), ("train_on", PARTS), ("logger", LOGGERS)):
            if getattr(self, name) not in accepted:
                words = ", ".join(str(word) for word in accepted)
                raise ValueError(f"{name} must be one of {words}; got {getattr(self, name)}")
        if not 0 <= self.same_lead_probability <= 1:
            raise ValueError(f"same_lead_probability must lie in [0, 1]; got {self.same_lead_probability}")
        self.metadata.check()
        for method in METHODS.values():
            method.check_options(self)

    @classmethod
    def groups(cls) -> list[type]:
        """The dataclasses whose options it has, in the order of its fields.

        Example:
            >>> [group.__name__ for group in PretrainConfig.groups()][:2]
            ['TrainingOptions', 'ClefRunOptions']
        """
        return [base for base in reversed(cls.__mro__) if base.__bases__ == (object,)]

    @property
    def input_leads(self) -> tuple[str, ...] | None:
        """The leads an encoder sees at once, in their order; None where it sees one at a time."""
        if self.in_channels < 1:
            raise ValueError(f"in_channels must be at least 1; got {self.in_channels}")
        if self.in_channels == 1:
            return None
        leads = STANDARD_LEADS if self.leads is None and self.in_channels == len(STANDARD_LEADS) else self.leads
        if leads is None or len(leads) != self.in_channels:
            named = "none are named" if leads is None else f"{len(leads)} are named"
            raise ValueError(f"in_channels {self.in_channels} needs as many leads, in the order of the input; {named}")
        return tuple(normalise_lead(lead) for lead in leads)

    @property
    def tau(self) -> float:
        """The temperature, with the preset filled in."""
        return METHODS[self.loss].usual_temperature if self.temperature == "preset" else self.temperature

    def learning_rates(self, steps: int) -> Schedule:
        """The learning rate of every step of a run with ``steps`` steps per epoch."""
        return Schedule(
            self.schedule,
            self.lr,
            self.min_lr,
            self.epochs,
            steps,
            self.restart_epochs,
            self.restart_factor,
            self.warmup_epochs,
        )

    @property
    def preprocessing(self) -> Preprocessing:
        """What is done to every signal."""
        return Preprocessing(
            self.sampling_rate,
            self.low_hz,
            self.high_hz,
            leads=self.leads,
            notch_hz=self.notch_hz,
            normalisation=self.normalisation,
        )

    @property
    def window(self) -> int:
        """Samples per input window."""
        return round(self.seconds * self.sampling_rate)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON or YAML file."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> PretrainConfig:
        """The inverse of :meth:`to_json`.

        Options that came later may be missing: a run begun before they existed continues with their defaults, or with
        what it did then (see :data:`ecgloss.train.metadata.BEFORE`).

        Raises:
            ValueError: for missing or unknown options, or values out of range.

        Example:
            >>> config = PretrainConfig(data="synthetic", out="runs/demo", leads=("I", "II"))
            >>> PretrainConfig.from_json(config.to_json()) == config
            True
        """
        odd = {f.name for f in fields(cls)} ^ set(content)
        odd -= {f.name for f in fields(MethodOptions)} | _LATER
        if odd:
            raise ValueError(f"missing or unknown options: {', '.join(sorted(odd))}")
        check_values(cls, content)
        content = {name: _tuples(value) for name, value in content.items()}
        for group in fields(cls):
            if group.name in content and is_dataclass(group.default_factory):  # options such as clef.alpha
                content[group.name] = group.default_factory(**content[group.name])
        return cls(**{"metadata": BEFORE} | content)


def _tuples(value: Any) -> Any:
    """The value with tuples for lists, which are all that JSON has."""
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(value) if isinstance(value, list) else value
