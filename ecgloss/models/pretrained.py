"""Encoders on disk: weights as safetensors, and a JSON card that says what they need to be used rightly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ecgloss._extras import require
from ecgloss._file_errors import naming
from ecgloss._files import read_json, replacing, write_json
from ecgloss.models.card_check import check_card
from ecgloss.models.encoder import TRIAL_LENGTH, Encoder, build_from, import_factory, is_factory
from ecgloss.models.registry import MODELS, check_model

WEIGHTS, CARD, TRAINED_ON, STATE = "encoder.safetensors", "card.json", "trained_on.safetensors", "state.json"
BEST = "best"  # RUN/best is the best checkpoint of a run, whose number the state of its latest one names
SIGNATURE = 96  # length of the signature of a recording
_FORMAT = 1


@dataclass(frozen=True)
class EncoderCard:
    """What an encoder was trained on and how: everything needed to feed it the same way.

    Attributes:
        model: A name in :data:`ecgloss.models.registry.MODELS`, such as ``"small"``, or the factory of another encoder,
            ``"package.module:factory"``.
        in_channels: Leads per input.
        preprocessing: Preprocessing of the signals (rate, pass band, leads), as JSON values.
        seconds: Length of the input window in seconds.
        leads: Leads that were seen in training; of an encoder that sees several at once, its input in this order.
        loss: Name and options of the loss.
        data: Name, source, fingerprint and number of recordings of the training data.
        training: Every option of the training run.
        progress: Epochs and steps trained, and the last loss.
        versions: Versions of ecgloss and torch.
    """

    model: str
    in_channels: int
    preprocessing: dict[str, Any]
    seconds: float
    leads: list[str]
    loss: dict[str, Any]
    data: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def save_encoder(folder: str | Path, model: nn.Module, card: EncoderCard) -> None:
    """Write weights and card.

    Args:
        folder: Made if it does not exist; each file is replaced in one step.
        model: The encoder.
        card: Its card.
    """
    folder = Path(folder)
    safetensors = require("safetensors.torch", "train")
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
    # copies, because tensors that share memory cannot be saved
    weights = {name: x.detach().cpu().contiguous().clone() for name, x in model.state_dict().items()}
    with replacing(folder / WEIGHTS) as temporary:
        safetensors.save_file(weights, temporary, metadata={"format": "pt"})
    write_json(folder / CARD, {"format": _FORMAT, **asdict(card)})


def load_encoder(path: str | Path, model: str | Callable[..., Any] | None = None) -> tuple[Encoder, EncoderCard]:
    """Load an encoder that ecgloss trained.

    Args:
        path: A training run (its latest checkpoint is taken), ``RUN/best`` (its best one), or one checkpoint folder.
        model: Required for an encoder of a factory: its name as in training, ``"package.module:factory"``, or the
            factory itself. Importing it runs its code, so that a name in a file alone is not enough.

    Returns:
        The encoder in evaluation mode, on the CPU, and its card.

    Raises:
        ValueError: if there is no readable checkpoint, naming the file, or the encoder cannot be built.
    """
    folder = find_checkpoint(path)
    card = _read_card(folder / CARD)
    encoder = _built(card, model, folder / CARD)
    load_weights(encoder, folder / WEIGHTS)
    return encoder.eval(), card


def _built(card: EncoderCard, given: str | Callable[..., Any] | None, path: Path) -> Encoder:
    """The encoder of a card, with fresh weights."""
    length = round(card.seconds * float(card.preprocessing.get("sampling_rate", 100.0)))
    if given is not None and not isinstance(given, str):
        return build_from(given, card.in_channels, getattr(given, "__name__", "given"), length)
    if is_factory(str(card.model)):
        if given is None:
            raise ValueError(
                f"{path} names the encoder {card.model}; name it as well, --model {card.model} or "
                f"load_encoder(..., model={card.model!r}), to let its code run"
            )
        if given != card.model:
            raise ValueError(f"{path} names the encoder {card.model}; got model {given}")
        return build_from(import_factory(card.model), card.in_channels, card.model, length)
    if given is not None and given != card.model:
        raise ValueError(f"{path} names the encoder {card.model}; got model {given}")
    try:
        return MODELS[check_model(card.model)](card.in_channels)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} describes no encoder: {error}") from error


def trained_on(folder: Path) -> dict[str, Tensor] | None:
    """By what the recordings that a checkpoint was trained on are recognised; None where it does not say.

    Returns:
        ``signatures`` (n, 96) and, if the checkpoint has them, ``thumbnails`` (n, 8, 320), int8, see
        `ecgloss.data.overlap`.
    """
    path = folder / TRAINED_ON
    if not path.is_file():
        return None
    tensors: dict[str, Tensor] = read_tensors(path)
    shapes = {name: (x.dtype, *x.shape[1:]) for name, x in tensors.items()}
    expected = {"signatures": (torch.int8, SIGNATURE), "thumbnails": (torch.int8, 8, 320)}
    counts = {x.shape[:1] for x in tensors.values()}
    if "signatures" not in shapes or not shapes.items() <= expected.items() or len(counts) != 1:
        raise ValueError(f"{path} does not hold signatures of recordings; delete it to go on without them")
    return tensors


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a safetensors file that holds exactly the model's weights, or raise a ``ValueError`` that names it."""
    fit(model, path, f"a {getattr(model, 'size', type(model).__name__)} encoder")


