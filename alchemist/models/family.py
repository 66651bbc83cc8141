"""What rating, training and evaluation ask of a model family. Nothing outside a family's folder knows more.

A family is a folder `alchemist/families/NAME/`: `family.py` has its `FAMILY`, a `Family`, and `settings.py`,
which imports no torch, its sizes, its sampling law and what its codec takes. Proxy and target are roles that
its generator plays alike.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch
from alchemist.core.settings.model import families
from alchemist.models.batch import Batch, Chance, Text

Arrays = dict[str, NDArray[Any]]
Images = NDArray[np.uint8]  # (n, R, R, 3)
Tick = Callable[[int], object]


class Codec(nn.Module, ABC):
    """Images to what the family's generator models, and back. Frozen, so that a copied network shares it."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Codec":
        return self

    @abstractmethod
    def encode(self, images: NDArray[np.uint8]) -> Arrays:
        """Named arrays (B, …) of images (B, R, R, 3), as they are stored."""

    @abstractmethod
    def reconstruct(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images (B, R, R, 3) after encoding and decoding: what no generator behind this codec can beat."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """A digest of its weights, kept beside what it encoded."""


class Trunk(nn.Module, ABC):
    """The small network that a rater grows on."""

    width: int  # C

    @abstractmethod
    def features(self, batch: Batch, chance: Chance) -> Tensor:
        """One float32 vector a pair, (B, C), of image and caption; no row sees another."""

    @abstractmethod
    def decays(self, name: str, parameter: Tensor) -> bool:
        """Whether weight decay acts on a parameter of that name."""


class Generator(nn.Module, ABC):
    """A text-to-image model behind its loss and its sampler."""

    # The unit of `losses` where they are likelihoods of held-out pairs, as the report says it, or else None:
    # a family without a likelihood has a report without NLL.
    likelihood: str | None

    def weights(self) -> dict[str, Tensor]:
        """What a checkpoint of a trained model holds, by name."""
        return self.state_dict()

    def load_weights(self, tensors: dict[str, Tensor]) -> None:
        """Puts what `weights` gave into a model of equal settings."""
        self.load_state_dict(tensors)

    def blocks(self) -> list[nn.Module]:
        """Modules whose weights need not be there but while they run, each called as one, as a block is."""
        return []

    @abstractmethod
    def losses(self, batch: Batch, chance: Chance) -> Tensor:
        """Per-sample losses (B,), float32; functions of pair and chance alone."""

    @abstractmethod
    def error_norms(self, batch: Batch, chance: Chance) -> Tensor:
        """The norm of each pair's error, (B,), for EL2N. Raises Refusal where the family defines none."""

    @abstractmethod
    def sample(self, captions: Text, null: Text, chance: Chance, law: Any) -> Tensor:
        """uint8 images (B, 3, R, R) of B captions, functions of (seed, position, caption) alone.

        `null` is the empty caption B times, padded alike; `law` the family's own sampling settings.
        """

    @abstractmethod
    def decays(self, name: str, parameter: Tensor) -> bool:
        """Whether weight decay acts on a parameter of that name."""


@dataclass(frozen=True)
class CodecSource:
    """What a family may make its codec of."""

    pool: str  # key of the pool's block, for what is told of it
    resolution: int  # pixels of a side
    digest: str  # of the pool, for the mark of a fit in progress
    assets: Path  # folder of the codecs that the repo holds
    # Name of a stream, count, seed: images to fit on, composed anew or of the pool's own; at most so many.
    fresh: Callable[[str, int, int], Images]
    held_out: Callable[[], Images]  # none of those, of the evaluation split where it has any
    state: Callable[[str], Scratch]  # of a fit in progress, by its mark; it stays until the codec is in place
    device: torch.device
    tick: Callable[[int, int, str], object]  # images seen, of how many, a few words
    tell: Callable[[str], object]  # what is about to begin


@dataclass(frozen=True)
class Family:
    """How a family is opened. `settings` are a block of `models:` of this family."""

    name: str
    # A block of `codecs:`, the source, a folder: leaves there what `codec` opens, a card.json that says what
    # it is, and a manifest; gives a few words on it.
    make_codec: Callable[[Any, CodecSource, Path], str]
    codec: Callable[[Path, torch.device], Codec]  # from the folder that `make_codec` left
    generator: Callable[[Any, Any, int], Generator]  # settings, codec, seed of the weights; on the CPU
    trunk: Callable[[Any, Any, int], Trunk]


def load(name: str) -> Family:
    """The family of that name.

    It is looked up by name, so that no stage depends on a family that it does not run: dvc.yaml has a
    group of stages a family, which `--family NAME` tells, and lists that family's folder among the deps.
    """
    if name not in families():
        raise Refusal(f"--family is {name!r}; legal values are {', '.join(families())}.")
    return cast(Family, importlib.import_module(f"alchemist.families.{name}.family").FAMILY)
