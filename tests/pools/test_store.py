import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pool_helpers import emoji_pool, some_rows

from alchemist.core import files, stateless
from alchemist.core.refusal import Refusal
from alchemist.pools.index import COLUMNS, count_rated, rated_rows, some_rated
from alchemist.pools.read import rows
from alchemist.pools.store import PLACE, ahead, images, parts, read_extra, read_index, write_pool
from alchemist.pools.truth import read_labels, read_truth

SMALL = {
    "concepts": 5,
    "pairs": 50,
    "meta_validation": {"pairs": 20, "source": "mixture"},
    "evaluation": {"pairs": 10},
    "scorer": {"pairs": 10},
    "shard_pairs": 7,
    "shares": {
        "informative": 0.5,
        "plain": 0.1,
        "chaotic": 0.1,
        "mismatched": 0.1,
        "degraded": 0.1,
        "duplicate": 0.1,
    },
}


def rejected(row, reason="empty caption"):
    return replace(row, image=None, reason=reason)


def test_images_come_back_by_row_in_any_order(tmp_path):
    pairs = list(some_rows(20))
    pairs[3], pairs[19] = rejected(pairs[3]), rejected(pairs[19])
    write_pool(tmp_path, iter(pairs), 16, 7, {})
    index = read_index(tmp_path)
    assert list(index.columns) == [
        "id", "caption", "split", "group", "status", "reason", "source", "lent", "cluster", "pixels",
        *PLACE[2:],
    ]  # fmt: skip
    assert list(index["id"]) == [pair.id for pair in pairs]
    ok = index[index["status"] == "ok"]
    for asked in (ok, ok[::-1], ok.sample(30, replace=True, random_state=0), ok.iloc[:1]):
        found = images(tmp_path, asked)
        assert found.dtype == np.uint8
        wanted = {pair.id: pair.image for pair in pairs}
        assert all((image == wanted[name]).all() for image, name in zip(found, asked["id"], strict=True))
    assert images(tmp_path, ok[:0]).shape == (0, 16, 16, 3)
    with pytest.raises(ValueError, match="id-3"):
        images(tmp_path, index)


@pytest.mark.parametrize(("count", "sizes"), [(13, [7, 6]), (14, [7, 7]), (1, [1]), (15, [7, 7, 1])])
def test_shards_are_plain_npy_files_of_the_asked_size(tmp_path, count, sizes):
    write_pool(tmp_path, some_rows(count), 16, 7, {})
    shards = sorted(tmp_path.glob("images-*.npy"))
    loaded = [np.load(path, mmap_mode="r") for path in shards]
    assert [array.shape for array in loaded] == [(size, 16, 16, 3) for size in sizes]
    whole = np.concatenate([np.load(path) for path in shards])
    assert (whole == images(tmp_path, read_index(tmp_path))).all()
    assert [path.name for path in shards] == [f"images-{i:05d}.npy" for i in range(len(sizes))]


def test_the_index_is_streamed_in_order_over_many_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("alchemist.pools.table.ROW_GROUP", 8)
    monkeypatch.setattr("alchemist.pools.table.BATCH", 4)
    write_pool(tmp_path, some_rows(21), 16, 100, {})
    index = read_index(tmp_path)
    assert list(index["id"]) == [f"id-{i}" for i in range(21)]
    assert list(index["offset"]) == list(range(21))


def test_counts_add_up_and_rejected_rows_point_nowhere(tmp_path):
    pairs = [*some_rows(10), *some_rows(5, "meta_val", 10), *some_rows(3, "evaluation", 15)]
    for i, reason in {1: "empty caption", 2: "empty caption", 12: "missing image"}.items():
        pairs[i] = rejected(pairs[i], reason)
    card = write_pool(tmp_path, pairs, 16, 7, {"licence": "ours"})
    assert card["counts"]["pool"] == {"ok": 8, "empty caption": 2}
    assert card["counts"]["meta_val"] == {"ok": 4, "missing image": 1}
    assert (card["pairs"], card["ok"]) == (18, 15)
    assert card == files.read_json(tmp_path / "card.json")
    index = read_index(tmp_path)
    assert len(index) == 18
    bad = index[index["status"] == "rejected"]
    assert (bad[["offset", "size"]] == -1).all(axis=None)
    assert (bad[["place", "file"]] == "").all(axis=None)
    assert (bad["reason"] != "").all()
    good = index[index["status"] == "ok"]
    assert (good["reason"] == "").all()
    assert not good.duplicated(["file", "offset"]).any()


