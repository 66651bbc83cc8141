"""Format folder: image files with captions in sidecar text files, or in metadata.csv or metadata.jsonl."""

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

from pydantic import Field

from alchemist.core.refusal import Refusal
from alchemist.core.settings.pool import KeepingPool
from alchemist.pools.base import (
    MISSING_CAPTION,
    MISSING_IMAGE,
    OTHER_SUFFIX,
    OUTSIDE,
    UNREADABLE_METADATA,
    Found,
    all_kept,
    caption_file,
    caption_in,
    check_column,
    checked_path,
    digest,
    extras,
    id_text,
    inside,
    json_of,
    leads_out,
    text,
    walk,
)
from alchemist.pools.image import SUFFIXES, UNREAD
from alchemist.pools.lines import csv_rows, lines
from alchemist.pools.place import Span
from alchemist.pools.seen import Seen

_Lines = Iterator[tuple[int, dict[str, Any] | None]]


class FolderPool(KeepingPool):
    """Image files with captions beside them."""

    groups_everywhere: ClassVar[bool] = False

    format: Literal["folder"] = Field(description="image files with captions beside them")
    path: str = Field(min_length=1, description="a folder")
    group: Literal["parent"] | None = Field(
        default=None,
        description="parent: images of one folder share a split; null: every id is its own group",
    )
    links: bool = Field(
        default=False, description="whether to read files that are links to outside of the folder"
    )


BLOCK = FolderPool
HINTS = {
    MISSING_IMAGE: "an image has the name of its .txt, or lies where file_name leads from metadata on",
    OTHER_SUFFIX: f"images are read of the suffixes {', '.join(sorted(SUFFIXES))}",
    MISSING_CAPTION: "a caption is a .txt of the image's name, or stands under caption or text of metadata",
}


def read(pool: FolderPool) -> Iterator[Found]:
    """Lines of metadata files first, then images that none of them lists, with sidecar captions.

    An id is the path below the folder without its suffix, or a metadata file's field `id`.
    What is kept beside is text, and "" of an image that no metadata file lists. Raises Refusal where the path
    is no folder or holds no image, a metadata file lacks its columns, or no pair has one that should be kept.
    """
    root, _ = _surveyed(pool)
    if not any(_is_image(path) or _is_metadata(path) for path in walk(root)):
        raise Refusal(
            f"path is {pool.path!r}, which holds no image; legal suffixes are {', '.join(sorted(SUFFIXES))}."
        )
    pairs = all_kept(_pairs(root, pool), pool)
    # Every pair comes with its folder as its group.
    yield from pairs if pool.group == "parent" else (replace(pair, group=None) for pair in pairs)


def _pairs(root: Path, pool: FolderPool) -> Iterator[Found]:
    listed = Seen()  # what `_mark` gives
    for path in walk(root):
        if _is_metadata(path):
            yield from _metadata(root, path, listed, pool)
    for folder, paths in itertools.groupby(walk(root), key=lambda path: path.parent):
        yield from _sidecars(root, folder, paths, listed, pool)


def _mark(path: Path) -> bytes:
    """What stands for a path in a set; the object itself would take some 700 bytes."""
    return digest(str(path).encode("utf-8", "surrogatepass"))


def expected(pool: FolderPool) -> int | None:
    """The number of image files. Raises Refusal where the path is no folder, or metadata lack columns."""
    return _surveyed(pool)[1]


def _surveyed(pool: FolderPool) -> tuple[Path, int]:
    """The folder and the number of its images, once the columns of metadata files are known to be there."""
    root = checked_path(pool)
    if not root.is_dir():
        raise Refusal(f"path is {pool.path!r}; for format folder it should be a folder.")
    images, is_told = 0, not pool.keep
    for path in walk(root):
        images += _is_image(path)
        if _is_metadata(path) and (pool.links or not leads_out(path, root)):
            is_told = True
            if path.suffix == ".csv":
                next(_csv_lines(path, pool.keep), None)
    if not is_told:
        raise Refusal(
            f"keep is {list(pool.keep)}, and {pool.path!r} holds no metadata.csv and no metadata.jsonl."
        )
    return root, images


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _is_unread(path: Path) -> bool:
    return path.suffix.lower() in UNREAD


def _is_metadata(path: Path) -> bool:
    return path.name in ("metadata.csv", "metadata.jsonl")


# ---------------------------------------------------------------------- sidecar captions


