"""Population values that replace unknown inputs: one table by sex and age band, which another file can replace.

A table is a JSON object: ``format``, ``title``, ``source`` (of each input), ``age_from`` (first age of each band,
rising from 0) and ``values``: for "male" and "female" a number, or a list with one number per band, for each input but
age and sex.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ecgloss._files import read_json
from ecgloss.risk.arrays import Array
from ecgloss.risk.inputs import INPUTS, QUANTITIES, SEXES

FORMAT = "ecgloss.population/1"
PACKAGED = ("europe", "sex_means")
_WITHOUT = ("age", "sex")


@dataclass(frozen=True)
class Population:
    """Values by sex and age band.

    Attributes:
        name: "europe", "sex_means" or the path of a file.
        title: For people.
        source: Of each input.
        age_from: First age of each band.
        values: By sex and input, one number per band.
    """

    name: str
    title: str
    source: Mapping[str, str]
    age_from: tuple[float, ...]
    values: Mapping[str, Mapping[str, tuple[float, ...]]]

    def fill(self, name: str, sex: np.ndarray, age: Array) -> Array:
        """Values of one input for patients of known sex and age; NaN where one of these is unknown.

        Args:
            name: The input.
            sex: Index into :data:`ecgloss.risk.inputs.SEXES`, -1 where unknown.
            age: Years.

        Raises:
            ValueError: If the table has no such input.

        Example:
            >>> load_population("europe").fill("sbp", np.array([0, 1, -1]), np.array([40.0, 60.0, 50.0]))
            array([116.6, 128.9,   nan])
        """
        if name not in self.values["male"]:
            raise ValueError(f"the population table {self.name} has no {name}")
        band = np.clip(np.searchsorted(self.age_from, age, side="right") - 1, 0, None)
        male, female = (np.array(self.values[of][name])[band] for of in SEXES)
        known = (sex >= 0) & ~np.isnan(age)
        filled = np.where(known, np.where(sex == 0, male, female), np.nan)
        return np.minimum(filled, age) if name == "age_at_diagnosis" else filled


def load_population(name: str | Path) -> Population:
    """A table of the package ("europe", or "sex_means" with one value per sex), or that of a file.

    Raises:
        ValueError: If the file cannot be read or is no such table; names it and the entry.

    Example:
        >>> load_population("europe").values["male"]["sbp"]
        (115.5, 116.6, 121.6, 127.3)
    """
    if name in PACKAGED:
        return _packaged(str(name))
    if not Path(name).is_file():
        raise ValueError(f"table must be one of {', '.join(PACKAGED)} or a file of population values; got {name}")
    return _population(str(name), read_json(name))


@cache
def _packaged(name: str) -> Population:
    with resources.as_file(resources.files("ecgloss.risk").joinpath(f"population_{name}.json")) as path:
        return _population(name, read_json(path))


def _population(name: str, content: Any) -> Population:
    """The table of a file, checked."""

    def refuse(what: str) -> ValueError:
        return ValueError(f"{name} is not a table of population values: {what}")

    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise refuse(f'it has no "format": "{FORMAT}"')
    ages, values = content.get("age_from"), content.get("values")
    if not isinstance(ages, list) or not ages or ages[0] != 0 or not all(a < b for a, b in pairwise(ages)):
        raise refuse("age_from must be a list of rising ages that begins with 0")
    if not isinstance(values, dict) or set(values) != set(SEXES):
        raise refuse("values must have male and female")
    found: dict[str, dict[str, tuple[float, ...]]] = {}
    for sex, entries in values.items():
        found[sex] = {}
        for key, entry in entries.items():
            row = entry if isinstance(entry, list) else [entry] * len(ages)
            if key not in INPUTS or key in _WITHOUT:
                raise refuse(f"{sex}, {key} is not an input that can be replaced")
            if len(row) != len(ages) or not all(_fits(key, x) for x in row):
                raise refuse(f"{sex}, {key} must be one possible number, or one for each of {len(ages)} age bands")
            found[sex][key] = tuple(float(x) for x in row)
    if set(found["male"]) != set(found["female"]):
        raise refuse("men and women must have the same inputs")
    return Population(name, str(content.get("title", "")), dict(content.get("source", {})), tuple(ages), found)


def _fits(name: str, x: Any) -> bool:
    """Whether a number is possible for an input; a share of people for yes and no."""
    if isinstance(x, bool) or not isinstance(x, (int, float)) or not math.isfinite(x):
        return False
    low, high = (QUANTITIES[name].low, QUANTITIES[name].high) if name in QUANTITIES else (0.0, 1.0)
    return low <= x <= high
