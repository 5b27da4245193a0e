"""A user's own files as recordings: arrays (.npy, .npz, HDF5, MATLAB), and one recording per file (EDF, BDF, CSV, TSV).

Each format is a module with a function ``entries(path, prefix, options, fallback, alone=)``, and a line in `FORMATS`.
"""

from __future__ import annotations

from ecgloss.data.files.opening import FORMATS, SUFFIXES, file_entries, folder_entries, is_own_file
from ecgloss.data.files.options import SignalOptions, check_options

__all__ = ["FORMATS", "SUFFIXES", "SignalOptions", "check_options", "file_entries", "folder_entries", "is_own_file"]
