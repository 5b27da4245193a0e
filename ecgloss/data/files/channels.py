"""Which of the named channels of a file are taken, and under which lead names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ecgloss.data.recording import is_standard, normalise_lead
from ecgloss.data.wfdb.channels import lead_of


@dataclass(frozen=True)
class Chosen:
    """Channels that are taken.

    Attributes:
        positions: Of the channels in the file.
        leads: Their names.
        left_out: Names of channels that are no ECG leads.
    """

    positions: tuple[int, ...]
    leads: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def choose_channels(
    names: Sequence[str],
    voltage: Sequence[bool],
    said: Sequence[str] | None,
    source: str,
    *,
    fallback: Sequence[str] | None = None,
) -> Chosen:
    """Take the channels that are named, or else those that are ECG leads by unit and by name.

    A file whose ECG channels have no lead's name (ECG, ECG1) takes the names that are said, if there are as many.

    Args:
        names: Of all channels of the file.
        voltage: Whether each is a voltage, as far as the file says units.
        said: Channels or leads that the user names; all must be there.
        source: Name of the file, for errors.
        fallback: Leads that are wanted; those that are there are taken.

    Raises:
        ValueError: If no channel can be taken, or one that is named is not there, is there twice, or no voltage.

    Example:
        >>> choose_channels(["EEG C3", "ECG II", "ECG V5", "SaO2"], [True, True, True, False], None, "a.edf")
        Chosen(positions=(1, 2), leads=('II', 'V5'), left_out=('EEG C3', 'SaO2'))
        >>> choose_channels(["ECG", "ACC"], [True, False], ["II"], "a.edf")
        Chosen(positions=(0,), leads=('II',), left_out=())
    """
    found = [lead_of(name) if is_voltage else None for name, is_voltage in zip(names, voltage)]
    there = ", ".join(names)[:200] or "none"
    wanted = said if said is not None else fallback
    if wanted is None:
        taken = tuple(i for i, lead in enumerate(found) if lead is not None)
        if not taken:
            raise ValueError(
                f"{source}: no channel is an ECG lead by its unit and name; the channels are {there}; --leads NAME,... "
                "takes those in volts"
            )
        others = tuple(name for name, lead in zip(names, found) if lead is None)
        return Chosen(taken, _numbered([found[i] or "" for i in taken]), others)
    leads = tuple(normalise_lead(lead) for lead in wanted)
    if not leads or len(set(leads)) < len(leads):
        raise ValueError(f"leads must be different names; got {', '.join(leads) or 'none'}")
    places = [_places(lead, names, found) for lead in leads]
    unnamed = [i for i, lead in enumerate(found) if lead is not None]
    if not any(places) and len(unnamed) == len(leads) and not any(is_standard(found[i] or "") for i in unnamed):
        return Chosen(tuple(unnamed), leads)
    missing = [lead for lead, at in zip(leads, places) if not at]
    if missing and (said is not None or len(missing) == len(leads)):
        raise ValueError(f"{source} has no channel {missing[0]}; the channels are {there}; correct --leads")
    for lead, at in zip(leads, places):
        if len(at) > 1:
            raise ValueError(f"{source}: several channels are called {lead}; rename all but one in the file")
        if at and not voltage[at[0]]:
            raise ValueError(f"{source}: the channel {names[at[0]]} is no voltage; leave it out of --leads")
    kept = [(at[0], lead) for lead, at in zip(leads, places) if at]
    return Chosen(tuple(i for i, _ in kept), tuple(lead for _, lead in kept))


def _places(lead: str, names: Sequence[str], found: Sequence[str | None]) -> list[int]:
    """Positions of the channels that a lead's name means: those of just this name, or else those that say it."""
    exact = [i for i, name in enumerate(names) if normalise_lead(name) == lead]
    return exact or [i for i, own in enumerate(found) if own == lead]


def _numbered(leads: Sequence[str]) -> tuple[str, ...]:
    """Names of leads; one that comes again gets a number, so that names identify leads."""
    seen: Counter[str] = Counter()
    out = []
    for lead in leads:
        seen[lead] += 1
        out.append(lead if seen[lead] == 1 else f"{lead} ({seen[lead]})")
    return tuple(out)
