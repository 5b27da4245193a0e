"""What pretraining, embedding and evaluation ask of an encoder, and how one is built from a name.

A name is a size of :class:`ecgloss.models.ResNeXt1D`, or ``package.module:factory``: any importable function or class
that is called as ``factory(in_channels=C)`` and returns a module (B, C, T) -> (B, D).
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

TRIAL_LENGTH = 1000  # samples of the input with which a module is tried, unless the window is known


class Encoder(nn.Module):
    """A module (B, C, T) -> (B, D) that knows its C and D.

    Attributes:
        in_channels: C, the number of leads it sees at once.
        out_features: D, the length of one embedding.
    """

    in_channels: int
    out_features: int


def is_factory(name: str) -> bool:
    """Whether a name has the form ``package.module:factory``.

    Example:
        >>> is_factory("small"), is_factory("my_package.encoders:build"), is_factory("a:b:c")
        (False, True, False)
    """
    parts = name.split(":")
    return len(parts) == 2 and all(word.isidentifier() for part in parts for word in part.split("."))


def import_factory(name: str) -> Callable[..., Any]:
    """Import the factory of a name ``package.module:factory``; the current folder is searched as well.

    This runs the code of the module. It is called only with names that the user has given, never with one that merely
    stands in a file.

    Raises:
        ValueError: If the name has another form, there is no such module or factory, or it cannot be called.
    """
    if not is_factory(name):
        raise ValueError(f"model {name} is not of the form package.module:factory")
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path and "" not in sys.path:  # a console script does not search it, python -m does
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"model {name}: cannot import {module_name} ({error})") from error
    except Exception as error:  # the user's code may raise anything
        raise ValueError(f"model {name}: {module_name} fails when imported ({_line(error)})") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ValueError(f"model {name}: module {module_name} has no {attribute}")
        found = getattr(found, part)
    if not callable(found):
        raise ValueError(f"model {name}: {attribute} is a {type(found).__name__}, not something to call")
    return cast(Callable[..., Any], found)


def build_from(factory: Callable[..., Any], in_channels: int, name: str, length: int = TRIAL_LENGTH) -> Encoder:
    """Call a factory, and check what it returns.

    Args:
        factory: Called as ``factory(in_channels=in_channels)``.
        in_channels: Number of leads.
        name: How to call it in messages.
        length: T with which the module is tried.

    Raises:
        ValueError: If the call fails, or :func:`as_encoder` does not accept its result.
    """
    try:
        module = factory(in_channels=in_channels)
    except Exception as error:  # the user's code may raise anything
        raise ValueError(f"model {name}: calling it with in_channels={in_channels} fails ({_line(error)})") from error
    return as_encoder(module, in_channels, name, length)


def as_encoder(module: object, in_channels: int, name: str, length: int = TRIAL_LENGTH) -> Encoder:
    """Try a module on two random inputs, and note its channels and the length of its embeddings.

    Args:
        module: Any module (B, C, T) -> (B, D); its attributes ``in_channels`` and ``out_features`` are set.
        in_channels: C.
        name: How to call it in messages.
        length: T with which it is tried.

    Raises:
        ValueError: If it is no ``nn.Module``, has no parameters, does not take (2, C, T), or returns anything but a
            floating-point tensor (2, D).

    Example:
        >>> encoder = as_encoder(nn.Sequential(nn.Conv1d(12, 8, 5), nn.AdaptiveAvgPool1d(1), nn.Flatten()), 12, "mine")
        >>> encoder.in_channels, encoder.out_features
        (12, 8)
    """
    if not isinstance(module, nn.Module):
        raise ValueError(f"model {name} must give a torch.nn.Module; got {type(module).__name__}")
    if not any(True for _ in module.parameters()):
        raise ValueError(f"model {name} has no parameters to train")
    training = module.training
    shape = (2, in_channels, length)
    device = next(module.parameters()).device
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            z = module.eval()(torch.randn(shape, device=device))
    except Exception as error:  # the user's code may raise anything
        raise ValueError(f"model {name} does not take {shape}: {_line(error)}") from error
    finally:
        module.train(training)
    if not isinstance(z, Tensor) or z.ndim != 2 or len(z) != 2 or not z.is_floating_point():
        got = f"a tensor of shape {tuple(z.shape)}" if isinstance(z, Tensor) else f"a {type(z).__name__}"
        raise ValueError(f"model {name} must return (B, D) for {shape}, so (2, D); got {got}")
    encoder = cast(Encoder, module)
    encoder.in_channels, encoder.out_features = in_channels, z.shape[1]
    return encoder


def name_of(encoder: nn.Module | Callable[..., Any]) -> str:
    """Where a module's class, or a factory, is defined, as ``package.module:name``.

    Example:
        >>> name_of(nn.Flatten), name_of(nn.Flatten())
        ('torch.nn.modules.flatten:Flatten', 'torch.nn.modules.flatten:Flatten')
    """
    found = type(encoder) if isinstance(encoder, nn.Module) else encoder
    name = getattr(found, "__qualname__", type(found).__qualname__)
    words = [word for word in name.split(".") if word.isidentifier()]
    return f"{getattr(found, '__module__', None) or 'unknown'}:{'.'.join(words) or 'unnamed'}"


def _line(error: Exception) -> str:
    """An error on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
