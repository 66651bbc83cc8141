"""Where the pairs of a pool come from: composed emoji, or a person's own files.

Readers yield in a stable order and hold a few images at a time. A pair that cannot be used keeps its
row, with a reason; nothing is replaced by a neighbour and no pair ends the run. Per pair, 16-byte
hashes of its id, its pixels and its pixels with caption are kept to find repeats (some 300 bytes).
"""

import contextlib
import csv
import hashlib
import io
import itertools
import json
import os
import tarfile
import unicodedata
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageOps

from alchemist.core.refusal import Refusal
from alchemist.core.stateless import id_uniforms
from alchemist.pools import emoji as emoji_pool
from alchemist.pools.store import SPLITS, Row, pixel_hash
from alchemist.settings.pool import EmojiPool, UserPool

# Reasons why a pair is not used. Few and fixed, so that they can be counted.
MISSING_IMAGE = "missing image"
UNREADABLE_IMAGE = "unreadable image"
ANIMATED = "animated image"
TOO_LARGE = "more than 178 megapixels"
MISSING_CAPTION = "missing caption"
EMPTY_CAPTION = "empty caption"
UNREADABLE_CAPTION = "unreadable caption"
UNREADABLE_METADATA = "unreadable metadata"
UNREADABLE_FILE = "unreadable parquet file"
TRUNCATED_TAR = "truncated or unreadable tar"
OUTSIDE = "path outside the folder"
DUPLICATE_ID = "duplicate id"
DUPLICATE = "exact duplicate"
OTHER_SPLIT = "same pixels as a pair of another split"

_MEGAPIXELS = 178
_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
# Pillow knows sixty formats, some of which start other programs; these are what pools hold.
_DECODERS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_CHUNK = 256  # pairs composed by one call of a worker
_BATCH = 64  # pairs whose encoded images are held at once


@dataclass(frozen=True)
class Record:
    """One pair of a person's pool: either an image or a reason why there is none."""

    id: str
    caption: str
    group: str
    image: NDArray[np.uint8] | None
    reason: str


@dataclass(frozen=True)
class _Found:
    """One pair as a reader finds it, before anything is decoded."""

    id: str
    caption: str | None
    image: bytes | Path | None
    reason: str = ""
    parent: str | None = None  # folder of the image


def rows(pool: EmojiPool | UserPool, processes: int) -> Iterator[Row]:
    """Every pair of a pool, usable or not, with its split. The result does not depend on `processes`.

    Raises Refusal where the path is wrong, or where the split pool or a split with a positive share
    gets no usable pair.
    """
    return _emoji_rows(pool, processes) if isinstance(pool, EmojiPool) else _user_rows(pool)


def expected(pool: EmojiPool | UserPool) -> int | None:
    """How many rows `rows` will give or so, for a progress bar; None where only reading would tell."""
    if isinstance(pool, EmojiPool):
        return sum(count for _, count, _ in _streams(pool))
    if pool.format == "folder":
        return sum(path.suffix.lower() in _SUFFIXES for path in _walk(_checked_path(pool)))
    if pool.format == "parquet":
        return sum(int(held.metadata.num_rows) for _, held in _parquet_files(pool) if held is not None)
    return None


def licence(pool: EmojiPool | UserPool) -> str:
    """The licence and attribution that travel with the pool."""
    return emoji_pool.LICENCE if isinstance(pool, EmojiPool) else pool.licence


# ---------------------------------------------------------------------- composed emoji


def _streams(pool: EmojiPool) -> list[tuple[str, int, dict[str, float]]]:
    """Splits, their sizes and shares of kinds."""
    total = sum(pool.shares.model_dump().values())  # 1 within 1e-6; composing needs it closer
    mixture = {kind: share / total for kind, share in pool.shares.model_dump().items()}
    clean = {"informative": 1.0}
    validation = mixture if pool.meta_validation.source == "mixture" else clean
    return [
        ("pool", pool.pairs, mixture),
        ("meta_val", pool.meta_validation.pairs, validation),
        ("evaluation", pool.evaluation.pairs, clean),
        ("scorer", pool.scorer.pairs, clean),
    ]


def _emoji_rows(pool: EmojiPool, processes: int) -> Iterator[Row]:
    """Held-out pairs whose pixels another split holds are composed again, as the same kind.

    The shares of kinds therefore stay as planted (near-blank images repeat often at low resolution).
    """
    owner: dict[bytes, str] = {}
    position: Counter[str] = Counter()
    for split, first in _composed(pool, _streams(pool), processes):
        pair, attempt, place = first, 0, position[split]
        while owner.setdefault(pixel_hash(pair.image), split) != split:
            attempt += 1
            stream, kind = f"{split}-again{attempt}", {first.kind: 1.0}
            pair = emoji_pool.compose(pool.seed, stream, place, kind, pool.concepts, pool.resolution)
        yield Row(f"{split}-{place:07d}", pair.caption, split, pair.group, pair.image, "", pair.kind)
        position[split] += 1


