"""Coefficient files: what a score is made of, read and checked. ``coefficients.json`` beside this file holds all scores
of the package with the source of each number; a file of the same format holds a user's own.

A model has *terms*, each made of one input, and coefficients of terms or products of terms for each sex (or "any"):

    term = (g(input) - centre) / unit          lp = intercept + sum of coefficient * term
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from ecgloss._files import read_json
from ecgloss.risk.inputs import INPUTS, MG_DL, QUANTITIES, SEXES

FORMAT = "ecgloss.risk/1"
REGIONS = ("low", "moderate", "high", "very_high")
LINKS = ("survival", "logistic", "points")
ANY = "any"
_MODEL_KEYS = {"title", "outcome", "population", "source", "link", "valid", "usual", "counted", "terms", "sexes"}
_SEX_KEYS = {"coefficients", "intercept", "mean_lp", "baseline_survival", "region_scales"}


@dataclass(frozen=True)
class Term:
    """How an input enters the linear predictor: ``(g(input) - centre) / unit``.

    Attributes:
        input: Name in :data:`ecgloss.risk.inputs.INPUTS`.
        centre: What is subtracted.
        unit: By what the difference is divided.
        minus: Another input that is subtracted first, or "".
        at_most: The input is taken to be at most this.
        at_least: The input is taken to be at least this.
        log: Take the natural logarithm.
        from_: 1 from this value on, 0 below.
        only_with: An answer of yes or no; without it, the term is 0.
    """

    input: str
    centre: float = 0.0
    unit: float = 1.0
    minus: str = ""
    at_most: float | None = None
    at_least: float | None = None
    log: bool = False
    from_: float | None = None
    only_with: str = ""


@dataclass(frozen=True)
class Range:
    """Values for which a score was made: ``low`` to ``high``, and above ``high`` those smaller than ``below``.

    Ages are whole years: 69.9 is 69. A value outside is clipped to ``low`` or ``high``.
    """

    low: float
    high: float
    below: float | None = None


@dataclass(frozen=True)
class SexModel:
    """Numbers of a model for one sex; ``coefficients`` are by term, where ``"a*b"`` is the product of two terms."""

    coefficients: Mapping[str, float]
    intercept: float = 0.0
    mean_lp: float = 0.0
    baseline_survival: float | None = None
    region_scales: Mapping[str, tuple[float, float]] | None = None


@dataclass(frozen=True)
class ScoreModel:
    """One score.

    Attributes:
        name: In its file.
        title: For people.
        outcome: What it estimates.
        population: For whom it was made.
        source: Where the numbers are from.
        link: ``"survival"``, ``"logistic"`` or ``"points"``.
        valid: Range of each input for which it was made; outside, there is no score.
        usual: Ranges that are reported but do not restrict the score.
        counted: Inputs of which a share may be missing; the others count as 0 where unknown.
        terms: By name.
        sexes: By "male" and "female", or "any".
    """

    name: str
    title: str
    outcome: str
    population: str
    source: Mapping[str, str]
    link: str
    valid: Mapping[str, Range]
    usual: Mapping[str, Range]
    counted: tuple[str, ...]
    terms: Mapping[str, Term]
    sexes: Mapping[str, SexModel]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Its inputs, in the order of :data:`ecgloss.risk.inputs.INPUTS`; "sex" where the sexes differ."""
        used = {"sex"} if ANY not in self.sexes else set()
        for term in self.terms.values():
            used |= {term.input, term.minus, term.only_with}
        return tuple(name for name in INPUTS if name in used)

    @property
    def regional(self) -> bool:
        """Whether it is calibrated to risk regions."""
        return any(sex.region_scales for sex in self.sexes.values())


@dataclass(frozen=True)
class Countries:
    """Risk region of a country, or "prevent" for the country of PREVENT."""

    regions: Mapping[str, str]
    also: Mapping[str, str]

    def region(self, country: str) -> str:
        """The region of a country by its English name.

        Raises:
            ValueError: If SCORE2 has no region for it; says what to do.
        """
        names = {name.lower(): name for name in (*self.regions, *self.also)}
        name = names.get(country.strip().lower(), "")
        name = self.also.get(name, name)
        if name not in self.regions:
            raise ValueError(
                f"country: {country!r} is in no risk region of SCORE2; give region, one of {', '.join(REGIONS)}, or "
                f"one of the countries {', '.join(sorted(self.regions))}"
            )
        return self.regions[name]


