"""Splits that are other pools: tests of read.py and of what the store makes of it."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pool_helpers import NO_SPLITS, encoded, members, picture, settled, user_pool, write_pair, write_tar

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.stateless import id_uniforms
from alchemist.pools import base
from alchemist.pools.image import decode
from alchemist.pools.read import expected, roots, rows
from alchemist.pools.store import images, read_extra, read_index, usable, write_pool


def parquet(path, numbers, **columns):
    """A file of the pictures `numbers`."""
    path.parent.mkdir(exist_ok=True)
    table = {"image": [encoded(picture(i)) for i in numbers], "caption": [f"other {i}" for i in numbers]}
    pq.write_table(pa.table({**table, **columns}), path)


def with_others(path, source="webdataset", **splits):
    return user_pool(path, source, splits={**NO_SPLITS, **splits})


def found(pool, **others):
    return list(rows(pool, 1, "mine", others))


def test_a_split_is_all_of_another_pool_whatever_its_own_splits(tmp_path):
    write_tar(tmp_path / "mine/a.tar", members(0, 60))
    parquet(tmp_path / "other/a.parquet", range(100, 120))
    pool = with_others(tmp_path / "mine", evaluation={"pool": "clean"}, meta_validation=0.3)
    other = user_pool(
        tmp_path / "other", "parquet", resolution=64, splits={**NO_SPLITS, "scorer": 0.5}, seed=3
    )
    got = found(pool, clean=other)
    assert Counter((row.source, row.reason) for row in got) == {("clean", ""): 20, ("mine", ""): 60}
    assert {row.id: row.split for row in got if row.source == "clean"} == {
        f"clean:a.parquet:{i}": "evaluation" for i in range(20)
    }
    own = {row.id: row.split for row in got if row.source == "mine"}
    assert set(own.values()) == {"pool", "meta_val"}
    # Of its own pairs the splits are those that they have without the other pool.
    alone = {row.id: row.split for row in found(with_others(tmp_path / "mine", meta_validation=0.3))}
    assert own == alone
    assert expected(pool, {"clean": other}) is None
    assert expected(other, {"more": other}) == 40


def test_a_clean_split_is_another_pool_and_never_a_share(tmp_path):
    write_tar(tmp_path / "mine/a.tar", members(0, 12))
    parquet(tmp_path / "other/a.parquet", range(100, 105))
    pool = with_others(tmp_path / "mine", clean={"pool": "other"})
    got = found(pool, other=user_pool(tmp_path / "other", "parquet"))
    assert Counter((row.source, row.split, row.lent) for row in got) == {
        ("other", "clean", False): 5, ("mine", "pool", False): 12,
    }  # fmt: skip
    assert "clean" not in with_others(tmp_path / "mine").model_dump()["splits"]
    with pytest.raises(Refusal, match=r"splits\.clean"):
        with_others(tmp_path / "mine", clean=0.1)


def test_shares_lie_side_by_side_in_one_order(tmp_path):
    write_tar(tmp_path / "a.tar", members(0, 60))
    got = found(with_others(tmp_path, meta_validation=0.2, evaluation=0.3, scorer=0.1))
    places = id_uniforms([row.group for row in got], "split", 0)
    wanted = np.array(["meta_val", "evaluation", "scorer", "pool"])
    assert [row.split for row in got] == list(wanted[np.searchsorted([0.2, 0.5, 0.6], places, side="right")])


def test_pairs_with_the_pixels_of_another_pool_are_rejected_and_the_other_stays(tmp_path):
    write_tar(tmp_path / "mine/a.tar", members(0, 30))
    parquet(tmp_path / "other/a.parquet", [5, 100, 7])
    parquet(tmp_path / "third/a.parquet", [100, 200, 8])
    pool = with_others(
        tmp_path / "mine", evaluation={"pool": "other"}, meta_validation={"pool": "third"}, scorer=0.2
    )
    got = settled(
        tmp_path, pool, other=user_pool(tmp_path / "other", "parquet"),
        third=user_pool(tmp_path / "third", "parquet"),
    )  # fmt: skip
    assert len(got) == 36
    rejected = got[got["status"] == "rejected"]
    assert dict(zip(rejected["id"], rejected["reason"], strict=True)) == dict.fromkeys(
        ("third:a.parquet:0", "a/0005", "a/0007", "a/0008"), base.OTHER_SPLIT
    )
    assert list(got.loc[got["source"] == "other", "split"]) == ["evaluation"] * 3


def hpdv3(folder, pairs):
    """A list of compared images: a prompt and the numbers of two pictures."""
    folder.mkdir()
    items = []
    for prompt, one, two in pairs:
        for number in (one, two):
            (folder / f"{number}.png").write_bytes(encoded(picture(number)))
        items.append({"prompt": prompt, "path1": f"{one}.png", "path2": f"{two}.png", "confidence": 0.9})
    files.write_json(folder / "all.json", items)


def test_pairs_of_a_prompt_that_another_pool_has_are_rejected(tmp_path):
    hpdv3(tmp_path / "train", [("a cat", 0, 1), ("a dog", 2, 3), ("a bird", 4, 5)])
    hpdv3(tmp_path / "test", [("a dog", 12, 13), ("a fish", 14, 15)])
    pool = with_others(tmp_path / "train", "hpdv3", evaluation={"pool": "test"})
    got = settled(tmp_path, pool, test=user_pool(tmp_path / "test", "hpdv3"))
    assert Counter(zip(got["source"], got["caption"], got["reason"], strict=True)) == {
        ("test", "a dog", ""): 2, ("test", "a fish", ""): 2, ("mine", "a cat", ""): 2,
        ("mine", "a dog", base.OTHER_GROUP): 2, ("mine", "a bird", ""): 2,
    }  # fmt: skip


def test_folders_of_one_name_in_two_pools_are_no_group(tmp_path):
    write_pair(tmp_path / "mine", "cats/a", "words", 0)
    write_pair(tmp_path / "other", "cats/a", "words", 1)
    pool = user_pool(
        tmp_path / "mine", "folder", group="parent", splits={**NO_SPLITS, "evaluation": {"pool": "other"}}
    )
    got = found(pool, other=user_pool(tmp_path / "other", "folder", group="parent"))
    assert [(row.id, row.group, row.reason) for row in got] == [
        ("other:cats/a", "other:cats", ""), ("cats/a", "cats", ""),
    ]  # fmt: skip


def test_ids_that_look_like_those_of_another_pool_stay_unique(tmp_path):
    write_pair(tmp_path / "mine", "other:a", "words", 0)
    write_pair(tmp_path / "mine", "b", "words", 1)
    write_pair(tmp_path / "other", "a", "words", 2)
    pool = with_others(tmp_path / "mine", "folder", evaluation={"pool": "other"})
    got = found(pool, other=user_pool(tmp_path / "other"))
    assert {row.id: row.reason for row in got} == {
        "other:a": "", "b": "", "other:a#2": base.DUPLICATE_ID,
    }  # fmt: skip


def test_a_pool_that_is_its_own_evaluation_set_is_refused(tmp_path):
    write_tar(tmp_path / "a.tar", members(0, 5))
    pool = with_others(tmp_path, evaluation={"pool": "again"})
    told = (
        rf"no usable pair for its split pool \(5 x evaluation, 5 x {base.OTHER_SPLIT}\): a pool that "
        r"pools\.mine\.splits names holds the same; one is the least"
    )
    with pytest.raises(Refusal, match=told):
        settled(tmp_path, pool, again=user_pool(tmp_path, "webdataset"))


def test_a_mistake_in_another_pool_names_its_block(tmp_path):
    write_tar(tmp_path / "a.tar", members(0, 5))
    pool = with_others(tmp_path, evaluation={"pool": "clean"})
    clean = user_pool(tmp_path / "nowhere", "parquet")
    for give in (lambda: found(pool, clean=clean), lambda: expected(pool, {"clean": clean})):
        with pytest.raises(Refusal, match=r"^pools\.clean: path is '.*nowhere', which does not exist"):
            give()


def test_another_pool_without_a_usable_pair_is_refused_by_its_name(tmp_path):
    write_tar(tmp_path / "a.tar", members(0, 5))
    write_pair(tmp_path / "other", "a", None, 0)
    pool = with_others(tmp_path, evaluation={"pool": "other"})
    with pytest.raises(Refusal, match=r"^pools\.mine\.splits\.evaluation\.pool is other, of which no usable"):
        found(pool, other=user_pool(tmp_path / "other"))


def test_the_store_counts_by_source_and_reads_from_every_root(tmp_path):
    write_tar(tmp_path / "mine/a.tar", members(0, 20))
    parquet(tmp_path / "other/a.parquet", [5, *range(100, 110)])
    hpdv3(tmp_path / "test", [("a dog", 212, 213), ("a fish", 214, 215)])
    pool = with_others(
        tmp_path / "mine", evaluation={"pool": "test"}, meta_validation={"pool": "other"}, scorer=0.3
    )
    others = {
        "test": user_pool(tmp_path / "test", "hpdv3"), "other": user_pool(tmp_path / "other", "parquet"),
    }  # fmt: skip
    settled(tmp_path, pool, **others)
    card = files.read_json(tmp_path / "data/pool/card.json")
    assert sorted(card["sources"]) == ["mine", "other", "test"]
    for split, counts in card["counts"].items():
        added = sum((Counter(one[split]) for one in card["sources"].values()), Counter())
        assert added == Counter(counts)
    assert card["sources"]["other"]["meta_val"] == {"ok": 11}
    own = sum((Counter(counts) for counts in card["sources"]["mine"].values()), Counter())
    assert own == {"ok": 19, base.OTHER_SPLIT: 1}
    assert card["pairs"] == 35
    index = read_index(tmp_path / "data/pool")
    assert dict(index["source"].value_counts()) == {"mine": 20, "other": 11, "test": 4}
    mixed = index[index["status"] == "ok"].sample(frac=1, random_state=0)
    known = {f"other:a.parquet:{i}": n for i, n in enumerate([5, *range(100, 110)])}
    known |= {f"a/{i:04d}": i for i in range(20)}
    for row, image in zip(mixed.itertuples(), images(tmp_path / "data/pool", mixed), strict=True):
        number = known[row.id] if row.id in known else int(row.id.split(":")[1].split("/")[0])
        assert (image == decode(encoded(picture(number)), 16)[0]).all()
    assert len(usable(index, "evaluation")) == 4
    extra = read_extra(tmp_path / "data/pool")
    assert set(extra["id"]) == set(index.loc[index["source"] == "test", "id"])


def test_what_sources_say_of_pairs_may_differ_in_its_columns(tmp_path):
    hpdv3(tmp_path / "train", [("a cat", 0, 1), ("a dog", 2, 3)])
    (tmp_path / "mjhq/animals").mkdir(parents=True)
    (tmp_path / "mjhq/animals/x.jpg").write_bytes(encoded(picture(9), "JPEG"))
    files.write_json(tmp_path / "mjhq/meta_data.json", {"x": {"category": "animals", "prompt": "a bird"}})
    pool = with_others(tmp_path / "train", "hpdv3", evaluation={"pool": "mjhq"})
    others = {"mjhq": user_pool(tmp_path / "mjhq", "mjhq30k")}
    (tmp_path / "pool").mkdir()
    write_pool(tmp_path / "pool", rows(pool, 1, "mine", others), 16, 8, {}, None, roots(pool, "mine", others))
    extra = read_extra(tmp_path / "pool").set_index("id")
    assert extra.loc["mjhq:x", "category"] == "animals"
    assert extra["category"].notna().sum() == 1
    assert extra["repeats"].sum() == 4
    assert {"extra.parquet", "extra-1.parquet"} < set(files.check_manifest(tmp_path / "pool")["files"])
