"""Exports of kept ids, each read back by the library that it is for."""

import contextlib
import hashlib
import io
import json
import os
import shutil
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image
from pool_helpers import (
    emoji_pool,
    encoded,
    outcomes,
    picture,
    records,
    settled,
    user_pool,
    write_pair,
    write_tar,
)

from alchemist.core import files, stateless
from alchemist.core.refusal import Refusal
from alchemist.kept import outcome as outcome_module
from alchemist.kept.loader import KeptPairs
from alchemist.kept.outcome import Selected, Verdicts
from alchemist.pruning.laws import select
from alchemist.pruning.rated import checked
from alchemist.pruning.samplers import selection_settings
from alchemist.raters import bill
from stages import export, prune

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of webdataset
PAIRS, RATIO, SEED = 30, 0.5, 3
TOP = {"rater": "loss", "sampler": "topk"}
SPLITS = {"meta_validation": 0.2, "evaluation": 0.0, "scorer": 0.0}


def caption(i: int) -> str:
    return f"größe <{i}>"


def write(root: Path, kind: str) -> None:
    """Pairs of a layout; two of each have no caption."""
    words = [caption(i) if i % 15 else "" for i in range(PAIRS)]
    pictures = [encoded(picture(i)) for i in range(PAIRS)]
    if kind == "folder":
        for i in range(PAIRS):
            write_pair(root, f"a b/{i:03d}", words[i], i, (".png", ".jpg", ".webp")[i % 3])
    elif kind == "webdataset":
        for part in range(2):
            chosen = range(part * PAIRS // 2, (part + 1) * PAIRS // 2)
            members = [
                one
                for i in chosen
                for one in ((f"in/k{i}.png", pictures[i]), (f"in/k{i}.txt", words[i].encode()))
            ]  # fmt: skip
            write_tar(root / f"sub/{part}.tar", members)
    elif kind == "laion":
        uids = [hashlib.md5(str(i).encode()).hexdigest() for i in range(PAIRS)]
        keys = [f"{i:09d}" for i in range(PAIRS)]
        write_tar(
            root / "00000.tar",
            [one for i in range(PAIRS) for one in ((f"{keys[i]}.jpg", encoded(picture(i), "JPEG")),
             (f"{keys[i]}.txt", words[i].encode()))],
        )  # fmt: skip
        table = {
            "key": keys,
            "uid": uids,
            "status": "success",
            "url": [f"https://a.org/{i}" for i in range(PAIRS)],
        }
        pd.DataFrame(table).to_parquet(root / "00000.parquet", index=False)
    elif kind == "parquet":
        root.mkdir(parents=True)
        for part in range(2):
            rows = slice(part * PAIRS // 2, (part + 1) * PAIRS // 2)
            table = pa.table({"image": pictures[rows], "caption": words[rows]})
            pq.write_table(table, root / f"{part}.parquet", row_group_size=4)
    else:
        features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
        images = [{"bytes": content, "path": None} for content in pictures]
        datasets.Dataset.from_dict(
            {"image": images, "caption": words}, features=features, split="train"
        ).save_to_disk(root)  # fmt: skip


class Exported:
    """A pool in a folder of its own, rated by a hash and pruned."""

    def __init__(self, folder: Path, pool, **others) -> None:
        self.folder = folder
        self.index = settled(folder, pool, **others)
        rated = self.index[
            (self.index["status"] == "ok") & ((self.index["split"] == "pool") | self.index["lent"])
        ]
        self.rated = rated
        self.rating = stateless.id_uniforms(rated["id"], "test")
        bill.write_table(
            folder / f"data/ratings/loss/{SEED}.parquet", rated["id"], self.rating, rated["lent"].to_numpy()
        )
        params = files.read_sealed(folder / "data/params.json")
        params["selections"] = {"top": TOP}
        params["grid"] = {"seeds": [SEED]}
        files.write_json(folder / "data/params.json", files.sealed(params))
        with contextlib.chdir(folder):
            prune.run(Path("data/ratings"), "top", RATIO, Path(f"data/subsets/top/{RATIO}"))
        best = rated["id"].to_numpy()[np.argsort(-self.rating)]
        self.kept = set(best[: round(len(rated) / 2)])

    def __call__(self, form: str, out: str = "out", **changes) -> Path:
        options = {"ratio": RATIO, "seed": SEED, "selection": "top"} | changes
        with contextlib.chdir(self.folder):
            export.run(
                out=Path(out), form=export.Format(form), pool=Path("data/pool"), ratings=Path("data/ratings"),
                subsets=Path("data/subsets"), **options,
            )  # fmt: skip
        return self.folder / out


def made(folder: Path, kind: str, **changes) -> Exported:
    write(folder / "mine", kind)
    return Exported(folder, user_pool(folder / "mine", kind, splits=SPLITS, **changes))


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def numbers(ids, index: pd.DataFrame) -> set[int]:
    """Which pictures some ids are, by their captions."""
    words = index.set_index("id").loc[list(ids), "caption"]
    return {int(word.split("<")[1].rstrip(">")) for word in words}


def test_the_table_is_written_in_row_groups_that_are_read_at_once(tmp_path, monkeypatch) -> None:
    done = made(tmp_path, "folder")
    monkeypatch.setattr(outcome_module, "ROWS", 4)
    footer = pq.read_metadata(done("parquet") / "pairs.parquet")
    sizes = [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
    assert max(sizes) == 4
    assert sum(sizes) == len(done.index)


def test_every_pair_of_the_pool_stands_once_in_the_table_with_why(tmp_path, capsys) -> None:
    done = made(tmp_path, "folder")
    table = pq.read_table(done("parquet") / "pairs.parquet", page_checksum_verification=True).to_pandas()
    assert table["id"].tolist() == done.index["id"].tolist()
    by = table.set_index("id")
    assert set(table["id"][table["outcome"] == "kept"]) == done.kept
    pruned = table[table["outcome"] == "pruned"]
    assert set(pruned["id"]) == set(done.rated["id"]) - done.kept
    assert set(pruned["why"]) == {"by top"}
    rejected = table[table["outcome"] == "rejected"]
    assert set(rejected["why"]) == {"empty caption"}
    assert len(rejected) == 2
    assert by.loc[done.rated["id"], "rating"].tolist() == done.rating.tolist()
    # the best is at 0 and the worst at 100, and what Top-K kept lies below the half
    ordered = by.loc[done.rated["id"]].sort_values("rating", ascending=False)["percentile"]
    assert ordered.tolist() == pytest.approx(np.linspace(0, 100, len(done.rated)))
    assert by["rating"].isna().sum() == 2
    told = capsys.readouterr().out
    assert "14 kept, 14 pruned, 2 rejected of 30 pairs (2 x empty caption)" in told
    facts = json.loads((tmp_path / "out/export.json").read_text())
    assert facts["pairs"] == {"kept": 14, "pruned": 14, "rejected": 2, "held out": 0}


def test_pairs_held_out_for_good_are_neither_kept_nor_pruned(tmp_path) -> None:
    """The composed pool, whose held-out splits are not lent."""
    done = Exported(tmp_path, emoji_pool(pairs=60, meta_validation={"pairs": 20, "source": "mixture"}))
    table = pd.read_parquet(done("parquet") / "pairs.parquet")
    held = table[table["outcome"] == "held out"]
    assert set(held["why"]) >= {"in the split meta_val", "in the split evaluation"}
    assert set(held["split"]) == set(done.index["split"]) - {"pool"}
    assert len(table) == len(done.index)
    with pytest.raises(Refusal, match="was composed and lies in no file, as format loader"):
        done("loader", "index")
    out = done("folder", "pictures")  # of pixels, which have no file of their own
    read = datasets.load_dataset(
        "imagefolder", data_dir=str(out), split="train", cache_dir=str(tmp_path / "c")
    )
    assert set(read["id"]) == done.kept


def test_datacomp_reads_the_uids(tmp_path) -> None:
    done = made(tmp_path, "laion", columns={"sha256": "uid"})
    array = np.load(done("datacomp") / "kept.npy")
    assert array.dtype == np.dtype("u8,u8")
    assert (np.sort(array) == array).all()
    assert {f"{high:016x}{low:016x}" for high, low in array.tolist()} == done.kept
    other = tmp_path / "other"
    with pytest.raises(Refusal, match=r"the id 'url-.+' is no uid of 32 hexadecimal digits"):
        made(other, "laion", columns={"sha256": None})("datacomp")
    assert not (other / "out").exists()


@pytest.mark.parametrize("kind", ["webdataset", "laion"])
def test_webdataset_selects_the_keys_from_the_tars_as_they_are(tmp_path, kind) -> None:
    done = made(tmp_path, kind, **({"columns": {"sha256": "uid"}} if kind == "laion" else {}))
    lines = [json.loads(line) for line in (done("webdataset") / "keys.jsonl").read_text().splitlines()]
    kept = {line["tar"]: set(line["keys"]) for line in lines}
    tars = sorted((tmp_path / "mine").rglob("*.tar"))

    def is_kept(sample) -> bool:
        name = Path(sample["__url__"]).relative_to(tmp_path / "mine").as_posix()
        return sample["__key__"] in kept.get(name, ())

    data = webdataset.WebDataset([str(path) for path in tars], shardshuffle=False).select(is_kept)
    found = [sample["txt"].decode() for sample in data]
    assert len(found) == len(done.kept)
    assert {int(word.split("<")[1].rstrip(">")) for word in found} == numbers(done.kept, done.index)


@pytest.mark.parametrize("kind", ["huggingface", "parquet"])
def test_datasets_selects_the_rows(tmp_path, kind) -> None:
    done = made(tmp_path, kind)
    rows = np.load(done("indices") / "indices.npy")
    if kind == "huggingface":
        data = datasets.load_from_disk(str(tmp_path / "mine"))
    else:
        paths = sorted(str(path) for path in (tmp_path / "mine").glob("*.parquet"))
        data = datasets.load_dataset(
            "parquet", data_files=paths, split="train", cache_dir=str(tmp_path / "c")
        )
    chosen = data.select(rows)["caption"]
    assert len(chosen) == len(done.kept)
    assert {int(word.split("<")[1].rstrip(">")) for word in chosen} == numbers(done.kept, done.index)


@pytest.mark.parametrize("kind", ["folder", "webdataset", "parquet", "huggingface"])
def test_the_loader_gives_the_kept_pairs_from_the_files_as_they_are(tmp_path, kind) -> None:
    done = made(tmp_path, kind)
    pairs = list(KeptPairs(done("loader"), batch=4, epochs=1))
    assert {pair["id"] for pair in pairs} == done.kept
    by = done.index.set_index("id")["caption"]
    rating = dict(zip(done.rated["id"], done.rating, strict=True))
    for pair in pairs:
        assert pair["caption"] == by[pair["id"]]
        assert pair["rating"] == rating[pair["id"]]
        number = int(pair["caption"].split("<")[1].rstrip(">"))
        suffix = (".png", ".jpg", ".webp")[number % 3] if kind == "folder" else ".png"
        whole = (tmp_path / "mine/a b" / f"{number:03d}{suffix}").read_bytes() if kind == "folder" else None
        assert pair["image"] == (whole or encoded(picture(number)))


@pytest.mark.parametrize("kind", ["folder", "webdataset", "parquet"])
def test_trainers_read_the_folder_with_metadata(tmp_path, kind) -> None:
    done = made(tmp_path, kind)
    out = done("folder", "pictures")
    read = datasets.load_dataset(
        "imagefolder", data_dir=str(out), split="train", cache_dir=str(tmp_path / "c")
    )
    assert set(read["id"]) == done.kept
    by = done.index.set_index("id")["caption"]
    for row in read:
        assert row["text"] == by[row["id"]]
        number = int(row["text"].split("<")[1].rstrip(">"))
        suffix = (".png", ".jpg", ".webp")[number % 3] if kind == "folder" else ".png"
        whole = (tmp_path / "mine/a b" / f"{number:03d}{suffix}").read_bytes() if kind == "folder" else None
        wanted = pixels(whole or encoded(picture(number)))
        assert np.array_equal(np.asarray(row["image"].convert("RGB")), wanted)
    # And so does this repo, as a pool: those pairs by their ids, and nothing else of the folder.
    again = {one.id: (one.caption, one.reason) for one in records(user_pool(out))}
    assert again == {one: (by[one], "") for one in done.kept}


def test_new_tars_are_read_by_webdataset_and_by_this_repo(tmp_path, monkeypatch) -> None:
    from alchemist.kept import pictures

    monkeypatch.setattr(pictures, "A_TAR", 5)
    done = made(tmp_path, "parquet")
    out = done("tars", "tars")
    tars = sorted(out.glob("*.tar"))
    assert len(tars) == 3  # 14 pairs
    data = list(webdataset.WebDataset([str(path) for path in tars], shardshuffle=False))
    assert {json.loads(sample["json"])["id"] for sample in data} == done.kept
    for sample in data:
        assert sample["png"] == encoded(picture(int(sample["txt"].decode().split("<")[1].rstrip(">"))))
    assert set(outcomes(user_pool(out, "webdataset")).values()) == {""}
    before = [path.read_bytes() for path in tars]
    again = done("tars", "again")
    assert [path.read_bytes() for path in sorted(again.glob("*.tar"))] == before


def test_what_cannot_be_exported_is_one_sentence_and_leaves_nothing(tmp_path) -> None:
    done = made(tmp_path, "folder")
    for form, told in {
        "webdataset": "the images lie in no tars",
        "indices": "the pool mine is of format folder, whose pairs are no rows of a data set",
        "datacomp": "is no uid of 32 hexadecimal digits",
    }.items():
        with pytest.raises(Refusal, match=told):
            done(form)
        assert not (tmp_path / "out").exists()
    there = r"has no ids of top at 0\.3 of seed 3; dvc repro prune .* there are top at 0\.5 of seed 3"
    with pytest.raises(Refusal, match=there):
        done("parquet", ratio=0.3)
    with pytest.raises(Refusal, match=r"selections\.bottom is missing"):
        done("parquet", selection="bottom")


def test_what_is_there_is_never_replaced(tmp_path) -> None:
    done = made(tmp_path, "folder")
    with pytest.raises(Refusal, match=r"--out is mine, which is there already"):
        done("parquet", "mine")
    assert len(outcomes(user_pool(tmp_path / "mine"))) == PAIRS
    (tmp_path / "empty").mkdir()
    done("parquet", "empty")
    with pytest.raises(Refusal, match=r"--out is empty, which is there already"):
        done("parquet", "empty")
    assert (tmp_path / "empty/pairs.parquet").exists()


def keys_refused(folder: Path, members: list[tuple[str, bytes]], told: str) -> None:
    """The export of a tar of these members says so."""
    write_tar(folder / "mine/0.tar", members)
    done = Exported(folder, user_pool(folder / "mine", "webdataset"))
    with pytest.raises(Refusal, match=told):
        done("webdataset")
    assert not (folder / "out").exists()


def test_keys_by_which_webdataset_would_give_other_pairs_are_refused(tmp_path) -> None:
    pairs = [
        (name, content)
        for i in range(1, 13)
        for name, content in ((f"k{i}.png", encoded(picture(i))), (f"k{i}.txt", caption(i).encode()))
    ]
    twice = [(name, encoded(picture(50)) if name.endswith("png") else b"x") for name, _ in pairs]
    keys_refused(tmp_path / "twice", pairs + twice, r"members of the key 'k\d+' in several places")
    between = [one for pair in pairs for one in (pair, ("read.me", b"x"))]
    keys_refused(tmp_path / "between", between, r"members of the key 'k\d+' in several places")
    hidden = [(f"__x__/{name}", content) for name, content in pairs]
    keys_refused(tmp_path / "hidden", hidden, r"has no member at byte \d+ that WebDataset reads")


def test_names_that_are_no_utf_8_come_back_as_they_are(tmp_path) -> None:
    names = [os.fsdecode(b"in/k\xff%d" % i) for i in range(1, 13)]
    write_tar(
        tmp_path / "mine" / os.fsdecode(b"t\xfe.tar"),
        [one for i, name in enumerate(names, 1)
         for one in ((f"{name}.png", encoded(picture(i))), (f"{name}.txt", caption(i).encode()))],
    )  # fmt: skip
    done = Exported(tmp_path, user_pool(tmp_path / "mine", "webdataset", splits=SPLITS))
    (line,) = (done("webdataset") / "keys.jsonl").read_text(encoding="ascii").splitlines()
    assert json.loads(line)["tar"] == os.fsdecode(b"t\xfe.tar")
    assert set(json.loads(line)["keys"]) < set(names)
    assert len(json.loads(line)["keys"]) == 6


def test_rows_that_another_reader_would_count_otherwise_are_refused(tmp_path) -> None:
    done = made(tmp_path / "nested", "parquet")
    (tmp_path / "nested/mine/a").mkdir()
    shutil.copy(tmp_path / "nested/mine/0.parquet", tmp_path / "nested/mine/a/x.parquet")
    with pytest.raises(Refusal, match="has parquet files in folders of their own"):
        done("indices")
    done = made(tmp_path / "more", "parquet")
    shutil.copy(tmp_path / "more/mine/0.parquet", tmp_path / "more/mine/00.parquet")
    with pytest.raises(Refusal, match="have 45 rows, and the pool 30"):
        done("indices")
    write(tmp_path / "broken/mine", "parquet")
    (tmp_path / "broken/mine/00.parquet").write_bytes(b"PAR1 and no more")
    done = Exported(tmp_path / "broken", user_pool(tmp_path / "broken/mine", "parquet", splits=SPLITS))
    with pytest.raises(Refusal, match=r"a parquet file in .* cannot be read"):
        done("indices")


def test_pairs_of_a_pool_that_is_a_split_have_no_row(tmp_path) -> None:
    """They stand before the pool's own in the index."""
    write(tmp_path / "other", "folder")
    write(tmp_path / "mine", "parquet")
    pool = user_pool(
        tmp_path / "mine",
        "parquet",
        splits={"meta_validation": 0.2, "evaluation": {"pool": "other"}, "scorer": 0.0},
    )
    done = Exported(tmp_path, pool, other=user_pool(tmp_path / "other", "folder"))
    assert (done.index["source"] == "other").any()
    table = pq.read_table(tmp_path / "mine/0.parquet").to_pandas()
    table = pd.concat([table, pq.read_table(tmp_path / "mine/1.parquet").to_pandas()], ignore_index=True)
    words = table["caption"].iloc[np.load(done("indices") / "indices.npy")]
    assert {int(word.split("<")[1].rstrip(">")) for word in words} == numbers(done.kept, done.index)
    found = pd.read_parquet(done("parquet", "table") / "pairs.parquet")
    assert set(found["why"][found["outcome"] == "held out"]) == {"in the split evaluation"}


def test_damaged_pixels_of_a_composed_pool_are_refused(tmp_path) -> None:
    done = Exported(tmp_path, emoji_pool(pairs=60, meta_validation={"pairs": 20, "source": "mixture"}))
    path = tmp_path / "data/read/images-00000.npy"
    content = bytearray(path.read_bytes())
    content[-100:] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(Refusal, match=r"images-00000\.npy is not the file that its manifest describes"):
        done("folder")


def test_ratings_by_which_the_ids_were_not_chosen_are_refused(tmp_path) -> None:
    done = made(tmp_path, "folder")
    path = tmp_path / f"data/ratings/loss/{SEED}.parquet"
    table = pd.read_parquet(path)
    bill.write_table(path, table["id"], -table["rating"], table["lent"])
    with pytest.raises(
        Refusal, match=r"ids of top at 0\.5 of seed 3 were not chosen by the ratings in .*loss"
    ):
        done("parquet")
    (tmp_path / "data/subsets/top/0.5.old").mkdir()
    (tmp_path / f"data/subsets/top/0.5.old/ids-{SEED}.parquet").touch()
    bill.write_table(path, table["id"], table["rating"], table["lent"])
    done("parquet")


def test_files_that_changed_since_they_were_read_are_told(tmp_path) -> None:
    done = made(tmp_path, "webdataset")
    tar = tmp_path / "mine/sub/1.tar"
    content = bytearray(tar.read_bytes())
    at = content.find(b"IDAT")
    while at > 0:  # in every picture
        content[at + 9] ^= 1
        at = content.find(b"IDAT", at + 9)
    tar.write_bytes(content)
    for form in ("tars", "folder"):
        with pytest.raises(
            Refusal, match=r"sub/1\.tar holds another image of .*; the stage prepare found it"
        ):
            done(form)
    tar.unlink()
    for form in ("tars", "webdataset"):
        with pytest.raises(Refusal, match=r"1\.tar (is missing|has no member at byte)"):
            done(form)
    assert not (tmp_path / "out").exists()


def test_ratings_of_another_pool_are_refused(tmp_path) -> None:
    """Ids that were chosen by ratings of other pairs than the pool has."""
    done = made(tmp_path, "folder")
    table = pd.read_parquet(tmp_path / f"data/ratings/loss/{SEED}.parquet")
    law = selection_settings(TOP, "top")
    more = pd.concat([table, table.head(1).assign(id="of another")])
    for changed, told in (
        (more, r"has 28 pairs to rate, and the table of ratings 29"),
        (table.iloc[1:], r"has '.+', which has no rating"),
    ):
        kept = select(changed, RATIO, law)
        selected = Selected(tmp_path / "data/pool", Verdicts(checked(changed, 0), kept), "top")
        with pytest.raises(Refusal, match=told):
            list(selected.rows())
    with pytest.raises(Refusal, match=r"the kept ids hold '.+', which is not in the table of ratings"):
        Verdicts(checked(table, 0), select(more, 1.0, law))
    with pytest.raises(Refusal, match="the kept ids hold one twice"):
        Verdicts(checked(table, 0), pd.concat([table["id"], table["id"].head(1)]))
    assert done.kept


def test_ids_with_equal_hashes_are_told_apart(tmp_path, monkeypatch) -> None:
    """Of 30 million ids two may have one hash; here four have."""
    done = made(tmp_path, "folder")
    real, few = outcome_module.hashes, sorted(set(done.rated["id"]))[:4]

    def colliding(ids):
        found = real(ids).copy()
        found[np.isin(np.asarray(pd.Series(ids), dtype=object), few)] = np.uint64(7)
        return found

    whole = pd.read_parquet(done("parquet") / "pairs.parquet")
    monkeypatch.setattr(outcome_module, "hashes", colliding)
    pd.testing.assert_frame_equal(pd.read_parquet(done("parquet", "again") / "pairs.parquet"), whole)
