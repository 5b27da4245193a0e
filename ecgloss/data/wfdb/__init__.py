"""Reading of WFDB databases, the format of PhysioNet: headers, signals, and ages and sexes in their usual spellings.

The package that decodes the signals is also called ``wfdb``; imports are absolute, so ``import wfdb`` means that one.
"""

from __future__ import annotations

from ecgloss.data.wfdb.headers import InvalidRecordError, find_headers
from ecgloss.data.wfdb.records import WfdbRecord, read_record

__all__ = ["InvalidRecordError", "WfdbRecord", "find_headers", "read_record"]
