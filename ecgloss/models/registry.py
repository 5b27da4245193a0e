"""The encoders that come with the package, by the names that ``--model`` knows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ecgloss.models.encoder import Encoder, is_factory
from ecgloss.models.physioclr import PHYSIOCLR_SIZES, physioclr
from ecgloss.models.resnext1d import SIZES, resnext1d

#: Called with the number of leads.
MODELS: dict[str, Callable[[int], Encoder]] = {
    **{name: partial(resnext1d, name) for name in SIZES},  # type: ignore[arg-type]
    **{name: partial(physioclr, name) for name in PHYSIOCLR_SIZES},
}


def check_model(model: str) -> str:
    """The name of a model, if it is one.

    Raises:
        ValueError: if it is neither a name in :data:`MODELS` nor of the form ``package.module:factory``.

    Example:
        >>> check_model("small"), check_model("my_package.encoders:build")
        ('small', 'my_package.encoders:build')
    """
    if model not in MODELS and not is_factory(model):
        raise ValueError(f"model must be {', '.join(MODELS)} or package.module:factory; got {model}")
    return model
