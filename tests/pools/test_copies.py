"""What becomes of copies: tests of copies.py, settled.py and the stage, on equal pixels and told clusters."""

import dataclasses
import random

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pool_helpers import emoji_pool, encoded, picture, settled, user_pool, write_tar

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.settings.copies import CopiesSettings
from alchemist.core.stateless import id_uniforms, key
from alchemist.pools import base, copies
from alchemist.pools import folder as folder_format
from alchemist.pools.base import Found
from alchemist.pools.image import decode
from alchemist.pools.read import rows
from alchemist.pools.row import SPLITS
from alchemist.pools.store import check, images, read_extra, usable

THIRDS = {"meta_validation": 0.25, "evaluation": 0.25, "scorer": 0.25}
POOL, EVALUATION = SPLITS.index("pool"), SPLITS.index("evaluation")


def some(count=24):
    """Names with the number of a picture and a caption: every third is a copy of the pair before it."""
    return [
        (f"{i:02d}", i - 1 if i % 3 == 2 else i, "same words" if i % 6 in (1, 2) else f"words {i}")
        for i in range(count)
    ]


def write(root, source, pairs):
    """Pairs as files of a format in the given order, with equal ids whatever the format."""
    root.mkdir(parents=True)
    if source == "folder":
        lines = ["id,file_name,caption"]
        for place, (name, number, caption) in enumerate(pairs):
            (root / f"{place:03d}.png").write_bytes(encoded(picture(number)))
            lines.append(f"a/{name},{place:03d}.png,{caption}")
        (root / "metadata.csv").write_text("\n".join(lines))
    elif source == "webdataset":
        held = [
            ((f"{name}.png", encoded(picture(number))), (f"{name}.txt", caption.encode()))
            for name, number, caption in pairs
        ]
        write_tar(root / "a.tar", [member for pair in held for member in pair])
    else:
        table = {
            "id": [f"a/{name}" for name, _, _ in pairs],
            "image": [encoded(picture(number)) for _, number, _ in pairs],
            "caption": [caption for _, _, caption in pairs],
        }
        pq.write_table(pa.table(table), root / "a.parquet", row_group_size=5)


def prepared(folder, source, pairs, **changes):
    """The index of a pool of these pairs."""
    write(folder / "mine", source, pairs)
    columns = {"columns": {"id": "id"}} if source == "parquet" else {}
    return settled(folder, user_pool("mine", source, **columns, **changes))


def told(index):
    """What was decided of each pair."""
    return index.set_index("id")[["split", "status", "reason", "lent", "cluster"]].sort_index()


def facts_of(folder):
    return files.read_json(folder / "data/pool/copies.json")


def test_neither_the_order_nor_the_format_of_files_changes_anything(tmp_path):
    pairs = some(60)
    shuffled = random.Random(0).sample(pairs, len(pairs))
    found = {
        (source, order): prepared(
            tmp_path / source / order, source, given, splits=THIRDS,
            copies={"find": False, "drop": "always", "seed": 3},
        )
        for source in ("folder", "webdataset", "parquet")
        for order, given in (("sorted", pairs), ("shuffled", shuffled))
    }  # fmt: skip
    first = told(found["folder", "sorted"])
    for (source, order), index in found.items():
        assert told(index).equals(first), (source, order)
        facts = facts_of(tmp_path / source / order)
        assert facts == facts_of(tmp_path / "folder/sorted")
    # Not for want of anything to decide.
    assert first["reason"].value_counts()[base.DUPLICATE] == 10
    assert first["reason"].value_counts()[base.NEAR] >= 1
    assert facts["moved"] >= 5
    ok = first[first["status"] == "ok"]
    assert (ok.groupby("cluster")["split"].nunique() == 1).all()
    assert not ok["lent"][ok["split"] == "pool"].any()
    held = ok[ok["split"] != "pool"]
    assert (held.groupby("cluster")["lent"].sum() == 1).all()
    assert not held["lent"].all()


