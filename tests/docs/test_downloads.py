"""The commands of docs/data/ as the pages have them, on miniatures of the data sets that they are of."""

import hashlib
import json
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from following import Reader, program, shell_blocks, thumbnails, total
from hub import Answer, Hub, running, serving
from PIL import Image
from pool_helpers import encoded, outcomes, picture, user_pool
from published import IMG2DATASET, compared, flux_reason_shard, mjhq30k, split_archive, tree, zipped
from workspace import Workspace

from alchemist.core.stateless import generator
from alchemist.pools import base
from alchemist.pools.image import decode
from alchemist.pools.read import rows
from alchemist.pools.store import read_extra
from alchemist.pools.truth import read_labels

SHARED = 1000  # number of a picture that HPDv3 has and MJHQ-30K too


def flux_reason(folder: Path) -> dict[str, bytes]:
    """60 pairs in three folders, one without a caption."""
    flux_reason_shard(folder / "Aesthetics-Part01/train-00000-of-00415.parquet", 0, 30)
    flux_reason_shard(folder / "Imaginative/train-00000-of-00168.parquet", 30, 27)
    words = ["detail 57", None, "detail 59"]
    flux_reason_shard(folder / "Text/train-00000-of-00143.parquet", 57, 3, caption_detail=words)
    return tree(folder)


def hpdv3(folder: Path) -> dict[str, bytes]:
    """40 prompts of two pictures each, the first compared twice and the last without its second picture."""
    pairs = [compared(f"a cat {i}", f"x{i}", f"y{i}", 0.5) for i in range(40)]
    pairs.append(compared("a cat 0", "y0", "x0", 0.9))
    for i in range(40):
        for number, side in enumerate("xy"):
            path = folder / f"images/{side}{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(picture(SHARED + 2 * i + number), "JPEG"))
    path.unlink()
    text = json.dumps(pairs).encode()
    return {"all.json": text, "test.json": b"[]", **split_archive(folder / "images", 3)}


def references(folder: Path) -> dict[str, bytes]:
    mjhq30k(folder, tuple(f"{i:04x}" for i in range(12)), SHARED)
    meta = (folder / "meta_data.json").read_bytes()
    return {"README.md": b"", "meta_data.json": meta, "mjhq30k_imgs.zip": zipped(folder)}


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, hub: Hub, forked: Path) -> Reader:
    """Has typed the blocks of the pages of the hub's data sets, one after the other in one shell."""
    program("unzip")
    made = tmp_path_factory.mktemp
    hub.data_sets = {
        "LucasFang/FLUX-Reason-6M": flux_reason(made("flux")),
        "MizzenAI/HPDv3": hpdv3(made("hpdv3")),
        "playgroundai/MJHQ-30K": references(made("mjhq30k")),
    }
    one = Reader(Workspace(made("repo"), forked), hub, made("home"))
    pages = ("flux_reason", "hpdv3", "mjhq30k")
    one.types("\n".join(block for page in pages for block in shell_blocks(page)))
    return one


def test_each_file_is_downloaded_once_to_its_place_and_no_other(reader: Reader, hub: Hub) -> None:
    places = {
        "LucasFang/FLUX-Reason-6M": "flux_reason_6m", "MizzenAI/HPDv3": "hpdv3",
        "playgroundai/MJHQ-30K": "mjhq30k",
    }  # fmt: skip
    wanted = {
        reader.folder / "datasets" / places[name] / path: content
        for name, files in hub.data_sets.items()
        for path, content in files.items()
        if path != "README.md"  # of MJHQ-30K the command names two files
    }
    assert {path: path.is_file() and path.read_bytes() for path in wanted} == wanted
    assert len(hub.given) == len(wanted)


