"""STAR as a family: its codec, its generator, and the trunk that a rater grows on."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alchemist.core import devices, files, stateless
from alchemist.families.star import published, sampling, tokenizer
from alchemist.families.star.pyramid import Pyramid
from alchemist.families.star.settings import StarLaw, StarSettings
from alchemist.families.star.transformer import Star, no_decay
from alchemist.models.batch import Batch, Chance, Text
from alchemist.models.family import Arrays, Codec, Generator, Trunk
from alchemist.models.pixels import to_float

RECONSTRUCTED_AT_ONCE = 250


class StarCodec(Codec):
    """Images to token rows and back, by a frozen tokenizer."""

    def __init__(self, frozen: Pyramid, digest: str = "") -> None:
        super().__init__()
        self.tokenizer = frozen.eval().requires_grad_(False)
        self._digest = digest

    @property
    def digest(self) -> str:
        """See Codec.digest."""
        return self._digest

    def encode(self, images: NDArray[np.uint8]) -> Arrays:
        """`tokens` (B, L) uint16 of images (B, R, R, 3)."""
        return {"tokens": devices.host(self._tokens(images)).astype(np.uint16)}

    def reconstruct(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See Codec.reconstruct."""
        parts = []
        for start in range(0, len(images), RECONSTRUCTED_AT_ONCE):
            tokens = self._tokens(images[start : start + RECONSTRUCTED_AT_ONCE])
            parts.append(devices.host(self.tokenizer.decode(tokens).permute(0, 2, 3, 1)))
        return np.ascontiguousarray(np.concatenate(parts))

    def _tokens(self, images: NDArray[np.uint8]) -> Tensor:
        return self.tokenizer.encode(to_float(devices.put(images, devices.of(self.tokenizer))))


def open_codec(folder: Path, device: torch.device) -> StarCodec:
    """The codec of a folder, by its card. Raises Refusal where its files are not what was written."""
    kind = tokenizer.card(folder).get("kind", "fitted")
    frozen = published.load(folder) if kind == published.KIND else tokenizer.load(folder)
    return StarCodec(frozen, files.sha256(folder / tokenizer.WEIGHTS)).to(device)


def drop_path(rate: float, depth: int, chance: Chance, device: torch.device) -> Tensor | None:
    """Factors (B, depth, 2) of the residual branches: 0 or 1 / (1 - rate of the block); None: all stay in."""
    if rate == 0 or not chance.training:
        return None
    rates = np.linspace(0, rate, depth)[None, :, None]
    branches = np.arange(depth)[None, :, None], np.arange(2)[None, None]
    u = stateless.uniforms(stateless.key("path", chance.seed), chance.positions[:, None, None], *branches)
    return devices.put(((u >= rates) / (1 - rates)).astype(np.float32), device)


class StarGenerator(Generator):
    """A STAR transformer over the tokens of a frozen tokenizer (which is not in its state)."""

    likelihood = "nats a token"

    def __init__(self, settings: StarSettings, codec: StarCodec, seed: int) -> None:
        super().__init__()
        config = codec.tokenizer.config
        self.star = Star(settings, config.scales, config.codes, config.channels)
        self.star.initialise(seed)
        self._frozen = (codec,)  # in a tuple, so that its weights are not this module's

    @property
    def tokenizer(self) -> Pyramid:
        """The frozen tokenizer."""
        return self._frozen[0].tokenizer

    def blocks(self) -> list[nn.Module]:
        """See Generator.blocks."""
        return list(self.star.blocks)

    def _hidden(self, batch: Batch, chance: Chance) -> Tensor:
        """Teacher-forced output states (B, L, C)."""
        size, tokens = self.star.settings, batch.inputs["tokens"]
        paths = drop_path(size.drop_path, size.depth, chance, tokens.device)
        return self.star.hidden(self.tokenizer.teacher_inputs(tokens), batch.text, paths)

    def logits(self, batch: Batch, chance: Chance) -> Tensor:
        """Teacher-forced logits (B, L, V)."""
        return self.star.logits(self._hidden(batch, chance))

    def losses(self, batch: Batch, chance: Chance) -> Tensor:
        """Mean cross-entropy over the L tokens of each pair, uniform over tokens: (B,)."""
        return self.star.code_losses(self._hidden(batch, chance), batch.inputs["tokens"]).mean(1)

    def error_norms(self, batch: Batch, chance: Chance) -> Tensor:
        """||softmax - onehot||_2, a mean over the tokens of each pair: (B,), in [0, sqrt(2)]."""
        return softmax_errors(self.logits(batch, chance), batch.inputs["tokens"]).double().mean(1)

    @torch.no_grad()
    def sample(self, captions: Text, null: Text, chance: Chance, law: StarLaw) -> Tensor:
        """See Generator.sample."""
        tokens = sampling.sample(
            self.star, self.tokenizer, captions, null, chance, law.guidance, law.top_k, law.top_p
        )
        return self.tokenizer.decode(tokens)

    def decays(self, name: str, parameter: Tensor) -> bool:
        """See Generator.decays."""
        return not no_decay(name, parameter)


class StarTrunk(Star, Trunk):
    """The transformer of a size without its output layer, over the tokens of a frozen tokenizer."""

    def __init__(self, settings: StarSettings, codec: StarCodec, seed: int) -> None:
        config = codec.tokenizer.config
        super().__init__(settings, config.scales, config.codes, config.channels, head=False)
        self.width = settings.width
        self.initialise(seed)
        self._frozen = (codec,)  # in a tuple, so that its weights are not this module's

    def features(self, batch: Batch, chance: Chance) -> Tensor:
        """Output states averaged over the L tokens, (B, C) float32."""
        tokens = batch.inputs["tokens"]
        paths = drop_path(self.settings.drop_path, self.settings.depth, chance, tokens.device)
        inputs = self._frozen[0].tokenizer.teacher_inputs(tokens)
        return self.hidden(inputs, batch.text, paths).float().mean(1)

    def decays(self, name: str, parameter: Tensor) -> bool:
        """See Trunk.decays."""
        return not no_decay(name, parameter)


def softmax_errors(logits: Tensor, tokens: Tensor) -> Tensor:
    """||softmax(z) - onehot(y)||_2 of logits z (..., V) and tokens y (...): (...), in [0, sqrt(2)].

    It is the norm of the cross-entropy's gradient by z. One is taken off the token's own chance,
    which stays exact near chance 1, where sum p^2 - 2 p_y + 1 cancels.
    """
    errors = logits.softmax(-1)
    own = tokens[..., None]
    errors.scatter_add_(-1, own, errors.new_full(own.shape, -1.0))
    return torch.linalg.vector_norm(errors, dim=-1)
