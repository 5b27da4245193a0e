"""Validation of the patients' attributes: everything becomes float64 arrays of one shape, NaN where unknown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

SEXES = ("male", "female")
UNKNOWN_SEX = -1

#: Range that the values of a living person cannot leave, and the unit. One outside is in another unit, or is a number
#: that means "unknown".
POSSIBLE = {
    "sbp": (30.0, 350.0, "mmHg"),
    "total_chol": (0.5, 30.0, "mmol/L (mg/dL divided by 38.67)"),
    "hdl_chol": (0.05, 10.0, "mmol/L (mg/dL divided by 38.67)"),
}


@dataclass(frozen=True)
class Patients:
    """Validated attributes of n patients, all of one shape.

    Attributes:
        sex: Index into :data:`SEXES`, -1 where unknown (int8).
        age: Years.
        smoker: 1.0 current smoker, 0.0 not.
        sbp: Systolic blood pressure, mmHg.
        total_chol: Total cholesterol, mmol/L.
        hdl_chol: HDL cholesterol, mmol/L.
        diabetes: 1.0 yes, 0.0 no.
    """

    sex: NDArray[np.int8]
    age: Array
    smoker: Array
    sbp: Array
    total_chol: Array
    hdl_chol: Array
    diabetes: Array


def patients(
    *,
    sex: object,
    age: ArrayLike,
    smoker: ArrayLike,
    sbp: ArrayLike,
    total_chol: ArrayLike,
    hdl_chol: ArrayLike,
    diabetes: ArrayLike = 0.0,
) -> Patients:
    """Validate all attributes and broadcast them to one shape.

    Raises:
        ValueError: If a value is impossible in its unit or the shapes do not broadcast; names the argument.
        TypeError: If an argument is not numeric; names it.
    """
    columns: dict[str, NDArray] = {
        "sex": _sex("sex", sex),
        "age": numbers("age", age),
        "smoker": _yes_no("smoker", smoker),
        "sbp": _possible("sbp", sbp),
        "total_chol": _possible("total_chol", total_chol),
        "hdl_chol": _possible("hdl_chol", hdl_chol),
        "diabetes": _yes_no("diabetes", diabetes),
    }
    try:
        arrays = np.broadcast_arrays(*columns.values())
    except ValueError:
        shapes = ", ".join(f"{name} {column.shape}" for name, column in columns.items() if column.ndim)
        raise ValueError(f"the arguments do not broadcast to one shape: {shapes}") from None
    return Patients(**dict(zip(columns, arrays)))


def numbers(name: str, values: ArrayLike) -> Array:
    """Return a float64 array; None, NaN and pandas' NA become NaN, text is refused."""
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":
            array = np.array([_number(value) for value in array.ravel()]).reshape(array.shape)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"got {array.dtype}")
        return array.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be a number or an array of numbers, NaN where unknown ({error})") from error


def _number(value: object) -> float:
    """Convert one element of an object array."""
    if isinstance(value, (str, bytes)):
        raise TypeError(f"got text {value!r}")
    return np.nan if _is_missing(value) else float(value)  # type: ignore[arg-type]


def _is_missing(value: object) -> bool:
    """Tell whether a value is None, "", NaN, or pandas' NA or NaT (without importing pandas)."""
    if isinstance(value, float):
        return value != value
    return value is None or repr(value) in ("''", "<NA>", "NaT")  # pandas' NA cannot be compared


def _possible(name: str, values: ArrayLike) -> Array:
    """Return an array of numbers, all of them possible in the expected unit."""
    low, high, unit = POSSIBLE[name]
    array = numbers(name, values)
    wrong = array[(array < low) | (array > high)]
    if wrong.size:
        raise ValueError(
            f"{name}: {wrong.size} of {array.size} values outside {low:g} to {high:g} {unit}, "
            f"the first is {wrong[0]:g}; unknown values are given as NaN"
        )
    return array


def _yes_no(name: str, values: ArrayLike) -> Array:
    """Return an array of 0, 1 and NaN."""
    array = numbers(name, values)
    wrong = array[(array != 0) & (array != 1) & ~np.isnan(array)]
    if wrong.size:
        raise ValueError(f"{name} must be 0, 1 or NaN (bool is fine); got {wrong[0]:g}")
    return array


def _sex(name: str, values: object) -> NDArray[np.int8]:
    """Return indices into SEXES, -1 where unknown."""
    array = np.asarray(values, dtype=object)
    codes = [_sex_code(name, value) for value in array.ravel()]
    return np.array(codes, dtype=np.int8).reshape(array.shape)


def _sex_code(name: str, value: object) -> int:
    """Return the index of one entry; numbers are refused because databases disagree on which sex is 0."""
    if isinstance(value, str) and value in SEXES:
        return SEXES.index(value)
    if _is_missing(value):
        return UNKNOWN_SEX
    raise ValueError(f'{name} must be "male", "female" or None, got {value!r}')
