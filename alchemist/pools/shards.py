"""Files of a pool's own, for images that lie in no file of a person's: pixels, or encoded bytes."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from alchemist.core.arrays import Growing

SHARD_BYTES = 1 << 30  # of encoded images a file


class PixelShards:
    """Appends images to images-00000.npy, images-00001.npy, … with at most one image in memory."""

    def __init__(self, folder: Path, resolution: int, shard_pairs: int) -> None:
        self.folder, self.shape, self.capacity = folder, (resolution, resolution, 3), shard_pairs
        self.file: Growing | None = None
        self.shard = -1

    def __enter__(self) -> "PixelShards":
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()

    def append(self, image: NDArray[np.uint8]) -> tuple[str, int]:
        """Writes one image and returns the name of its file and its row there."""
        assert image.dtype == np.uint8
        if self.file is None or self.file.count == self.capacity:
            if self.file is not None:
                self.file.close()
            self.shard += 1
            self.file = Growing(self.folder / self._name(), np.uint8, self.shape)
        self.file.append(image[None])
        return self._name(), self.file.count - 1

    def _name(self) -> str:
        return f"images-{self.shard:05d}.npy"


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
