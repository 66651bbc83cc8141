"""What rating, training and evaluation ask of a generator, and the STAR family's answer.

Proxy and target are roles that one class plays. A further family needs the same three calls.
"""

from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alchemist.models.encoded import Batch
from alchemist.models.star import transformer as star
from alchemist.models.star.tokenizer import Tokenizer
from alchemist.models.star.transformer import Star, Text
from alchemist.models.text import TEXT_WIDTH
from alchemist.settings.model import StarSettings


class Generator(Protocol):
    """A text-to-image model behind its loss and its sampler."""

    def losses(self, batch: Batch, keep: Tensor | None = None) -> Tensor:
        """Per-sample losses (B,), in nats a token, float32."""

    def sample(
        self, text: Text, null: Text, positions: np.ndarray, seed: int, guidance: float, top_p: float
    ) -> Tensor:
        """uint8 images (B, 3, R, R) of B captions, functions of (seed, position, caption) alone."""


class StarGenerator(nn.Module):
    """A STAR transformer over the tokens of a frozen tokenizer (which is not in its state)."""

    def __init__(self, settings: StarSettings, tokenizer: Tokenizer, seed: int) -> None:
        super().__init__()
        config = tokenizer.config
        self.star = Star(settings, config.scales, config.codes, config.channels, TEXT_WIDTH)
        self.star.initialise(seed)
        self._frozen = (tokenizer,)  # in a tuple, so that its weights are not this module's

    @property
    def tokenizer(self) -> Tokenizer:
        """The frozen tokenizer."""
        return self._frozen[0]

    def logits(self, batch: Batch, keep: Tensor | None = None) -> Tensor:
        """Teacher-forced logits (B, L, V)."""
        out: Tensor = self.star(self.tokenizer.teacher_inputs(batch.tokens), batch.text, keep)
        return out

    def losses(self, batch: Batch, keep: Tensor | None = None) -> Tensor:
        """Mean cross-entropy over the L tokens of each pair, uniform over tokens: (B,)."""
        logits = self.logits(batch, keep)
        return (
            F.cross_entropy(logits.flatten(0, 1), batch.tokens.flatten(), reduction="none")
            .view(batch.tokens.shape)
            .mean(1)
        )

    @torch.no_grad()
    def sample(
        self, text: Text, null: Text, positions: np.ndarray, seed: int, guidance: float, top_p: float
    ) -> Tensor:
        """See Generator.sample."""
        tokens = star.sample(self.star, self.tokenizer, text, null, positions, seed, guidance, 0, top_p)
        return self.tokenizer.decode(tokens)
