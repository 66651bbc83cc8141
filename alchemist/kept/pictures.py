"""Kept pairs as new files: a folder with a metadata.jsonl, or new tars. Images are copied byte for byte."""

import io
import itertools
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alchemist.core import files
from alchemist.core.one_line import one_line
from alchemist.kept.lists import kept_rows
from alchemist.kept.outcome import Selected
from alchemist.pools.place import Place, Unreadable, read_each
from alchemist.pools.row import crc
from alchemist.pools.store import CARD, PLACE, changed, locate, shards

A_FOLDER = 1000  # images: more of them in one make file systems slow
A_TAR = 10_000  # pairs, as img2dataset has them
_READ = (*PLACE, "caption")
_SUFFIXES = {
    "JPEG": "jpg",
    "MPO": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tif",
}
Tick = Callable[[int], object]


def folder(selected: Selected, out: Path, tick: Tick) -> None:
    """NNNNNN/NNNNNNNNN.SUFFIX and metadata.jsonl: file_name, text (the caption), id, rating, percentile.

    As `datasets.load_dataset("imagefolder")` and the trainers of diffusers take it.
    """
    with (out / "metadata.jsonl").open("w", encoding="utf-8") as file:
        for number, (row, content, suffix) in enumerate(_pictures(selected)):
            name = f"{number // A_FOLDER:06d}/{number:09d}.{suffix}"
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).write_bytes(content)
            line = {"file_name": name, "text": row.caption, **_facts(row)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            tick(1)


def tars(selected: Selected, out: Path, tick: Tick) -> None:
    """00000.tar and so on, of 10,000 pairs each: NNNNNNNNN.SUFFIX, .txt (the caption) and .json, in the order
    of the pool's files. Equal pairs give equal bytes."""
    numbered = enumerate(_pictures(selected))
    for shard in itertools.count():
        if (first := next(numbered, None)) is None:
            return
        with tarfile.open(out / f"{shard:05d}.tar", "w") as tar:
            for number, (row, content, suffix) in itertools.chain(
                [first], itertools.islice(numbered, A_TAR - 1)
            ):
                words = json.dumps(_facts(row), ensure_ascii=False).encode()
                for end, part in ((suffix, content), ("txt", row.caption.encode()), ("json", words)):
                    member = tarfile.TarInfo(f"{number:09d}.{end}")  # without a time or an owner
                    member.size = len(part)
                    tar.addfile(member, io.BytesIO(part))
                    tar.members = []  # type: ignore[attr-defined] # or it grows with every member
                tick(1)


def _facts(row: Any) -> dict[str, Any]:
    return {"id": row.id, "rating": row.rating, "percentile": row.percentile}


def _pictures(selected: Selected) -> Iterator[tuple[Any, bytes, str]]:
    """Row, encoded image and its suffix of every kept pair, in order, read on threads.

    Raises Refusal where a person's file is gone or holds something else than stage prepare read.
    """
    where = locate(selected.pool)
    here = shards(selected.pool, files.read_json(selected.pool / CARD))

    def items() -> Iterator[tuple[Any, Place | bytes | None]]:
        for row in kept_rows(selected, _READ):
            yield row, where(row) or _png(here / row.file, row.offset)

    def checked(row: Any, content: bytes | Unreadable | None) -> tuple[Any, bytes, str]:
        if isinstance(content, Unreadable):
            raise changed(row, str(content))
        assert content is not None
        if row.place != "pixels" and crc(content) != row.crc:
            raise changed(row, f"{row.file} holds another image of '{one_line(row.id)}'")
        with Image.open(io.BytesIO(content)) as image:
            kind = image.format or ""
        return row, content, _SUFFIXES.get(kind, kind.lower())

    return read_each(items(), checked)


def _png(file: Path, number: int) -> bytes:
    """A picture of a composed pool, which has pixels alone."""
    out = io.BytesIO()
    Image.fromarray(np.load(file, mmap_mode="r")[number]).save(out, "PNG")
    return out.getvalue()
