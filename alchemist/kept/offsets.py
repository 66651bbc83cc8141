"""The index of kept pairs on disk: what each is called, and where its image lies in a person's files.

A value a pair in plain arrays, texts one behind the other in a file of bytes. Whoever reads it maps it, so
that processes share it, and holds none of it: a reader takes as much memory for fifty million pairs as for
fifty.
"""

import functools
import mmap
import os
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alchemist.core import files
from alchemist.core.arrays import Growing
from alchemist.core.refusal import Refusal
from alchemist.core.shown import shown
from alchemist.pools.place import Cell, Place, Span

KIND = "offsets of kept pairs, 1"  # in the manifest; the number is that of the layout below
REMEDY = "export the selection again"
_PART = 8192  # pairs that are in memory at once while they are written
# Of each pair. A text lies between two neighbours of its bounds, in a file of bytes.
_PAIR = {
    "offset": "<i8",  # of the first byte, or the row of a parquet file
    "size": "<i8",
    "crc": "<u4",
    "rating": "<f8",
    "id_bounds": "<i8",
    "caption_bounds": "<i8",
}
# Of each run of neighbours that lie in one file.
_RUN = {
    "first": "<i8",  # of its pairs, and behind the last run their count
    "name_bounds": "<i8",
    "root": "<u2",  # number of the folder that the name is relative to; 0: of none
    "column": "<u2",  # number of the column of a parquet file; 0: bytes of any file
}
_TEXTS = ("ids", "captions", "names")
_UTF8 = ("utf-8", "surrogatepass")  # a caption may hold what is no Unicode


@dataclass(frozen=True, slots=True)
class Kept:
    """One kept pair."""

    id: str
    caption: str
    rating: float
    place: Place  # a span of a tar or a file of its own, or a cell of a parquet file
    size: int  # bytes of the encoded image
    crc: int  # of them, by `alchemist.pools.row.crc`


def write(folder: Path, pairs: Iterable[Kept], roots: Mapping[str, Path]) -> int:
    """Streams pairs into an empty folder, some thousand in memory at once; tells how many.

    They come in the order of the pool's index, in which neighbours lie in one file and behind one another:
    the loader reads some hundred neighbours at a time. `roots` are the folders, by their pools' names, that
    files lie below: a file's name is kept relative to the nearest, so that whoever has a copy of the files
    elsewhere names that folder (`Offsets`). Raises Refusal where there is no pair.
    """
    tops = {name: os.path.abspath(root) for name, root in roots.items()}
    columns: dict[str, int] = {}
    with ExitStack() as stack:
        arrays = {
            name: stack.enter_context(Growing(folder / f"{name}.npy", kind))
            for name, kind in (_PAIR | _RUN).items()
        }
        texts = {name: stack.enter_context((folder / f"{name}.bin").open("wb")) for name in _TEXTS}
        for name in ("id_bounds", "caption_bounds", "name_bounds"):
            arrays[name].append([0])
        count, last, waiting = 0, None, iter(pairs)
        while part := list(islice(waiting, _PART)):
            for number, pair in enumerate(part, count):
                here = (pair.place.file, pair.place.column if isinstance(pair.place, Cell) else "")
                if here != last:
                    root, path = _named(here[0], list(tops.values()))
                    column = columns.setdefault(here[1], len(columns) + 1) if here[1] else 0
                    arrays["first"].append([number])
                    arrays["root"].append([root])
                    arrays["column"].append([column])
                    arrays["name_bounds"].append([texts["names"].tell() + len(path)])
                    texts["names"].write(path)
                    last = here
            arrays["offset"].append(
                [pair.place.offset if isinstance(pair.place, Span) else pair.place.row for pair in part]
            )
            arrays["size"].append([pair.size for pair in part])
            arrays["crc"].append([pair.crc for pair in part])
            arrays["rating"].append([pair.rating for pair in part])
            for name, said in (
                ("id", [pair.id for pair in part]),
                ("caption", [pair.caption for pair in part]),
            ):
                contents = [text.encode(*_UTF8) for text in said]
                begin = texts[f"{name}s"].tell()
                arrays[f"{name}_bounds"].append(begin + np.cumsum([len(content) for content in contents]))
                texts[f"{name}s"].write(b"".join(contents))
            count += len(part)
        arrays["first"].append([count])
    if not count:
        raise Refusal("the selection keeps no pair, and there is nothing to load.")
    at = [[name, urllib.parse.quote(os.fsencode(top))] for name, top in tops.items()]
    files.write_manifest(folder, kind=KIND, pairs=count, roots=at, columns=list(columns))
    return count


def _named(file: Path, tops: list[str]) -> tuple[int, bytes]:
    """The number of the nearest folder of `tops`, from 1, and the path from there on; or 0 and all of it."""
    path = os.path.abspath(file)
    above = [
        (len(top), number) for number, top in enumerate(tops, 1) if path.startswith(os.path.join(top, ""))
    ]
    if not above:
        return 0, os.fsencode(path)
    _, number = max(above)
    return number, os.fsencode(os.path.relpath(path, tops[number - 1]))