def load_model(name: str) -> ScoreModel:
    """A score of the package, by its name in ``coefficients.json``.

    Raises:
        ValueError: For an unknown name, listing those there are.

    Example:
        >>> load_model("score2_op").valid["age"]
        Range(low=70.0, high=89.0, below=90.0)
    """
    models = packaged_models()
    if name not in models:
        raise ValueError(f"score must be one of {', '.join(models)}; got {name!r}")
    return models[name]


@cache
def packaged_models() -> dict[str, ScoreModel]:
    """All scores of the package."""
    return {name: _model(name, entry) for name, entry in _packaged()["models"].items()}


@cache
def countries() -> Countries:
    """The countries of the risk regions."""
    entry = _packaged()["countries"]
    regions = {country: region for region in (*REGIONS, "prevent") for country in entry[region]}
    return Countries(regions, entry["also"])


def region_of(country: str) -> str:
    """The SCORE2 risk region of a country by its English name; "prevent" for the USA, which is in none.

    Raises:
        ValueError: If the country is unknown; lists those there are.

    Example:
        >>> region_of("Germany"), region_of("Turkey"), region_of("USA")
        ('moderate', 'high', 'prevent')
    """
    return countries().region(country)


def read_models(path: str | Path) -> dict[str, ScoreModel]:
    """The scores of a coefficient file, of the same format as the package's.

    Raises:
        ValueError: If the file cannot be read or does not hold scores; names the file and the entry.
    """
    content = read_json(path)
    try:
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f'it has no "format": "{FORMAT}"')
        entries = content.get("models")
        if not isinstance(entries, dict) or not entries:
            raise ValueError('it has no "models"')
        return {name: _model(name, entry) for name, entry in entries.items()}
    except ValueError as error:
        raise ValueError(f"{path} is not a coefficient file: {error}") from error