def test_flux_reason_is_downloaded_and_settled(reader: Reader) -> None:
    index, ledger = reader.settles("flux_reason")
    own = {f"aesthetics-part01-{i:08d}" for i in range(60)}
    assert set(index.index) == own | {f"mjhq30k:{i:04x}" for i in range(12)}
    assert total(ledger, "flux_reason_6m") == {"ok": 59, base.MISSING_CAPTION: 1}
    assert ledger["flux_reason_6m"].keys() == {"pool", "meta_val"}
    assert ledger["mjhq30k"] == {"evaluation": {"ok": 12}}
    usable = index[index["status"] == "ok"]
    assert usable["caption"]["aesthetics-part01-00000031"] == "detail 31"
    numbers = [
        SHARED + int(name[8:], 16) if name.startswith("mjhq30k:") else int(name[-8:]) for name in usable.index
    ]
    wanted = [decode(encoded(picture(number), "JPEG"), 256)[0] for number in numbers]
    assert np.array_equal(reader.pixels(usable), wanted)
    extra = read_extra(reader.folder / "data/pool").set_index("id")
    assert extra["score_style"]["aesthetics-part01-00000031"] == 15.5


def test_hpdv3_is_downloaded_unpacked_and_settled(reader: Reader) -> None:
    index, ledger = reader.settles("hpdv3")
    hashes = {f"a cat {i}": base.digest(f"a cat {i}".encode()).hex()[:8] for i in range(40)}
    own = {f"images/{side}{i}/{hashes[f'a cat {i}']}" for i in range(40) for side in "xy"}
    assert {name for name in index.index if not name.startswith("mjhq30k:")} == own
    # Pictures that MJHQ-30K has too go from the pool: the first twelve, of six prompts.
    assert total(ledger, "hpdv3_2m") == {"ok": 67, base.MISSING_IMAGE: 1, base.OTHER_SPLIT: 12}
    assert ledger["hpdv3_2m"]["meta_val"] == {"ok": 6}  # of three prompts, both pictures each
    assert ledger["mjhq30k"] == {"evaluation": {"ok": 12}}
    labels = read_labels(reader.folder / "data/truth").set_index("id")
    found = labels.loc[[f"images/x0/{hashes['a cat 0']}", f"images/y9/{hashes['a cat 9']}"]]
    assert found[["wins", "losses"]].to_numpy().tolist() == [[1, 1], [0, 1]]
    assert found["confidence"].tolist() == pytest.approx([0.7, 0.5])


# ------------------------------------------------------------------------------ img2dataset


SHAPES = {"small": (150, 190), "long": (210, 640)}  # below --min_image_size, beyond --max_aspect_ratio


def drawn(name: str, size: tuple[int, int] = (270, 300), kind: str = "JPEG") -> bytes:
    """A smooth picture of (height, width), another for each name."""
    fields = generator("drawn", name).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return encoded(Image.fromarray(fields).resize(size[::-1], Image.Resampling.BILINEAR), kind)


