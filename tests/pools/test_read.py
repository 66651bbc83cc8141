from collections import Counter
from typing import get_args

import pytest
from pool_helpers import emoji_pool, encoded, members, outcomes, picture, user_pool, write_pair, write_tar

from alchemist.core.refusal import Refusal
from alchemist.pools import base, emoji
from alchemist.pools.image import decode
from alchemist.pools.read import ADAPTERS, FORMATS, licence, records, rows
from alchemist.pools.store import SPLITS, pixel_hash


def test_a_format_is_the_name_of_its_module_and_the_tag_of_its_blocks():
    assert set(FORMATS) == {"emoji", *ADAPTERS}
    assert all(get_args(block.model_fields["format"].annotation) == (n,) for n, block in FORMATS.items())
    assert [adapter.__name__ for adapter in ADAPTERS.values()] == [f"alchemist.pools.{n}" for n in ADAPTERS]


def test_the_licence_of_a_pool_is_its_own():
    assert licence(emoji_pool()) == emoji.LICENCE
    assert "CC BY-SA 4.0" in emoji.LICENCE
    assert licence(user_pool("x")) == "ours"


@pytest.mark.parametrize("source", ["folder", "webdataset", "parquet"])
def test_wrong_paths_are_refused(tmp_path, source):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.md").write_text("nothing")
    for path in (tmp_path / "nowhere", tmp_path / "empty"):
        with pytest.raises(Refusal, match=str(path)):
            list(rows(user_pool(path, source), 1))
    if source == "folder":
        write_pair(tmp_path, "a", "words", 0)
        with pytest.raises(Refusal, match="should be a folder"):
            list(rows(user_pool(tmp_path / "a.png", source), 1))


def test_a_pool_of_rejected_pairs_alone_is_refused_with_the_reasons(tmp_path):
    write_pair(tmp_path, "a", None, 0)
    write_pair(tmp_path, "b", None, 1)
    with pytest.raises(Refusal, match=r"no usable pair in split pool \(2 x missing caption\)"):
        list(rows(user_pool(tmp_path), 1))


def test_records_come_in_one_order_and_in_batches(tmp_path):
    write_tar(tmp_path / "a.tar", members(0, 150))
    pool = user_pool(tmp_path, "webdataset")
    found = [(r.id, r.caption, r.pixels) for r in records(pool)]
    assert [name for name, _, _ in found] == [f"a/{i:04d}" for i in range(150)]
    for i, (_, caption, pixels) in enumerate(found):
        assert caption == f"caption {i}"
        assert pixels == pixel_hash(decode(encoded(picture(i)), 16)[0])


def split_pool(tmp_path, count=120, **changes):
    write_tar(tmp_path / "a.tar", members(0, count))
    splits = {"meta_validation": 0.2, "evaluation": 0.2, "scorer": 0.2}
    return user_pool(tmp_path, "webdataset", splits=splits, **changes)


def test_user_splits_follow_their_shares_and_depend_on_the_id_alone(tmp_path):
    found = {row.id: row.split for row in rows(split_pool(tmp_path), 1)}
    counts = Counter(found.values())
    assert set(counts) == {*SPLITS} - {"pretraining"}
    assert 30 <= counts["pool"] <= 66  # 48 on average, sd 5.4
    fewer = {row.id: row.split for row in rows(split_pool(tmp_path, 60), 1)}
    assert fewer == {name: found[name] for name in fewer}
    reseeded = {row.id: row.split for row in rows(split_pool(tmp_path, seed=1), 1)}
    assert sum(found[name] != split for name, split in reseeded.items()) > 40


def test_equal_pixels_in_two_splits_are_rejected(tmp_path):
    same = encoded(picture(0))
    write_tar(
        tmp_path / "a.tar",
        [m for i in range(60) for m in ((f"{i}.png", same), (f"{i}.txt", f"words {i}".encode()))]
        + [m for n, c in members(1, 60) for m in ((f"x{n}", c),)],
    )
    splits = {"meta_validation": 0.3, "evaluation": 0.3, "scorer": 0.0}
    found = list(rows(user_pool(tmp_path, "webdataset", splits=splits), 1))
    assert len(found) == 120
    owners = {row.split for row in found if not row.reason and row.id.split("/")[1][0] != "x"}
    assert len(owners) == 1
    rejected = [row for row in found if row.reason == base.OTHER_SPLIT]
    assert rejected
    assert all(row.split not in owners and row.image is None for row in rejected)


def test_a_repeat_of_pixels_and_caption_is_rejected_and_the_first_stays(tmp_path):
    for name, caption, number in [("a", "one", 0), ("b", "one", 0), ("c", "two", 0), ("d", "one", 1)]:
        write_pair(tmp_path, name, caption, number)
    assert outcomes(user_pool(tmp_path)) == {"a": "", "b": base.DUPLICATE, "c": "", "d": ""}
