"""Format hpdv3: HPDv3's list of compared images, each pair of images with one prompt.

Source: MizzenAI/HPDv3 on the Hugging Face hub: a JSON list of {prompt, choice_dist, confidence, path1, path2,
model1, model2}, where path1 is the preferred image; Alchemist's HPDv3-2M makes two records of each.
"""

import math
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from alchemist.core import stateless
from alchemist.core.refusal import Refusal
from alchemist.core.settings.pool import UserPool
from alchemist.pools.base import (
    LONGEST,
    MISSING_IMAGE,
    OUTSIDE,
    UNREADABLE_METADATA,
    Found,
    as_number,
    checked_path,
    clean_caption,
    digest,
    inside,
    text,
)
from alchemist.pools.json_list import items
from alchemist.pools.place import Span

KEYS = ("prompt", "path1", "path2")
SIDES = (("path1", "model1"), ("path2", "model2"))  # the preferred image, the other


class HPDv3Pool(UserPool):
    """HPDv3: pairs of images that people compared."""

    format: Literal["hpdv3"] = Field(description="HPDv3: a JSON list of compared images, and the images")
    path: str = Field(min_length=1, description="the folder that holds the list and the images")
    file: str = Field(
        default="all.json",
        min_length=1,
        description="the list, from path on: all.json, train.json or test.json",
    )


BLOCK = HPDv3Pool


@dataclass(frozen=True)
class _Tally:
    """What the whole list says of each record, which is an image with a prompt, by the record's number."""

    record: NDArray[np.int64]  # of every mention; a pair mentions two, the preferred one first
    first: NDArray[np.int64]  # its first mention
    wins: NDArray[np.int64]
    losses: NDArray[np.int64]
    confidence: NDArray[np.float64]  # mean over its pairs that state one; NaN where none does


def read(pool: HPDv3Pool) -> Iterator[Found]:
    """A record for every image and prompt that some pair holds, in the order of their first mention.

    An id is the image's path without its suffix and eight digits of the prompt's hash. A prompt is a group:
    all its images share a split. How many pairs hold a record is kept as `repeats`. How often people
    preferred it and how often not, and how sure they were, are labels: raters and trainers do not get them.
    Some 80 bytes a pair stay in memory (170 at the start). Raises Refusal where the path does not exist, the
    list is malformed or its first item is no pair.
    """
    path = checked_path(pool) / pool.file
    if not path.is_file():
        raise Refusal(f"file is {pool.file!r}, which {pool.path!r} does not hold; it should be HPDv3's list.")
    tally = _tally(path)
    for number, item in enumerate(items(path)):
        if not _sound(item):
            yield Found(f"{text(path.name)}:{number}", None, None, UNREADABLE_METADATA)
            continue
        for side, (image, model) in enumerate(SIDES):
            record = int(tally.record[2 * number + side])
            if tally.first[record] == 2 * number + side:
                yield _found(path.parent, item["prompt"], item[image], item.get(model), tally, record)


def expected(pool: HPDv3Pool) -> None:
    """Only reading would tell: most images are in several pairs."""


def _found(root: Path, prompt: str, image: str, model: Any, tally: _Tally, record: int) -> Found:
    prompt_hash = digest(_words(prompt).encode()).hex()
    wins, losses = int(tally.wins[record]), int(tally.losses[record])
    reason = "" if inside(image) else OUTSIDE
    if not reason and not os.path.isfile(root / image):
        reason = MISSING_IMAGE
    return Found(
        f"{text(os.path.splitext(image)[0])}/{prompt_hash[:8]}",
        prompt,
        None if reason else Span(root / image),
        reason,
        prompt_hash,  # the prompt itself would stand in the index twice
        {"repeats": wins + losses, "model": text(model[:LONGEST]) if isinstance(model, str) else ""},
        {"wins": wins, "losses": losses, "confidence": float(tally.confidence[record])},
    )


def _words(prompt: str) -> str:
    """A prompt as a caption, or, where it can be none, as text that no other such has."""
    return clean_caption(prompt)[0] or text(prompt.strip())


def _sound(item: Any) -> bool:
    """Whether an item is a pair of images with a prompt."""
    return isinstance(item, dict) and all(isinstance(item.get(key), str) for key in KEYS)


def _tally(path: Path) -> _Tally:
    """Reads the whole list once. Raises Refusal where it is malformed or empty or begins with no pair."""
    names, stated = array("Q"), array("d")
    for number, item in enumerate(items(path)):
        if number == 0 and not _sound(item):
            raise Refusal(
                f"{path} does not begin with a pair of HPDv3, which has the keys {', '.join(KEYS)}."
            )
        sound = _sound(item)
        for side, (image, _) in enumerate(SIDES):
            # What is no pair has records of its own, for which nothing asks.
            parts = (_words(item["prompt"]), text(item[image])) if sound else (number, side)
            names.append(stateless.key(*parts))
        stated.append(as_number(item.get("confidence")) if sound else math.nan)
    if not names:
        raise Refusal(f"{path} is an empty list; it should hold the pairs of HPDv3.")
    _, first, record = np.unique(np.frombuffer(names, np.uint64), return_index=True, return_inverse=True)
    wins, losses = (np.bincount(record[side::2], minlength=len(first)) for side in (0, 1))
    values = np.repeat(np.frombuffer(stated, np.float64), 2)
    sure = ~np.isnan(values)
    sums = np.bincount(record[sure], values[sure], len(first))
    with np.errstate(invalid="ignore"):  # of no pair that states one
        means = sums / np.bincount(record[sure], minlength=len(first))
    return _Tally(record, first, wins, losses, means)
