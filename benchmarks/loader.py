"""Rates at which kept pairs are read, beside WebDataset over the same tars and over tars of the kept alone.

    python -m benchmarks loader

Ours is `alchemist.kept.loader` over the tars as they are. WebDataset passes over all of them and selects by
key, before its buffer of 1,000 shuffles: `select` drops pairs that were read, and `select_files` does not
even read them. Or it reads tars to which the kept pairs were copied before, without the JSON of each; the
copying is not counted. All give (encoded bytes, caption) from a warm page cache, each in one process on one
core. Of parquet files the yardstick is a scan of Arrow's that filters by id, and shuffles nothing.
"""

import functools
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from alchemist.core import files, stateless
from alchemist.kept import offsets
from alchemist.kept.offsets import Kept
from alchemist.pools import parquet, webdataset
from alchemist.pools.base import Found
from alchemist.pools.place import Cell, Span, fetch
from alchemist.pools.row import crc
from benchmarks.adapters import block, jpeg
from benchmarks.contest import Contestant, medians
from benchmarks.given import sized
from benchmarks.ratio import Ratio

TARS, PAIRS = sized((20, 1_000), (2, 200))  # and pairs of each
ROW_GROUP = 100  # rows, as `datasets` writes them
PICTURES = sized(128, 8)  # another one for each would take minutes to draw
RETENTIONS = sized((0.5, 0.2, 0.05), (0.2,))
BUFFER = 1_000  # pairs that WebDataset shuffles
BATCH = 64
Given = Iterable[tuple[bytes, str]]  # encoded bytes and a caption

# ---------------------------------------------------------------------- the files


def caption(number: int) -> str:
    """Some words, as many as alt texts have."""
    return f"caption {number} " + "of some more words " * 3


def write_tars(folder: Path, numbers: Sequence[int], with_json: bool) -> None:
    """The pairs of some numbers, their keys, in tars of 1,000; with JSON as img2dataset leaves them."""
    folder.mkdir()
    pictures = [jpeg(number) for number in range(PICTURES)]
    for first in range(0, len(numbers), PAIRS):
        with tarfile.open(folder / f"{first // PAIRS:05d}.tar", "w") as tar:
            for i in numbers[first : first + PAIRS]:
                content = {"jpg": pictures[i % PICTURES], "txt": caption(i).encode()}
                if with_json:
                    facts = {"caption": caption(i), "url": f"https://example.org/{i}.jpg", "key": f"{i:09d}"}
                    facts |= {"status": "success", "error_message": "", "sha256": f"{i:064x}", "exif": "{}"}
                    content["json"] = json.dumps(facts, indent=4).encode()
                for suffix, each in content.items():
                    info = tarfile.TarInfo(f"{i:09d}.{suffix}")
                    info.size = len(each)
                    tar.addfile(info, io.BytesIO(each))


def write_parquet(folder: Path) -> None:
    """The same pairs in as many parquet files."""
    folder.mkdir()
    pictures = [jpeg(number) for number in range(PICTURES)]
    for part in range(TARS):
        numbers = range(part * PAIRS, (part + 1) * PAIRS)
        columns = {
            "id": [f"{i:09d}" for i in numbers],
            "image": [pictures[i % PICTURES] for i in numbers],
            "caption": [caption(i) for i in numbers],
        }
        pq.write_table(pa.table(columns), folder / f"{part:05d}.parquet", row_group_size=ROW_GROUP)


def kept_numbers(retention: float) -> list[int]:
    """The pairs that are kept, at random."""
    return np.flatnonzero(stateless.uniforms(1, np.arange(TARS * PAIRS)) < retention).tolist()


def export(folder: Path, found: Iterable[Found], keep: set[int], top: Path) -> None:
    """The index of the kept ones of some pairs."""

    def kept() -> Iterator[Kept]:
        for number, pair in enumerate(found):
            if number in keep:
                assert isinstance(pair.image, Span | Cell)
                content = fetch(pair.image)
                assert content is not None
                yield Kept(pair.id, str(pair.caption), 0.5, pair.image, len(content), crc(content))

    with files.whole_folder(folder) as draft:
        offsets.write(draft, kept(), {"mine": top})


# ---------------------------------------------------------------------- the contestants


def pixels(image: bytes) -> object:
    """A decoded picture."""
    with Image.open(io.BytesIO(image)) as opened:
        return np.asarray(opened.convert("RGB"))


def turn(given: Callable[[], Given], decode: bool, count: int) -> None:
    """One epoch."""
    seen = 0
    for image, words in given():
        assert words
        seen += 1
        if decode:
            pixels(image)
    assert seen == count


