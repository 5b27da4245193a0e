"""Values that no living person has, and values that look as if they were in another unit: found, named and counted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ecgloss.risk.arrays import Array
from ecgloss.risk.inputs import MG_DL, QUANTITIES, from_percent

Flags = dict[str, NDArray[np.bool_]]

#: What a flag is called, and the inputs that are not used where it is set.
IMPOSSIBLE, OTHER_UNIT = "{}_impossible", "{}_in_{}"
HDL_ABOVE_TOTAL, DIAGNOSED_LATER = "hdl_chol_above_total_chol", "age_at_diagnosis_above_age"
_TOGETHER = {
    HDL_ABOVE_TOTAL: ("hdl_chol", "total_chol"),
    DIAGNOSED_LATER: ("age_at_diagnosis", "age"),
}


def find_flags(numbers: Mapping[str, Array], *, chol_unit: str = "mmol/L", glucose_unit: str = "mmol/mol") -> Flags:
    """Flags of n patients, for the numbers of :data:`ecgloss.risk.inputs.QUANTITIES` that are there.

    ``sbp_in_kPa``: a systolic pressure of 16 is 120 mmHg in kPa, not 16 mmHg. ``total_chol_in_mg/dL`` and
    ``hdl_chol_in_mg/dL``: cholesterol of 200 or 45. With ``chol_unit="mg/dL"`` it is the other way round.
    ``hba1c_in_%``: an HbA1c of 7. ``sbp_impossible`` and the like: any other value outside the possible range.
    ``hdl_chol_above_total_chol`` and ``age_at_diagnosis_above_age``: each value is possible, but not both.

    Args:
        numbers: By name, already in the units of :data:`ecgloss.risk.inputs.QUANTITIES`, NaN where unknown.
        chol_unit: The unit in which cholesterol was given.
        glucose_unit: The unit in which HbA1c was given.

    Returns:
        Masks of those flags that are set anywhere, by name.

    Example:
        >>> found = find_flags({"sbp": np.array([130.0, 17.0, 0.0])})
        >>> {name: mask.tolist() for name, mask in found.items()}
        {'sbp_in_kPa': [False, True, False], 'sbp_impossible': [False, False, True]}
    """
    found: Flags = {}
    for name, quantity in QUANTITIES.items():
        if name not in numbers:
            continue
        x = numbers[name]
        wrong = (x < quantity.low) | (x > quantity.high)
        if not wrong.any():
            continue
        unit, low, high = quantity.other_unit, *quantity.other
        if name.endswith("chol") and chol_unit == "mg/dL":  # was divided: what was given may have been mmol/L
            unit, low, high = "mmol/L", quantity.low / MG_DL, quantity.high / MG_DL
        elif name == "hba1c" and glucose_unit == "%":
            unit, low, high = "mmol/mol", from_percent(quantity.low), from_percent(quantity.high)
        other = wrong & (x >= low) & (x < high) if unit else np.zeros_like(wrong)
        found[OTHER_UNIT.format(name, unit)] = other
        found[IMPOSSIBLE.format(name)] = wrong & ~other
    for flag, (small, large) in _TOGETHER.items():
        if small in numbers and large in numbers:
            possible = np.ones(np.shape(numbers[small]), np.bool_)
            for name in (small, large):
                quantity = QUANTITIES[name]
                possible &= (numbers[name] >= quantity.low) & (numbers[name] <= quantity.high)
            found[flag] = possible & (numbers[small] > numbers[large])
    return {name: mask for name, mask in found.items() if mask.any()}


def inputs_of_flag(flag: str) -> tuple[str, ...]:
    """The inputs that are not used where a flag is set.

    An age at diagnosis above the age leaves the age in use.

    Example:
        >>> inputs_of_flag("hdl_chol_above_total_chol"), inputs_of_flag("sbp_in_kPa")
        (('hdl_chol', 'total_chol'), ('sbp',))
    """
    if flag == DIAGNOSED_LATER:
        return ("age_at_diagnosis",)
    if flag in _TOGETHER:
        return _TOGETHER[flag]
    return (max((name for name in QUANTITIES if flag.startswith(f"{name}_")), key=len),)


def way_out(flag: str) -> str:
    """What to do about a flag, in a few words.

    Example:
        >>> way_out("total_chol_in_mg/dL")
        'looks like mg/dL: say chol_unit'
    """
    _, _, unit = flag.rpartition("_in_")
    if "_in_" in flag:
        name = inputs_of_flag(flag)[0]
        say = {"hba1c": "say glucose_unit", "sbp": "multiply kPa by 7.50062 to get mmHg"}.get(name, "say chol_unit")
        return f"looks like {unit}: {say}"
    if flag == HDL_ABOVE_TOTAL:
        return "HDL cholesterol above the total, of which it is a part"
    if flag == DIAGNOSED_LATER:
        return "diagnosed at a higher age than the patient has"
    quantity = QUANTITIES[inputs_of_flag(flag)[0]]
    return f"outside {quantity.low:g} to {quantity.high:g} {quantity.unit}"
