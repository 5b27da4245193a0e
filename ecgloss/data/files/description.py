"""What a file with named arrays holds: which array is the signals, and what the file says about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ecgloss.data.files.layout import Layout, layout_of
from ecgloss.data.files.options import (
    RATE_OPTION,
    SignalOptions,
    agreed_leads,
    agreed_rate,
    agreed_units,
    refuse_unsaid,
)

#: Names of the array of signals, which no one has to say.
SIGNALS = ("signals", "signal", "tracings", "ecg", "val", "x")
UNITS = ("units", "unit")
RATE = ("sampling_rate", "sample_rate", "sampling_frequency", "sampling_rate_hz", "source_rate", "fs")
LEADS = ("leads", "lead_names", "lead_order", "channel_names", "sig_name")
PATIENTS = ("patient", "patients", "patient_id", "subject", "subject_id")
NAMES = ("exam_id", "record", "record_id", "ecg_id")
EXAM_ID = "exam_id"
#: Names of all that is understood besides the signals.
UNDERSTOOD = frozenset((*UNITS, *RATE, *LEADS, *PATIENTS, *NAMES))


@dataclass(frozen=True)
class Description:
    """What is known about an array of signals.

    Attributes:
        array: Its name in the file.
        layout: Where recordings, leads and samples are.
        leads: Names of the leads.
        sampling_rate: In Hz.
        factor: From its units to mV.
        patients: (n,) patients; None: unknown.
        names: (n,) names of the recordings; None: they have none.
        padded: Whether recordings have zeros around them and an empty row at the end, as CODE-15 has.
    """

    array: str
    layout: Layout
    leads: tuple[str, ...]
    sampling_rate: float
    factor: float
    patients: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    padded: bool = False

    def recordings(self, prefix: str, *, alone: bool) -> Iterator[tuple[int, str, str]]:
        """Row, name and patient of every recording.

        Args:
            prefix: Name of the file without its extension.
            alone: Whether the file is the whole source, so that names of rows need no prefix.
        """
        one = self.layout.recordings is None
        for k in range(self.layout.n):
            own = str(k) if self.names is None else self.names[k]
            if self.padded and own in ("0", ""):
                continue
            name = (prefix if self.names is None else own) if one and alone else prefix if one else own
            name = name if alone or one else f"{prefix}/{own}"
            yield k, name, name if self.patients is None else self.patients[k]


def describe(
    source: str,
    shapes: Mapping[str, tuple[int, ...]],
    value: Callable[[str, Sequence[str]], Any],
    options: SignalOptions,
    fallback: Sequence[str] | None,
) -> Description:
    """Find the signals of a file and all that must be known about them.

    Args:
        source: Name of the file, for errors.
        shapes: Shapes of its arrays of numbers, by name.
        value: ``value(array, names)`` returns what the file says under one of some names, None where it says nothing.
        options: What the user says.
        fallback: Leads that are wanted; they name the rows where nothing else does.

    Raises:
        ValueError: If something is not said, contradicts itself, or does not fit the array.

    Example:
        >>> said = SignalOptions(units="uV", source_rate=400.0, leads=("II",))
        >>> describe("a.mat", {"ecg": (5000, 1)}, lambda array, names: None, said, None).layout.samples
        0
    """
    array = _signals_name(source, shapes, options.dataset_name)
    own_leads, own_units, own_rate = (value(array, names) for names in (LEADS, UNITS, RATE))
    named = own_leads if own_leads is not None else options.leads if options.leads is not None else fallback
    rate = own_rate if own_rate is not None else options.source_rate
    units = own_units if own_units is not None else options.units
    refuse_unsaid(source, {RATE_OPTION: rate, "--leads": named, "--units": units})
    in_file = None if own_leads is None else texts(own_leads)
    leads = agreed_leads(options.leads, in_file, source, fallback=fallback)
    in_units = [] if own_units is None else sorted(set(texts(own_units)))
    if len(in_units) > 1:
        raise ValueError(f"{source}: its leads have the units {', '.join(in_units)[:80]}; save them in one of them")
    factor = agreed_units(options.units, in_units[0] if in_units else None, source)
    in_rate = None if own_rate is None else number(own_rate, source)
    sampling_rate = agreed_rate(options.source_rate, in_rate, source)
    layout = layout_of(shapes[array], len(leads), source)
    patients, names = value(array, PATIENTS), value(array, NAMES)
    padded = array == "tracings" and value(array, (EXAM_ID,)) is not None
    found = Description(array, layout, leads, sampling_rate, factor, padded=padded)
    return _with_rows(found, source, patients, names)


def _signals_name(source: str, shapes: Mapping[str, tuple[int, ...]], said: str | None) -> str:
    """Name of the array of signals: said, well known, or the only one."""
    there = ", ".join(f"{name} {shape}" for name, shape in shapes.items())[:300] or "none"
    if said is not None:
        if said not in shapes:
            raise ValueError(f"{source} has no array of numbers {said}; it has {there}")
        return said
    named = [name for name in shapes if name.lower() in SIGNALS]
    named = named or [name for name in shapes if name.lower() not in UNDERSTOOD]
    if len(named) != 1:
        raise ValueError(
            f"{source} must have one array of signals, called signals, or named by --dataset_name; it has {there}"
        )
    return named[0]


def _with_rows(found: Description, source: str, patients: Any, names: Any) -> Description:
    """A description with patients and names of the recordings, one each."""
    lists = []
    for what, values in (("patients", patients), ("names of recordings", names)):
        if values is not None:
            values = tuple(texts(values))
            if len(values) != found.layout.n:
                raise ValueError(f"{source}: it has {found.layout.n} recordings and {len(values)} {what}")
        lists.append(values)
    return replace(found, patients=lists[0], names=lists[1])


def texts(value: Any) -> list[str]:
    """Values as words: of one text, separated by commas, or of an array of texts or numbers.

    Example:
        >>> texts("I, II"), texts(np.array([b"V1", b"V2"])), texts([7.0, 8])
        (['I', 'II'], ['V1', 'V2'], ['7', '8'])
    """
    if isinstance(value, bytes | np.bytes_):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return [word.strip() for word in value.split(",")]
    if np.ndim(value) == 0:
        return texts(np.asarray(value).item()) if isinstance(value, np.ndarray | np.generic) else [_word(value)]
    return [_word(x) for x in np.asarray(value, object).ravel().tolist()]


def number(value: Any, source: str) -> float:
    """The one number in a value.

    Raises:
        ValueError: If it holds none, or several.

    Example:
        >>> number(np.array([[500.0]]), "a.mat"), number(b"250", "a.h5")
        (500.0, 250.0)
    """
    words = texts(value)
    try:
        [found] = words
        return float(found)
    except ValueError:
        raise ValueError(
            f"{source}: its sampling rate must be one number, in Hz; got {', '.join(words)[:40]}"
        ) from None


def _word(value: Any) -> str:
    """One value as a word; whole numbers without decimals."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().rstrip("\0")