def make(source: str, root: Path, retention: float, decode: bool) -> Callable[[], object]:
    """One turn of a contestant: every kept pair once, shuffled."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    keep = kept_numbers(retention)
    given = functools.partial(SOURCES[source], root, retention, {f"{i:09d}" for i in keep})
    return functools.partial(turn, given, decode, len(keep))


def ours(root: Path, retention: float, keys: set[str], of: str = "tars") -> Given:
    """The files as they are."""
    from alchemist.kept.loader import KeptPairs

    for pair in KeptPairs(root / f"{of}-{retention}", batch=BATCH, epochs=1):
        yield pair["image"], pair["caption"]


def ours_of_parquet(root: Path, retention: float, keys: set[str]) -> Given:
    """The same of parquet files."""
    return ours(root, retention, keys, "parquet")


def select(root: Path, retention: float, keys: set[str]) -> Given:
    """WebDataset that drops what is not kept."""
    return _webdataset(root / "tars", keys)


def select_files(root: Path, retention: float, keys: set[str]) -> Given:
    """WebDataset that does not read the members of what is not kept, nor any JSON."""
    return _webdataset(
        root / "tars", None, select_files=lambda name: name[:9] in keys and not name.endswith("json")
    )


def resharded(root: Path, retention: float, keys: set[str]) -> Given:
    """WebDataset over tars of what is kept."""
    return _webdataset(root / f"resharded-{retention}", None)


def _webdataset(folder: Path, keys: set[str] | None, **options: object) -> Given:
    import webdataset as wds

    urls = sorted(map(str, folder.glob("*.tar")))
    pipe = wds.WebDataset(urls, shardshuffle=len(urls), **options)
    if keys is not None:
        pipe = pipe.select(lambda sample: sample["__key__"] in keys)
    for image, words in pipe.shuffle(BUFFER).to_tuple("jpg", "txt"):
        yield image, words.decode()


def filtered(root: Path, retention: float, keys: set[str]) -> Given:
    """A scan of Arrow's, in the order of the files."""
    import pyarrow.dataset as ds

    is_kept = ds.field("id").isin(sorted(keys))
    files_of = ds.dataset(root / "parquet")
    for batch in files_of.to_batches(columns=["image", "caption"], filter=is_kept, use_threads=False):
        for image, words in zip(batch["image"], batch["caption"], strict=True):
            yield image.as_py(), words.as_py()


SOURCES = {
    "ours": ours,
    "select": select,
    "select_files": select_files,
    "resharded": resharded,
    "ours of parquet": ours_of_parquet,
    "a filtered scan": filtered,
}
GOALS = {"select": ">= 1.0", "select_files": ">= 1.0", "resharded": ">= 0.8"}


def compared(
    root: Path, retention: float, repeats: int, mine: str, others: Iterable[str], decode: bool = False
) -> list[Ratio]:
    """Our rate over that of each other, of one run."""
    names = [mine, *others]
    taken = medians(
        {name: Contestant(make, name, root, retention, decode, ours=False) for name in names}, repeats
    )
    pairs = len(kept_numbers(retention))
    rate = {name: pairs / seconds for name, seconds in taken.items()}
    what = ", decoded" if decode else ""
    return [
        Ratio(
            f"kept {retention:.0%}{what}: {mine} / {name}",
            rate[mine] / rate[name],
            "" if decode else GOALS.get(name, ""),
            f"{rate[mine]:,.0f} kept pairs/s over {rate[name]:,.0f}, one core",
        )
        for name in others
    ]


def write(root: Path) -> None:
    """All files of the contest."""
    write_tars(root / "tars", range(TARS * PAIRS), with_json=True)
    write_parquet(root / "parquet")
    for retention in RETENTIONS:
        numbers = kept_numbers(retention)
        write_tars(root / f"resharded-{retention}", numbers, with_json=False)
        for name, source, module in (("tars", "webdataset", webdataset), ("parquet", "parquet", parquet)):
            found = module.read(block(source, root / name))
            export(root / f"{name}-{retention}", found, set(numbers), root / name)


def ratios(repeats: int) -> list[Ratio]:
    """Our rate over those of the yardsticks, by the share that is kept."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root)
        for retention in RETENTIONS:
            found += compared(root, retention, repeats, "ours", ("select", "select_files", "resharded"))
            found += compared(root, retention, repeats, "ours of parquet", ("a filtered scan",))
        found += compared(root, 0.2, repeats, "ours", ("select", "select_files", "resharded"), decode=True)
    return found
