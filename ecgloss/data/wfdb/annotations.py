"""WFDB annotations in the style of MIT-BIH: kinds of beat, and rhythms that last until the next one is annotated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgloss._extras import require
from ecgloss.data.wfdb.headers import check_link

#: Symbols that stand for a beat; the others mark noise, rhythms and comments.
BEATS = frozenset("NLRBAaJSVrFejnE/fQ")


@dataclass(frozen=True)
class Annotations:
    """Annotations of one record, in the order of their samples.

    Attributes:
        samples: (n,) sample numbers.
        symbols: (n,) kinds: of a beat, or "+" where a rhythm begins.
        notes: (n,) texts: "(AFIB" where atrial fibrillation begins, ")" where a rhythm ends and none begins.

    Example:
        >>> x = Annotations(np.array([0, 50, 100, 120]), ("+", "N", "+", "V"), ("(N", "", "(AFIB", ""))
        >>> x.rhythms(0, 100), x.rhythms(90, 130), x.beats(0, 100), x.beats(0, 150)
        (('N',), ('AFIB', 'N'), ('N',), ('N', 'V'))
    """

    samples: np.ndarray
    symbols: Sequence[str]
    notes: Sequence[str]

    def beats(self, start: int, stop: int) -> tuple[str, ...]:
        """Kinds of beat from one sample up to another, sorted."""
        first, last = np.searchsorted(self.samples, (start, stop))
        return tuple(sorted(set(self.symbols[first:last]) & BEATS))

    def rhythms(self, start: int, stop: int) -> tuple[str, ...]:
        """Rhythms present from one sample up to another, sorted; a rhythm lasts until the next note on rhythms."""
        changes = [(k, _rhythm(note)) for k, note in enumerate(self.notes) if note[:1] in ("(", ")")]
        samples = self.samples[[k for k, _ in changes]] if changes else np.zeros(0, int)
        names = [name for _, name in changes]
        first, last = int(np.searchsorted(samples, start, "right")), int(np.searchsorted(samples, stop))
        return tuple(sorted({*names[max(first - 1, 0) : first], *names[first:last]} - {""}))


def _rhythm(note: str) -> str:
    """Name of the rhythm that a note opens; empty where it only closes one."""
    return note.strip("() \t")


def read_annotations(header: Path, extension: str = "atr") -> Annotations | None:
    """Read the annotations of a record.

    Args:
        header: Path of its ``.hea`` file; the annotations lie beside it.
        extension: Of the annotation file.

    Returns:
        The annotations; None where the file is not there.

    Raises:
        InvalidRecordError: If the file is a link that leads outside the folder.

    Example:
        >>> read_annotations(Path("no such record.hea")) is None
        True
    """
    path = header.with_suffix(f".{extension}")
    if not path.is_file():
        return None
    check_link(path, header.resolve().parent)
    found = require("wfdb", "data").rdann(str(header.with_suffix("")), extension)
    notes = tuple(
        str(note or "").partition("\0")[0].strip() for note in found.aux_note
    )  # what follows a NUL is no text
    order = np.argsort(np.asarray(found.sample), kind="stable")
    return Annotations(
        np.asarray(found.sample)[order], tuple(found.symbol[k] for k in order), tuple(notes[k] for k in order)
    )
