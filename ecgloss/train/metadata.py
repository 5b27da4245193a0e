"""Options on what a run knows of its patients: imputation, range of the score, and metadata hidden on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ecgloss.risk.models import region_of
from ecgloss.risk.population import PACKAGED
from ecgloss.train.seeds import generator

_KEPT = ("age", "sex")  # are hidden only where they are named: without them there is no risk


@dataclass(frozen=True)
class MetadataOptions:
    """How a run treats what is known of its patients.

    Attributes:
        country: Country of the patients in place of ``region``, by its English name; "USA" takes PREVENT in "auto".
        extrapolate: Risk outside the range of the score: "nan" (unknown), or "clip" (that at the end of the range).
        missing_inputs: Unknown inputs of the score: "impute" (population values), "nan" (no risk), or "model" (an
            iterative imputation fitted on the training recordings).
        table: Population values by sex and age band: "europe", "sex_means" (one value per sex), or a JSON file.
        drop: Probability that a known input of the risk is hidden, for studies of missing metadata. An input is hidden
            in all recordings of a patient; what is hidden with 0.2 is hidden with 0.5 too.
        drop_columns: Inputs that may be hidden, separated by commas; default: all but age and sex.
        shuffle_risk: Shuffle the risks of the training recordings, so that they say nothing: the boundary case.
        seed: Seed of what is hidden and of the shuffling; the seed of the run does not change them.
    """

    country: str | None = None
    extrapolate: Literal["nan", "clip"] = "nan"
    missing_inputs: Literal["impute", "nan", "model"] = "impute"
    table: str = "europe"
    drop: float = 0.0
    drop_columns: str | None = None
    shuffle_risk: bool = False
    seed: int = 0

    def check(self) -> None:
        """Check the values.

        Raises:
            ValueError: For a value that is not accepted, naming the option.
        """
        if not 0 <= self.drop <= 1:
            raise ValueError(f"metadata.drop must lie in [0, 1]; got {self.drop}")
        if self.drop_columns is not None and not self.drop:
            raise ValueError(f"metadata.drop_columns {self.drop_columns} needs metadata.drop, a probability above 0")
        if self.seed < 0:
            raise ValueError(f"metadata.seed must be at least 0; got {self.seed}")
        if self.country is not None:
            region_of(self.country)
        if self.table not in PACKAGED and not self.table.endswith(".json"):
            raise ValueError(f"metadata.table must be {', '.join(PACKAGED)} or a .json file; got {self.table}")


#: What runs did that were begun before there were these options.
BEFORE = MetadataOptions(extrapolate="clip", table="sex_means")


def hidden(
    columns: Mapping[str, Any], groups: NDArray[Any], options: MetadataOptions
) -> tuple[dict[str, Any], dict[str, int]]:
    """The columns with some values hidden.

    Args:
        columns: By name, (n,) each; "sex" as a list of words.
        groups: (n,) patients.
        options: Which, how many, and the seed.

    Returns:
        The columns, and the number of known values that were hidden in each.

    Raises:
        ValueError: If a column named in the options is none of these.

    Example:
        >>> found, count = hidden({"age": np.arange(4.0)}, np.arange(4), MetadataOptions(drop=1.0, drop_columns="age"))
        >>> found["age"], count
        (array([nan, nan, nan, nan]), {'age': 4})
    """
    if not options.drop:
        return dict(columns), {}
    named = None if options.drop_columns is None else [name.strip() for name in options.drop_columns.split(",")]
    unknown = [name for name in named or [] if name not in columns]
    if unknown:
        raise ValueError(f"metadata.drop_columns: {unknown[0]} is none of the inputs of the risk: {', '.join(columns)}")
    names = [name for name in columns if name not in _KEPT] if named is None else named
    _, patient = np.unique(groups, return_inverse=True)
    result, count = dict(columns), {}
    for name in names:
        draw = torch.rand(int(patient.max()) + 1, generator=generator(options.seed, "metadata", name)).numpy()
        hide = (draw < options.drop)[patient]
        if name == "sex":
            count[name] = sum(1 for x, h in zip(columns[name], hide) if h and x is not None)
            result[name] = [None if h else x for x, h in zip(columns[name], hide)]
        else:
            count[name] = int((hide & ~np.isnan(columns[name])).sum())
            result[name] = np.where(hide, np.nan, columns[name])
    return result, count
