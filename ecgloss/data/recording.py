"""One recording and its metadata, in the same form for every database.

Only numpy is needed here, so that signal generators and feature code can use these types freely.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

#: The twelve standard leads in their usual order.
STANDARD_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

_ROMAN = re.compile(r"i{1,3}", re.IGNORECASE)
_AUGMENTED = re.compile(r"av([rlf])", re.IGNORECASE)
_CHEST = re.compile(r"v([1-9]r?|[xyz])", re.IGNORECASE)
_MODIFIED = re.compile(r"ml(i{1,3})", re.IGNORECASE)


@dataclass(frozen=True)
class Metadata:
    """What is known about the patient at the time of the recording.

    Attributes:
        age: Age in years; NaN when unknown.
        sex: ``"male"``, ``"female"`` or None when unknown.
        smoker: Current smoking, None when unknown.
        diabetes: Diagnosed diabetes, None when unknown.
        sbp: Systolic blood pressure in mmHg; NaN when unknown.
        total_chol: Total cholesterol in mmol/L; NaN when unknown.
        hdl_chol: HDL cholesterol in mmol/L; NaN when unknown.
        labels: Task name to labels. A task that is absent means that this recording is not labelled for
            it; an empty tuple means that it is labelled and has none.
        values: Regression targets by task name.
        part: Part of the recording in the official split of its database: train, validation or test; None without one.

    Example:
        >>> Metadata(age=61.0, sex="female").smoker is None
        True
    """

    age: float = math.nan
    sex: str | None = None
    smoker: bool | None = None
    diabetes: bool | None = None
    sbp: float = math.nan
    total_chol: float = math.nan
    hdl_chol: float = math.nan
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    part: str | None = None

    def __post_init__(self) -> None:
        if self.sex not in ("male", "female", None):
            raise ValueError(f'sex must be "male", "female" or None, got {self.sex!r}')


@dataclass(frozen=True)
class Recording:
    """One recording with its leads and what is known about the patient.

    Attributes:
        name: Unique in its dataset: the relative path without extension.
        patient: Identifier of the patient; recordings of one patient are never in different parts of a split.
        signal: ``(leads, samples)`` float32 in mV, NaN where a sample is missing.
        leads: Normalised lead names, one per row of ``signal``.
        sampling_rate: Samples per second, in Hz.
        metadata: What is known about the patient.
        left_out: Names of channels that were not read, because they are no ECG leads.

    Raises:
        ValueError: If ``signal`` is not two-dimensional, or does not have one row per lead.

    Example:
        >>> Recording("a/0", "a", np.zeros((1, 500), np.float32), ("II",), 500.0).leads
        ('II',)
    """

    name: str
    patient: str
    signal: np.ndarray
    leads: tuple[str, ...]
    sampling_rate: float
    metadata: Metadata = field(default_factory=Metadata)
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.signal.ndim != 2 or self.signal.shape[0] != len(self.leads):
            raise ValueError(
                f"signal of {self.name!r} must be (leads, samples) with {len(self.leads)} leads, "
                f"got shape {self.signal.shape}"
            )


@dataclass(frozen=True)
class Skipped:
    """A record that could not be used, and why.

    Attributes:
        name: The record, as a relative path without extension.
        reason: One line.

    Example:
        >>> print(Skipped("00/7", "00/7.dat is missing"))
        00/7: 00/7.dat is missing
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def normalise_lead(name: str) -> str:
    """Return a lead name in the field's usual spelling.

    Args:
        name: A name as written in a header: ``avr``, ``AVR``, ``i``, ``v1``, ``vx``, ``MLII``.

    Returns:
        I, II, III, aVR, aVL, aVF, V1..V9 (right-sided: V3R, V4R), VX, VY, VZ or MLI..MLIII; any other name
        without its surrounding blanks.

    Example:
        >>> [normalise_lead(n) for n in ("avr", "AVL", "i", "v1", "vx", "mlII", " ECG ")]
        ['aVR', 'aVL', 'I', 'V1', 'VX', 'MLII', 'ECG']
    """
    stripped = name.strip()
    if _ROMAN.fullmatch(stripped) or _CHEST.fullmatch(stripped) or _MODIFIED.fullmatch(stripped):
        return stripped.upper()
    if match := _AUGMENTED.fullmatch(stripped):
        return "aV" + match.group(1).upper()
    return stripped


def is_standard(name: str) -> bool:
    """Tell whether a name is that of a lead whose spelling is known: I..III, aVR.., V1..V9, VX.., MLI..MLIII.

    Example:
        >>> is_standard("avr"), is_standard("ECG")
        (True, False)
    """
    stripped = name.strip()
    return any(form.fullmatch(stripped) for form in (_ROMAN, _AUGMENTED, _CHEST, _MODIFIED))


def select_leads(recording: Recording, leads: tuple[str, ...] | None) -> Recording:
    """Keep those of the requested leads that a recording has, in the requested order.

    Args:
        recording: Any recording.
        leads: Normalised names; None keeps all.

    Raises:
        ValueError: If it has none of them.

    Example:
        >>> recording = Recording("a", "a", np.zeros((2, 5), np.float32), ("V5", "MLII"), 360.0)
        >>> select_leads(recording, ("MLII", "I")).leads
        ('MLII',)
    """
    if leads is None:
        return recording
    kept = tuple(lead for lead in leads if lead in recording.leads)
    if not kept:
        raise ValueError(f"has none of the leads {', '.join(leads)}, only {', '.join(recording.leads)}")
    rows = [recording.leads.index(lead) for lead in kept]
    return replace(recording, signal=recording.signal[rows], leads=kept)