def compose_images(
    pool: EmojiPool, stream: str, shares: dict[str, float], count: int, processes: int
) -> NDArray[np.uint8]:
    """Images (count, resolution, resolution, 3) of a stream of its own, outside every split."""
    if stream in SPLITS:
        raise ValueError(f"stream is {stream!r}, which is a split of the pool")
    out = np.empty((count, pool.resolution, pool.resolution, 3), dtype=np.uint8)
    for place, (_, pair) in enumerate(_composed(pool, [(stream, count, shares)], processes)):
        out[place] = pair.image
    return out


def _composed(
    pool: EmojiPool, streams: list[tuple[str, int, dict[str, float]]], processes: int
) -> Iterator[tuple[str, emoji_pool.Pair]]:
    """Split and pair, in order; at most four chunks a process wait in memory."""
    chunks = [
        (pool, split, shares, range(start, min(start + _CHUNK, count)))
        for split, count, shares in streams
        for start in range(0, count, _CHUNK)
    ]
    if processes == 1:
        for chunk in chunks:
            yield from _compose_chunk(*chunk)
        return
    with ProcessPoolExecutor(min(processes, len(chunks))) as executor:
        waiting: deque[Future[list[tuple[str, emoji_pool.Pair]]]] = deque()
        for chunk in chunks:
            waiting.append(executor.submit(_compose_chunk, *chunk))
            if len(waiting) == 4 * processes:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _compose_chunk(
    pool: EmojiPool, split: str, shares: dict[str, float], positions: range
) -> list[tuple[str, emoji_pool.Pair]]:
    return [
        (split, emoji_pool.compose(pool.seed, split, position, shares, pool.concepts, pool.resolution))
        for position in positions
    ]


# ---------------------------------------------------------------------- a person's own files


def _user_rows(pool: UserPool) -> Iterator[Row]:
    """Splits by a hash of the group, so that a split depends on no other pair."""
    shares = {
        "meta_val": pool.splits.meta_validation,
        "evaluation": pool.splits.evaluation,
        "scorer": pool.splits.scorer,
    }
    ends = np.cumsum(list(shares.values()))
    owner: dict[bytes, str] = {}
    counts: Counter[str] = Counter()
    for record in records(pool):
        place = float(id_uniforms([record.group], "split", pool.seed)[0])
        split = [*shares, "pool"][int(np.searchsorted(ends, place, side="right"))]
        image, reason = record.image, record.reason
        if image is not None and owner.setdefault(pixel_hash(image), split) != split:
            image, reason = None, OTHER_SPLIT
        counts[reason or split] += 1
        yield Row(record.id, record.caption, split, record.group, image, reason, None)
    for split in SPLITS:
        if not counts[split] and (split == "pool" or shares[split] > 0):
            found = ", ".join(f"{count} x {what}" for what, count in counts.most_common()) or "no pairs"
            raise Refusal(
                f"The pool at {pool.path} has no usable pair in split {split} ({found}); "
                "every split with a positive share needs one."
            )


def records(pool: UserPool) -> Iterator[Record]:
    """The pairs of a person's pool in a stable order, decoded, cropped and resized, or with a reason.

    Ids are unique: a repeated id is rejected under the id with "#2" (and so on) behind it.
    Raises Refusal where the path does not exist or holds nothing of the stated format.
    """
    readers: dict[str, Callable[[UserPool], Iterator[_Found]]] = {
        "folder": _folder,
        "webdataset": _webdataset,
        "parquet": _parquet,
    }
    found = _unique(readers[pool.format](pool))
    pairs_seen: set[bytes] = set()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        while batch := list(itertools.islice(found, _BATCH)):
            for record in threads.map(lambda item: _record(item, pool), batch):
                if record.image is not None:
                    pair = _digest(pixel_hash(record.image) + record.caption.encode())
                    if pair in pairs_seen:
                        record = replace(record, image=None, reason=DUPLICATE)  # noqa: PLW2901
                    pairs_seen.add(pair)
                yield record


def _unique(found: Iterator[_Found]) -> Iterator[_Found]:
    """The first pair of an id holds it, whatever becomes of that pair."""
    seen: set[bytes] = set()
    for item in found:
        name, again = item.id, 1
        while _digest(name.encode()) in seen:
            again += 1
            name = f"{item.id}#{again}"
        seen.add(_digest(name.encode()))
        yield item if again == 1 else _Found(name, item.caption, None, DUPLICATE_ID, item.parent)


