import contextlib
import shlex
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from PIL import Image
from pool_helpers import emoji_pool, some_rows, write_pair
from workspace import as_script

from alchemist.core import files
from alchemist.params.sources import sources
from alchemist.pools.read import rows
from alchemist.pools.store import images, read_extra, read_index, usable
from alchemist.pools.truth import read_labels, read_truth


def command(folder, pool, block, **others):
    params = {"pools": (all_of := {pool: block, **others}), "sources": sources(all_of)}
    files.write_json(folder / "data/params.json", files.sealed(params))
    words = ["-m", "stages.prepare", "--pool", pool, "--out", "data/pool"]
    return [*words, "--truth-out", "data/truth", "--time-out", "data/timings/prepare.json"]


def run_stage(folder, pool, block):
    """In a process of its own."""
    words = [sys.executable, *command(folder, pool, block)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def stage_here(folder, pool, block, **others):
    """In this process, to its end."""
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        as_script(shlex.join(["python", *command(folder, pool, block, **others)]), patch)


def test_the_stage_writes_the_folder_and_tells_the_ledger(tmp_path, monkeypatch):
    source = tmp_path / "mine"
    source.mkdir()
    for row in some_rows(3):
        Image.fromarray(row.image).save(source / f"{row.id}.png")
        (source / f"{row.id}.txt").write_text(row.caption, encoding="utf-8")
    (source / "broken.png").write_bytes(b"x")
    (source / "broken.txt").write_text("words")
    block = {
        "format": "folder",
        "path": "mine",
        "resolution": 16,
        "seed": 0,
        "splits": {"meta_validation": 0.0, "evaluation": 0.0, "scorer": 0.0},
        "licence": "ours",
    }
    done = run_stage(tmp_path, "mine", block)
    assert done.returncode == 0, done.stderr
    assert "3 ok" in done.stdout
    assert "1 unreadable image" in done.stdout
    assert "wrote 4 pairs, 3 of them ok, to data/pool" in done.stdout
    card = files.check_manifest(tmp_path / "data/pool") and files.read_json(tmp_path / "data/pool/card.json")
    assert (card["licence"], card["pool"], card["settings"]["path"]) == ("ours", "mine", "mine")
    more = {"group": None, "largest": 200, "links": False, "pairs": None, "sample": 1.0}
    assert (card["resolution"], card["settings"]) == (16, {**block, **more})
    index = usable(read_index(tmp_path / "data/pool"), "pool")
    monkeypatch.chdir(tmp_path)  # the pool's path is relative to where the stages run
    found = dict(zip(index["id"], images(tmp_path / "data/pool", index), strict=True))
    assert all((found[row.id] == row.image).all() for row in some_rows(3))

    # a mistake leaves the old folder as it is, and nothing beside it
    before = (tmp_path / "data/pool/index.parquet").read_bytes()
    done = run_stage(tmp_path, "mine", {**block, "path": "nowhere"})
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "data/pool/index.parquet").read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "params.json",
        "pool",
        "timings",
        "truth",
    ]


def test_the_stage_needs_no_torch():
    code = "import sys, stages.prepare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_stage_parts_what_was_planted_from_the_pool(tmp_path):
    pool = emoji_pool(pairs=30, meta_validation={"pairs": 10, "source": "mixture"}, shard_pairs=40)
    stage_here(tmp_path, "small", pool.model_dump())
    wanted = list(rows(pool, 1))
    truth = read_truth(tmp_path / "data/truth")
    assert list(zip(truth["id"], truth["kind"], strict=True)) == [(row.id, row.kind) for row in wanted]
    index = read_index(tmp_path / "data/pool")
    assert list(zip(index["id"], index["split"], strict=True)) == [(row.id, row.split) for row in wanted]
    assert sorted(path.name for path in (tmp_path / "data/truth").iterdir()) == [
        "manifest.json", "truth.parquet",
    ]  # fmt: skip
    names = ["card.json", "images-00000.npy", "images-00001.npy", "images-00002.npy", "index.parquet"]
    assert sorted(path.name for path in (tmp_path / "data/pool").iterdir()) == [*names, "manifest.json"]
    assert files.read_sealed(tmp_path / "data/timings/prepare.json").keys() == {
        "began",
        "seconds",
        "peak_bytes",
    }


def test_the_stage_keeps_what_people_preferred_from_raters_and_trainers(tmp_path):
    source = tmp_path / "hpdv3"
    (source / "images").mkdir(parents=True)
    for row in some_rows(2):
        Image.fromarray(row.image).save(source / f"images/{row.id}.png")
    pair = {"prompt": "words", "confidence": 0.9, "path1": "images/id-0.png", "path2": "images/id-1.png"}
    files.write_json(source / "all.json", [pair, pair])
    splits = {"meta_validation": 0.0, "evaluation": 0.0, "scorer": 0.0}
    block = {"format": "hpdv3", "path": "hpdv3", "resolution": 16, "splits": splits}
    stage_here(tmp_path, "mine", block)
    labels = read_labels(tmp_path / "data/truth")
    assert labels[["wins", "losses", "confidence"]].to_numpy().tolist() == [[2, 0, 0.9], [0, 2, 0.9]]
    extra = read_extra(tmp_path / "data/pool")
    assert (list(extra["id"]), list(extra["repeats"])) == (list(labels["id"]), [2, 2])
    names = set().union(
        *(set(pq.read_schema(path).names) for path in (tmp_path / "data/pool").glob("*.parquet"))
    )
    assert not {"wins", "losses", "confidence"} & names
    assert not list((tmp_path / "data/pool").glob("*labels*"))


def test_the_stage_reads_pools_that_are_splits(tmp_path, monkeypatch):
    for folder, start in (("mine", 0), ("clean", 5)):
        for i in range(start, start + 8):
            write_pair(tmp_path / folder, f"{i}", f"caption {i}", i)
    splits = {"meta_validation": 0.0, "evaluation": {"pool": "clean"}, "scorer": 0.0}
    block = {"format": "folder", "path": "mine", "resolution": 16, "splits": splits}
    other = {"format": "folder", "path": "clean", "resolution": 64, "licence": "theirs"}
    stage_here(tmp_path, "mine", block, clean=other)
    card = files.read_json(tmp_path / "data/pool/card.json")
    assert card["roots"] == {"mine": "mine", "clean": "clean"}
    assert card["others"]["clean"]["licence"] == "theirs"
    assert card["sources"]["clean"]["evaluation"] == {"ok": 8}
    assert card["sources"]["mine"]["pool"] == {"ok": 8}
    monkeypatch.chdir(tmp_path)
    index = usable(read_index(tmp_path / "data/pool"), "evaluation")
    assert images(tmp_path / "data/pool", index).shape == (8, 16, 16, 3)