def test_of_exact_duplicates_one_stays_by_a_hash_of_seed_and_id(tmp_path):
    pairs = [(f"{i:02d}", 0, "words") for i in range(20)] + [("x", 1, "words")]
    kept = set()
    for seed in range(4):
        index = prepared(tmp_path / str(seed), "webdataset", pairs, copies={"find": False, "seed": seed})
        found = told(index)
        ids = [f"a/{name}" for name, _, _ in pairs[:-1]]
        first = ids[int(np.argmin(id_uniforms(ids, "copies", seed)))]
        assert dict(found["reason"]) == {
            **dict.fromkeys(ids, base.DUPLICATE), first: "", "a/x": "",
        }  # fmt: skip
        assert (found.loc[ids, "cluster"] == key(first)).all()
        assert found.loc["a/x", "cluster"] == key("a/x")
        kept.add(first)
    assert len(kept) > 1


def test_a_pair_without_copies_is_in_the_split_that_it_has_alone(tmp_path):
    pool = user_pool("mine", "webdataset", splits=THIRDS)
    write(tmp_path / "mine", "webdataset", some(60))
    index = settled(tmp_path, pool)
    alone = index.groupby("pixels")["id"].transform("size") == 1
    assert alone.sum() == 20
    shares = np.searchsorted([0.25, 0.5, 0.75], id_uniforms(index["id"], "split", pool.seed), side="right")
    drawn = np.array(["meta_val", "evaluation", "scorer", "pool"])[shares]
    assert (index["split"] == drawn)[alone].all()
    # A copy lies where the first pair of its cluster was drawn to.
    first = pd.Series(drawn, index=[key(name) for name in index["id"]])
    ok = index["status"] == "ok"
    assert (index["split"] == index["cluster"].map(first))[ok].all()
    assert (index["split"] != drawn)[ok].any()


@pytest.mark.parametrize("drop", ["auto", "always", "never"])
def test_copies_are_dropped_in_the_split_pool_where_there_are_many(tmp_path, drop):
    pairs = [(f"{i:02d}", i % 20, f"words {i}") for i in range(60)]  # three of each picture
    for share, keep in ((0.7, 1), (0.6, 1), (0.6, 2), (0.6, None)):
        folder = tmp_path / f"{share}-{keep}"
        index = prepared(
            folder, "webdataset", pairs, splits=THIRDS,
            copies={"find": False, "drop": drop, "share": share, "keep": keep},
        )  # fmt: skip
        dropped = drop == "always" or (drop == "auto" and share < 2 / 3)
        facts = facts_of(folder)
        assert facts["dropped"] == (dropped and keep is not None)
        ok = index[index["status"] == "ok"]
        sizes = ok.groupby(["split", "cluster"]).size()
        assert len(sizes) == 20
        assert set(sizes["pool"]) == {keep if facts["dropped"] else 3}
        assert set(sizes.drop("pool")) == {3}
        held = ok[ok["split"] != "pool"]  # copies that are no more rated than those of the split pool
        assert set(held.groupby("cluster")["lent"].sum()) == {keep if facts["dropped"] else 3}
        assert facts["unrated"] == (~held["lent"]).sum()
        assert (held["lent"] == (held["reason"] == "")).all(), "and each of those has a reason"
        assert set(held["reason"]) <= {"", base.NEAR_HELD}
        late = index[index["reason"] == base.NEAR]
        assert (late["split"] == "pool").all()
        assert len(late) == (len(sizes["pool"]) * (3 - keep) if facts["dropped"] else 0)
        if keep == 1 and facts["dropped"]:
            assert (ok["cluster"] == ok["id"].map(key))[ok["split"] == "pool"].all()