def fit(module: nn.Module, path: Path, what: str) -> None:
    """Load a safetensors file that holds exactly a module's state, or raise a ``ValueError`` that says for what."""
    tensors, own = read_tensors(path), module.state_dict()
    wrong = sorted(name for name in set(tensors) | set(own) if _shape(tensors, name) != _shape(own, name))
    if wrong:
        shown = ", ".join(wrong[:5]) + (", ..." if len(wrong) > 5 else "")
        raise ValueError(f"{path} does not fit {what}: {len(wrong)} missing or other tensors: {shown}")
    unknown = set(not_finite(own)) - {x for x, _ in module.named_parameters()}  # such as unknown risks in a queue
    bad = [name for name in not_finite(tensors) if name not in unknown]
    if bad:
        raise ValueError(f"{path} holds NaN or infinity in {len(bad)} tensors, such as {bad[0]}: it is damaged")
    module.load_state_dict(tensors)


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that hold NaN or infinity.

    Example:
        >>> not_finite({"a": torch.ones(2), "b": torch.tensor([1.0, float("nan")])})
        ['b']
    """
    return [name for name, x in tensors.items() if x.is_floating_point() and not bool(torch.isfinite(x).all())]


def _shape(tensors: dict[str, Any], name: str) -> tuple[int, ...] | None:
    """Shape of a named tensor of real numbers, None if there is none."""
    return tuple(tensors[name].shape) if name in tensors and not tensors[name].is_complex() else None


def random_encoder(model: str, in_channels: int, seed: int, length: int = TRIAL_LENGTH) -> Encoder:
    """A freshly initialised encoder; the same seed gives the same weights, and the global generators stay as they are.

    Args:
        model: A name in :data:`ecgloss.models.registry.MODELS`, or a factory ``"package.module:factory"``, which is
            imported.
        in_channels: Leads per input.
        seed: Seed of the initialisation.
        length: Samples of the input with which the encoder of a factory is tried.

    Raises:
        ValueError: if there is no such model or factory, or its encoder cannot be used.

    Example:
        >>> a, b = random_encoder("small", 1, 3), random_encoder("small", 1, 3)
        >>> all(bool((x == y).all()) for x, y in zip(a.parameters(), b.parameters()))
        True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if is_factory(model):
            return build_from(import_factory(model), in_channels, model, length)
        return MODELS[check_model(model)](in_channels)


def fresh_encoder(card: EncoderCard, model: str | Callable[..., Any] | None, seed: int) -> Encoder:
    """An encoder like that of a card, with weights from a seed; ``model`` as for :func:`load_encoder`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _built(card, model, Path(CARD))


def several_leads(card: EncoderCard, lead: str | None) -> list[str] | None:
    """The leads that an encoder sees at once, None for one at a time.

    Raises:
        ValueError: if one of them is asked for.
    """
    if card.in_channels == 1:
        return None
    if lead is not None:
        raise ValueError(f"the encoder sees {card.in_channels} leads at once, {', '.join(card.leads)}; got lead {lead}")
    return card.leads


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint folder behind a path: itself, the latest of a training run, or ``RUN/best``, its best one.

    Raises:
        ValueError: if there is none.
    """
    path = Path(path)
    if (path / CARD).is_file():
        return path
    if path.name == BEST and not path.exists():
        return _best(path.parent)
    steps = checkpoints(path)
    if not steps:
        what = "holds no checkpoint" if path.is_dir() else "is not a folder"
        raise ValueError(f"{path} {what}: expected a training run or a checkpoint with {CARD} and {WEIGHTS}")
    return steps[-1]


def _best(run: Path) -> Path:
    """The checkpoint after the epoch with the lowest loss.

    Raises:
        ValueError: if no epoch has ended.
    """
    latest = find_checkpoint(run)
    state = read_json(latest / STATE) if (latest / STATE).is_file() else {}
    watch = state.get("watch", {}) if isinstance(state, dict) else None
    step = watch.get("best_step", 0) if isinstance(watch, dict) else None
    if not isinstance(step, int):
        raise ValueError(f"{latest / STATE} is damaged: it names no best step")
    best = run / "checkpoints" / checkpoint_name(step)
    if not (best / CARD).is_file():
        raise ValueError(f"{run} has no best checkpoint, as no epoch has ended; take {run}, its latest")
    return best


def checkpoint_name(step: int) -> str:
    """Name of the folder of a checkpoint.

    Example:
        >>> checkpoint_name(20)
        'step-00000020'
    """
    return f"step-{step:08d}"


def checkpoints(run: str | Path) -> list[Path]:
    """Complete checkpoints of a training run, oldest first."""
    found = [p for p in Path(run).glob("checkpoints/step-*") if p.name[5:].isdigit() and (p / CARD).is_file()]
    return sorted(found, key=lambda p: int(p.name[5:]))


def read_tensors(path: Path) -> dict[str, Any]:
    """Tensors of a safetensors file, or a ``ValueError`` that names it."""
    safetensors = require("safetensors", "train")
    try:
        tensors: dict[str, Any] = require("safetensors.torch", "train").load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    return tensors


def _read_card(path: Path) -> EncoderCard:
    """The card, checked."""
    content = read_json(path)
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
        raise ValueError(f"{path} is not an encoder card of format {_FORMAT}")
    names = {f.name for f in fields(EncoderCard)}
    if set(content) != names:
        odd = ", ".join(sorted(set(content) ^ names))
        raise ValueError(f"{path} has missing or unknown entries: {odd}")
    try:
        check_card(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return EncoderCard(**content)
