"""A rater as a thing that one ships: a folder with its weights, its reference group, and a card.

    rater.safetensors       trunk and heads
    reference.safetensors   logits, sums and squares of the reference group, beside which every pair is rated;
                            where pairs have groups, what is known of each, and which captions are of which
    card.json               what it is made of and what it can rate: `Card`
    manifest.json           hashes of all

Every rater of kind meta leaves one, data/raters/RATER/SEED; `assets/raters` holds some.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.settings import parse
from alchemist.core.settings.model import model_settings
from alchemist.core.settings.text import TEXTS
from alchemist.models import family
from alchemist.models.family import Codec, Family
from alchemist.raters.compared import Compared
from alchemist.raters.groups import Groups
from alchemist.raters.kinds.meta import CARD, MetaRater
from alchemist.raters.network import Group, Rater

RULE = "rule"
WEIGHTS, REFERENCE = "rater.safetensors", "reference.safetensors"
HASHES = ("initial_sha256", "weights_sha256", "reference_sha256")
COPIED = "copy the folder anew from where it was trained"


def save_rater(folder: Path, network: Rater, beside: Group | Compared, groups: Groups | None = None) -> None:
    """Weights and reference group; or what is known of a pool's groups, and the rule that tells them."""
    save_file(network.state_dict(), folder / WEIGHTS)
    held = {one.name: getattr(beside, one.name).cpu().contiguous() for one in fields(beside)}
    if groups is not None:
        held[RULE] = torch.from_numpy(np.ascontiguousarray(groups.rule, dtype=np.float64))
    save_file(held, folder / REFERENCE)


def rule(folder: Path) -> NDArray[np.float64]:
    """How the groups of a rater that has some are told, see `groups.Groups`; empty for all others."""
    held = load_file(folder / REFERENCE)
    return held[RULE].numpy() if RULE in held else np.empty(0)


def digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of tensors as a safetensors file would hold them."""
    return hashlib.sha256(save(dict(tensors))).hexdigest()


_TYPES: dict[Any, type] = {str: str, int: int, dict[str, Any]: dict, dict[str, float]: dict}


@dataclass(frozen=True)
class Card:
    """What a rater's folder says of itself; `card.json` has the fields by their names."""

    family: str
    trunk: dict[str, Any]  # settings of the model that its trunk is of
    rater: dict[str, Any]  # its block of `raters:`
    name: str
    seed: int
    initial_sha256: str  # of the weights that it began with
    weights_sha256: str  # of rater.safetensors
    reference_sha256: str  # of the features of its reference group
    codec: str  # digest of the image codec whose arrays it reads
    text: dict[str, Any]  # settings of the text encoder whose states it reads
    text_sha256: str
    pool: str  # that it was trained on
    budget: dict[str, Any]
    figures: dict[str, float]  # how its training ended, and what its ratings there are like
    torch: str

    def write(self, folder: Path) -> None:
        """Beside the weights."""
        files.write_json(folder / CARD, vars(self))


def card(folder: Path, remedy: str = COPIED) -> Card:
    """The card of a folder. Raises Refusal where there is none or, with the remedy, it is damaged."""
    for name in (WEIGHTS, REFERENCE, CARD):
        if not (folder / name).is_file():
            raise Refusal(
                f"{folder} is no rater's, since it has no {name}; one of kind meta leaves its folder at "
                "data/raters/RATER/SEED."
            )
    files.check_manifest(folder, remedy=remedy)
    said = files.read_json(folder / CARD, remedy)
    try:
        found = Card(**said)
        is_sound = all(isinstance(getattr(found, one.name), _TYPES[one.type]) for one in fields(Card))
    except TypeError:
        is_sound = False
    if is_sound and found.text.get("kind") in TEXTS:
        return found
    raise Refusal(f"{folder / CARD} is of another version of this repo; {remedy}.") from None


def load(
    folder: Path, codec: Path, device: torch.device
) -> tuple[Card, Rater, Group | Compared, MetaRater, Codec]:
    """All that it rates by. Raises Refusal where the codec is another one, or a file is damaged."""
    told = card(folder)
    chosen: Family = family.load(told.family)
    images = chosen.codec(codec, device)
    if images.digest != told.codec:
        raise Refusal(
            f"{folder} rates what the codec {told.codec[:12]} of {told.family} encoded, and {codec} holds "
            f"{images.digest[:12]}; the codec that it was trained on is legal."
        )
    settings = parse(MetaRater, told.rater, f"{folder / CARD}: rater")
    if settings.rating_mode != "reference_group":
        raise Refusal(
            f"{folder} rates by rating_mode batch, beside whichever pairs share a batch; a rater of "
            "rating_mode reference_group is legal."
        )
    if settings.groups is not None and settings.groups.by == "source":
        raise Refusal(
            f"{folder} rates by groups of sources, which are those of the pool {told.pool} alone; "
            "a rater whose groups are by caption_length or embedding is legal."
        )
    trunk = model_settings(told.trunk, f"{folder / CARD}: trunk", told.family)
    network = Rater(chosen.trunk(trunk, images, told.seed), told.seed).to(device)
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
        held = {n: one.to(device) for n, one in load_file(folder / REFERENCE).items() if n != RULE}
        group = Group(**held) if settings.groups is None else Compared(**held)
    except (RuntimeError, SafetensorError, TypeError) as error:
        words = str(error).splitlines()[-1].strip()
        raise Refusal(f"{folder} does not fit its own card: {words}") from None
    return told, network.eval(), group, settings, images
