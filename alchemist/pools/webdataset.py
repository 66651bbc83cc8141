"""Format webdataset: tar files whose neighbouring members with one key make a pair."""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from alchemist.core.settings.pool import UserPool
from alchemist.pools.base import (
    MISSING_CAPTION,
    MISSING_IMAGE,
    TRUNCATED_TAR,
    UNREADABLE_CAPTION,
    Found,
    files_of,
    parse_json,
    text,
)
from alchemist.pools.image import SUFFIXES
from alchemist.pools.place import Span

_IMAGES = {suffix.removeprefix(".") for suffix in SUFFIXES}
_CAPTIONS = {"txt", "json"}
Parts = dict[str, bytes | Span]  # of a pair, by suffix: an image's place, the bytes of all else


class WebDatasetPool(UserPool):
    """Tar files with an image and a text a pair."""

    format: Literal["webdataset"] = Field(description="tar files with an image and a text a pair")
    path: str = Field(min_length=1, description="a folder of tars, or one tar")


BLOCK = WebDatasetPool


def read(pool: WebDatasetPool) -> Iterator[Found]:
    """The pairs of every tar, in the order of the tars' names and of the members in each.

    An id is the tar's path below the folder without its suffix, and the key. Raises Refusal where
    the path does not exist or holds no tar.
    """
    for name, path in files_of(pool, ".tar"):
        yield from _tar(name, path)


def expected(pool: WebDatasetPool) -> int | None:
    """None: a tar has no table of its members."""
    return None


def _tar(name: str, path: Path) -> Iterator[Found]:
    """The pairs of one tar. One that breaks off gives what was read and one row under its own name."""
    for key, parts in grouped(path):
        if key is None:
            yield Found(name, None, None, TRUNCATED_TAR)
        else:
            yield _pair(f"{name.removesuffix('.tar')}/{key}", parts)


def grouped(path: Path) -> Iterator[tuple[str | None, Parts]]:
    """Key and parts by suffix of neighbours with one key, as WebDataset groups them; of an image its place.

    Key None comes last if the tar breaks off.
    """
    current, parts = "", Parts()
    for key, suffix, content in _members(path):
        # A member that comes twice under one key belongs to a second pair, which repeats the id.
        if parts and (key != current or suffix in parts):
            yield current, parts
            parts = {}
        if key is None:
            yield None, {}
            return
        current, parts[suffix] = key, content
    if parts:
        yield current, parts


def image_of(parts: Parts) -> Span | None:
    """Where the image of a pair lies."""
    return next((content for content in parts.values() if isinstance(content, Span)), None)


def _pair(name: str, parts: Parts) -> Found:
    picture = image_of(parts)
    caption, fault = caption_of(parts)
    return Found(text(name), caption, picture, fault if picture is not None else MISSING_IMAGE)


def caption_of(parts: Parts) -> tuple[str | None, str]:
    """The caption and "", or None and the reason. Text comes before JSON's `caption`, that before `text`."""
    words, facts = parts.get("txt"), parts.get("json")
    if isinstance(words, bytes):
        try:
            return words.decode("utf-8-sig"), ""
        except UnicodeDecodeError:
            return None, UNREADABLE_CAPTION
    if isinstance(facts, bytes):
        value = parse_json(facts)
        if not isinstance(value, dict):
            return None, UNREADABLE_CAPTION
        caption = value.get("caption", value.get("text"))
        return (caption, "") if isinstance(caption, str) else (None, MISSING_CAPTION)
    return None, MISSING_CAPTION


def _members(path: Path) -> Iterator[tuple[str | None, str, bytes | Span]]:
    """Key, suffix and content of the members that make pairs, of an image its place.

    Key None comes last if the tar breaks off.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined] # or the archive object grows with every member
                folder, _, base = member.name.rpartition("/")
                stem, _, suffix = base.partition(".")
                if not member.isfile() or not stem or suffix.lower() not in _IMAGES | _CAPTIONS:
                    continue
                key, suffix = f"{folder}/{stem}" if folder else stem, suffix.lower()
                if suffix in _IMAGES:
                    yield key, suffix, Span(path, member.offset_data, member.size)
                else:
                    file = tar.extractfile(member)
                    yield key, suffix, file.read() if file is not None else b""
            # Tarfile ends quietly where a header is cut or lost; a whole archive ends in zeros.
            assert tar.fileobj is not None
            tar.fileobj.seek(tar.offset)
            is_whole = tar.fileobj.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)
    except (tarfile.TarError, OSError, EOFError, ValueError):
        is_whole = False
    if not is_whole:
        yield None, "", b""