def _sidecars(
    root: Path, folder: Path, paths: Iterator[Path], listed: Seen, pool: FolderPool
) -> Iterator[Found]:
    """The pairs of one folder, by stem. Of its paths the names alone are held: all may lie in one folder."""
    stems: dict[str, list[str]] = {}
    for path in paths:
        if _is_image(path) or _is_unread(path) or path.suffix.lower() == ".txt":
            stems.setdefault(path.stem, []).append(path.name)
    parent, extra = folder.relative_to(root).as_posix(), extras(pool.keep, {}, pool.keep)
    for stem, names in stems.items():
        paths_of = [folder / name for name in names]
        pictures = [path for path in paths_of if _is_image(path)]
        unread = [path for path in paths_of if _is_unread(path)]
        captions = [path for path in paths_of if path.suffix.lower() == ".txt"]
        name = text((PurePosixPath(parent) / stem).as_posix())
        caption, fault = _caption(captions[0], root, pool.links) if captions else (None, "")
        for picture in pictures:
            if _mark(picture) not in listed:
                is_out = not pool.links and leads_out(picture, root)
                yield Found(name, caption, Span(picture), OUTSIDE if is_out else fault, text(parent), extra)
        if not pictures and all(_mark(path) not in listed for path in unread):
            reason = OTHER_SUFFIX if unread else MISSING_IMAGE
            yield Found(name, caption, None, reason, text(parent), extra)


def _caption(path: Path, root: Path, links: bool) -> tuple[str | None, str]:
    """The caption and "", or None and the reason."""
    return caption_file(path) if links or not leads_out(path, root) else (None, OUTSIDE)


# ---------------------------------------------------------------------- metadata files


def _metadata(root: Path, path: Path, listed: Seen, pool: FolderPool) -> Iterator[Found]:
    """The pairs that a metadata file lists; file_name is relative to it. Adds their marks to `listed`.

    A caption stands under `caption` or else under `text`, as folders for `imagefolder` have it.
    """
    here = PurePosixPath(path.parent.relative_to(root).as_posix())
    if not pool.links and leads_out(path, root):
        yield Found(text((here / path.name).as_posix()), None, None, OUTSIDE)
        return
    lines = _csv_lines(path, pool.keep) if path.suffix == ".csv" else _json_lines(path)
    for number, line in lines:
        place = text(f"{(here / path.name).as_posix()}:{number}")  # the id of a line that names no image
        if line is None:
            yield Found(place, None, None, UNREADABLE_METADATA)
            continue
        file_name, caption = _below(line.get("file_name"), path.parent), caption_in(line)
        caption = caption if isinstance(caption, str) else None
        if not isinstance(file_name, str) or not file_name:
            yield Found(place, caption, None, MISSING_IMAGE)
            continue
        if not inside(file_name):
            yield Found(place, caption, None, OUTSIDE)
            continue
        picture = path.parent / file_name
        listed.add(_mark(picture))
        relative = here / PurePosixPath(file_name)
        name = id_text(line.get("id")) or text(os.path.splitext(relative)[0])
        parent, extra = text(relative.parent.as_posix()), extras(pool.keep, line, pool.keep)
        if os.path.isfile(picture):
            is_out = not pool.links and leads_out(picture, root)
            yield Found(name, caption, Span(picture), OUTSIDE if is_out else "", parent, extra)
        else:
            yield Found(name, caption, None, MISSING_IMAGE, parent, extra)


def _below(file_name: Any, folder: Path) -> Any:
    """A whole path as one from its metadata file's folder on, where it leads there; all else as it is."""
    if not isinstance(file_name, str) or not os.path.isabs(file_name) or "\0" in file_name:
        return file_name
    above, name = os.path.split(file_name)
    for way in (os.path.abspath, os.path.realpath):  # as it is written, and behind links
        with contextlib.suppress(ValueError):
            return (Path(way(above)).relative_to(way(folder)) / name).as_posix()
    return file_name


def _csv_lines(path: Path, keep: tuple[str, ...]) -> _Lines:
    """Numbered lines; None in place of one that cannot be read. Refuses wrong columns.

    Bytes that are not UTF-8 are lone surrogates, which no caption may have and a file's name may.
    """
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv_rows(file)
        names = next(rows, None) or []
        if "file_name" not in names or not {"caption", "text"} & set(names):
            raise Refusal(
                f"{path} has the columns {', '.join(names) or 'none'}; it needs file_name and caption "
                "(or text), in UTF-8."
            )
        for name in keep:
            check_column("keep", name, names, path)
        for number, row in enumerate(rows, 2):  # the header is line 1
            # What a short row lacks is None, so that no other column takes its place.
            yield number, None if row is None else dict(itertools.zip_longest(names, row[: len(names)]))


def _json_lines(path: Path) -> _Lines:
    """Numbered objects; None in place of a line that is none. Blank lines are skipped."""
    with path.open("rb") as file:
        for number, line in enumerate(lines(file), 1):
            if line is None or line.strip():
                value = json_of(line, "surrogateescape") if line is not None else None
                yield number, value if isinstance(value, dict) else None