def test_truth_is_a_table_of_its_own(tmp_path):
    write_pool(tmp_path, some_rows(6), 16, 7, {})
    assert not {"kind", "truth"} & set(read_index(tmp_path).columns)
    truth = read_truth(tmp_path)
    assert list(truth.columns) == ["id", "kind"]
    assert list(truth["kind"]) == ["chaotic", "plain"] * 3
    assert "chaotic" not in (tmp_path / "card.json").read_text()


def test_damaged_truth_and_labels_are_told(tmp_path):
    pool, truth = tmp_path / "pool", tmp_path / "truth"
    pool.mkdir(), truth.mkdir()
    write_pool(pool, [replace(row, labels={"wins": 1}) for row in some_rows(3)], 16, 7, {}, truth)
    for name, read in (("truth", read_truth), ("labels", read_labels)):
        path = truth / f"{name}.parquet"
        whole = path.read_bytes()
        path.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
        with pytest.raises(Refusal, match=rf"{name}\.parquet is not the file that its manifest describes"):
            read(truth)
        path.write_bytes(whole)
        assert len(read(truth)) == 3


def test_a_pool_without_truth_has_an_empty_table(tmp_path):
    write_pool(tmp_path, (replace(row, kind=None) for row in some_rows(3)), 16, 7, {})
    assert read_truth(tmp_path).shape == (0, 2)
    assert set(read_truth(tmp_path).dtypes) == {read_index(tmp_path)["id"].dtype}