def _digest(value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=16).digest()


def _text(name: str) -> str:
    """A name as valid Unicode; bytes that are not UTF-8 and lone surrogates appear as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _clean_caption(caption: str | None) -> tuple[str, str]:
    """The caption stripped and in NFC, and the reason why it is of no use, or ""."""
    if caption is None:
        return "", MISSING_CAPTION
    try:
        caption.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        return "", UNREADABLE_CAPTION
    cleaned = unicodedata.normalize("NFC", caption.strip())
    return cleaned, "" if cleaned else EMPTY_CAPTION


def _record(item: _Found, pool: UserPool) -> Record:
    caption, fault = _clean_caption(item.caption)
    image, reason = None, item.reason or fault
    if not reason:
        image, reason = decode(item.image, pool.resolution)
    group = item.parent if pool.group == "parent" and item.parent is not None else item.id
    return Record(item.id, caption, group, image, reason)


def decode(source: bytes | Path | None, resolution: int) -> tuple[NDArray[np.uint8] | None, str]:
    """An encoded image as (resolution, resolution, 3), or None and the reason.

    EXIF orientation applied, alpha laid on white, 16-bit grey scaled, centre square, Lanczos.
    """
    if source is None:
        return None, MISSING_IMAGE
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, "r", _DECODERS) as held:
            if held.width * held.height > _MEGAPIXELS * 1_000_000:
                return None, TOO_LARGE
            # A phone's JPEG with a preview or depth map (MPO) has frames too, but does not move.
            if held.format != "MPO" and getattr(held, "is_animated", False):
                return None, ANIMATED
            held.load()
            return _square(held, resolution), ""
    except Image.DecompressionBombError:
        return None, TOO_LARGE
    except Exception:  # decoders raise nearly every type on broken bytes
        return None, UNREADABLE_IMAGE


def _square(picture: Image.Image, resolution: int) -> NDArray[np.uint8]:
    """The centre square of a decoded picture, antialiased, as RGB."""
    with contextlib.suppress(Exception):  # broken EXIF does not make the pixels wrong
        picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I", "F"):
        raise ValueError("32-bit grey has no stated range")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    picture = picture.crop((left, top, left + side, top + side))
    if picture.mode.startswith("I;16"):
        # Pillow would clip 16-bit grey at 255 instead of scaling it.
        picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    resized = picture.convert("RGB").resize((resolution, resolution), Image.Resampling.LANCZOS)
    return np.asarray(resized, dtype=np.uint8)


def _checked_path(pool: UserPool) -> Path:
    path = Path(pool.path)
    if not path.exists():
        raise Refusal(f"path is {pool.path!r}, which does not exist; it should hold the pool's files.")
    if pool.format == "folder" and not path.is_dir():
        raise Refusal(f"path is {pool.path!r}; for format folder it should be a folder.")
    return path


def _walk(root: Path) -> Iterator[Path]:
    """All regular files below a folder in a stable order, but for hidden ones."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and os.path.isfile(os.path.join(folder, name)):
                yield Path(folder, name)


# ---------------------------------------------------------------------- folder


def _folder(pool: UserPool) -> Iterator[_Found]:
    """Rows of metadata files first, then images that none of them lists, with sidecar captions."""
    root = _checked_path(pool)
    if not any(_is_image(path) or _is_metadata(path) for path in _walk(root)):
        raise Refusal(
            f"path is {pool.path!r}, which holds no image; legal suffixes are {', '.join(sorted(_SUFFIXES))}."
        )
    listed: set[Path] = set()
    for path in _walk(root):
        if _is_metadata(path):
            yield from _metadata(root, path, listed)
    for _, group in itertools.groupby(_walk(root), key=lambda path: path.parent):
        yield from _sidecars(root, list(group), listed)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES


def _is_metadata(path: Path) -> bool:
    return path.name in ("metadata.csv", "metadata.jsonl")


def _sidecars(root: Path, paths: list[Path], listed: set[Path]) -> Iterator[_Found]:
    """The pairs of one folder, by stem."""
    stems: dict[str, tuple[list[Path], list[Path]]] = {}
    for path in paths:
        if _is_image(path) or path.suffix.lower() == ".txt":
            stems.setdefault(path.stem, ([], []))[0 if _is_image(path) else 1].append(path)
    for stem, (pictures, texts) in stems.items():
        parent = paths[0].parent.relative_to(root).as_posix()
        name = _text((PurePosixPath(parent) / stem).as_posix())
        caption, fault = _caption_file(texts[0]) if texts else (None, "")
        for picture in pictures:
            if picture not in listed:
                yield _Found(name, caption, picture, fault, _text(parent))
        if not pictures:
            yield _Found(name, caption, None, MISSING_IMAGE, _text(parent))