@cache
def _packaged() -> dict[str, Any]:
    text = resources.files("ecgloss.risk").joinpath("coefficients.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def _model(name: str, entry: Any) -> ScoreModel:
    """One entry of a file, checked."""
    if not isinstance(entry, dict):
        raise ValueError(f"{name} is not an object")
    _keys(name, entry, _MODEL_KEYS, {"title", "link", "valid", "terms", "sexes"})
    if entry["link"] not in LINKS:
        raise ValueError(f"{name}: link must be one of {', '.join(LINKS)}; got {entry['link']!r}")
    terms = {term: _term(f"{name}, term {term}", value) for term, value in _object(name, entry, "terms").items()}
    sexes = _object(name, entry, "sexes")
    if set(sexes) not in ({ANY}, set(SEXES)):
        raise ValueError(f'{name}: sexes must be "male" and "female", or "any"; got {", ".join(map(str, sexes))}')
    model = ScoreModel(
        name=name,
        title=str(entry["title"]),
        outcome=str(entry.get("outcome", "")),
        population=str(entry.get("population", "")),
        source=dict(entry.get("source", {})),
        link=entry["link"],
        valid=_ranges(f"{name}, valid", entry["valid"]),
        usual=_ranges(f"{name}, usual", entry.get("usual", {})),
        counted=(),
        terms=terms,
        sexes={sex: _sex(f"{name}, {sex}", value, terms, entry["link"]) for sex, value in sexes.items()},
    )
    counted = tuple(entry.get("counted", model.inputs))
    strange = [x for x in (*counted, *model.valid, *model.usual) if x not in model.inputs]
    if strange or not counted:
        raise ValueError(
            f"{name}: {strange[0] if strange else 'counted'} must be an input of the score: {model.inputs}"
        )
    return ScoreModel(**{**vars(model), "counted": counted})


def _term(where: str, entry: Any) -> Term:
    """One term."""
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is not an object")
    allowed = {"input", "centre", "unit", "minus", "at_most", "at_least", "log", "from", "only_with"}
    _keys(where, entry, allowed, {"input"})
    for key in ("input", "minus", "only_with"):
        if key in entry and (entry[key] not in INPUTS or entry[key] == "sex"):
            raise ValueError(f"{where}: {key} must be one of {', '.join(x for x in INPUTS if x != 'sex')}")
    numbers = {key: _number(f"{where}, {key}", entry[key]) for key in ("centre", "unit") if key in entry}
    limits = {key: _number(f"{where}, {key}", entry[key]) for key in ("at_most", "at_least") if key in entry}
    if numbers.get("unit") == 0:
        raise ValueError(f"{where}: unit must not be 0")
    return Term(
        entry["input"],
        **numbers,
        **limits,
        minus=entry.get("minus", ""),
        log=bool(entry.get("log", False)),
        from_=_number(f"{where}, from", entry["from"]) if "from" in entry else None,
        only_with=entry.get("only_with", ""),
    )


def _sex(where: str, entry: Any, terms: Mapping[str, Term], link: str) -> SexModel:
    """The numbers for one sex."""
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is not an object")
    _keys(where, entry, _SEX_KEYS, {"coefficients"} | ({"baseline_survival"} if link == "survival" else set()))
    coefficients = {term: _number(f"{where}, {term}", x) for term, x in _object(where, entry, "coefficients").items()}
    for product in coefficients:
        unknown = [factor for factor in product.split("*") if factor not in terms]
        if unknown:
            raise ValueError(f"{where}: {unknown[0]} in {product} is not a term; terms are {', '.join(terms)}")
    survival, scales = entry.get("baseline_survival"), entry.get("region_scales")
    if survival is not None and not 0 < _number(f"{where}, baseline_survival", survival) < 1:
        raise ValueError(f"{where}: baseline_survival must lie between 0 and 1; got {survival}")
    if link != "survival" and (survival is not None or scales is not None):
        raise ValueError(f"{where}: baseline_survival and region_scales belong to the link survival, not {link}")
    if scales is not None:
        if not isinstance(scales, dict) or set(scales) != set(REGIONS):
            raise ValueError(f"{where}: region_scales must have {', '.join(REGIONS)}")
        scales = {region: _pair(f"{where}, {region}", scales[region]) for region in REGIONS}
    return SexModel(
        coefficients,
        _number(f"{where}, intercept", entry.get("intercept", 0.0)),
        _number(f"{where}, mean_lp", entry.get("mean_lp", 0.0)),
        survival,
        scales,
    )


def _ranges(where: str, entry: Any) -> dict[str, Range]:
    """Ranges by input; cholesterol may be given in mg/dL."""
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is not an object")
    found = {}
    for name, value in entry.items():
        if name not in QUANTITIES or not isinstance(value, dict):
            raise ValueError(f"{where}: {name} must be one of {', '.join(QUANTITIES)}, with low and high")
        _keys(f"{where}, {name}", value, {"low", "high", "below", "unit"}, {"low", "high"})
        factor = {None: 1.0, QUANTITIES[name].unit: 1.0, "mg/dL": MG_DL}.get(value.get("unit"))
        if factor is None or (factor == MG_DL and not name.endswith("chol")):
            raise ValueError(f"{where}, {name}: unit must be {QUANTITIES[name].unit}; got {value.get('unit')!r}")
        low, high, *below = (
            _number(f"{where}, {name}", value[key]) / factor for key in ("low", "high", "below") if key in value
        )
        if not low < high:
            raise ValueError(f"{where}, {name}: low must be below high; got {low:g} and {high:g}")
        found[name] = Range(low, high, *below)
    return found


def _object(where: str, entry: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = entry[key]
    if not isinstance(value, dict) or not value:
        raise ValueError(f"{where}: {key} must be an object with at least one entry")
    return value


def _pair(where: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"{where}: must be two numbers; got {value!r}")
    return _number(where, value[0]), _number(where, value[1])


def _number(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{where}: must be a finite number; got {value!r}")
    return float(value)


def _keys(where: str, entry: Mapping[str, Any], allowed: set[str], needed: set[str]) -> None:
    unknown, absent = sorted(set(entry) - allowed), sorted(needed - set(entry))
    if unknown or absent:
        what = f"unknown {unknown[0]}" if unknown else f"{absent[0]} is missing"
        raise ValueError(f"{where}: {what}; allowed are {', '.join(sorted(allowed))}")
