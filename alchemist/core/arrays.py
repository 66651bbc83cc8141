"""A .npy file that grows by parts, so that nothing of it waits in memory."""

from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import ArrayLike, DTypeLike


class Growing:
    """Rows of one shape and type, appended to a .npy file. A context manager."""

    def __init__(self, path: Path, kind: DTypeLike, shape: tuple[int, ...] = ()) -> None:
        """`shape` is that of a row."""
        self.type, self.shape, self.count = np.dtype(kind), shape, 0
        self.file = path.open("wb")
        self.begin = self._header()

    def __enter__(self) -> "Growing":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Puts the real count into the header, for which NumPy's format leaves room."""
        with self.file:
            self.file.seek(0)
            assert self._header() == self.begin

    def append(self, rows: ArrayLike) -> None:
        """Writes rows (n, …) behind those that are there. Raises OverflowError where one does not fit."""
        part = np.ascontiguousarray(rows, dtype=self.type)
        assert part.shape[1:] == self.shape
        self.file.write(part.data)
        self.count += len(part)

    def _header(self) -> int:
        """Writes the header for the present count; returns where the rows begin."""
        descr = np.lib.format.dtype_to_descr(self.type)
        header = {"descr": descr, "fortran_order": False, "shape": (self.count, *self.shape)}
        np.lib.format.write_array_header_1_0(self.file, header)
        return self.file.tell()