class Offsets:
    """The kept pairs of a folder that `write` filled, by their rows, from 0 on.

    `root` says where the files lie now, if not where they lay when it was written: one folder, or folders by
    the names of their pools. Raises Refusal where the folder is damaged or holds something else. Another
    process is sent the folder's name alone, and maps it for itself.
    """

    def __init__(
        self, folder: Path, root: Path | Mapping[str, Path] | None = None, check: bool = True
    ) -> None:
        self.folder, self.root = Path(folder), root
        # What is written is whole, so reading all of it once tells what happened to it since.
        manifest = files.check_manifest(self.folder, once=True, remedy=REMEDY) if check else None
        manifest = manifest or files.read_sealed(self.folder / files.MANIFEST, REMEDY)
        if manifest.get("kind") != KIND:
            raise Refusal(f"{self.folder} holds no {KIND}, but something else; {REMEDY}.")
        self.count = int(manifest["pairs"])
        self.columns: list[str] = manifest["columns"]
        at = {name: os.fsdecode(urllib.parse.unquote_to_bytes(path)) for name, path in manifest["roots"]}
        self.tops = _moved(self.folder, at, root)
        self.arrays = {name: _array(self.folder / f"{name}.npy") for name in (*_PAIR, *_RUN)}
        self.texts = {name: _bytes(self.folder / f"{name}.bin") for name in _TEXTS}
        # No method of its own, by which it would refer to itself and its maps outlive their last user.
        find = functools.partial(_file, self.arrays, self.texts["names"], self.tops, self.columns)
        self._file = functools.lru_cache(maxsize=1024)(find)

    def __len__(self) -> int:
        return self.count

    def __reduce__(self) -> tuple[Any, ...]:
        return Offsets, (self.folder, self.root, False)

    @property
    def has_cells(self) -> bool:
        """Whether some of the pairs lie in parquet files."""
        return bool(self.columns)

    def pair(self, row: int) -> Kept:
        """The pair of a row. Raises IndexError where there is none."""
        if not 0 <= row < self.count:
            raise IndexError(f"row {row} of {self.count} kept pairs")
        return next(self.pairs(np.array([row])))

    def pairs(self, rows: NDArray[np.int64]) -> Iterator[Kept]:
        """The pairs of some rows (n,), in their order."""
        runs = np.searchsorted(self.arrays["first"], rows, side="right") - 1
        offset, size, crc, rating = (
            self.arrays[name][rows].tolist() for name in ("offset", "size", "crc", "rating")
        )
        ids = self._said("id", rows)
        captions = self._said("caption", rows)
        for number, run in enumerate(runs.tolist()):
            file, column = self._file(run)
            at, long = offset[number], size[number]
            place = Cell(file, column, at) if column else Span(file, at, long)
            yield Kept(next(ids), next(captions), rating[number], place, long, crc[number])

    def _said(self, name: str, rows: NDArray[np.int64]) -> Iterator[str]:
        bounds, content = self.arrays[f"{name}_bounds"], self.texts[f"{name}s"]
        for begin, end in zip(bounds[rows].tolist(), bounds[rows + 1].tolist(), strict=True):
            yield content[begin:end].decode(*_UTF8)


def _file(
    arrays: Mapping[str, NDArray[Any]],
    names: mmap.mmap | bytes,
    tops: Sequence[str],
    columns: Sequence[str],
    run: int,
) -> tuple[Path, str]:
    """The file of a run, and the name of its column or ""."""
    begin, end = arrays["name_bounds"][run : run + 2].tolist()
    root, column = int(arrays["root"][run]), int(arrays["column"][run])
    path = Path(tops[root - 1] if root else "", os.fsdecode(names[begin:end]))
    return path, columns[column - 1] if column else ""


def _moved(folder: Path, at: Mapping[str, str], root: Path | Mapping[str, Path] | None) -> list[str]:
    """Where the folders of all pools are now. Raises Refusal where `root` is of others than there are."""
    if root is None:
        return list(at.values())
    if isinstance(root, Mapping):
        if unknown := sorted(set(root) - set(at)):
            raise Refusal(
                f"root has the key {shown(unknown[0])}; the pools of {folder} are {shown(list(at))}."
            )
        return [os.fspath(root.get(name, top)) for name, top in at.items()]
    if len(at) != 1:
        raise Refusal(
            f"root is one folder, and the pairs of {folder} lie below {len(at)}: give a folder by the name "
            f"of each pool that moved, of {shown(list(at))}."
        )
    return [os.fspath(root)]


def _array(path: Path) -> NDArray[Any]:
    """A mapped array, as NumPy's own type: that of mapped ones takes a microsecond more each time."""
    return np.load(path, mmap_mode="r").view(np.ndarray)


def _bytes(path: Path) -> mmap.mmap | bytes:
    """A mapped file; an empty one cannot be."""
    with path.open("rb") as file:
        return (
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if os.fstat(file.fileno()).st_size else b""
        )
