"""States of captions by a frozen text encoder, whichever `scales.SCALE.encode.text` names.

An encoder gives each caption the states of its word pieces, and a pooled vector or none; what is stored, and
what the families read, is the same for all.
"""

import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from alchemist.core import devices
from alchemist.core.devices import Precision
from alchemist.core.settings.text import ClipText, MiniLmText, T5ClipText, TextSettings
from alchemist.models import text_towers
from alchemist.models.batch import CaptionStates
from alchemist.models.family import Tick

CHUNK_BYTES = 512 << 20  # of the states of captions that are held at once, at the most
TEXT_WIDTH = 384  # of MiniLM

Pieces = list[list[int]]


@dataclass(frozen=True)
class TextEncoder:
    """A frozen encoder of captions. `name` is kept beside what it encoded; `width` is that of a state."""

    name: str
    width: int
    longest: int  # word pieces of a caption, at the most
    split: Callable[[list[str]], Pieces]  # captions to their word pieces, cut
    # Captions and their word pieces to states (B, longest of them, width) and pooled vectors (B, E) or none.
    run: Callable[[list[str], Pieces], tuple[Tensor, Tensor | None]]
    device: torch.device
    towers: tuple[nn.Module, ...]  # what `run` runs

    @functools.cached_property
    def digest(self) -> str:
        """sha256 of the weights, by which a rater that was trained on its states knows it again."""
        found = hashlib.sha256()
        for tower in self.towers:
            for name, tensor in sorted(tower.state_dict().items()):
                found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
                found.update(devices.host(tensor.contiguous().view(-1).view(torch.uint8)).data)
        return found.hexdigest()

    def states(
        self, captions: list[str], batch: int, tick: Tick = lambda n: None, precision: Precision = "auto"
    ) -> Iterator[CaptionStates]:
        """The states (its word pieces, width) float16 and the pooled vector of each caption, in their order.

        Captions of a chunk are grouped by length, so that padding costs little; `tick` hears of progress. In
        bfloat16, and rounded to float16, a caption's states differ by which others share its batch; under
        `precision` fp32 they are float32, and hardly do.
        """
        most = max(batch, CHUNK_BYTES // (self.longest * self.width * 2))
        for start in range(0, len(captions), most):
            yield from self._chunk(captions[start : start + most], batch, tick, precision)

    @torch.no_grad()
    def _chunk(
        self, captions: list[str], batch: int, tick: Tick, precision: Precision
    ) -> list[CaptionStates]:
        pieces = self.split(captions)
        order = sorted(range(len(captions)), key=lambda i: (len(pieces[i]), i))
        found: dict[int, CaptionStates] = {}
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            with devices.autocast(precision, self.device):
                hidden, pooled = self.run([captions[i] for i in chosen], [pieces[i] for i in chosen])
            kind = np.float32 if precision == "fp32" else np.float16
            states = devices.host(hidden.float()).astype(kind)
            vectors = [None] * len(chosen) if pooled is None else devices.host(pooled.float()).astype(kind)
            for i, one, vector in zip(chosen, states, vectors, strict=True):
                found[i] = one[: len(pieces[i])], vector
            tick(len(chosen))
        return [found[i] for i in range(len(captions))]


def load(settings: TextSettings, where: str, device: torch.device) -> TextEncoder:
    """The encoder of the block at key `where`. Raises Refusal where its weights cannot be had."""
    match settings:
        case MiniLmText():
            return minilm(settings.pieces, device)
        case ClipText():
            return _clip(settings, where, device)
        case T5ClipText():
            return _t5_clip(settings, where, device)
        case _:
            raise TypeError(settings)


def minilm(longest: int, device: torch.device) -> TextEncoder:
    """The packaged all-MiniLM-L6-v2 (Apache-2.0), offline; captions are cut after `longest` word pieces."""
    splitter, network = text_towers.load_minilm()
    network.to(device)

    def run(captions: list[str], pieces: Pieces) -> tuple[Tensor, None]:
        ids, mask = _padded(pieces, 0, device)
        return network(input_ids=ids, attention_mask=mask).last_hidden_state, None

    return TextEncoder(
        "all-MiniLM-L6-v2", TEXT_WIDTH, longest, _splits(splitter, longest), run, device, (network,)
    )  # fmt: skip


def _clip(settings: ClipText, where: str, device: torch.device) -> TextEncoder:
    """The states of a CLIP tower. It looks back alone, so that padding behind the end changes nothing."""
    splitter, network = text_towers.load_clip(settings.weights, settings.subfolder, settings.pieces, where)
    network.to(device)

    def run(captions: list[str], pieces: Pieces) -> tuple[Tensor, Tensor]:
        out = network(_padded(pieces, splitter.pad_token_id, device)[0])
        return out.last_hidden_state, out.pooler_output

    name = "/".join(part for part in ("clip", settings.weights, settings.subfolder) if part)
    width = network.config.hidden_size
    pieces = _splits(splitter, settings.pieces)
    return TextEncoder(name, width, settings.pieces, pieces, run, device, (network,))


def _t5_clip(settings: T5ClipText, where: str, device: torch.device) -> TextEncoder:
    """The states of T5 with those of its padding, which nothing masks, and the pooled vector of CLIP."""
    short, clip = text_towers.load_clip(settings.weights, "text_encoder", None, where)
    splitter, t5 = text_towers.load_t5(settings.weights, "text_encoder_2", where)
    clip.to(device)
    t5.to(device)
    pooled_pieces = _splits(short, clip.config.max_position_embeddings)
    own, pad = _splits(splitter, settings.pieces), splitter.pad_token_id

    def split(captions: list[str]) -> Pieces:
        return [one + [pad] * (settings.pieces - len(one)) for one in own(captions)]

    def run(captions: list[str], pieces: Pieces) -> tuple[Tensor, Tensor]:
        ends = clip(_padded(pooled_pieces(captions), short.pad_token_id, device)[0]).pooler_output
        return t5(torch.tensor(pieces, device=device)).last_hidden_state, ends

    name, width = f"t5_clip/{settings.weights}", t5.config.d_model
    return TextEncoder(name, width, settings.pieces, split, run, device, (clip, t5))


def _splits(splitter: text_towers.Splitter, longest: int) -> Callable[[list[str]], Pieces]:
    def split(captions: list[str]) -> Pieces:
        pieces: Pieces = splitter(captions, truncation=True, max_length=longest)["input_ids"]
        return pieces

    return split


def _padded(pieces: Pieces, pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Word pieces as (B, longest), and which of them are no padding."""
    longest = max(len(one) for one in pieces)
    ids = torch.full((len(pieces), longest), pad, dtype=torch.int64)
    mask = torch.zeros(len(pieces), longest, dtype=torch.int64)
    for row, one in enumerate(pieces):
        ids[row, : len(one)] = torch.tensor(one)
        mask[row, : len(one)] = 1
    return ids.to(device), mask.to(device)