def _caption_file(path: Path) -> tuple[str | None, str]:
    try:
        return path.read_text("utf-8-sig"), ""
    except (OSError, UnicodeDecodeError):
        return None, UNREADABLE_CAPTION


def _metadata(root: Path, path: Path, listed: set[Path]) -> Iterator[_Found]:
    """The pairs that a metadata file lists; file_name is relative to it. Adds their paths to `listed`."""
    here = PurePosixPath(path.parent.relative_to(root).as_posix())
    lines = _csv_lines(path) if path.suffix == ".csv" else _json_lines(path)
    for number, line in lines:
        place = _text(f"{(here / path.name).as_posix()}:{number}")
        if line is None:
            yield _Found(place, None, None, UNREADABLE_METADATA)
            continue
        file_name, caption = line.get("file_name"), line.get("caption")
        caption = caption if isinstance(caption, str) else None
        if not isinstance(file_name, str) or not file_name:
            yield _Found(place, caption, None, MISSING_IMAGE)
            continue
        inner = PurePosixPath(file_name.replace("\\", "/"))
        if inner.is_absolute() or ".." in inner.parts:
            yield _Found(place, caption, None, OUTSIDE)
            continue
        picture = path.parent / file_name
        listed.add(picture)
        relative = here / PurePosixPath(file_name)
        name = _named(line.get("id")) or _text(os.path.splitext(relative)[0])
        there = os.path.isfile(picture)
        yield _Found(
            name,
            caption,
            picture if there else None,
            "" if there else MISSING_IMAGE,
            _text(relative.parent.as_posix()),
        )


def _named(value: Any) -> str:
    """An id as text; "" where there is none."""
    missing = value is None or value != value or isinstance(value, bool | dict | list)  # noqa: PLR0124
    return "" if missing else _text(str(value))


_Lines = Iterator[tuple[int, dict[str, Any] | None]]


def _csv_lines(path: Path) -> _Lines:
    """Numbered rows; None in place of what follows an unreadable one. Refuses wrong columns."""
    number = 1
    with path.open(encoding="utf-8-sig", newline="") as held:
        try:
            reader = csv.DictReader(held)
            names = reader.fieldnames or []
            if not {"file_name", "caption"} <= set(names):
                raise Refusal(
                    f"{path} has the columns {', '.join(names) or 'none'}; it needs file_name and caption."
                )
            for row in reader:
                number += 1
                yield number, row
        except (csv.Error, UnicodeDecodeError):
            yield number + 1, None


def _json_lines(path: Path) -> _Lines:
    """Numbered objects; None in place of a line that is none. Blank lines are skipped."""
    with path.open("rb") as held:
        for number, line in enumerate(held, 1):
            if line.strip():
                value = _json(line)
                yield number, value if isinstance(value, dict) else None


