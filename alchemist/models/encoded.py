"""Encoded pairs on disk: token rows and caption states, memory-mapped, random access by row."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from alchemist.core import files
from alchemist.models.star.transformer import Text


@dataclass(frozen=True)
class Batch:
    """B pairs: `tokens` (B, L) int64 and the states of their captions."""

    tokens: Tensor
    text: Text

    def __len__(self) -> int:
        return len(self.tokens)


class Encoded:
    """A folder written by `write`. Row numbers are positions in `rows` (id, split, text)."""

    def __init__(self, folder: Path, check: bool = True) -> None:
        """Opens a folder; `check` compares its files with the manifest (Refusal where they differ)."""
        self.folder = folder
        self.manifest = files.check_manifest(folder) if check else files.read_json(folder / files.MANIFEST)
        self.rows = pd.read_parquet(folder / "rows.parquet")
        self._offsets = np.load(folder / "text_offsets.npy")
        self._text = self.rows["text"].to_numpy()

    def _map(self, name: str) -> NDArray[np.generic]:
        """A stored array, mapped anew: a mapping that stays keeps every page that it has ever read."""
        mapped: NDArray[np.generic] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return mapped

    def split(self, name: str) -> NDArray[np.int64]:
        """Row numbers of a split, ascending."""
        return np.flatnonzero(self.rows["split"].to_numpy() == name)

    def find(self, ids: pd.Series) -> NDArray[np.int64]:
        """Row numbers of ids, in their order. Raises KeyError for an id that is not here."""
        found = pd.Index(self.rows["id"]).get_indexer(pd.Index(ids))
        if (found < 0).any():
            raise KeyError(f"{ids.iloc[int(np.argmin(found))]} is not among the encoded pairs.")
        return found

    def batch(self, rows: NDArray[np.integer], dropped: NDArray[np.bool_] | None = None) -> Batch:
        """The pairs at `rows`; captions where `dropped` is true become the empty caption."""
        text = self._text[rows]
        if dropped is not None:
            text = np.where(dropped, 0, text)
        tokens = self._map("tokens")[rows].astype(np.int64)
        return Batch(torch.from_numpy(tokens), self.text(text))

    def null(self, count: int, length: int) -> Text:
        """The empty caption, `count` times, padded to `length` tokens."""
        return self.text(np.zeros(count, dtype=np.int64), length)

    def text(self, captions: NDArray[np.integer], length: int = 0) -> Text:
        """States of caption numbers, padded with zeros to the longest or to `length`."""
        starts, ends = self._offsets[captions], self._offsets[captions + 1]
        longest = max(int((ends - starts).max()), length)
        stored = self._map("text")
        states = np.zeros((len(captions), longest, stored.shape[1]), dtype=np.float32)
        mask = np.arange(longest)[None] < (ends - starts)[:, None]
        for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
            states[i, : end - start] = stored[start:end]
        pooled = states.sum(1) / mask.sum(1, keepdims=True, dtype=np.float32)
        return Text(torch.from_numpy(states), torch.from_numpy(mask), torch.from_numpy(pooled))


def write(
    folder: Path,
    rows: pd.DataFrame,
    tokens: NDArray[np.uint16],
    states: Iterable[NDArray[np.float16]],
    **facts: object,
) -> None:
    """Writes rows (id, split, text), tokens (N, L) and the states of every distinct caption.

    Caption 0 must be the empty one: it is what dropped captions and guidance use.
    """
    parts = list(states)
    rows.to_parquet(folder / "rows.parquet", index=False)
    np.save(folder / "tokens.npy", tokens)
    np.save(folder / "text.npy", np.concatenate(parts))
    np.save(folder / "text_offsets.npy", np.cumsum([0, *(len(part) for part in parts)]))
    files.write_manifest(folder, **facts)