def test_what_is_told_adds_up(tmp_path):
    pairs = [("00", 0, "a"), ("01", 0, "a"), ("02", 0, "b"), ("03", 0, "c"), ("04", 1, "c"), ("05", 2, "e"),
             ("06", 2, "E."), ("07", 3, "f")]  # fmt: skip
    write(tmp_path / "mine", "webdataset", pairs)
    with (tmp_path / "mine/b.tar").open("wb") as file:
        file.write(b"cut")
    index = settled(tmp_path, user_pool("mine", "webdataset"))
    facts = facts_of(tmp_path)
    # One of 00 and 01 is left, so seven pairs with a, b, f and twice c and e; 0 three times, 2 twice.
    assert (facts["pairs"], facts["copies"], facts["clusters"], facts["moved"]) == (7, 3, 2, 0)
    assert facts["share"] == pytest.approx(3 / 7)
    assert (facts["captions"], facts["captions_repeated"]) == (5, pytest.approx(2 / 5))
    assert facts["pairs_of_own_caption"] == pytest.approx(3 / 7)
    assert facts["left_out"] == {base.DUPLICATE: 1, base.NEAR: 3}
    assert facts["dropped"]
    assert "42.9 % of the pairs are copies of another, more than 5 %" in facts["why"]
    assert [one["size"] for one in facts["largest"]] == [3, 2]
    known = dict(zip(index["id"], index["caption"], strict=True))
    for one, member in zip(facts["largest"], ("a/02", "a/05"), strict=True):
        assert member in one["ids"]
        assert one["captions"] == [known[name] for name in one["ids"]]
        assert one["split"] == "pool"
        assert index.set_index("id").loc[one["ids"][0], "status"] == "ok"
    card = files.read_json(tmp_path / "data/pool/card.json")
    assert card["counts"]["pool"] == {"ok": 4, "truncated or unreadable tar": 1, **facts["left_out"]}
    assert (card["pairs"], card["ok"]) == (len(index), 4)
    outcome = index["reason"].where(index["status"] != "ok", "ok")
    assert dict(outcome.value_counts()) == card["counts"]["pool"]


def test_the_final_pool_reads_images_where_prepare_left_them(tmp_path, monkeypatch):
    write(tmp_path / "mine", "parquet", some())
    index = settled(tmp_path, user_pool("mine", "parquet"))
    monkeypatch.chdir(tmp_path)
    ok = usable(index, "pool")
    assert len(ok) == 16
    read = {row.id: row for row in rows(user_pool("mine", "parquet"), 1, "mine")}
    at = [read[name].image.place.row for name in ok["id"]]
    again = [some()[place][1] for place in at]
    assert len(set(again)) == 16
    found = images(tmp_path / "data/pool", ok)
    first = images(tmp_path / "data/read", ok)
    assert (found == first).all()
    # Of a copy that was left out it is still known where its picture lies, to show it.
    late = index[index["reason"] == base.NEAR]
    assert images(tmp_path / "data/pool", late).shape == (len(late), 16, 16, 3)


def test_a_composed_pool_passes_through_unchanged_and_tells_of_no_copies(tmp_path):
    pool = emoji_pool(pairs=60, shard_pairs=40)
    index = settled(tmp_path, pool)
    read, final = tmp_path / "data/read", tmp_path / "data/pool"
    assert (final / "index.parquet").read_bytes() == (read / "index.parquet").read_bytes()
    assert {path.name for path in final.iterdir()} == {
        "index.parquet", "card.json", "copies.json", "manifest.json",
    }  # fmt: skip
    cards = [files.read_json(folder / "card.json") for folder in (read, final)]
    assert cards[1].pop("shards") == "../read"
    assert cards[0] == cards[1]
    assert facts_of(tmp_path) == {"looked": False}
    assert (images(final, index) == images(read, index)).all()


def test_images_without_files_of_their_own_stay_where_they_were_read_and_are_checked_there(
    tmp_path, monkeypatch
):
    (tmp_path / "mine").mkdir()
    contents = [encoded(picture(i)) for i in range(6)]
    found = [Found(f"x{i}", f"words {i}", content) for i, content in enumerate(contents)]
    monkeypatch.setattr(folder_format, "read", lambda _: iter(found))
    index = settled(tmp_path, user_pool("mine"))
    final = tmp_path / "data/pool"
    assert set(index["place"]) == {"bytes"}
    assert not list(final.glob("bytes*"))
    assert all(
        (image == decode(content, 16)[0]).all()
        for image, content in zip(images(final, index), contents, strict=True)
    )
    check(final)
    shard = tmp_path / "data/read/bytes-00000.bin"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(Refusal, match=r"read/bytes-00000\.bin is not the file"):
        check(final)


def test_what_else_is_known_of_pairs_comes_along(tmp_path):
    (tmp_path / "mine").mkdir()
    items = []
    for one in range(3):
        (tmp_path / f"mine/{one}.png").write_bytes(encoded(picture(one)))
        items.append({"prompt": "words", "path1": f"{one}.png", "path2": "0.png", "confidence": 0.9})
    files.write_json(tmp_path / "mine/all.json", items[1:])
    settled(tmp_path, user_pool("mine", "hpdv3"))
    assert read_extra(tmp_path / "data/pool").equals(read_extra(tmp_path / "data/read"))
    assert len(read_extra(tmp_path / "data/pool")) == 3


