"""A batch of pairs as every family sees it, and where its randomness comes from."""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from alchemist.core import world

# Of one caption: the states (T, D) of its word pieces, and a pooled vector if the family's encoder has one.
# float16 where they are stored, float32 where they are not.
CaptionStates = tuple[NDArray[np.floating], NDArray[np.floating] | None]


@dataclass(frozen=True)
class Text:
    """Caption states: `states` (B, T, D), `mask` (B, T) true on real word pieces, `pooled` (B, E)."""

    states: Tensor
    mask: Tensor
    pooled: Tensor

    def __len__(self) -> int:
        return len(self.mask)

    def __getitem__(self, rows: slice) -> "Text":
        return Text(self.states[rows], self.mask[rows], self.pooled[rows])

    def join(self, other: "Text") -> "Text":
        """This batch followed by another, both padded to the longer."""
        length = max(self.states.shape[1], other.states.shape[1])
        parts = self.padded(length), other.padded(length)
        return Text(
            torch.cat([part.states for part in parts]),
            torch.cat([part.mask for part in parts]),
            torch.cat([part.pooled for part in parts]),
        )

    def padded(self, length: int) -> "Text":
        """The same captions, with zeros up to `length` word pieces."""
        more = length - self.states.shape[1]
        return Text(F.pad(self.states, (0, 0, 0, more)), F.pad(self.mask, (0, more)), self.pooled)

    def to(self, device: torch.device) -> "Text":
        """The same on a device."""
        return Text(self.states.to(device), self.mask.to(device), self.pooled.to(device))


@dataclass(frozen=True)
class Batch:
    """B pairs: `inputs`, the arrays (B, …) that the family's codec made of their images, and captions."""

    inputs: dict[str, Tensor]
    text: Text

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, rows: slice) -> "Batch":
        return Batch({name: value[rows] for name, value in self.inputs.items()}, self.text[rows])

    def join(self, other: "Batch") -> "Batch":
        """This batch followed by another, captions padded to the longer."""
        inputs = {name: torch.cat([value, other.inputs[name]]) for name, value in self.inputs.items()}
        return Batch(inputs, self.text.join(other.text))

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return Batch({name: value.to(device) for name, value in self.inputs.items()}, self.text.to(device))


@dataclass(frozen=True)
class Chance:
    """Where the randomness of a batch comes from: a seed, and the position of each row, (B,) int64.

    Whatever a family draws for a row is a function of (seed, position). Two models that are compared on
    a pair get the same chance. `training` says whether what training alone draws (drop-path) is drawn.
    """

    seed: int
    positions: NDArray[np.int64]
    training: bool = False

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, rows: slice) -> "Chance":
        return replace(self, positions=self.positions[rows])

    @staticmethod
    def run(seed: int, first: int, count: int, training: bool = False) -> "Chance":
        """Of positions first .. first + count - 1."""
        return Chance(seed, np.arange(first, first + count), training)


def chunks(count: int, chunk: int | None) -> list[slice]:
    """This process's rows of a batch of `count` in parts of at most `chunk`, in order; None: all at once."""
    own = world.mine(count)
    size = chunk or count
    return [slice(first, min(first + size, own.stop)) for first in range(own.start, own.stop, size)]
