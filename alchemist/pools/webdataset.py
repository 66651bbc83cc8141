"""Format webdataset: tar files whose neighbouring members with one key make a pair."""

import contextlib
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import Field

from alchemist.core.settings.pool import KeepingPool
from alchemist.pools.base import (
    LINE,
    MISSING_CAPTION,
    MISSING_IMAGE,
    OTHER_SUFFIX,
    SPARSE,
    TEXT_BYTES,
    TRUNCATED_TAR,
    UNREADABLE_CAPTION,
    Found,
    all_kept,
    caption_in,
    decoded,
    extras,
    files_of,
    parse_json,
    text,
)
from alchemist.pools.image import SUFFIXES, UNREAD
from alchemist.pools.place import Span

_IMAGES = {suffix.removeprefix(".") for suffix in SUFFIXES}
_UNREAD = {suffix.removeprefix(".") for suffix in UNREAD}
_CAPTIONS = {"txt", "json"}
_HEADERS = 1 << 18  # bytes of the headers of a member, long names and links among them
Parts = dict[str, bytes | Span | str]  # of a pair, by suffix: an image's place, all else's bytes, or a reason


class WebDatasetPool(KeepingPool):
    """Tar files with an image and a text a pair."""

    format: Literal["webdataset"] = Field(description="tar files with an image and a text a pair")
    path: str = Field(min_length=1, description="a folder of tars, or one tar")


BLOCK = WebDatasetPool
HINTS = {
    MISSING_IMAGE: f"an image has its caption's name and a suffix of {', '.join(sorted(SUFFIXES))}",
    OTHER_SUFFIX: f"images are read of the suffixes {', '.join(sorted(SUFFIXES))}",
    MISSING_CAPTION: "a caption is a .txt of the image's name, or stands under caption or text of its .json",
}


def read(pool: WebDatasetPool) -> Iterator[Found]:
    """The pairs of every tar, in the order of the tars' names and of the members in each.

    An id is the tar's path below the folder without its suffix, and the key. Raises Refusal where
    the path does not exist or holds no tar, or no pair has a column that should be kept.
    """
    tars = files_of(pool, ".tar")
    yield from all_kept((pair for name, path in tars for pair in _tar(pool, name, path)), pool)


def expected(pool: WebDatasetPool) -> int | None:
    """None: a tar has no table of its members."""
    return None


def _tar(pool: WebDatasetPool, name: str, path: Path) -> Iterator[Found]:
    """The pairs of one tar. One that breaks off gives what was read and one row under its own name."""
    for key, parts in grouped(path):
        if key is None:
            yield Found(name, None, None, TRUNCATED_TAR)
        else:
            yield _pair(pool, f"{name.removesuffix('.tar')}/{key}", parts)


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


def names(path: Path) -> Iterator[tuple[str, int]]:
    """Name and first byte of every regular file in a tar, in order; nothing where it cannot be read."""
    with contextlib.suppress(Exception):  # tarfile raises nearly every type on broken bytes
        bounded: Any = _Bounded(path)
        with bounded.file, tarfile.open(fileobj=bounded, mode="r:") as tar:
            while (member := bounded.next(tar)) is not None:
                vars(tar)["members"] = []
                if member.isfile():
                    yield member.name, member.offset_data


def image_of(parts: Parts) -> tuple[Span | None, str]:
    """Where the image of a pair lies, and the reason why it cannot be used, or ""."""
    for kinds in (_IMAGES, _UNREAD):
        for suffix in (suffix for suffix in parts if suffix in kinds):
            content = parts[suffix]
            return (content, "") if isinstance(content, Span) else (None, str(content))
    return None, MISSING_IMAGE


def _pair(pool: WebDatasetPool, name: str, parts: Parts) -> Found:
    picture, missing = image_of(parts)
    caption, fault = caption_of(parts)
    facts = facts_of(parts) if pool.keep else None
    extra = extras(pool.keep, facts or {}, pool.keep)
    return Found(text(name), caption, picture, missing or fault, extra=extra)


