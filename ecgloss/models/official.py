"""Import of the CLEF authors' published checkpoints, strictly and without running code from the file.

The files are PyTorch Lightning checkpoints whose ``state_dict`` holds a Net1D under the prefix ``backbone.``.
That Net1D carries BatchNorm modules which its forward pass never calls;
:class:`~ecgloss.models.ResNeXt1D` does not have them, so their entries are skipped by name. Everything else
must match.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ecgloss._extras import require
from ecgloss.models.resnext1d import KERNEL_SIZE, SIZES, ResNeXt1D

_PREFIX = "backbone."
_STEM = "first_conv.conv.weight"
_NEVER_USED = re.compile(
    r"(first_bn|stage_list\.\d+\.block_list\.\d+\.bn[123])"
    r"\.(weight|bias|running_mean|running_var|num_batches_tracked)"
    r"|dense\.(weight|bias)"
)
_MAX_LISTED = 8


def load_clef(path: str | PathLike[str]) -> ResNeXt1D:
    """Load a published CLEF encoder.

    Size and number of leads are read from the shapes of the weights. Only tensors are read: a file that needs
    unpickling of other objects is refused, never run.

    Args:
        path: A Lightning checkpoint (``.ckpt``), a plain state dictionary saved by ``torch.save``, or a
            ``.safetensors`` file. Keys may carry the prefix ``backbone.``.

    Returns:
        The encoder with float32 weights on the CPU, in training mode as every new module.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is unreadable, holds objects other than tensors and plain values, or its
            weights are not those of a ResNeXt1D; missing, unexpected and misshapen entries are listed.
        MissingExtraError: for a ``.safetensors`` file without safetensors installed.

    Example:
        >>> import tempfile, torch
        >>> from ecgloss.models import resnext1d
        >>> weights = resnext1d("small").state_dict()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = f"{folder}/clef_small.ckpt"
        ...     torch.save({"state_dict": {f"backbone.{key}": w for key, w in weights.items()}}, file)
        ...     encoder = load_clef(file)
        >>> encoder.size, encoder.in_channels
        ('small', 1)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint file at {path}")
    weights = _without_unused(_without_prefix(_state_dict(_read(path), path), path), path)
    with torch.device("meta"):  # no memory, no draw from the random state: every value comes from the file
        model = _matching_model(weights, path)
    _check_entries(model, weights, path)
    model.load_state_dict({key: value.float() for key, value in weights.items()}, assign=True)
    return model


def _read(path: Path) -> object:
    """Contents of the file; tensors and plain containers only."""
    if path.suffix == ".safetensors":
        load_file = require("safetensors.torch", "train").load_file
    else:
        load_file = _torch_load
    try:
        return load_file(path)
    except PermissionError:
        raise
    except Exception as error:  # a damaged file fails anywhere in the unpickler, with any type
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        if refused is None:
            raise ValueError(f"{path} is not a readable checkpoint ({type(error).__name__})") from error
        raise ValueError(
            f"{path} holds a Python object ({refused[1]}) beside its tensors; unpickling it could run code, "
            "so it is not loaded. If you trust its source, unpickle it elsewhere, save only its state_dict "
            "with torch.save, and pass that file"
        ) from error


def _torch_load(path: Path) -> Any:
    """torch.load without the right to build arbitrary objects."""
    return torch.load(path, map_location="cpu", weights_only=True)


def _state_dict(content: object, path: Path) -> Mapping[str, Tensor]:
    """The tensors by name, from a checkpoint or from a plain state dictionary."""
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state:
        raise ValueError(f"{path} holds no state_dict (found {type(content).__name__})")
    strangers = [key for key, value in state.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if strangers:
        raise ValueError(f"{path}: the state_dict has entries that are not tensors: {_listed(strangers)}")
    return state


def _without_prefix(state: Mapping[str, Tensor], path: Path) -> Mapping[str, Tensor]:
    """The encoder's entries under their own names."""
    outside = [key for key in state if not key.startswith(_PREFIX)]
    if len(outside) == len(state):
        return state
    if outside:
        raise ValueError(
            f"{path}: the state_dict has {len(outside)} entries beside those under '{_PREFIX}': {_listed(outside)}"
        )
    return {key[len(_PREFIX) :]: value for key, value in state.items()}


def _without_unused(weights: Mapping[str, Tensor], path: Path) -> Mapping[str, Tensor]:
    """Drop the entries that the authors' forward pass never reads."""
    for key, value in weights.items():
        # Dropping a BatchNorm that did run would change the embeddings without a word.
        if _NEVER_USED.fullmatch(key) and key.endswith(".num_batches_tracked") and bool((value != 0).any()):
            raise ValueError(f"{path}: {key} is not 0: this network was trained with BatchNorm, CLEF's were not")
    return {key: value for key, value in weights.items() if not _NEVER_USED.fullmatch(key)}


def _matching_model(weights: Mapping[str, Tensor], path: Path) -> ResNeXt1D:
    """The ResNeXt1D whose stem has the shape of the file's stem."""
    if _STEM not in weights:
        raise ValueError(f"{path} is not a CLEF encoder: no '{_STEM}' among its entries: {_listed(weights)}")
    shape = tuple(weights[_STEM].shape)
    for size in SIZES.values():
        if len(shape) == 3 and shape[0] == size.base and shape[1] >= 1 and shape[2] == KERNEL_SIZE:
            return ResNeXt1D(size, in_channels=shape[1])
    bases = ", ".join(f"{size.base} ({size.name})" for size in SIZES.values())
    raise ValueError(
        f"{path}: '{_STEM}' has shape {shape}; expected (base, leads, {KERNEL_SIZE}) with base one of {bases}"
    )


def _check_entries(model: ResNeXt1D, weights: Mapping[str, Tensor], path: Path) -> None:
    """Every entry of the model is there, nothing else is, and the shapes agree."""
    expected = model.state_dict()
    problems = {
        "missing": [key for key in expected if key not in weights],
        "unexpected": [key for key in weights if key not in expected],
        "of another shape": [
            f"{key} {tuple(weights[key].shape)} instead of {tuple(value.shape)}"
            for key, value in expected.items()
            if key in weights and weights[key].shape != value.shape
        ],
    }
    found = [f"{len(keys)} {what}: {_listed(keys)}" for what, keys in problems.items() if keys]
    if found:
        raise ValueError(f"{path} does not fit ResNeXt1D '{model.size}': {'; '.join(found)}")


def _listed(keys: Iterable[object]) -> str:
    """The first few names, and how many more there are."""
    names = [str(key) for key in keys]
    more = f", and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(names[:_MAX_LISTED]) + more
