"""Named sets of options, with what they are for and what they leave open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ecgloss.train.config import PretrainConfig


@dataclass(frozen=True)
class Recipe:
    """Options of a run by a name.

    Attributes:
        name: The value of ``--recipe``.
        what: What it is, in a few words.
        options: Options by their names on the command line, such as ``"clef.preset"``; all others keep their defaults.
        differs: Sentences on how a run still differs from its source; they are shown before the first step.
    """

    name: str
    what: str
    options: dict[str, Any]
    differs: tuple[str, ...]


CLEF_PAPER = Recipe(
    "clef-paper",
    "the settings of the CLEF authors' released code",
    {
        "loss": "clef",
        "clef.preset": "official",
        "clef.reliability": "ignore",  # their mask by missing metadata is switched off
        "epochs": 100,
        "batch_size": 64,
        "lr": 1e-4,
        "weight_decay": 5e-4,
        "schedule": "restarts",
        "restart_epochs": 10,
        "restart_factor": 2,
        "min_lr": 1e-6,
        "temperature": 0.07,
        "train_on": "all",
        "validate": False,
        "watch": "training",
        "patience": 20,
        "min_delta": 1e-4,
        "sampling_rate": 500.0,
        "seconds": 10.0,
        "windows": "same",
        "same_lead_probability": 0.8,
        "augmentation.noise_rms": 0.1,
        "augmentation.mask_probability": 0.2,
        "seed": 42,
    },
    (
        "noise is simulated, theirs is recorded (with --augmentation.noise_folder, that of nstdb)",
        "risks are computed from the metadata that is there, for --region moderate; theirs are a file of SCORE2 values "
        "whose region is not stated, in which unknown ones count as 0",
        "recordings longer than 10 s are cut at a random place in every epoch, theirs at the start",
        "a last batch that is not full is left out, other recordings in every epoch; they train on it",
        "the loss is computed in fp32 without the constant 1e-8 in its logarithm",
        "every recording counts: in their code all recordings of a patient are read from the last one's file",
        "recordings are resampled to 500 Hz before the filter; their filter takes all to have 500 Hz",
    ),
)
SMALL_DATA = Recipe(
    "small-data",
    "some thousand recordings: the settings of the demo, whose encoders beat a random one with few labels",
    {
        "epochs": 10,
        "lr": 1e-3,  # the default suits 100 epochs on a million recordings
        "schedule": "cosine",
        "sampling_rate": 100.0,
        # Two views of the same window have their beats at the same times. An encoder can match them by these times
        # alone, which teaches it nothing about the patient. Independent windows share only the patient.
        "seconds": 5.0,
        "windows": "independent",
        # The default of 0.1 mV is as strong as lead I itself and hides P and T waves.
        "augmentation.noise_rms": 0.03,
    },
    (),
)
RECIPES = {recipe.name: recipe for recipe in (CLEF_PAPER, SMALL_DATA)}


def recipe(name: str, **options: Any) -> PretrainConfig:
    """The options of a recipe, with some of one's own.

    Args:
        name: A name in :data:`RECIPES`.
        options: Further options of :class:`~ecgloss.train.config.PretrainConfig`, which replace those of the recipe.

    Raises:
        ValueError: for an unknown recipe, and values that are not accepted.

    Example:
        >>> config = recipe("small-data", data="synthetic", out="runs/demo", epochs=20)
        >>> config.epochs, config.windows, config.augmentation.noise_rms
        (20, 'independent', 0.03)
    """
    if name not in RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(RECIPES)}; got {name}")
    config = PretrainConfig(data="", out="")
    for option, value in RECIPES[name].options.items():
        group, dot, inner = option.partition(".")
        config = replace(config, **{group: replace(getattr(config, group), **{inner: value}) if dot else value})
    return replace(config, **options)
