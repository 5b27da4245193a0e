"""What stands in a card, checked before anything is built of it: a file may say anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ecgloss._value_types import shortened
from ecgloss.data.preprocess import Preprocessing

# Of one input; more is a damaged file, and would take any amount of memory.
MOST_LEADS, LONGEST_S, MOST_SAMPLES = 1024, 3600.0, 10_000_000
_KINDS = {"loss": dict, "data": dict, "training": dict, "progress": dict, "versions": dict, "model": str, "leads": list}
_TEXTS = (("loss", "name"), ("data", "name"), ("data", "fingerprint"))


def check_card(card: Mapping[str, Any]) -> None:
    """Check all values of a card that something is built of.

    Args:
        card: Its entries, see :class:`ecgloss.models.EncoderCard`.

    Raises:
        ValueError: Naming the first entry that cannot be, with what is accepted.
    """
    for name, kind in _KINDS.items():
        if not isinstance(card[name], kind):
            words = {dict: "a group of entries", str: "a text", list: "a list"}[kind]
            raise ValueError(f"{name} must be {words}; got {shortened(card[name])}")
    check_size(card["in_channels"], card["seconds"])
    if not all(isinstance(lead, str) for lead in card["leads"]):
        raise ValueError(f"leads must be names; got {shortened(card['leads'])}")
    if card["in_channels"] > 1 and len(card["leads"]) != card["in_channels"]:
        raise ValueError(f"leads must name the {card['in_channels']} leads of an input; got {len(card['leads'])}")
    for group, name in _TEXTS:
        if not isinstance(card[group].get(name), str):
            raise ValueError(f"{group}.{name} must be a text; got {shortened(card[group].get(name))}")
    seed = card["training"].get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise ValueError(f"training.seed must be a whole number from 0 to 2**63 - 1; got {shortened(seed)}")
    samples = card["seconds"] * Preprocessing.from_json(card["preprocessing"]).sampling_rate
    if not 1 <= samples <= MOST_SAMPLES:
        raise ValueError(f"seconds and sampling_rate must give 1 to {MOST_SAMPLES:,} samples; got {samples:,.0f}")


def check_size(in_channels: Any, seconds: Any) -> None:
    """Check the number of leads of an input, and its length.

    Raises:
        ValueError: If one is no number or out of range.

    Example:
        >>> check_size(1, -10.0)
        Traceback (most recent call last):
            ...
        ValueError: seconds must lie above 0, and at most at 3600; got -10.0
    """
    if not isinstance(in_channels, int) or isinstance(in_channels, bool) or not 1 <= in_channels <= MOST_LEADS:
        raise ValueError(f"in_channels must lie between 1 and {MOST_LEADS}; got {shortened(in_channels)}")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds <= LONGEST_S:
        raise ValueError(f"seconds must lie above 0, and at most at {LONGEST_S:g}; got {shortened(seconds)}")
