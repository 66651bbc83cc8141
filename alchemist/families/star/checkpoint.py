"""The published tokenizer's checkpoint (`vae_ch160v4096z32.pth` of FoundationVision/var, MIT) to a folder."""

import re
from pathlib import Path

import torch
from torch import Tensor

from alchemist.core.refusal import Refusal
from alchemist.core.weights import Weights, find_file
from alchemist.families.star import tokenizer
from alchemist.families.star.published import KIND, LEVELS, SCALES, PublishedConfig, PublishedTokenizer

FILE = "vae_ch160v4096z32.pth"
# Parts of our names and what the checkpoint has in their place, from the first on.
NAMES = (
    (r"^codebook$", "quantize.embedding.weight"),
    (r"^phi\.", "quantize.quant_resi.qresi_ls."),
    (r"^before\.", "quant_conv."),
    (r"^after\.", "post_quant_conv."),
    (r"^encoder\.levels\.(\d)\.resize\.1\.", r"encoder.down.\1.downsample.conv."),
    (r"^decoder\.levels\.(\d)\.resize\.1\.", r"decoder.up.\1.upsample.conv."),
    (r"^encoder\.levels\.", "encoder.down."),
    (r"^decoder\.levels\.", "decoder.up."),
    (r"\.blocks\.", ".block."),
    (r"\.attentions\.", ".attn."),
    (r"\.middle\.0\.", ".mid.block_1."),
    (r"\.middle\.1\.", ".mid.attn_1."),
    (r"\.middle\.2\.", ".mid.block_2."),
    (r"\.skip\.", ".nin_shortcut."),
    (r"\.out\.", ".proj_out."),
    (r"\.stem\.", ".conv_in."),
    (r"\.end\.0\.", ".norm_out."),
    (r"\.end\.2\.", ".conv_out."),
)
USAGE = "quantize.ema_vocab_hit_SV"  # how often each code was used in training; no part of the networks


def published_name(name: str) -> str:
    """What the checkpoint calls our tensor `name`. Its decoder counts levels from fine to coarse."""
    if found := re.match(r"decoder\.levels\.(\d)", name):
        name = name.replace(found[0], f"decoder.levels.{len(LEVELS) - 1 - int(found[1])}")
    for ours, theirs in NAMES:
        name = re.sub(ours, theirs, name)
    return name


def converted(stored: dict[str, Tensor], config: PublishedConfig, found: Weights) -> PublishedTokenizer:
    """The tokenizer of a checkpoint's tensors. Raises Refusal with the first that is missing, too many, or of
    another shape."""
    with torch.device("meta"):
        model = PublishedTokenizer(config)
    return found.fill(model, stored, (USAGE,), published_name)


def write(weights: str, resolution: int, folder: Path, pool: str, where: str) -> None:
    """Converts the checkpoint once, into a folder that `published.load` reads, for images of `resolution` px.

    `pool` is the key of the pool's block, `where` that of `weights`. Raises Refusal where the checkpoint
    cannot be had or does not fit, and for a resolution for which STAR has no scales.
    """
    if resolution not in SCALES:
        raise Refusal(
            f"{pool}.resolution is {resolution}; the published tokenizer works at "
            f"{', '.join(str(side) for side in SCALES)} pixels."
        )
    config = PublishedConfig(resolution, SCALES[resolution])
    found = find_file(weights, where, FILE)
    model = converted(found.tensors(), config, found)
    tokenizer.save(model, folder, kind=KIND, weights=weights)