class Web(ThreadingHTTPServer):
    """Pictures by their paths; what is not there is gone."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.pictures = {f"/fine/{i}.jpg": drawn(str(i)) for i in range(30)}
        self.pictures |= {f"/{what}/{i}.jpg": drawn(what, SHAPES[what]) for what in SHAPES for i in range(2)}
        self.pictures |= {
            "/least.jpg": drawn("least", (200, 240)),  # stays as it is
            "/drawing.png": drawn("drawing", kind="PNG"),
            "/again/3.jpg": drawn("3"),
            "/noai/0.jpg": drawn("noai"),
            "/text.jpg": b"<html>",
        }

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}?w=600"


class Page(Answer):
    server: Web

    def do_GET(self) -> None:  # noqa: N802
        path = self.path.partition("?")[0]
        headers = {"X-Robots-Tag": "noai"} if path.startswith("/noai/") else {}
        content = self.server.pictures.get(path)
        self.reply(content or b"", 404 if content is None else 200, headers)


def test_laion_is_downloaded_by_img2dataset_and_settled(reader: Reader) -> None:
    place = reader.folder / "datasets/img2dataset/bin/img2dataset"
    place.parent.mkdir(parents=True)
    place.symlink_to(program("img2dataset", "IMG2DATASET"))
    web = Web()
    paths = [*web.pictures, "/gone/0.jpg", "/gone/1.jpg"]
    table = {
        "URL": [web.url(path) for path in paths],
        "TEXT": [None if path == "/fine/7.jpg" else f"wörter {path}" for path in paths],
        "similarity": [i / 8 for i in range(len(paths))],
        "punsafe": [None if i % 5 else 0.25 for i in range(len(paths))],
        "pwatermark": [0.5] * len(paths),
        "hash": list(range(len(paths))),
    }
    metadata = reader.folder / "datasets/laion_metadata"
    metadata.mkdir()
    for number, part in enumerate((slice(0, 25), slice(25, None))):
        columns = {name: values[part] for name, values in table.items()}
        pq.write_table(pa.table(columns), metadata / f"part-{number}.parquet")
    (command,) = [block for block in shell_blocks("laion") if "--url_list" in block]
    with running(web):
        reader.types(command, NO_ALBUMENTATIONS_UPDATE="1")

    # What it leaves is what the adapter's tests write.
    folder = reader.folder / "datasets/laion30m"
    schema = pa.schema([(name, pa.float64()) for name in ("similarity", "punsafe", "pwatermark")])
    schema = pa.schema([*schema, *IMG2DATASET])
    shards = sorted(folder.glob("*.tar"))
    assert [shard.name for shard in shards] == ["00000.tar", "00001.tar"]
    assert all(pq.read_schema(shard.with_suffix(".parquet")).equals(schema) for shard in shards)

    index, ledger = reader.settles("laion")
    fails = {"gone": base.DOWNLOAD_FAILED, "noai": base.DOWNLOAD_FAILED, "text.jpg": base.RESIZE_FAILED}
    fails |= dict.fromkeys(SHAPES, base.RESIZE_FAILED)
    names, wanted = {}, {}
    for path in paths:
        reason = fails.get(path.split("/")[1], "")
        url = f"url-{hashlib.sha256(web.url(path).encode()).hexdigest()}"
        names[path] = url if reason else hashlib.sha256(web.pictures[path]).hexdigest()
        wanted[names[path]] = reason
    wanted[names["/fine/7.jpg"]] = base.EMPTY_CAPTION
    wanted[names["/again/3.jpg"] + "#2"] = base.DUPLICATE_ID
    found = index[index["source"] == "laion30m"]
    assert found["reason"].to_dict() == wanted
    assert len(found) == len(paths)
    told = [json.loads(path.read_text()) for path in sorted(folder.glob("*_stats.json"))]
    became = total(ledger, "laion30m")
    assert sum(one["failed_to_download"] for one in told) == became[base.DOWNLOAD_FAILED] == 3
    assert sum(one["failed_to_resize"] for one in told) == became[base.RESIZE_FAILED] == 5
    assert sum(one["successes"] for one in told) == len(paths) - 8
    assert ledger["laion30m"].keys() == {"pool", "meta_val"}

    # Each pair has its own words, numbers and picture.
    usable = found[found["status"] == "ok"]
    path_of = {name: path for path, name in names.items() if not path.startswith("/again/")}
    extra = read_extra(reader.folder / "data/pool").set_index("id")
    for name, row in usable.iterrows():
        path = path_of[str(name)]
        if path != "/fine/3.jpg":  # or the words of its second url: the download says which came first
            assert row["caption"] == f"wörter {path}"
            assert extra["similarity"][name] == table["similarity"][paths.index(path)]
            assert np.isnan(extra["punsafe"][name]) == (table["punsafe"][paths.index(path)] is None)
    originals = [decode(web.pictures[path_of[str(name)]], 256)[0] for name in usable.index]
    apart = np.abs(
        thumbnails(reader.pixels(usable))[:, None] - thumbnails(np.stack(originals))[None]
    ).mean(2)  # fmt: skip
    assert (apart.argmin(1) == np.arange(len(usable))).all()
    assert apart.diagonal().max() < 2

    # A shard whose parquet file is lost is read by its JSON files, which say the same.
    pool = user_pool(folder, "laion", keep=["similarity", "punsafe"])
    whole = {row.id: (row.caption, str(row.extra), row.group) for row in rows(pool, 1) if not row.reason}
    shards[1].with_suffix(".parquet").unlink()
    assert outcomes(pool)["00001.parquet"] == base.MISSING_FILE
    lost = {row.id: (row.caption, str(row.extra), row.group) for row in rows(pool, 1) if not row.reason}
    assert lost == whole