def _json(value: bytes) -> Any:
    try:
        return json.loads(value.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None


# ---------------------------------------------------------------------- webdataset


def _webdataset(pool: UserPool) -> Iterator[_Found]:
    for relative, path in _files_of(pool, ".tar"):
        yield from _tar(relative, path)


def _files_of(pool: UserPool, suffix: str) -> list[tuple[str, Path]]:
    """The one file, or all files of a suffix below the folder, with the name that ids use."""
    path = _checked_path(pool)
    if path.is_file():
        return [(_text(path.name), path)]
    found = [(_text(p.relative_to(path).as_posix()), p) for p in _walk(path) if p.suffix.lower() == suffix]
    if not found:
        raise Refusal(f"path is {pool.path!r}, which holds no file with the suffix {suffix}.")
    return found


def _tar(name: str, path: Path) -> Iterator[_Found]:
    """The pairs of one tar: neighbours with one key, as WebDataset groups them.

    A tar that breaks off gives what was read and one row under its own name.
    """
    stem = name.removesuffix(".tar")
    current, parts = "", dict[str, bytes]()
    for key, suffix, content in _members(path):
        # A member that comes twice under one key belongs to a second pair, which repeats the id.
        if parts and (key != current or suffix in parts):
            yield _tar_pair(f"{stem}/{current}", parts)
            parts = {}
        if key is None:
            yield _Found(name, None, None, TRUNCATED_TAR)
            return
        current, parts[suffix] = key, content
    if parts:
        yield _tar_pair(f"{stem}/{current}", parts)


def _tar_pair(name: str, parts: dict[str, bytes]) -> _Found:
    picture = next((content for suffix, content in parts.items() if f".{suffix}" in _SUFFIXES), None)
    caption, fault = _tar_caption(parts)
    return _Found(_text(name), caption, picture, fault if picture is not None else MISSING_IMAGE)


def _tar_caption(parts: dict[str, bytes]) -> tuple[str | None, str]:
    if "txt" in parts:
        try:
            return parts["txt"].decode("utf-8-sig"), ""
        except UnicodeDecodeError:
            return None, UNREADABLE_CAPTION
    if "json" in parts:
        value = _json(parts["json"])
        if not isinstance(value, dict):
            return None, UNREADABLE_CAPTION
        caption = value.get("caption", value.get("text"))
        return (caption, "") if isinstance(caption, str) else (None, MISSING_CAPTION)
    return None, MISSING_CAPTION


def _members(path: Path) -> Iterator[tuple[str | None, str, bytes]]:
    """Key, suffix and content of the members that make pairs; key None last if the tar breaks off."""
    members = {suffix.removeprefix(".") for suffix in _SUFFIXES} | {"txt", "json"}
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined] # or the archive object grows with every member
                folder, _, base = member.name.rpartition("/")
                stem, _, suffix = base.partition(".")
                if not member.isfile() or not stem or suffix.lower() not in members:
                    continue
                held = tar.extractfile(member)
                content = held.read() if held is not None else b""
                yield f"{folder}/{stem}" if folder else stem, suffix.lower(), content
            # Tarfile ends quietly where a header is cut or lost; a whole archive ends in zeros.
            assert tar.fileobj is not None
            tar.fileobj.seek(tar.offset)
            whole = tar.fileobj.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)
    except (tarfile.TarError, OSError, EOFError, ValueError):
        whole = False
    if not whole:
        yield None, "", b""


# ---------------------------------------------------------------------- parquet


def _parquet_files(pool: UserPool) -> Iterator[tuple[tuple[str, Path], pq.ParquetFile | None]]:
    """Every file, opened, or None where it cannot be; refuses a file that lacks a column."""
    assert pool.columns is not None
    wanted = [pool.columns.image, pool.columns.caption, *([pool.columns.id] if pool.columns.id else [])]
    for name, path in _files_of(pool, ".parquet"):
        try:
            held = pq.ParquetFile(path, buffer_size=1 << 20)
        except (pa.ArrowException, OSError):
            yield (name, path), None
            continue
        with held:
            for key, column in zip(("image", "caption", "id"), wanted, strict=False):
                if column not in held.schema_arrow.names:
                    raise Refusal(
                        f"columns.{key} is {column!r}, which {path} lacks; "
                        f"its columns are {', '.join(held.schema_arrow.names)}."
                    )
            kind = held.schema_arrow.field(pool.columns.image).type
            if not (_is_bytes(kind) or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)):
                raise Refusal(
                    f"columns.image is {pool.columns.image!r}, which is of type {kind} in {path}; "
                    "it should hold encoded bytes, or a struct with a field bytes."
                )
            yield (name, path), held


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _parquet(pool: UserPool) -> Iterator[_Found]:
    columns = pool.columns
    assert columns is not None
    for _ in _parquet_files(pool):
        pass  # a wrong column in the last file is told before the first is decoded
    for (name, _), held in _parquet_files(pool):
        if held is None:
            yield _Found(name, None, None, UNREADABLE_FILE)
            continue
        wanted = [columns.image, columns.caption, *([columns.id] if columns.id else [])]
        number = 0
        try:
            for batch in held.iter_batches(_BATCH, columns=wanted):
                for row in range(len(batch)):
                    image, caption = (_value(batch[key][row]) for key in (columns.image, columns.caption))
                    named = _named(_value(batch[columns.id][row])) if columns.id else ""
                    yield _Found(
                        named or f"{name}:{number}",
                        caption if isinstance(caption, str) else None,
                        image,
                        "" if image is not None else MISSING_IMAGE,
                    )
                    number += 1
        except (pa.ArrowException, OSError):
            for lost in range(number, held.metadata.num_rows):
                yield _Found(f"{name}:{lost}", None, None, UNREADABLE_FILE)


def _value(scalar: pa.Scalar) -> Any:
    """A cell's value; of a struct its field bytes. Text that is not UTF-8 keeps lone surrogates."""
    if isinstance(scalar, pa.StructScalar):
        scalar = scalar["bytes"] if scalar.is_valid else None
        return None if scalar is None else scalar.as_py()
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return scalar.as_buffer().to_pybytes().decode("utf-8", "surrogateescape")
