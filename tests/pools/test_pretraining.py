"""The neutral split: beside the others, and out of their way."""

import json

import pytest
from pool_helpers import NO_SPLITS, emoji_pool, encoded, picture, user_pool

from alchemist.core import files
from alchemist.pools.emoji import compose
from alchemist.pools.read import roots, rows
from alchemist.pools.store import read_index, usable, write_pool


def key(row):
    return row.id, row.split, row.caption, row.group, row.reason, row.pixels


def written(pool, folder):
    folder.mkdir()
    write_pool(
        folder, rows(pool, 1, "mine"), 16, 64, {"settings": pool.model_dump()}, roots=roots(pool, "mine")
    )
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_composed_pool_keeps_every_pair_of_its_other_splits():
    sizes = {
        "pairs": 60,
        "meta_validation": {"pairs": 20},
        "evaluation": {"pairs": 10},
        "scorer": {"pairs": 5},
    }
    plain, more = (
        list(rows(emoji_pool(**sizes, **extra), 1)) for extra in ({}, {"pretraining": {"pairs": 80}})
    )
    assert [key(row) for row in more[: len(plain)]] == [key(row) for row in plain]
    assert {row.split for row in more[len(plain) :]} == {"pretraining"}
    assert len(more) == len(plain) + 80
    # As the pool is made, and no picture of another split.
    pool = emoji_pool(**sizes)
    shares, seen = pool.shares.model_dump(), {row.pixels for row in plain}
    for place, row in enumerate(more[len(plain) :]):
        first = compose(pool.seed, "pretraining", place, shares, pool.concepts, pool.resolution)
        assert row.kind == first.kind
        assert row.pixels not in seen


@pytest.mark.parametrize("source", ["emoji", "folder"])
def test_a_pool_without_it_has_the_files_that_it_always_had(tmp_path, source):
    if source == "emoji":
        pool, none = emoji_pool(pairs=20), emoji_pool(pairs=20, pretraining={"pairs": 0})
    else:
        people(tmp_path / "mine", 12)
        pool = user_pool(tmp_path / "mine")
        none = user_pool(tmp_path / "mine", splits={**NO_SPLITS, "pretraining": 0.0})
    found = written(none, tmp_path / "b")
    assert found == written(pool, tmp_path / "a")
    card = json.loads(found["card.json"])
    assert set(card["counts"]) == {"pool", "meta_val", "evaluation", "scorer"}
    assert "pretraining" not in card["settings"]
    assert "pretraining" not in card["settings"].get("splits", {})


def people(folder, count):
    folder.mkdir()
    for i in range(count):
        (folder / f"{i:03d}.png").write_bytes(encoded(picture(i)))
        (folder / f"{i:03d}.txt").write_text(f"caption {i}")


def test_a_share_is_taken_from_the_pool_alone(tmp_path):
    people(tmp_path / "mine", 200)
    splits = {"meta_validation": 0.2, "evaluation": 0.1, "scorer": 0.1}
    before = {row.id: row.split for row in rows(user_pool(tmp_path / "mine", splits=splits), 1)}
    pool = user_pool(tmp_path / "mine", splits={**splits, "pretraining": 0.3})
    after = {row.id: row.split for row in rows(pool, 1)}
    moved = {name for name, split in after.items() if split != before[name]}
    assert {before[name] for name in moved} == {"pool"}
    assert moved == {name for name, split in after.items() if split == "pretraining"}
    assert 35 <= len(moved) <= 85  # 60 on average, sd 6.5
    written(pool, tmp_path / "out")
    assert len(usable(read_index(tmp_path / "out"), "pretraining")) == len(moved)
    assert files.read_json(tmp_path / "out/card.json")["counts"]["pretraining"] == {"ok": len(moved)}
