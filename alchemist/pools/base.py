"""What every reader of a pool shares: pairs, the reasons why one is rejected, ids, captions, files.

A pair passes through three forms: `Found` (as a format's adapter finds it, no image read), `Record`
(after its image was decoded once, or with a reason) and `alchemist.pools.row.Row` (with its split, on the
way to disk).
"""

import codecs
import functools
import hashlib
import json
import math
import os
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from alchemist.core.refusal import Refusal
from alchemist.core.settings.pool import KeepingPool, UserPool
from alchemist.pools.place import Place
from alchemist.pools.row import Extra, Image
from alchemist.pools.seen import Seen

# Reasons why a pair is not used. Few and fixed, so that they can be counted.
MISSING_IMAGE = "missing image"
UNREADABLE_IMAGE = "unreadable image"
OTHER_SUFFIX = "image of a suffix that is not read"
ANIMATED = "animated image"
TOO_LARGE = "image that takes more memory than the pool's key largest"
HEAVY_ROWS = "rows of a parquet file that take more memory than the pool's key largest"
MISSING_CAPTION = "missing caption"
EMPTY_CAPTION = "empty caption"
LONG_CAPTION = "caption of more than 100,000 characters"
UNREADABLE_CAPTION = "unreadable caption"
UNREADABLE_METADATA = "unreadable metadata"
UNREADABLE_FILE = "unreadable parquet file"
SPARSE = "sparse member of a tar"
TRUNCATED_TAR = "truncated or unreadable tar"
MISSING_FILE = "tar without its parquet file"
DOWNLOAD_FAILED = "download failed"
RESIZE_FAILED = "resize failed"
OUTSIDE = "path outside the folder"
DUPLICATE_ID = "duplicate id"
DUPLICATE = "exact duplicate"
OTHER_SPLIT = "same pixels as a pair of another split"
OTHER_GROUP = "same group as a pair of another split"
NEAR_SPLIT = "near copy of a pair of another split"
NEAR = "near copy"
NEAR_HELD = "near copy, to be measured by alone"  # usable, in a held-out split, and not rated
UNSAMPLED = "outside the sample"

LONGEST = 100_000  # characters of a caption
# Bytes of text that are read of a caption: what is cut off there is too long, however it is spelled.
TEXT_BYTES = 4 * (LONGEST + 2)
LINE = 1_000_000  # bytes or characters of a line or of an object in JSON, which takes some 30 times as much
LONGEST_ID = 4096  # characters


@dataclass(frozen=True)
class Found:
    """One pair as an adapter finds it. A row that stands for no pair (a broken file) has a reason too.

    The adapter says where the image lies and does not read it: the stage prepare reads and decodes it once,
    and the stages after it read it there again.

        Span(path)                a file of its own
        Span(path, offset, size)  a part of one: TarInfo.offset_data and TarInfo.size of a member of a tar
        Cell(path, "image", 7)    row 7 of a parquet file, counted through its row groups; the column holds
                                  encoded bytes or structs with a field bytes. Pairs of a file in the order
                                  of its rows, so that each row group is read once.
        bytes                     for what has no place (a compressed member of a zip): kept in data/read

    A null cell, a file that is gone and bytes that are no image get their reasons when they are read.
    """

    id: str
    caption: str | None  # as written, not cleaned; None where there is none
    image: Place | bytes | None  # where its encoded bytes lie, or themselves; None where there are none
    reason: str = ""  # "" for a pair that may be decoded
    group: str | None = None  # pairs of one group share a split; None: the pair is a group of its own
    extra: Mapping[str, Extra] = field(default_factory=dict)  # what else is known of it
    labels: Mapping[str, Extra] = field(default_factory=dict)  # what raters and trainers must not see


