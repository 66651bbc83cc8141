"""STAR of settings alone: see `alchemist.models.outline`."""

from pathlib import Path

import torch

from alchemist.core.refusal import Refusal
from alchemist.core.settings import Settings
from alchemist.families.star import checkpoint, published, tokenizer
from alchemist.families.star.generator import StarCodec, StarGenerator, StarTrunk
from alchemist.families.star.published import PublishedConfig, PublishedTokenizer
from alchemist.families.star.pyramid import Pyramid
from alchemist.families.star.settings import StarSettings, TokenizerSettings
from alchemist.families.star.tokenizer import Tokenizer, TokenizerConfig
from alchemist.models.outline import META, Outline, Stored


def outline(codec: TokenizerSettings, resolution: int, assets: Path) -> Outline:
    """Sizes of the published tokenizer are known, of a fitted one they stand in its card."""
    with META:
        frozen = StarCodec(_tokenizer(codec, resolution, assets))
    sizes = frozen.tokenizer.config

    def generator(settings: StarSettings) -> StarGenerator:
        with META:
            return StarGenerator(settings, frozen, 0)

    def trunk(settings: StarSettings) -> StarTrunk:
        with META:
            return StarTrunk(settings, frozen, 0)

    def encode(count: int) -> object:
        return frozen.tokenizer.encode(torch.empty(count, 3, resolution, resolution, device=META))

    def decode(count: int) -> object:
        return frozen.tokenizer.decode(torch.zeros(count, sizes.tokens, dtype=torch.int64, device=META))

    return Outline(
        {"tokens": Stored((sizes.tokens,), 2, torch.int64)},
        generator,
        trunk,
        lambda settings: (settings.text_width, settings.text_width),
        lambda settings: 4,
        frozen,
        encode,
        decode,
    )


def _tokenizer(codec: TokenizerSettings, resolution: int, assets: Path) -> Pyramid:
    if codec.kind == published.KIND:
        if resolution not in published.SCALES:
            legal = ", ".join(str(side) for side in published.SCALES)
            raise Refusal(
                f"the pool's resolution is {resolution}; the tokenizer {codec.weights} works at {legal} "
                "pixels."
            )
        return PublishedTokenizer(PublishedConfig(resolution, published.SCALES[resolution]))
    if codec.refit:
        scales = tokenizer.scales_for(resolution)
        return Tokenizer(TokenizerConfig(resolution, scales, codes=codec.fit.codes, width=codec.fit.width))
    asset = assets / codec.asset
    config = TokenizerConfig(**tokenizer.card(asset)["config"])
    if config.resolution != resolution:
        raise Refusal(
            f"the pool's resolution is {resolution}; the tokenizer {asset} works at {config.resolution} "
            "pixels: use that, or set codecs.star.refit to true."
        )
    return Tokenizer(config)


def needs(block: Settings) -> list[tuple[str, str]]:
    """The checkpoint of the published tokenizer; all else is fitted here or in the repo."""
    if isinstance(block, TokenizerSettings) and block.kind == published.KIND:
        return [(block.weights, checkpoint.FILE)]
    return []
