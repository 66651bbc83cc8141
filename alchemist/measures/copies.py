"""Near copies."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from alchemist.core.settings.copies import CopiesSettings
from alchemist.core.siphash import hashes


def embed(
    folder: Path, rows: Any, settings: CopiesSettings, device: torch.device, out: Path,
    tick: Callable[[int], object],
) -> None:  # fmt: skip
    """float16 .npy (N, d)."""
    np.save(out, np.zeros((len(rows), 4), np.float16))
    tick(len(rows))


def clusters(
    vectors: Path, captions: NDArray[np.uint64], pixels: NDArray[np.uint64], order: NDArray[np.int64],
    settings: CopiesSettings, tick: Callable[[int], object],
) -> NDArray[np.int64]:  # fmt: skip
    """Row of the first of each row's copies. `order`: the rows from first to last."""
    _, first, which = np.unique(pixels[order], return_index=True, return_inverse=True)
    out = np.empty(len(pixels), np.int64)
    out[order] = order[first[which]]
    return out


def caption_hashes(captions: Any) -> NDArray[np.uint64]:
    """Of normalised captions."""
    return hashes([caption.casefold() for caption in captions])
