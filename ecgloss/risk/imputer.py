"""Unknown inputs from known ones: scikit-learn's IterativeImputer, kept as plain numbers.

Each unknown input starts at its mean; then, round after round, it is predicted by a linear model of the other inputs.
The models are fitted on the training split only, and are the same for every recording that is looked at afterwards.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgloss._extras import require
from ecgloss.risk.arrays import Array
from ecgloss.risk.inputs import QUANTITIES

ROUNDS = 10


@dataclass(frozen=True)
class Step:
    """One linear model: ``intercept + coefficients @ others`` for one input.

    Attributes:
        target: Position of the input.
        others: Positions of the inputs it follows from.
        coefficients: One per other input.
        intercept: Constant.
    """

    target: int
    others: tuple[int, ...]
    coefficients: tuple[float, ...]
    intercept: float


@dataclass(frozen=True)
class Imputer:
    """A fitted imputation.

    Attributes:
        columns: Names of the inputs; "sex" is 0 for men and 1 for women.
        means: What an unknown input starts with.
        low: Least value of each input.
        high: Largest value of each input.
        steps: The linear models, in the order in which they are applied.
        patients: Number of recordings it was fitted on.
    """

    columns: tuple[str, ...]
    means: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    steps: tuple[Step, ...]
    patients: int

    @classmethod
    def fit(cls, columns: Mapping[str, Array]) -> Imputer:
        """Fit on the training recordings.

        Args:
            columns: By name of the input, (n,) numbers, NaN where unknown. An input with fewer than two known values is
                left out, and is not imputed.

        Raises:
            ValueError: If fewer than two inputs are known.
            MissingExtraError: If scikit-learn is not installed.
        """
        require("sklearn.experimental.enable_iterative_imputer", "eval")
        iterative = require("sklearn.impute", "eval").IterativeImputer
        warning = require("sklearn.exceptions", "eval").ConvergenceWarning
        used = {name: x for name, x in columns.items() if np.count_nonzero(np.isfinite(x)) > 1}
        if len(used) < 2:
            raise ValueError(
                "the imputation by a model needs two inputs that are known in training; "
                f"known are {', '.join(used) or 'none'}"
            )
        limits = [(QUANTITIES[name].low, QUANTITIES[name].high) if name in QUANTITIES else (0.0, 1.0) for name in used]
        low, high = (tuple(float(x) for x in side) for side in zip(*limits))
        x = np.stack([*used.values()], axis=1)
        imputer = iterative(max_iter=ROUNDS, min_value=low, max_value=high, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", warning)  # what is reached after ROUNDS rounds is what is used
            imputer.fit(x)
        steps = tuple(
            Step(
                int(triple.feat_idx),
                tuple(int(k) for k in triple.neighbor_feat_idx),
                tuple(float(c) for c in triple.estimator.coef_),
                float(triple.estimator.intercept_),
            )
            for triple in imputer.imputation_sequence_
        )
        means = tuple(float(m) for m in imputer.initial_imputer_.statistics_)
        return cls(tuple(used), means, low, high, steps, len(x))

    def apply(self, columns: Mapping[str, Array]) -> dict[str, Array]:
        """The columns with every unknown value replaced; yes and no become shares between 0 and 1.

        Args:
            columns: As for :meth:`fit`, of any recordings; all of :attr:`columns`.
        """
        x = np.stack([columns[name] for name in self.columns], axis=1)
        unknown = np.isnan(x)
        x = np.where(unknown, np.array(self.means), x)
        for step in self.steps:
            rows: NDArray[np.intp] = np.flatnonzero(unknown[:, step.target])
            guess = x[rows][:, list(step.others)] @ np.array(step.coefficients) + step.intercept
            x[rows, step.target] = np.clip(guess, self.low[step.target], self.high[step.target])
        return {name: x[:, k] for k, name in enumerate(self.columns)}

    def to_json(self) -> dict[str, Any]:
        """Plain numbers for the card."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Imputer:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: If it is not a fitted imputation.
        """
        try:
            steps = tuple(
                Step(s["target"], tuple(s["others"]), tuple(s["coefficients"]), s["intercept"])
                for s in content["steps"]
            )
            lists = {name: tuple(content[name]) for name in ("columns", "means", "low", "high")}
            return cls(**lists, steps=steps, patients=content["patients"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a fitted imputation of risk inputs: {error}") from error