@dataclass(frozen=True)
class Record:
    """One pair after its image was decoded: either an image or a reason why there is none."""

    id: str
    caption: str
    group: str  # pairs of one group share a split
    image: Image | None  # what the store keeps of it
    reason: str  # "" for a usable pair
    pixels: bytes = b""  # `pixel_hash` of what it decodes to
    extra: Mapping[str, Extra] = field(default_factory=dict)
    labels: Mapping[str, Extra] = field(default_factory=dict)


class Adapter(Protocol):
    """What the module of a format of a person's files gives; `alchemist.pools.read.ADAPTERS` lists them.

    `HINTS` may say by reason what the format reads, for a pool most of whose pairs have that reason.
    """

    BLOCK: type[Any]  # the class of the format's blocks of `pools:`, a kind of UserPool

    def read(self, pool: Any) -> Iterator[Found]:
        """Every pair of the pool, usable or not, in a stable order. Raises Refusal for a wrong path."""

    def expected(self, pool: Any) -> int | None:
        """How many pairs `read` will give or so; None where only reading would tell."""


# ---------------------------------------------------------------------- ids and captions


def unique(pairs: Iterable[Found], seen: Seen) -> Iterator[Found]:
    """The pairs with ids that differ: a repeat is rejected under its id with "#2" (and so on) behind it.

    The first pair of an id has it, whatever becomes of that pair. What was of no use before keeps its reason.
    `seen` has the ids that came earlier. A hash stands for the end of an id of more than 4,096 characters.
    """
    for pair in pairs:
        first = name = short_id(pair.id)
        count = 1
        while seen.add(digest(name.encode())) is not None:
            count += 1
            name = f"{first}#{count}"
        if count > 1:
            yield replace(pair, id=name, image=None, reason=pair.reason or DUPLICATE_ID)
        else:
            yield pair if name == pair.id else replace(pair, id=name)


def short_id(name: str) -> str:
    """An id, or its beginning and a hash of the whole where it is long: any file may name a pair."""
    return name if len(name) <= LONGEST_ID else f"{name[:LONGEST_ID]}…{digest(name.encode()).hex()}"


def digest(value: bytes) -> bytes:
    """Sixteen bytes that stand for a value in a set (BLAKE2b), since ids and captions may be long."""
    return hashlib.blake2b(value, digest_size=16).digest()


def text(name: str) -> str:
    """A name as valid Unicode; bytes that are not UTF-8 and lone surrogates appear as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def id_text(value: Any) -> str:
    """An id of any type as text; "" where there is none (None, NaN, a truth value, a list, an object)."""
    missing = value is None or value != value or isinstance(value, bool | dict | list)  # noqa: PLR0124
    return "" if missing else text(str(value))


def as_number(value: Any) -> float:
    """A number of any type as a float; NaN where there is none, since a column has values of one type."""
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:  # a whole number of hundreds of digits
        return math.nan


def extras(keep: Iterable[str], values: Mapping[str, Any], texts: Container[str]) -> dict[str, Extra]:
    """What is kept beside of a pair's values by column: text of those in `texts`, of the others numbers."""
    return {name: (_as_text if name in texts else _as_amount)(values.get(name)) for name in keep}


def check_column(key: str, name: str, names: list[str], path: Path) -> None:
    """Refuses a file that lacks a column, or has it more than once."""
    if names.count(name) != 1:
        has = "has more than once" if name in names else "lacks"
        raise Refusal(f"{key} is {name!r}, which {path} {has}; its columns are {', '.join(names)}.")


def all_kept(pairs: Iterable[Found], pool: KeepingPool) -> Iterator[Found]:
    """The pairs, of files that list no columns. Raises Refusal behind the last for a column that none has."""
    missing, count = set(pool.keep), 0
    for pair in pairs:
        missing -= {name for name in missing if pair.extra.get(name)}
        count += 1
        yield pair
    if missing and count:
        raise Refusal(f"keep holds {min(missing)!r}, which no pair of {pool.path!r} has.")