def test_a_pool_of_copies_of_one_is_refused(tmp_path):
    pairs = [(f"{i:02d}", 0, f"words {i}") for i in range(5)]
    told = r"All 5 usable pairs of pools\.mine are copies of one, pixel by pixel; .* at least: other pairs\."
    with pytest.raises(Refusal, match=told):
        prepared(tmp_path, "webdataset", pairs)
    assert not (tmp_path / "data/pool").exists()


def test_a_pool_of_one_pair_over_and_over_is_refused_alike(tmp_path):
    pairs = [(f"{i:02d}", 0, "the same words") for i in range(5)]
    with pytest.raises(Refusal, match=r"All 5 usable pairs of pools\.mine are copies of one, pixel by pixel"):
        prepared(tmp_path, "webdataset", pairs)


def test_one_cluster_of_other_pixels_may_be_left_unsought():
    pairs, _ = drawn(0, 30)
    pairs = dataclasses.replace(pairs, source=np.full(30, 2, np.uint8), split=np.zeros(30, np.uint8))
    settings = CopiesSettings(threshold=0.5)
    done = copies.settle(pairs, pairs.ranked()[np.zeros(30, np.int64)], settings)
    told = r"All \d+ usable .* by pools\.x\.copies\.threshold 0\.5; .* pools\.x\.copies\.find: false\."
    with pytest.raises(Refusal, match=told):
        copies.refuse_one_cluster(pairs, done, settings, "pools.x")


def test_a_split_that_loses_all_its_pairs_is_refused(tmp_path):
    pairs = [(f"{i:02d}", i % 2, f"words {i}") for i in range(40)]  # two clusters for four splits
    told = r"has no usable pair for its split pool \(20 x meta_validation, 20 x evaluation\): a group, and"
    with pytest.raises(Refusal, match=rf"^pools\.mine {told}"):
        prepared(tmp_path, "webdataset", pairs, splits=THIRDS)


# ---------------------------------------------------------------------- clusters that are told


def drawn(seed, count=800):
    """Pairs of two pools that are splits and an own one, with groups of several, and clusters."""
    rng = np.random.default_rng(seed)
    own = rng.random(count) < 0.7
    source = np.where(own, 2, rng.integers(0, 2, count)).astype(np.uint8)
    group = np.where(rng.random(count) < 0.4, rng.integers(0, 40, count), 1000 + np.arange(count))
    by_group = np.random.default_rng(seed + 1).integers(0, 3, 1000 + count)  # one draw a group
    split = np.choose(source, [EVALUATION, SPLITS.index("meta_val"), 0]).astype(np.uint8)
    shares = np.array([POOL, SPLITS.index("scorer"), SPLITS.index("pretraining")], np.uint8)
    split[own] = shares[by_group[group[own]]]
    cluster = np.where(rng.random(count) < 0.5, rng.integers(0, 150, count), 200 + np.arange(count))
    pixels = np.where(rng.random(count) < 0.3, cluster, 1000 + np.arange(count))
    order = np.empty(count, np.int64)
    order[np.lexsort((rng.random(count), source))] = np.arange(count)
    pairs = copies.Pairs(
        rng.permutation(count).astype(np.uint64), order, source, split, group.astype(np.uint64),
        words := rng.integers(0, 5, count).astype(np.uint64), words, pixels.astype(np.uint64), 2,
    )  # fmt: skip
    _, first, back = np.unique(cluster, return_index=True, return_inverse=True)
    return pairs, first[back]


def moved_about(pairs, found, seed):
    """The same pairs in another order of rows."""
    turn = np.random.default_rng(seed).permutation(len(found))
    back = np.argsort(turn)
    fields = [getattr(pairs, name)[turn] for name in copies.Pairs.__dataclass_fields__ if name != "own"]
    return copies.Pairs(*fields, pairs.own), back[found[turn]], turn, back


