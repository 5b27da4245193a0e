"""Inputs of the scores: what there is, in which units, what is possible, and their validation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgloss.risk.arrays import Array, Kind, plain_array

SEXES = ("male", "female")
UNKNOWN_SEX = -1
MG_DL = 38.67  # mg/dL of cholesterol in 1 mmol/L
CHOL_UNITS = ("mmol/L", "mg/dL")
GLUCOSE_UNITS = ("mmol/mol", "%")  # of HbA1c: IFCC and NGSP


@dataclass(frozen=True)
class Quantity:
    """A number that a score takes.

    Attributes:
        low: Least value of a living person, in the unit.
        high: Largest value of a living person.
        unit: Unit in which scores are computed.
        other_unit: Another unit in use, or "".
        other: Range of usual values in that unit, which is impossible in this one.
    """

    low: float
    high: float
    unit: str
    other_unit: str = ""
    other: tuple[float, float] = (0.0, 0.0)


#: Numbers that scores take. A value outside ``low`` to ``high`` is in another unit, or is a code for "unknown".
QUANTITIES = {
    "age": Quantity(0.0, 130.0, "years"),
    "sbp": Quantity(30.0, 350.0, "mmHg", "kPa", (8.0, 30.0)),
    "total_chol": Quantity(0.5, 30.0, "mmol/L", "mg/dL", (50.0, 1200.0)),
    "hdl_chol": Quantity(0.05, 10.0, "mmol/L", "mg/dL", (10.0, 400.0)),
    "hba1c": Quantity(20.0, 250.0, "mmol/mol", "%", (3.0, 20.0)),
    "egfr": Quantity(1.0, 250.0, "mL/min/1.73 m2"),
    "bmi": Quantity(8.0, 150.0, "kg/m2"),
    "age_at_diagnosis": Quantity(0.0, 130.0, "years"),
}
#: Questions with the answers 1 (yes) and 0 (no) that scores take.
YES_NO = ("smoker", "diabetes", "bp_treated", "statin", "heart_failure", "hypertension", "stroke", "vascular")
#: All inputs of the scores that come with the package.
INPUTS = ("age", "sex", *(name for name in QUANTITIES if name != "age"), *YES_NO)


@dataclass(frozen=True)
class Inputs:
    """Validated inputs of n patients, all of one shape, in the units of :data:`QUANTITIES`.

    Attributes:
        sex: Index into :data:`SEXES`, -1 where unknown (int8).
        values: Numbers by name, NaN where unknown, in the library that computes.
        plain: The same as float64 arrays of NumPy.
        kind: What the result will be.
    """

    sex: NDArray[np.int8]
    values: Mapping[str, Any]
    plain: Mapping[str, Array]
    kind: Kind


def collect(columns: Mapping[str, object], *, chol_unit: str = "mmol/L", glucose_unit: str = "mmol/mol") -> Inputs:
    """Validate all columns and broadcast them to one shape; nothing is said yet of what is possible.

    Args:
        columns: By name of the input; "sex" holds "male", "female" or None.
        chol_unit: Unit of ``total_chol`` and ``hdl_chol``.
        glucose_unit: Unit of ``hba1c``.

    Raises:
        ValueError: If a unit, sex or answer is unknown, or the shapes do not broadcast; names the argument.
        TypeError: If an argument is not numeric; names it.
    """
    _check_unit("chol_unit", chol_unit, CHOL_UNITS)
    _check_unit("glucose_unit", glucose_unit, GLUCOSE_UNITS)
    kind = Kind.of({name: column for name, column in columns.items() if name != "sex"})
    if kind.dtype is None and kind.series is None and "sex" in columns:
        kind = Kind.of({"sex": columns["sex"]})
    sex = sex_codes("sex", columns["sex"]) if "sex" in columns else np.array(UNKNOWN_SEX, np.int8)
    plain: dict[str, Array] = {}
    values: dict[str, Any] = {}
    for name, column in columns.items():
        if name == "sex":
            continue
        plain[name] = yes_no(name, column) if name in YES_NO else numbers(name, column)
        values[name] = kind.array(column, plain[name])
        if name in ("total_chol", "hdl_chol") and chol_unit == "mg/dL":
            plain[name], values[name] = plain[name] / MG_DL, values[name] / MG_DL
        if name == "hba1c" and glucose_unit == "%":
            plain[name], values[name] = from_percent(plain[name]), from_percent(values[name])
    shapes = {"sex": sex.shape, **{name: array.shape for name, array in plain.items()}}
    try:
        shape = np.broadcast_shapes(*shapes.values())
    except ValueError:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items() if shape)
        raise ValueError(f"the arguments do not broadcast to one shape: {told}") from None
    broadcast = kind.library.broadcast_to
    return Inputs(
        np.broadcast_to(sex, shape),
        {name: broadcast(array, shape) for name, array in values.items()},
        {name: np.broadcast_to(array, shape) for name, array in plain.items()},
        kind,
    )


def from_percent(hba1c: Any) -> Any:
    """HbA1c in mmol/mol (IFCC) from % (NGSP): (% - 2.15) * 10.929.

    Example:
        >>> round(from_percent(7.0))
        53
    """
    return (hba1c - 2.15) * 10.929


def numbers(name: str, values: object) -> Array:
    """Return a float64 array; None, "", NaN and pandas' NA become NaN, other text is refused."""
    try:
        array = plain_array(values)
        if array.dtype.kind == "O":
            array = np.array([_number(value) for value in array.ravel().tolist()], np.float64).reshape(array.shape)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"got {array.dtype}")
        return array.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be a number or an array of numbers, NaN where unknown ({error})") from error


def _number(value: object) -> float:
    """Convert one element of an object array."""
    if type(value) is float or value is None:
        return np.nan if value is None else value
    if isinstance(value, (str, bytes)):
        raise TypeError(f"got text {value!r}")
    return np.nan if _is_missing(value) else float(value)  # type: ignore[arg-type]


def _is_missing(value: object) -> bool:
    """Tell whether a value is None, "", NaN, or pandas' NA or NaT (without importing pandas)."""
    if isinstance(value, float):
        return value != value
    return value is None or repr(value) in ("''", "<NA>", "NaT")  # pandas' NA cannot be compared


def yes_no(name: str, values: object) -> Array:
    """Return an array of 0, 1 and NaN."""
    array = numbers(name, values)
    wrong = array[(array != 0) & (array != 1) & ~np.isnan(array)]
    if wrong.size:
        raise ValueError(f"{name} must be 0, 1 or NaN (bool is fine); got {wrong[0]:g}")
    return array


def sex_codes(name: str, values: object) -> NDArray[np.int8]:
    """Return indices into SEXES, -1 where unknown."""
    array = np.asarray(values, dtype=object)
    known = {"male": 0, "female": 1, None: UNKNOWN_SEX}
    codes = [
        known[value] if (type(value) is str and value in known) or value is None else _sex_code(name, value)
        for value in array.ravel().tolist()
    ]
    return np.array(codes, dtype=np.int8).reshape(array.shape)


def _sex_code(name: str, value: object) -> int:
    """Return the index of an unusual entry; numbers are refused because databases disagree on which sex is 0."""
    if isinstance(value, str) and value in SEXES:
        return SEXES.index(value)
    if _is_missing(value):
        return UNKNOWN_SEX
    raise ValueError(f'{name} must be "male", "female" or None, got {value!r}')


def _check_unit(name: str, value: str, accepted: Collection[str]) -> None:
    """Refuse an unknown unit."""
    if value not in accepted:
        raise ValueError(f"{name} must be {' or '.join(accepted)}; got {value!r}")
