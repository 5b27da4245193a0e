"""Pretraining: a thin loop around the losses. The loop is :func:`ecgloss.train.pretrain.pretrain`.

Names are loaded when they are first used: the loop needs the extra ``train``, views and options do not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecgloss.train.config import PretrainConfig
    from ecgloss.train.recipes import recipe
    from ecgloss.train.views import ViewBatch, ViewBatches, WindowBatch, WindowBatches

_VIEWS = ("ViewBatch", "ViewBatches", "WindowBatch", "WindowBatches")
_HOME = {"PretrainConfig": "config", "recipe": "recipes", **dict.fromkeys(_VIEWS, "views")}

__all__ = ["PretrainConfig", "ViewBatch", "ViewBatches", "WindowBatch", "WindowBatches", "recipe"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