@pytest.mark.parametrize("seed", range(6))
def test_no_group_and_no_cluster_lies_in_two_splits_and_held_out_pools_stay_whole(seed):
    pairs, found = drawn(seed)
    settings = CopiesSettings(drop="always")
    done = copies.settle(pairs, found, settings)
    copies.check(pairs, done)
    kept, own = done.reason == 0, pairs.source == 2
    reasons = np.array(copies.REASONS)[done.reason]
    for which in (pairs.group, pairs.pixels, found):
        table = pd.DataFrame({"of": which[kept], "split": done.split[kept]})
        assert (table.groupby("of")["split"].nunique() == 1).all()
    # What the first pool holds stays but for its own duplicates; nothing of it moves.
    assert set(reasons[pairs.source == 0]) <= {"", base.DUPLICATE}
    assert (done.split[~own] == pairs.split[~own]).all()
    # An own pair stays out of a cluster and a group that another pool has.
    lent = ~own & kept
    assert not np.isin(found[own & kept], found[lent]).any()
    assert not np.isin(pairs.group[own & kept], pairs.group[~own]).any()
    # What is alone in cluster and group stays where it was.
    alone = own & (np.bincount(found, minlength=len(found))[found] == 1)
    single = alone & (pd.Series(pairs.group).map(pd.Series(pairs.group).value_counts()) == 1).to_numpy()
    assert single.sum() > 20
    assert kept[single].all()
    assert (done.split[single] == pairs.split[single]).all()
    # In the split pool the first of a cluster stays.
    for name in np.unique(found[own & kept & (done.split == POOL)]):
        members = np.flatnonzero((found == name) & own & (done.split == POOL))
        members = members[np.isin(reasons[members], ["", base.NEAR])]
        members = members[np.argsort(pairs.order[members])]
        assert list(reasons[members]) == ["", *[base.NEAR] * (len(members) - 1)]
    assert (done.split[reasons == base.NEAR] == POOL).all()


def test_every_reason_is_met_in_these_pools():
    met = [copies.settle(*drawn(seed), CopiesSettings(drop="always")).reason for seed in range(6)]
    assert set(np.concatenate(met)) == set(range(len(copies.REASONS)))


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_rows_changes_nothing(seed):
    pairs, found = drawn(seed)
    other, again, turn, back = moved_about(pairs, found, seed)
    one, two = (
        copies.settle(*given, CopiesSettings(drop="always")) for given in ((pairs, found), (other, again))
    )
    assert (one.split[turn] == two.split).all()
    assert (one.reason[turn] == two.reason).all()
    assert (back[one.leader[turn]] == two.leader).all()
    assert one.facts == two.facts
    assert [list(back[rows]) for rows in one.largest] == [list(rows) for rows in two.largest]


def test_a_copy_with_a_group_of_several_elsewhere_stays_out_and_one_without_moves():
    split = np.array([EVALUATION, POOL, POOL, POOL, POOL], np.uint8)
    group = np.array([1, 2, 2, 3, 4], np.uint64)
    apart = np.arange(5).astype(np.uint64)
    pairs = copies.Pairs(apart, np.arange(5), np.zeros(5, np.uint8), split, group, apart, apart, apart, 0)
    done = copies.settle(pairs, np.array([0, 0, 2, 0, 4]), CopiesSettings())
    assert [copies.REASONS[code] for code in done.reason] == ["", base.NEAR_SPLIT, "", "", ""]
    assert list(done.split) == [EVALUATION, POOL, POOL, EVALUATION, POOL]
    assert done.facts["moved"] == 1


def test_groups_or_clusters_in_two_splits_stop_the_stage():
    apart = np.arange(2).astype(np.uint64)
    split = np.array([POOL, EVALUATION], np.uint8)
    same = np.zeros(2, np.uint64)
    for group, pixels, leader in ((same, apart, [0, 1]), (apart, same, [0, 1]), (apart, apart, [0, 0])):
        pairs = copies.Pairs(
            apart, np.arange(2), np.zeros(2, np.uint8), split, group, apart, apart, pixels, 0
        )
        done = copies.Settled(split, np.zeros(2, np.uint8), np.array(leader), {}, [], np.zeros(2, np.bool_))
        with pytest.raises(AssertionError, match="in two splits"):
            copies.check(pairs, done)
