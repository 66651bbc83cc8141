"""Miniatures of the paper's data sets, laid out as their cards, loaders and READMEs say."""

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pool_helpers import encoded, picture


def flux_reason_shard(path: Path, start: int = 0, count: int = 3, **changes: Any) -> None:
    """A shard as FLUX-Reason-6M has it, with some of its columns, in row groups of two."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    numbers = range(start, start + count)
    columns = {
        "id": [f"aesthetics-part01-{i:08d}" for i in numbers],
        "image": pa.array([{"bytes": encoded(picture(i), "JPEG"), "path": None} for i in numbers], image),
        "caption_detail": [f"detail {i}" for i in numbers],
        "caption_original": [f"original {i}" for i in numbers],
        "caption_style_cn": [f"风格 {i}" for i in numbers],
        "bool_caption_original": [True] * count,
        "score_style": [i / 2 for i in numbers],
        "score_text": list(numbers),
        "score_reason": ["words"] * count,
        **changes,
    }
    columns = {name: values for name, values in columns.items() if values is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=2)


def compared(
    prompt: str, better: str, worse: str, confidence: float | None = None, **changes: Any
) -> dict[str, Any]:
    """One item of the list as HPDv3 has it."""
    return {
        "prompt": prompt,
        "choice_dist": None if confidence is None else [9, 1],
        "confidence": confidence,
        "path1": f"images/{better}.jpg",
        "path2": f"images/{worse}.jpg",
        "model1": f"model of {better}",
        "model2": f"model of {worse}",
        **changes,
    }


def mjhq30k(folder: Path, names: tuple[str, ...] = ("00a1", "00b2", "00c3", "00d4"), first: int = 0) -> None:
    """The hub's two files, unpacked: half of the pictures in one category, half in another."""
    entries = {}
    for number, name in enumerate(names):
        category = "animals" if 2 * number < len(names) else "food"
        entries[name] = {"category": category, "prompt": f" a picture of {name} --ar 1:1 "}
        path = folder / category / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(first + number), "JPEG"))
    (folder / "meta_data.json").write_text(json.dumps(entries))


# What img2dataset 1.47.0 writes of each url, behind the additional columns that it was asked for
# (tests/docs/test_downloads.py, where it is here).
IMG2DATASET = pa.schema(
    [(name, pa.string()) for name in ("caption", "url", "key", "status", "error_message")]
    + [(name, pa.int32()) for name in ("width", "height", "original_width", "original_height")]
    + [(name, pa.string()) for name in ("exif", "sha256")]
)

# ------------------------------------------------------------------------------ as the hub has them


def split_archive(folder: Path, parts: int) -> dict[str, bytes]:
    """A folder as `tar -cz … | split` leaves it, parts by their names, none of which unpacks by itself."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        tar.add(folder, folder.name)
    content = file.getvalue()
    size = -(-len(content) // parts)
    return {
        f"{folder.name}.tar.gz.a{chr(ord('a') + part)}": content[part * size : (part + 1) * size]
        for part in range(parts)
    }


def zipped(folder: Path) -> bytes:
    """The folders below a folder, in one archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*/*")):
            archive.write(path, path.relative_to(folder))
    return file.getvalue()


def tree(folder: Path) -> dict[str, bytes]:
    """The files of a folder, by their path below it."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
