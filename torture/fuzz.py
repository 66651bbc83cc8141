"""Coverage-guided fuzzing of what reads a person's files: python -m torture.fuzz FOLDER [TARGET …].

Each target is fed bytes as a file of its format, in a process of its own, from sound files on, by atheris
(the extra fuzz). An exception other than a Refusal is a finding, and so is more memory than the stage prepare
may take; its bytes stay in the folder.
"""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

RUNS = 100_000  # of each target, or as many as fit into
SECONDS = 12
MOST = 600  # MB
_PROMISE = "no bytes end the reader of a format"
_LONGEST = 20_000  # bytes


def run(folder: Path, targets: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """A row a target: how many runs it had, in how many seconds, and whether nothing was found."""
    return [_row(folder / name, name) for name in targets or TARGETS]


def _row(folder: Path, name: str) -> dict[str, Any]:
    seeds = folder / "seeds"
    seeds.mkdir(parents=True, exist_ok=True)
    contents = list(TARGETS[name][0]())
    for number, content in enumerate(contents):
        (seeds / f"seed{number}").write_bytes(content)
    # A shell between: Linux counts the memory of who starts a process as that process's own.
    command = [
        "sh", "-c", '"$@"; exit $?', "sh",
        sys.executable, "-m", "torture.fuzz", "--target", name, f"-runs={RUNS}", f"-max_total_time={SECONDS}",
        f"-rss_limit_mb={MOST}", f"-max_len={_LONGEST}", "-seed=1", f"-artifact_prefix={folder}/", str(seeds),
    ]  # fmt: skip
    started = time.perf_counter()
    with (folder / "log.txt").open("wb") as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    seconds = time.perf_counter() - started
    lines = (folder / "log.txt").read_text(errors="replace").splitlines()
    reached = re.findall(r"DONE +cov: (\d+) ft: \d+ corp: (\d+)", "\n".join(lines))
    runs = [line.split()[1] for line in lines if line.startswith("Done ")]
    found = [line for line in lines if "Error: " in line or "ERROR: " in line]
    figure = (found or ["ended early"])[0]
    if runs and reached:
        figure = "{:,} runs in {:.0f} s: {} edges, by {} inputs".format(int(runs[0]), seconds, *reached[0])
    # Where no input reached more than the one before it, nothing guided the mutations.
    is_guided = bool(reached) and int(reached[0][1]) > len(contents)
    return {"promise": _PROMISE, "case": name, "figure": figure, "holds": done.returncode == 0 and is_guided}


# ---------------------------------------------------------------------- targets


def _picture(kind: str = "PNG", **options: Any) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.effect_noise((20, 12), 60).convert(options.pop("mode", "RGB")).save(file, kind, **options)
    return file.getvalue()


def _images() -> Iterator[bytes]:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    yield from (_picture(kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"))
    yield from (_picture(mode=mode) for mode in ("L", "LA", "RGBA", "P", "1", "I;16"))
    yield _picture("JPEG", exif=exif)
    yield _picture("JPEG", progressive=True)
    yield _picture("TIFF", compression="tiff_lzw")
    yield _picture("WEBP", lossless=True)


def _image(content: bytes) -> None:
    from alchemist.pools.image import decode

    pixels, reason = decode(content, 16, 20)
    assert (pixels is None) == bool(reason)


def _tar(members: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue().rstrip(b"\0") + bytes(1024)


def _tars() -> Iterator[bytes]:
    pairs = {"a.png": _picture(), "a.txt": b"words", "b.jpg": _picture("JPEG"), "b.json": b'{"caption": "x"}'}
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        yield _tar(pairs | {"x" * 150 + "ü.png": _picture("GIF")}, form)


def _web_tars() -> Iterator[bytes]:
    """As img2dataset leaves them: the second pair has no row beside it, and the third row no pair."""
    facts = json.dumps({"key": "01", "url": "http://b.c/x?y", "sha256": None, "status": "success"}).encode()
    pairs = {"00.jpg": _picture("JPEG"), "00.txt": b"words", "00.json": b"{}"}
    yield _tar(pairs | {"01.png": _picture(), "01.txt": "größe".encode(), "01.json": facts})


def _web_tables() -> Iterator[bytes]:
    columns = {
        "key": ["00", "02", None], "status": ["success", "failed_to_download", None],
        "url": ["http://b.c/a", None, "x"], "sha256": ["ab" * 32, None, None],
        "pwatermark": [0.5, None, 1],
    }  # fmt: skip
    yield from _as_parquet(columns)


def _reasons() -> Iterator[bytes]:
    columns = {
        "image": [{"bytes": _picture(), "path": "a"}, None, {"bytes": None, "path": "b"}],
        "id": ["a", None, "c"], "caption_detail": ["words", " ", None],
        "caption_original": [None, "other words", "x"], "score_aesthetic": [0.5, None, 1.0],
    }  # fmt: skip
    yield from _as_parquet(columns)


def _saved(name: str) -> Callable[[], Iterator[bytes]]:
    """A file of a data set that the Hugging Face library saved."""

    def seeds() -> Iterator[bytes]:
        with tempfile.TemporaryDirectory() as folder:
            _save(Path(folder) / "set")
            yield (Path(folder) / "set" / name).read_bytes()

    return seeds


def _save(folder: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    features = datasets.Features(
        {"image": datasets.Image(), "caption": datasets.Value("string"), "id": datasets.Value("int64")}
    )
    rows = {
        "image": [{"bytes": _picture(), "path": None}, None, {"bytes": b"x", "path": "b"}],
        "caption": ["words", None, "größe"], "id": [1, None, 3],
    }  # fmt: skip
    datasets.Dataset.from_dict(rows, features, split=datasets.NamedSplit("train")).save_to_disk(folder)


def _as_parquet(columns: Mapping[str, Any]) -> Iterator[bytes]:
    """As Arrow writes a table by default, and plain in pages of the other version."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for options in ({}, {"compression": "none", "data_page_version": "2.0", "use_dictionary": False}):
        file = io.BytesIO()
        pq.write_table(pa.table(columns), file, **options)
        yield file.getvalue()


def _parquets() -> Iterator[bytes]:
    cells = [{"bytes": _picture(), "path": "a"}, None, {"bytes": None, "path": "b"}]
    for image in ([_picture(), None, b"x"], cells):
        yield from _as_parquet({"image": image, "caption": ["a", "b", None], "id": [1, None, 3]})


def _tables() -> Iterator[bytes]:
    yield b'file_name,caption,id\na.png,words,1\na.png,"two\nlines, ""quoted""",\n\n../b.png,x\n'
    yield "\ufefffile_name,caption\r\nä.png,gr\udcf6\r\n".encode("utf-8", "surrogateescape")


def _lines() -> Iterator[bytes]:
    yield b'{"file_name": "a.png", "caption": "words", "id": 7}\n\n{"file_name": "../b"}\n[1]\n{"file_name": '


def _compared() -> Iterator[bytes]:
    pair = {"prompt": "a", "path1": "a.png", "path2": "b.png", "confidence": 0.5, "model1": "m"}
    yield json.dumps([pair, pair | {"path2": "../c", "confidence": None}, 3]).encode()


def _entries() -> Iterator[bytes]:
    yield json.dumps({"a": {"category": "c", "prompt": "p"}, "b": {"category": ".."}, "d": 1}).encode()


def _sidecars() -> Iterator[bytes]:
    yield "\ufeffgröße\n".encode()


def _params() -> Iterator[bytes]:
    text = (Path(__file__).parents[1] / "params.yaml").read_bytes()
    yield text
    yield text[: text.index(b"scales:")]


def _read_params(content: bytes) -> None:
    """The file params.yaml, and where it is YAML all that the stage check asks of it."""
    from alchemist.core.refusal import Refusal
    from alchemist.params.check import check
    from stages.params_file import read_params

    (FOLDER / "params.yaml").write_bytes(content)
    with contextlib.suppress(Refusal):
        check(read_params(FOLDER / "params.yaml"))


def _summed(content: bytes) -> bytes:
    """A tar with sums that fit its headers, or none that was changed would be read."""
    from torture.memory import tar_sum

    blocks = [content[place : place + 512] for place in range(0, len(content), 512)]
    for number, block in enumerate(blocks):
        if len(block) == 512 and block[257:262] == b"ustar":
            blocks[number] = block[:148] + tar_sum(block) + block[156:]
    return b"".join(blocks)


def _reads(
    name: str,
    source: str,
    made: Callable[[bytes], bytes] = bytes,
    changes: Mapping[str, Any] = MappingProxyType({}),
) -> Callable[[bytes], None]:
    """Writes bytes as the file `name`, FOLDER/FILE, of a pool and reads all pairs of it, images decoded."""

    def read(content: bytes) -> None:
        from alchemist.core.refusal import Refusal
        from alchemist.core.settings.pool import UserPool
        from alchemist.pools import base
        from alchemist.pools.place import Unreadable, fetch
        from alchemist.pools.read import ADAPTERS, pool_settings
        from alchemist.pools.seen import Seen

        path = str((FOLDER / name).parent)
        block = {"format": source, "path": path, "resolution": 16, "largest": 20, **changes}
        pool = pool_settings(block, "pools.mine")
        assert isinstance(pool, UserPool)
        (FOLDER / name).write_bytes(made(content))
        with contextlib.suppress(Refusal):
            for pair in base.unique(ADAPTERS[source].read(pool), Seen()):
                pair.id.encode()
                words, fault = base.clean_caption(pair.caption)
                assert len(words) <= base.LONGEST
                if not (pair.reason or fault or isinstance(pair.image, bytes | None)):
                    with contextlib.suppress(Unreadable):
                        _image(fetch(pair.image, pool.largest) or b"")

    return read


def beside() -> None:
    """Makes what lies beside the bytes of each target."""
    for name in ("pairs/c", "tars", "tables", "web", "reasons"):
        (FOLDER / name).mkdir(parents=True)
    (FOLDER / "pairs/a.png").write_bytes(_picture())
    (FOLDER / "pairs/c/a.jpg").write_bytes(_picture("JPEG"))
    (FOLDER / "web/a.tar").write_bytes(next(_web_tars()))
    (FOLDER / "web/a.parquet").write_bytes(next(_web_tables()))
    _save(FOLDER / "set")


FOLDER = Path(tempfile.gettempdir())  # set where a target runs
COLUMNS = {"columns": {"id": "id"}}
REASON = {"columns": {"captions": ["caption_detail", "caption_original"]}}
ARROW, CARD = "data-00000-of-00001.arrow", "dataset_info.json"
TARGETS: dict[str, tuple[Callable[[], Iterator[bytes]], Callable[[bytes], None]]] = {
    "image": (_images, _image),
    "tar": (_tars, _reads("tars/a.tar", "webdataset", _summed)),
    "parquet": (_parquets, _reads("tables/a.parquet", "parquet", bytes, COLUMNS)),
    "csv": (_tables, _reads("pairs/metadata.csv", "folder")),
    "jsonl": (_lines, _reads("pairs/metadata.jsonl", "folder")),
    "sidecar": (_sidecars, _reads("pairs/a.txt", "folder")),
    "hpdv3": (_compared, _reads("pairs/all.json", "hpdv3")),
    "mjhq30k": (_entries, _reads("pairs/meta_data.json", "mjhq30k")),
    "laion": (_web_tables, _reads("web/a.parquet", "laion", bytes, {"keep": ["pwatermark"]})),
    "laion_tar": (_web_tars, _reads("web/a.tar", "laion", _summed, {"group": "perceptual"})),
    "flux_reason": (_reasons, _reads("reasons/a.parquet", "flux_reason", bytes, REASON)),
    "arrow": (_saved(ARROW), _reads(f"set/{ARROW}", "huggingface", bytes, COLUMNS)),
    "set_card": (_saved(CARD), _reads(f"set/{CARD}", "huggingface", bytes, COLUMNS)),
    "params": (_params, _read_params),
}


def _mutated(content: bytes, most: int, seed: int) -> bytes:
    """Every other time one bit is turned round, which leaves all places of a table's parts as they were."""
    import atheris

    if seed % 2 and content:
        at = seed // 2 % (8 * len(content))
        turned = bytearray(content)
        turned[at // 8] ^= 1 << at % 8
        return bytes(turned)
    mutated: bytes = atheris.Mutate(content, most)
    return mutated


def _fuzz(name: str) -> None:
    """Runs a target until libFuzzer has had enough; ends the process."""
    import atheris

    global FOLDER  # noqa: PLW0603  a folder of this process, which is of one target
    sys.path.insert(0, os.getcwd())
    ours = ["alchemist.pools", "alchemist.params", "alchemist.core.settings", "stages.params_file"]
    with atheris.instrument_imports(include=[*ours, "tarfile", "json", "PIL"]):
        # What is first imported within a target has no counters.
        from alchemist.core import process
        from alchemist.params import check  # noqa: F401
        from alchemist.pools import read  # noqa: F401
        from stages import params_file  # noqa: F401

    with process.sparing_memory(), tempfile.TemporaryDirectory() as folder:
        FOLDER = Path(folder)
        beside()
        atheris.Setup([sys.argv[0], *sys.argv[3:]], TARGETS[name][1], custom_mutator=_mutated)
        atheris.Fuzz()


def main() -> int:
    """Prints a line a target; 1 where something was found."""
    rows = []
    for name in sys.argv[2:] or TARGETS:
        rows += run(Path(sys.argv[1]), (name,))
        print("holds" if rows[-1]["holds"] else "FOUND", name, "-", rows[-1]["figure"], flush=True)
    return 0 if all(row["holds"] for row in rows) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--target"]:
        _fuzz(sys.argv[2])
    sys.exit(main())
