"""Which score fits which patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgloss.risk.arrays import Array
from ecgloss.risk.equation import check_region
from ecgloss.risk.models import ScoreModel, countries, load_model, read_models

#: Names of scores, with the models that each stands for.
SCORES: dict[str, tuple[str, ...]] = {
    "score2": ("score2", "score2_op"),
    "score2_only": ("score2",),
    "score2_op": ("score2_op",),
    "score2_diabetes": ("score2_diabetes",),
    "prevent": ("prevent_cvd",),
    "prevent_ascvd": ("prevent_ascvd",),
    "prevent_hf": ("prevent_hf",),
    "cha2ds2_vasc": ("cha2ds2_vasc",),
    "cha2ds2_va": ("cha2ds2_va",),
    "auto": ("score2", "score2_op", "score2_diabetes", "prevent_cvd"),
}


def models_of(score: str | Path) -> tuple[ScoreModel, ...]:
    """The models of a score by name or file.

    Raises:
        ValueError: For an unknown name, a file that is no coefficient file, or one with several scores.

    Example:
        >>> [model.title for model in models_of("score2")]
        ['SCORE2', 'SCORE2-OP']
    """
    if str(score) in SCORES:
        return tuple(load_model(name) for name in SCORES[str(score)])
    if not str(score).endswith(".json"):
        raise ValueError(f"score must be one of {', '.join(SCORES)}, or a coefficient file (.json); got {score}")
    found = read_models(score)
    if len(found) > 1:
        raise ValueError(f"{score} must hold one score; it has {', '.join(found)}")
    return tuple(found.values())


def is_score(name: str) -> bool:
    """Whether a name stands for a score (or its file) and not for a column.

    Example:
        >>> is_score("prevent"), is_score("mine.json"), is_score("my_column")
        (True, True, False)
    """
    return name in SCORES or name.endswith(".json")


def choose(
    score: str | Path, age: Array, diabetes: Array, region: str | None, country: str | None
) -> tuple[tuple[ScoreModel, ...], NDArray[np.int8], str | None]:
    """The models of a score, the index of that of each patient, and the region.

    Args:
        score: A key of :data:`SCORES` or a coefficient file.
        age: (n,) years, NaN where unknown.
        diabetes: (n,) 1, 0 or NaN.
        region: Risk region, or None.
        country: Country in place of the region, or None.

    Raises:
        ValueError: For an unknown score, region or country, or where the score needs a region and there is none.
    """
    models = models_of(score)
    if country is not None and region is not None:
        raise ValueError(f"give region or country, not both; got region {region} and country {country}")
    place = countries().region(country) if country is not None else region
    if place is not None and place != "prevent":
        check_region(place)
    code = np.zeros(len(age), np.int8)
    if score == "auto":
        if place is None:
            raise ValueError('score "auto" needs region or country, such as country="Germany" or country="USA"')
        if place == "prevent":
            return models, np.full(len(age), 3, np.int8), None
        older = age >= models[1].valid["age"].low
        return models, np.where(older, 1, np.where(diabetes == 1, 2, 0)).astype(np.int8), place
    if any(model.regional for model in models):
        if place == "prevent":
            raise ValueError(
                f"country: the USA are in no risk region of SCORE2; use prevent or auto, or give region for {score}"
            )
        check_region(place)
    if score == "score2":
        code = (age >= models[1].valid["age"].low).astype(np.int8)
    return models, code, place
