"""Which channels are ECG leads: by unit, and by name."""

from __future__ import annotations

import re

from ecgloss.data.recording import is_standard, normalise_lead

#: Millivolt per unit, by the unit's name in small letters; channels in any other unit are not ECG leads.
MILLIVOLTS = {"v": 1e3, "mv": 1.0, "uv": 1e-3, "µv": 1e-3, "nv": 1e-6}

_GENERIC = r"(?:ecg|ekg|lead)"
_PREFIX = re.compile(rf"^(?:{_GENERIC}[\s_:.-]*)+(?=\S)", re.IGNORECASE)
_UNNAMED = re.compile(rf"(?<![a-z]){_GENERIC}(?![a-z])", re.IGNORECASE)

#: Words in the names of channels that are no ECG leads, though they may be in mV: electroencephalogram and the like,
#: respiration, skin response, pressures, pulse, and intracardiac electrograms.
_OTHER = re.compile(
    r"(?<![a-z])(eeg|eog|emg|ieeg|resp\w*|(thor|abdo)\w* res|breath\w*|airflow|nasal|snor\w*|gsr|eda|scr|scl|skin|"
    r"[an]?bp|cvp|icp|pap|pressure|ppg|pleth\w*|pulse|spo2|sao2|co2|o2|temp\w*|acc\w*|marker|trigger|event|"
    r"hra|hbe|his|rva|cs|abl|map|egm)(?![a-z])",
    re.IGNORECASE,
)


def millivolts(unit: str) -> float | None:
    """Factor from a unit to mV; None for one that is no voltage.

    A unit NV is none: it is written for "no value", not for nanovolts.

    Example:
        >>> millivolts("uV"), millivolts("Ohm"), millivolts("NV"), millivolts("nV")
        (0.001, None, None, 1e-06)
    """
    return None if unit == "NV" else MILLIVOLTS.get(unit.lower().replace("μ", "µ"))


def is_other_signal(name: str) -> bool:
    """Whether a channel's name says that it is no ECG lead.

    Example:
        >>> [is_other_signal(name) for name in ("ECG", "EEG (C4-A1)", "foot GSR", "CS12", "V5", "Abdomen_1")]
        [False, True, True, True, False, False]
    """
    return _OTHER.search(name) is not None and "ecg" not in name.lower()


def lead_of(name: str) -> str | None:
    """The lead that a channel's name says; ``"ECG"`` and the like as they are, None where it says no ECG lead.

    Example:
        >>> [lead_of(name) for name in ("ECG I", "EKG-V2", "lead avr", "ECG1", "II", "EEG C3", "CH1")]
        ['I', 'V2', 'aVR', 'ECG1', 'II', None, None]
    """
    for said in (name, _PREFIX.sub("", name.strip())):
        lead = normalise_lead(said)
        if is_standard(lead):
            return lead
    return None if is_other_signal(name) or not _UNNAMED.search(name) else name.strip()