def _as_text(value: Any) -> str:
    """Text, and a number or truth value as JSON has it; "" for all else, and where it is missing.

    A whole number has no ".0", since tables make fractions of a column's where one is missing.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, bool | int | float) and value == value:  # noqa: PLR0124
        value = json.dumps(value)
    return text(value[:LONGEST]) if isinstance(value, str) else ""


def _as_amount(value: Any) -> float:
    """As `as_number`, and of truth values 1 and 0."""
    return float(value) if isinstance(value, bool) else as_number(value)


def caption_in(facts: Mapping[str, Any]) -> Any:
    """What stands under `caption`, or else under `text`, as `imagefolder` and webdataset's JSON have it."""
    return facts.get("caption", facts.get("text"))


def clean_caption(caption: str | None) -> tuple[str, str]:
    """The caption stripped and in NFC, and the reason why it is of no use, or ""."""
    if caption is None:
        return "", MISSING_CAPTION
    try:
        caption.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        return "", UNREADABLE_CAPTION
    cleaned = unicodedata.normalize("NFC", caption.strip())
    if len(cleaned) > LONGEST:
        return "", LONG_CAPTION
    return cleaned, "" if cleaned else EMPTY_CAPTION


def decoded(content: bytes) -> str:
    """Text of UTF-8 with or without a byte order mark, its last character cut where `content` ends.

    Raises UnicodeDecodeError.
    """
    return codecs.getincrementaldecoder("utf-8-sig")().decode(content, final=len(content) < TEXT_BYTES)


def parse_json(value: bytes) -> Any:
    """The value of JSON in UTF-8, with or without a byte order mark; None for anything else."""
    return json_of(value, "strict")


def json_of(value: bytes, errors: str) -> Any:
    """The value of JSON, None for anything else; `errors` as of `bytes.decode` says what is no UTF-8."""
    try:
        return json.loads(value.decode("utf-8-sig", errors))
    except (ValueError, RecursionError):
        return None


def caption_file(path: Path) -> tuple[str | None, str]:
    """The caption that a file holds and "", or None and the reason. The end of a long file stays unread."""
    try:
        with path.open("rb") as file:
            return decoded(file.read(TEXT_BYTES)), ""
    except (OSError, UnicodeDecodeError):
        return None, UNREADABLE_CAPTION


# ---------------------------------------------------------------------- files


def inside(path: str) -> bool:
    """Whether a path that metadata names stays in its folder: metadata may come from anywhere."""
    inner = PurePosixPath(path.replace("\\", "/"))
    return not inner.is_absolute() and ".." not in inner.parts


def leads_out(path: Path, root: Path) -> bool:
    """Whether a link, the file or a folder above it, leads from the folder `root` to what is not in it."""
    if path.parent != root and not _real(path.parent).is_relative_to(_real(root)):
        return True
    return path.is_symlink() and not path.resolve().is_relative_to(_real(root))


@functools.lru_cache(maxsize=256)
def _real(folder: Path) -> Path:
    return folder.resolve()


def checked_path(pool: UserPool) -> Path:
    """The pool's path. Raises Refusal where it does not exist."""
    path = Path(pool.path)
    if not path.exists():
        raise Refusal(f"path is {pool.path!r}, which does not exist; it should hold the pool's files.")
    return path


def walk(root: Path) -> Iterator[Path]:
    """All regular files below a folder in a stable order, but for hidden ones."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and os.path.isfile(os.path.join(folder, name)):
                yield Path(folder, name)


def files_of(pool: UserPool, suffix: str) -> list[tuple[str, Path]]:
    """The one file, or all files of a suffix below the folder, with the name that ids use.

    Raises Refusal where the path does not exist or no file below it has the suffix.
    """
    path = checked_path(pool)
    if path.is_file():
        return [(text(path.name), path)]
    found = [(text(p.relative_to(path).as_posix()), p) for p in walk(path) if p.suffix.lower() == suffix]
    if not found:
        raise Refusal(f"path is {pool.path!r}, which holds no file with the suffix {suffix}.")
    return found
