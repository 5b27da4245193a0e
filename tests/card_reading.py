"""Reading of a folder by the card that recognises it."""

from __future__ import annotations

from pathlib import Path

from ecgloss.data.cards import choose
from ecgloss.data.recording import Recording


def read(folder: Path, card: str, rate: float = 500.0) -> tuple[dict[str, Recording], dict[str, str]]:
    """All recordings of a folder by name, and what could not be read, with the reason."""
    chosen = choose(folder)
    assert chosen.name == card
    recordings: dict[str, Recording] = {}
    refused = {}
    for entry in chosen.entries(folder, rate):
        try:
            found = entry.read()
        except Exception as error:
            refused[entry.name] = str(error)
        else:
            assert not {recording.name for recording in found} & set(recordings)
            recordings |= {recording.name: recording for recording in found}
    return recordings, refused
