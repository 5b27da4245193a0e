"""What a user says about signals, and its agreement with what a file says of itself. Nothing is guessed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ecgloss.data.arrays import UNITS
from ecgloss.data.recording import normalise_lead
from ecgloss.data.wfdb.channels import millivolts

RATE_OPTION = "--source_rate (sampling_rate)"
_SAME_RATE = 1e-3  # relative: rates in files are rounded


@dataclass(frozen=True)
class SignalOptions:
    """What must be said about signals that do not say it themselves.

    Attributes:
        units: Units of the signals: mV, uV or V.
        source_rate: Sampling rate of the signals in Hz.
        leads: Names of the rows of an array, in order; of a file with named channels, those to take.
        dataset_name: Name of the array of signals in an HDF5, MATLAB or .npz file; a path, such as group/ecg, in HDF5.

    Example:
        >>> SignalOptions(units="mV", source_rate=500.0).leads is None
        True
    """

    units: str | None = None
    source_rate: float | None = None
    leads: tuple[str, ...] | None = None
    dataset_name: str | None = None

    def given(self) -> list[str]:
        """Names of the options that are set.

        Example:
            >>> SignalOptions(units="mV").given()
            ['units']
        """
        names = ("units", "source_rate", "leads", "dataset_name")
        return [name for name in names if getattr(self, name) is not None]


def check_options(options: SignalOptions) -> None:
    """Refuse values that make no sense, before any file is opened.

    Raises:
        ValueError: If units are unknown, the rate is not positive, or leads repeat.

    Example:
        >>> check_options(SignalOptions(units="millivolt"))
        Traceback (most recent call last):
        ...
        ValueError: units must be one of mV, uV, µV, V; got millivolt
    """
    if options.units is not None and options.units not in UNITS:
        raise ValueError(f"units must be one of {', '.join(UNITS)}; got {options.units}")
    if options.source_rate is not None and not 0 < options.source_rate < math.inf:
        raise ValueError(f"source_rate must be positive, in Hz; got {options.source_rate}")
    if options.leads is not None:
        names = [normalise_lead(lead) for lead in options.leads]
        if not names or len(set(names)) < len(names) or not all(names):
            raise ValueError(f"leads must be different names, one per row; got {', '.join(names) or 'none'}")


def refuse_unsaid(source: str, known: Mapping[str, object]) -> None:
    """Name all that neither a file nor the user says.

    Args:
        source: Name of the file.
        known: What must be known, by the option that says it; None where it is not.

    Raises:
        ValueError: If something is not known.

    Example:
        >>> refuse_unsaid("a.npy", {"--leads": ["I"], "--units": None})
        Traceback (most recent call last):
        ...
        ValueError: a.npy: say --units; the file does not hold it, and it is not guessed
    """
    unsaid = [option for option, value in known.items() if value is None]
    if unsaid:
        them, are = ("it", "it is") if len(unsaid) == 1 else ("them", "they are")
        raise ValueError(f"{source}: say {', '.join(unsaid)}; the file does not hold {them}, and {are} not guessed")


def agreed_units(said: str | None, in_file: str | None, source: str) -> float:
    """Factor to mV from the units that a file or the user says.

    Args:
        said: By the user, a key of :data:`ecgloss.data.arrays.UNITS`; None: nothing.
        in_file: By the file; None or empty: nothing.
        source: Name of the file, for errors.

    Raises:
        ValueError: If neither says them, both do and differ, or they are no voltage.

    Example:
        >>> agreed_units(None, "uV", "a.edf")
        0.001
    """
    factor = None if said is None else UNITS[said]
    if not in_file:
        refuse_unsaid(source, {"--units": factor})
        assert factor is not None
        return factor
    own = millivolts(in_file)
    if own is None:
        raise ValueError(
            f"{source}: its units {in_file[:20]!r} are no voltage; correct them in the file to mV, uV or V"
        )
    if factor is not None and not math.isclose(own, factor):
        raise ValueError(
            f"{source}: --units says {said}, the file says {in_file}; leave --units out, or correct the file"
        )
    return own


def agreed_rate(said: float | None, in_file: float | None, source: str) -> float:
    """The sampling rate in Hz that a file or the user says; where both do, that of the user, which is not rounded.

    Args:
        said: By the user; None: nothing.
        in_file: By the file; None: nothing.
        source: Name of the file, for errors.

    Raises:
        ValueError: If neither says it, both do and differ, or the file's makes no sense.

    Example:
        >>> agreed_rate(500, None, "a.mat"), agreed_rate(None, 257.0, "a.edf")
        (500.0, 257.0)
    """
    if in_file is None:
        refuse_unsaid(source, {RATE_OPTION: said})
        assert said is not None
        return float(said)
    if not 0 < in_file < math.inf:
        raise ValueError(f"{source}: its sampling rate {in_file:g} Hz makes no sense; correct it in the file")
    if said is not None and not math.isclose(said, in_file, rel_tol=_SAME_RATE):
        raise ValueError(
            f"{source}: --source_rate says {said:g} Hz, the file says {in_file:g} Hz; leave --source_rate out, or "
            "correct the file"
        )
    return float(in_file if said is None else said)


def agreed_leads(
    said: Sequence[str] | None, in_file: Sequence[str] | None, source: str, *, fallback: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Names of the rows of an array, which the file or the user says.

    Args:
        said: By the user; None: nothing.
        in_file: By the file; None: nothing.
        source: Name of the file, for errors.
        fallback: Leads that are wanted; they name the rows where nothing else does.

    Raises:
        ValueError: If none says them, file and user do and differ, or a name comes twice.

    Example:
        >>> agreed_leads(["ii", "v5"], None, "a.mat")
        ('II', 'V5')
    """
    names = in_file if in_file is not None else said if said is not None else fallback
    refuse_unsaid(source, {"--leads": names})
    assert names is not None
    leads = tuple(normalise_lead(lead) for lead in names)
    if not leads or len(set(leads)) < len(leads) or not all(leads):
        raise ValueError(f"{source}: leads must be different names, one per row; got {', '.join(leads) or 'none'}")
    stated = None if said is None else tuple(normalise_lead(lead) for lead in said)
    if stated is not None and stated != leads:
        raise ValueError(
            f"{source}: --leads says {', '.join(stated)}, the file says {', '.join(leads)[:200]}; leave --leads "
            "out, or correct the file"
        )
    return leads
