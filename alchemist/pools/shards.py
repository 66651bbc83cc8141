"""Files of a pool's own, for images that lie in no file of a person's: pixels, or encoded bytes."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

SHARD_BYTES = 1 << 30  # of encoded images a file


class PixelShards:
    """Appends images to images-00000.npy, images-00001.npy, … with at most one image in memory."""

    def __init__(self, folder: Path, resolution: int, shard_pairs: int) -> None:
        self.folder, self.shape, self.capacity = folder, (resolution, resolution, 3), shard_pairs
        self.file: BinaryIO | None = None
        self.shard, self.rows, self.start = -1, 0, 0

    def __enter__(self) -> "PixelShards":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def append(self, image: NDArray[np.uint8]) -> tuple[str, int]:
        """Writes one image and returns the name of its file and its row there."""
        assert image.dtype == np.uint8
        assert image.shape == self.shape
        if self.file is None or self.rows == self.capacity:
            self._close()
            self.shard, self.rows = self.shard + 1, 0
            self.file = (self.folder / self._name()).open("wb")
            self.start = self._header()
        self.file.write(np.ascontiguousarray(image).data)
        self.rows += 1
        return self._name(), self.rows - 1

    def _name(self) -> str:
        return f"images-{self.shard:05d}.npy"

    def _header(self) -> int:
        """Writes the header for the present number of rows; returns where the data begin."""
        assert self.file is not None
        descr = np.lib.format.dtype_to_descr(np.dtype(np.uint8))
        header = {"descr": descr, "fortran_order": False, "shape": (self.rows, *self.shape)}
        np.lib.format.write_array_header_1_0(self.file, header)
        return self.file.tell()

    def _close(self) -> None:
        """Puts the real number of rows into the header, for which NumPy's format leaves room."""
        if self.file is not None:
            with self.file:
                self.file.seek(0)
                assert self._header() == self.start
            self.file = None


class ByteShards:
    """Appends encoded images to bytes-00000.bin, bytes-00001.bin, …, one behind the other."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.shard = folder, -1
        self.file: BinaryIO | None = None

    def __enter__(self) -> "ByteShards":
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()

    def append(self, content: bytes) -> tuple[str, int]:
        """Writes one image and returns the name of its file and its first byte there."""
        if self.file is None or self.file.tell() >= SHARD_BYTES:
            if self.file is not None:
                self.file.close()
            self.shard += 1
            self.file = (self.folder / self._name()).open("wb")
        offset = self.file.tell()
        self.file.write(content)
        return self._name(), offset

    def _name(self) -> str:
        return f"bytes-{self.shard:05d}.bin"