def facts_of(parts: Parts) -> dict[str, Any] | None:
    """What a pair's JSON says; None where there is none, or no object in it."""
    content = parts.get("json")
    facts = parse_json(content) if isinstance(content, bytes) else None
    return facts if isinstance(facts, dict) else None


def caption_of(parts: Parts) -> tuple[str | None, str]:
    """The caption and "", or None and the reason. Text comes before JSON's `caption`, that before `text`."""
    words, facts = parts.get("txt"), parts.get("json")
    if isinstance(words, bytes):
        try:
            return decoded(words), ""
        except UnicodeDecodeError:
            return None, UNREADABLE_CAPTION
    if isinstance(words, str):
        return None, words
    if isinstance(facts, bytes):
        value = facts_of(parts)
        if value is None:
            return None, UNREADABLE_CAPTION
        caption = caption_in(value)
        return (caption, "") if isinstance(caption, str) else (None, MISSING_CAPTION)
    return None, facts if isinstance(facts, str) else MISSING_CAPTION


def _members(path: Path) -> Iterator[tuple[str | None, str, bytes | Span | str]]:
    """Key, suffix and content of the members that make pairs: of an image its place, or a reason.

    Key None comes last if the tar breaks off. Links, devices and folders make no pair, and nothing is ever
    written by a member's name.
    """
    try:
        bounded: Any = _Bounded(path)
        with bounded.file as file, tarfile.open(fileobj=bounded, mode="r:") as tar:
            while (member := bounded.next(tar)) is not None:
                vars(tar)["members"] = []  # or the archive object grows with every member
                folder, _, base = member.name.rpartition("/")
                stem, _, suffix = base.partition(".")
                if not member.isfile() or not stem or suffix.lower() not in _IMAGES | _UNREAD | _CAPTIONS:
                    continue
                key, suffix = f"{folder}/{stem}" if folder else stem, suffix.lower()
                yield key, suffix, _content(path, file, member, suffix)
            # Tarfile ends quietly where a header is cut or lost; a whole archive ends in zeros.
            file.seek(tar.offset)
            is_whole = file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)
    except Exception:  # tarfile raises nearly every type on broken bytes
        is_whole = False
    if not is_whole:
        yield None, "", b""


def _content(path: Path, file: IO[bytes], member: tarfile.TarInfo, suffix: str) -> bytes | Span | str:
    """What is kept of a member: an image's place, the bytes of a text, or why neither can be had."""
    if member.issparse():
        return SPARSE
    if suffix in _IMAGES:
        return Span(path, member.offset_data, member.size)
    if suffix in _UNREAD:
        return OTHER_SUFFIX
    if suffix == "json" and member.size > LINE:
        return UNREADABLE_CAPTION
    size = min(member.size, TEXT_BYTES if suffix == "txt" else LINE)
    file.seek(member.offset_data)
    content = file.read(size)
    if len(content) < size:
        raise tarfile.ReadError("the member ends early")
    return content


class _Bounded:
    """A tar's file for tarfile, which reads as much as a header claims: little of each member's alone."""

    def __init__(self, path: Path) -> None:
        self.file, self.left, self.last = path.open("rb"), _HEADERS, -1

    def next(self, tar: tarfile.TarFile) -> tarfile.TarInfo | None:
        """The next member. Raises whatever tarfile does, and ReadError where a header is too large."""
        self.left = _HEADERS
        member = tar.next()
        # What is said of all members stays, and an offset that does not grow would never end.
        said = sum(len(key) + len(str(value)) for key, value in tar.pax_headers.items())
        if said > _HEADERS or (member is not None and tar.offset <= self.last):
            raise tarfile.ReadError("the headers make no sense")
        self.last = tar.offset
        return member

    def read(self, size: int = sys.maxsize) -> bytes:
        """So many bytes, or fewer at the end."""
        if size > self.left:
            raise tarfile.ReadError("headers of a member are too large")
        self.left -= size
        return self.file.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        """As of a file."""
        return self.file.seek(place, whence)

    def tell(self) -> int:
        """As of a file."""
        return self.file.tell()
