"""Writing of a shard: int16 samples of recordings in a ``.npy`` file whose length is known at the end."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np

_DTYPE = np.dtype("<i2")


class ShardFile:
    """A one-dimensional ``.npy`` file that grows; used as a context manager.

    Args:
        path: The file to write.

    Attributes:
        samples: Number of samples written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "shard.npy")
        ...     with ShardFile(path) as shard:
        ...         places = [shard.append(np.zeros((2, 3), "<i2")), shard.append(np.ones((1, 2), "<i2"))]
        ...     places, np.load(path).tolist()
        ([0, 6], [0, 0, 0, 0, 0, 0, 1, 1])
    """

    def __init__(self, path: Path) -> None:
        self.samples = 0
        self._file = path.open("wb")
        self._write_header()

    def append(self, counts: np.ndarray) -> int:
        """Write one recording and return the position of its first sample.

        Args:
            counts: (leads, samples) int16.
        """
        start = self.samples
        self._file.write(np.ascontiguousarray(counts, _DTYPE).data)
        self.samples += counts.size
        return start

    def __enter__(self) -> ShardFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._file.seek(0)
                self._write_header()
        finally:
            self._file.close()

    def _write_header(self) -> None:
        """Write the header for the present length; numpy leaves room in it for a length that grows."""
        about = {"descr": _DTYPE.str, "fortran_order": False, "shape": (self.samples,)}
        np.lib.format.write_array_header_1_0(self._file, about)
