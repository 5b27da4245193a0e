"""Scaling of features: z-scores and principal components, fitted on the recordings that are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgloss.physiology.feature_table import feature_table

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class FeatureScaler:
    """z = (x - mean) / sd per feature, then the leading principal components of z.

    An unknown feature (NaN) counts as the mean: z = 0. A recording of which nothing is known stays NaN in all
    components: it is neither like nor unlike any other. A feature that is the same in all recordings, or
    known in fewer than two, has z = 0.

    Attributes:
        names: Features, in the order of the columns.
        mean: (F,) means over the known values.
        sd: (F,) standard deviations over them; 1 where they are 0 or unknown.
        components: (K, F) orthonormal rows, each with its largest entry positive.
        unknown: Share of unknown values among those it was fitted on.

    Example:
        >>> x = np.array([[1.0, 5.0], [2.0, np.nan], [3.0, 7.0]])
        >>> scaler = FeatureScaler.fit(x, components=1, names=("rr_mean", "pr_mean"))
        >>> scaler.transform(x).round(2).tolist()
        [[-1.58], [0.0], [1.58]]
    """

    names: tuple[str, ...]
    mean: Matrix
    sd: Matrix
    components: Matrix
    unknown: float

    @classmethod
    def fit(cls, x: ArrayLike, *, components: int = 50, names: Sequence[str] | None = None) -> FeatureScaler:
        """Fit on the training recordings, and on no others.

        Args:
            x: (n, F) features, NaN where unknown.
            components: Number of principal components; fewer where n or F is smaller, or features depend on each
                other.
            names: Of the columns; default: those of :func:`ecgloss.physiology.feature_table`.

        Raises:
            ValueError: If there are fewer than two recordings, the columns do not match the names, a value is infinite,
                or components is not positive.
        """
        x = np.asarray(x, np.float64)
        names = tuple(feature.name for feature in feature_table()) if names is None else tuple(names)
        _check(x, names)
        if len(x) < 2:
            raise ValueError(f"x has {len(x)} recordings; the scaler is fitted on at least 2")
        if components < 1:
            raise ValueError(f"components must be at least 1; got {components}")
        known = np.isfinite(x)
        counts = known.sum(axis=0)
        mean = np.divide(np.where(known, x, 0).sum(axis=0), counts, out=np.zeros(x.shape[1]), where=counts > 0)
        variance = np.divide(
            (np.where(known, x - mean, 0) ** 2).sum(axis=0), counts, out=np.zeros(x.shape[1]), where=counts > 1
        )
        constant = variance <= (1e-9 * np.abs(mean)) ** 2
        sd = np.where(constant, 1.0, np.sqrt(variance))
        z = np.where(known & ~constant, (x - mean) / sd, 0.0)
        _, sizes, axes = np.linalg.svd(z - z.mean(axis=0), full_matrices=False)
        axes = axes[: max(1, min(components, int((sizes > 1e-10 * sizes[0]).sum())))]
        axes[:, constant] = 0  # their z is 0 whatever a later recording has
        largest = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
        axes *= np.where(largest < 0, -1.0, 1.0)[:, None]
        return cls(names, mean, sd, axes, float(1 - known.mean()))

    def transform(self, x: ArrayLike) -> Matrix:
        """Return the components of recordings, (n, K); rows of NaN where nothing is known.

        Raises:
            ValueError: If the columns do not match, or a value is infinite.
        """
        x = np.asarray(x, np.float64)
        _check(x, self.names)
        z = (x - self.mean) / self.sd
        scaled = np.where(np.isnan(z), 0.0, z) @ self.components.T
        scaled[np.isnan(x).all(axis=1)] = np.nan
        return np.asarray(scaled)

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers, for the card of a checkpoint."""
        arrays = {key: getattr(self, key).tolist() for key in ("mean", "sd", "components")}
        return {"names": list(self.names), **arrays, "unknown": self.unknown}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> FeatureScaler:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: If something is missing or the shapes do not fit together.
        """
        try:
            names = tuple(map(str, content["names"]))
            mean, sd, axes = (np.asarray(content[key], np.float64) for key in ("mean", "sd", "components"))
            unknown = float(content["unknown"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not the content of a feature scaler: {error!r}") from error
        if mean.shape != (len(names),) or sd.shape != mean.shape or axes.ndim != 2 or axes.shape[1] != len(names):
            shapes = f"{mean.shape}, {sd.shape} and {axes.shape}"
            raise ValueError(f"a feature scaler of {len(names)} features has mean, sd and components of {shapes}")
        return cls(names, mean, sd, axes, unknown)


def _check(x: Matrix, names: tuple[str, ...]) -> None:
    if x.ndim != 2 or x.shape[1] != len(names):
        raise ValueError(f"x must be (recordings, {len(names)}), one column per feature; got shape {x.shape}")
    if np.isinf(x).any():
        raise ValueError("x must be finite, or NaN where a feature is unknown; it has infinite values")
