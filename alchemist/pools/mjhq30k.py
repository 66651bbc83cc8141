"""Format mjhq30k: MJHQ-30K as its two files unpack, a folder of images a category and meta_data.json.

Source: playgroundai/MJHQ-30K on the Hugging Face hub. A set to evaluate on, never to train on.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field

from alchemist.core.refusal import Refusal
from alchemist.core.settings.pool import UserPool
from alchemist.pools.base import (
    LONGEST,
    MISSING_IMAGE,
    OUTSIDE,
    UNREADABLE_METADATA,
    Found,
    checked_path,
    inside,
    text,
)
from alchemist.pools.json_list import members
from alchemist.pools.place import Span

META = "meta_data.json"


class MJHQPool(UserPool):
    """MJHQ-30K: a folder of images a category, and one JSON file."""

    format: Literal["mjhq30k"] = Field(description="MJHQ-30K: CATEGORY/ID.jpg and meta_data.json")
    path: str = Field(min_length=1, description="the folder that holds meta_data.json")
    images: str = Field(
        default=".", min_length=1, description="the folder of the categories' folders, from path on"
    )


BLOCK = MJHQPool


def read(pool: MJHQPool) -> Iterator[Found]:
    """A pair for every entry of meta_data.json, in its order; its id, its prompt and its category.

    Raises Refusal where the path is no such folder, where meta_data.json is malformed or where none of
    its categories has a folder.
    """
    path, root = _checked(pool), Path(pool.path, pool.images)
    if not any(_has_folder(root, entry) for _, entry in members(path)):
        raise Refusal(
            f"images is {pool.images!r}, and {root} holds the folder of no category that {META} names; "
            "unpack mjhq30k_imgs.zip there."
        )
    for key, entry in members(path):
        name = text(key)
        if not _sound(entry):
            yield Found(name, None, None, UNREADABLE_METADATA)
            continue
        prompt, category = entry.get("prompt"), entry["category"]
        place = PurePosixPath(category, f"{key}.jpg")
        image, reason = root / place, ""
        if not inside(str(place)):
            reason = OUTSIDE
        elif not os.path.isfile(image):
            reason = MISSING_IMAGE
        caption = prompt if isinstance(prompt, str) else None
        yield Found(
            name,
            caption,
            None if reason else Span(image),
            reason,
            extra={"category": text(category[:LONGEST])},
        )


def expected(pool: MJHQPool) -> int:
    """The number of entries. Raises Refusal as `read` does."""
    return sum(1 for _ in members(_checked(pool)))


def _sound(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("category"), str)


def _has_folder(root: Path, entry: Any) -> bool:
    return _sound(entry) and inside(entry["category"]) and os.path.isdir(root / entry["category"])


def _checked(pool: MJHQPool) -> Path:
    """The path of meta_data.json, which is whole and has an entry with a category."""
    path = checked_path(pool) / META
    if not path.is_file():
        raise Refusal(f"path is {pool.path!r}, which holds no {META}; it should be a folder with MJHQ-30K.")
    with contextlib.suppress(Refusal):  # what is wrong of any file in JSON, in other words
        if sum(_sound(entry) for _, entry in members(path)):
            return path
    raise Refusal(f"{path} is not a JSON object of ids, each with a category and a prompt.")
