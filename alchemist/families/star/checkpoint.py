"""The published tokenizer's checkpoint (`vae_ch160v4096z32.pth` of FoundationVision/var, MIT) to a folder."""

import pickle
import re
from pathlib import Path

import torch
from torch import Tensor

from alchemist.core import hub
from alchemist.core.refusal import Refusal
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
GARBLED = (RuntimeError, ValueError, LookupError, TypeError, AttributeError)  # what foreign bytes end in
USAGE = "quantize.ema_vocab_hit_SV"  # how often each code was used in training; no part of the networks


def published_name(name: str) -> str:
    """What the checkpoint calls our tensor `name`. Its decoder counts levels from fine to coarse."""
    if found := re.match(r"decoder\.levels\.(\d)", name):
        name = name.replace(found[0], f"decoder.levels.{len(LEVELS) - 1 - int(found[1])}")
    for ours, theirs in NAMES:
        name = re.sub(ours, theirs, name)
    return name


def read(weights: str, where: str) -> dict[str, Tensor]:
    """The tensors of the checkpoint at a path, in a folder or on the hub, by their published names.

    Raises Refusal, which names the key `where`, where there is none, or what is there is no such file.
    """
    found = hub.folder(weights, [FILE], where)
    path = found if found.is_file() else found / FILE
    if not path.is_file():
        raise Refusal(f"{where} is {weights!r}, which holds no {FILE}.")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, pickle.UnpicklingError, *GARBLED):
        raise Refusal(
            f"{where} is {weights!r}; {path.name} is no checkpoint of torch with tensors alone."
        ) from None
    if not isinstance(stored, dict) or not all(isinstance(value, Tensor) for value in stored.values()):
        raise Refusal(f"{where} is {weights!r}; {path.name} should hold tensors by their names.")
    return stored


def converted(stored: dict[str, Tensor], config: PublishedConfig, where: str) -> PublishedTokenizer:
    """The tokenizer of a checkpoint's tensors. Raises Refusal with the first that is missing, too many, or of
    another shape."""
    with torch.device("meta"):
        model = PublishedTokenizer(config)
    left = {name: value for name, value in stored.items() if name != USAGE}
    state = {}
    for name, wanted in model.state_dict().items():
        theirs = published_name(name)
        if theirs not in left:
            raise Refusal(f"{where} is a checkpoint without {theirs}, which a tokenizer of that layout has.")
        value = left.pop(theirs)
        if value.shape != wanted.shape:
            raise Refusal(
                f"{where} is a checkpoint whose {theirs} has the shape {tuple(value.shape)}; "
                f"{tuple(wanted.shape)} is legal."
            )
        state[name] = value.float()
    for theirs in left:
        raise Refusal(f"{where} is a checkpoint with {theirs}, which no tokenizer of that layout has.")
    model.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(False)


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
    model = converted(read(weights, where), config, where)
    tokenizer.save(model, folder, kind=KIND, weights=weights)
