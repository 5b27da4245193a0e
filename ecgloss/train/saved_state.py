"""What a checkpoint says of the optimiser and of the place in the run, checked before it is used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from ecgloss._value_types import check_values, shortened
from ecgloss.models.pretrained import not_finite
from ecgloss.train.watch import Watch

_PLACES = ("step", "epoch", "batch")
_MOST = 2**53  # what JSON readers agree on


def check_position(state: Any) -> dict[str, int]:
    """The place in the run that a state names.

    Raises:
        ValueError: If it names none.

    Example:
        >>> check_position({"position": {"step": 8, "epoch": 2, "batch": 0}})
        {'step': 8, 'epoch': 2, 'batch': 0}
    """
    position = state.get("position") if isinstance(state, dict) else None
    if not isinstance(position, dict) or set(position) != set(_PLACES):
        raise ValueError(f"position must have {', '.join(_PLACES)}; got {shortened(position)}")
    for name, value in position.items():
        if type(value) is not int or not 0 <= value < _MOST:
            raise ValueError(f"position.{name} must be a whole number from 0 on; got {shortened(value)}")
    return position


def check_watch(state: Any) -> dict[str, Any]:
    """The watched loss that a state names; nothing where it is older than that.

    Raises:
        ValueError: If it names something else.

    Example:
        >>> check_watch({})
        {}
    """
    watch = state.get("watch", {}) if isinstance(state, dict) else None
    if not isinstance(watch, dict) or set(watch) not in (set(), {field.name for field in fields(Watch)}):
        raise ValueError(f"watch must have {', '.join(field.name for field in fields(Watch))}; got {shortened(watch)}")
    numbers = {name: x for name, x in watch.items() if x != math.inf}  # of an epoch without a loss
    check_values(Watch, numbers, "watch.")
    return watch


def check_groups(state: Mapping[str, Any], optimizer: Optimizer) -> None:
    """Check that the options of the optimiser are of the kinds it has itself.

    Raises:
        ValueError: If they are not.
    """
    groups, own = state.get("param_groups"), optimizer.state_dict()["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(own):
        raise ValueError(f"param_groups must be a list of length {len(own)}; got {shortened(groups)}")
    for group, expected in zip(groups, own):
        if not isinstance(group, dict) or not set(expected) <= set(group) <= {*expected, "initial_lr"}:
            raise ValueError(f"param_groups must have {', '.join(expected)}; got {shortened(group)}")
        for name, value in group.items():
            if not _alike(value, expected.get(name, 0.0)):
                raise ValueError(f"param_groups: {name} must be like {expected.get(name, 0.0)}; got {shortened(value)}")
        if group["params"] != expected["params"]:
            raise ValueError(f"param_groups: params must be {shortened(expected['params'])}")


def check_moments(tensors: Mapping[str, Tensor], optimizer: Optimizer) -> None:
    """Check that the tensors of the optimiser, named ``NUMBER.NAME``, fit its parameters.

    Raises:
        ValueError: Naming one that does not.
    """
    parameters = [x for group in optimizer.param_groups for x in group["params"]]
    for name, value in tensors.items():
        number, _, slot = name.partition(".")
        if not (number.isascii() and number.isdigit() and len(number) < 9 and int(number) < len(parameters) and slot):
            raise ValueError(f"{shortened(name)} belongs to no parameter")
        if value.ndim and value.shape != parameters[int(number)].shape:
            raise ValueError(f"{name} has the shape {tuple(value.shape)}, not {tuple(parameters[int(number)].shape)}")
    slots = {name.partition(".")[2] for name in tensors}
    held = {name.partition(".")[0] for name in tensors}
    absent = [f"{number}.{slot}" for number in held for slot in slots if f"{number}.{slot}" not in tensors]
    if absent:
        raise ValueError(f"{absent[0]} is missing")
    bad = not_finite(tensors)
    if bad:
        raise ValueError(f"{bad[0]} holds NaN or infinity")


def _alike(value: Any, expected: Any) -> bool:
    """Whether a value is of the kind of another one, and a finite number from 0 on where that is a number."""
    if isinstance(expected, bool) or expected is None or isinstance(expected, str):
        return value is None or type(value) is type(expected) or (expected is None and isinstance(value, bool))
    if isinstance(expected, int | float):
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    if isinstance(expected, list | tuple):
        return isinstance(value, list | tuple) and len(value) == len(expected) and all(map(_alike, value, expected))
    return False
