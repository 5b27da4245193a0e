"""Columns of patients as NumPy arrays, torch tensors or pandas columns: computed in their own library, and returned so.

The equations of :mod:`ecgloss.risk.equation` are written once, with the functions that NumPy and torch have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Kind:
    """In which library a score is computed, and what comes out.

    Attributes:
        dtype: Of tensors; None computes with NumPy, in float64.
        device: Of tensors.
        series: A pandas column whose index the result gets; None for plain arrays.
    """

    dtype: torch.dtype | None = None
    device: torch.device | None = None
    series: Any = None

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> Kind:
        """The kind of result that columns give: a tensor if one is a tensor, else a pandas column if one is.

        Tensors are computed in their widest floating dtype, at least fp32; fp64 where all hold whole numbers.

        Raises:
            ValueError: If tensors lie on several devices, or pandas columns have different indexes; names them.

        Example:
            >>> Kind.of({"age": torch.tensor([50.0]), "smoker": 1}).dtype
            torch.float32
        """
        tensors = {name: column for name, column in columns.items() if isinstance(column, Tensor)}
        if tensors:
            devices = {str(x.device): name for name, x in tensors.items()}
            if len(devices) > 1:
                where = " and ".join(f"{name} on {device}" for device, name in devices.items())
                raise ValueError(f"all tensors must be on one device; got {where}")
            floats = [x.dtype for x in tensors.values() if x.is_floating_point()]
            dtype = reduce(torch.promote_types, floats, torch.float32) if floats else torch.float64
            return cls(dtype, next(iter(tensors.values())).device)
        found = {name: column for name, column in columns.items() if _is_series(column)}
        first = next(iter(found.items()), None)
        if first is None:
            return cls()
        for name, column in found.items():
            if not column.index.equals(first[1].index):
                raise ValueError(
                    f"{first[0]} and {name} are pandas columns with different indexes; take both from one table, "
                    "or give arrays"
                )
        return cls(series=first[1])

    @property
    def library(self) -> ModuleType:
        """The module whose functions compute."""
        return np if self.dtype is None else torch

    def array(self, given: object, plain: Array) -> Any:
        """A column as numbers: ``plain``, or the tensor itself, so that gradients flow."""
        if self.dtype is None:
            return plain
        if isinstance(given, Tensor):
            return given.to(self.dtype)
        return torch.as_tensor(plain, dtype=self.dtype, device=self.device)

    def mask(self, mask: NDArray[np.bool_]) -> Any:
        """A NumPy mask in the library that computes."""
        return mask if self.dtype is None else torch.as_tensor(np.array(mask), device=self.device)

    def result(self, values: Any) -> Any:
        """The result as the caller's kind: a scalar for scalars."""
        if self.series is not None and np.ndim(values) == 1:
            return type(self.series)(values, index=self.series.index)
        return values if self.dtype is not None else values[()]


def plain_array(column: object) -> NDArray[Any]:
    """A column as a NumPy array of any dtype, without gradient."""
    if isinstance(column, Tensor):
        x = column.detach().cpu()
        return np.asarray((x.double() if x.is_floating_point() else x).numpy())
    return np.asarray(column)


def _is_series(column: Any) -> bool:
    """Whether something is a pandas column, found out without importing pandas."""
    return type(column).__module__.startswith("pandas.") and hasattr(column, "index") and np.ndim(column) == 1