def test_what_else_is_known_of_a_pair_lies_beside_the_index_and_labels_lie_with_the_truth(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("alchemist.pools.table.ROW_GROUP", 4)
    monkeypatch.setattr("alchemist.pools.table.BATCH", 2)
    pairs = list(some_rows(13))
    for i in (*range(5), *range(6, 13)):  # nothing is known of the sixth
        score = float("nan") if i == 3 else i / 2
        pairs[i] = replace(pairs[i], extra={"score": score, "category": ""}, labels={"wins": i})
    pairs[7] = rejected(pairs[7])
    pool, truth = tmp_path / "pool", tmp_path / "truth"
    pool.mkdir(), truth.mkdir()
    write_pool(pool, pairs, 16, 7, {}, truth_folder=truth)
    known = [f"id-{i}" for i in range(13) if i != 5]
    extra, labels = read_extra(pool), read_labels(truth)
    assert (list(extra["id"]), list(labels["id"])) == (known, known)
    assert [str(kind) for kind in extra.dtypes[1:]] == ["float64", str(extra["id"].dtype)]
    assert extra["score"].isna().sum() == 1
    assert list(labels["wins"]) == [i for i in range(13) if i != 5]
    assert sorted(path.name for path in truth.iterdir()) == [
        "labels.parquet", "manifest.json", "truth.parquet",
    ]  # fmt: skip
    assert not {"score", "category", "wins"} & set(read_index(pool).columns)
    assert "extra.parquet" in files.check_manifest(pool)["files"]
    assert not list(pool.glob("*labels*"))


def test_sources_have_columns_of_their_own(tmp_path):
    pairs = [replace(row, source="a", extra={"score": 0.5}) for row in some_rows(2)]
    pairs += [replace(row, source="b", extra={"category": "food"}) for row in some_rows(2, start=2)]
    write_pool(tmp_path, [*pairs[2:], *pairs[:2]], 16, 7, {})
    extra = read_extra(tmp_path).set_index("id")
    assert list(extra.loc[["id-0", "id-1"], "score"]) == [0.5, 0.5]
    assert list(extra.loc[["id-2", "id-3"], "category"]) == ["food", "food"]
    assert extra.isna().sum().sum() == 4


def test_a_pool_of_which_nothing_else_is_known_has_no_further_tables(tmp_path):
    write_pool(tmp_path, some_rows(3), 16, 7, {})
    assert not list(tmp_path.glob("extra*"))
    assert not list(tmp_path.glob("labels*"))
    for table in (read_extra(tmp_path), read_labels(tmp_path)):
        assert (list(table), len(table)) == (["id"], 0)


def test_an_id_that_comes_twice_stops_the_writer(tmp_path):
    a, b = some_rows(2)
    with pytest.raises(AssertionError):
        write_pool(tmp_path, [a, replace(b, id=a.id)], 16, 7, {})


def test_missing_tables_are_refused(tmp_path):
    for read in (read_index, read_truth):
        with pytest.raises(Refusal, match="is missing; run the stage prepare"):
            read(tmp_path)


def test_the_manifest_finds_a_changed_shard(tmp_path):
    write_pool(tmp_path, some_rows(3), 16, 7, {})
    assert set(files.check_manifest(tmp_path)["files"]) == {
        "images-00000.npy", "index.parquet", "truth.parquet", "card.json",
    }  # fmt: skip
    path = tmp_path / "images-00000.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(Refusal, match=r"images-00000\.npy is not the file"):
        files.check_manifest(tmp_path)


def test_an_emoji_pool_is_byte_identical_on_every_run(tmp_path):
    pool = emoji_pool(**SMALL)
    for name, processes in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        write_pool(tmp_path / name, rows(pool, processes), 16, pool.shard_pairs, {})
    first = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert len(first) == 4 + -(-90 // 7)
    for name in ("b", "c"):
        assert {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} == first
    truth = read_truth(tmp_path / "a")
    index = read_index(tmp_path / "a")
    assert pd.Series.equals(truth["id"], index["id"])


def test_the_store_depends_on_no_source_of_pairs():
    code = (
        "import sys, alchemist.pools.store; "
        "print(*sorted(name for name in sys.modules if name.startswith('alchemist.pools')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = {name.removeprefix("alchemist.pools").lstrip(".") for name in done.stdout.split()}
    assert found == {
        "", "base", "header", "image", "memory", "pages", "place", "row", "seen", "shards", "store", "table",
        "thrift",
    }  # fmt: skip


def test_lent_pairs_are_rated_beside_those_of_the_pool_and_no_others(tmp_path):
    splits = ["scorer", "pool", "scorer", "meta_val", "meta_val", "evaluation", "scorer", "pool"]
    lent = [True, False, False, True, False, True, True, False]
    given = zip(some_rows(8), splits, lent, strict=True)
    pairs = [replace(pair, split=split, lent=is_lent) for pair, split, is_lent in given]
    pairs[6] = rejected(pairs[6])
    write_pool(tmp_path, iter(pairs), 16, 7, {})
    ids = [pair.id for pair in pairs]
    assert list(rated_rows(read_index(tmp_path))["id"]) == [ids[i] for i in (1, 7, 0, 3, 5)]
    assert count_rated(tmp_path) == 5
    rated = pd.Series([ids[i] for i in (0, 1, 3, 5, 7)])
    for count in (1, 2, 5, 8):
        found = some_rated(tmp_path, count, COLUMNS)
        assert list(found["id"]) == list(rated.iloc[stateless.id_order(rated)[:count]])
    wanted = [1, 3, 4, 7]
    tables = list(parts(tmp_path, ("pool", "meta_val"), 3, PLACE))
    assert list(pd.concat(tables)["id"]) == [ids[i] for i in wanted]
    pixels = [*ahead(tmp_path, tables)]
    assert [len(some) for some in pixels] == [3, 1]
    assert np.array_equal(np.concatenate(pixels), np.stack([pairs[i].image for i in wanted]))
