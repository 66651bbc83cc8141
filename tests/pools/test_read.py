import shutil
from collections import Counter
from typing import get_args

import pytest
from pool_helpers import NO_SPLITS, emoji_pool, encoded, members, picture, user_pool, write_pair, write_tar

from alchemist.core.refusal import Refusal
from alchemist.pools import base, emoji
from alchemist.pools.image import decode
from alchemist.pools.read import ADAPTERS, FORMATS, licence, records, rows
from alchemist.pools.row import RARE
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
    with pytest.raises(Refusal, match=r"the pool has no usable pair .* pool \(2 x missing caption\)"):
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
    assert set(counts) == {*SPLITS} - {*RARE}
    assert 30 <= counts["pool"] <= 66  # 48 on average, sd 5.4
    fewer = {row.id: row.split for row in rows(split_pool(tmp_path, 60), 1)}
    assert fewer == {name: found[name] for name in fewer}
    reseeded = {row.id: row.split for row in rows(split_pool(tmp_path, seed=1), 1)}
    assert sum(found[name] != split for name, split in reseeded.items()) > 40


def test_a_sample_takes_whole_groups_whatever_else_there_is_and_reads_no_other_image(tmp_path):
    for i in range(60):
        write_pair(tmp_path / "mine", f"{i % 20:02d}/{i}", f"words {i}", i)
    (tmp_path / "mine/none.txt").write_text("words")
    whole, half = (user_pool(tmp_path / "mine", group="parent", sample=share) for share in (1.0, 0.5))
    found = {r.id: r for r in records(half)}
    assert found.keys() == {r.id for r in records(whole)}
    out = {r.group for r in found.values() if r.reason == base.UNSAMPLED}
    assert 3 <= len(out) <= 17  # 10 of 21, sd 2.3
    for record in found.values():
        told = base.MISSING_IMAGE if record.id == "none" else base.UNSAMPLED if record.group in out else ""
        assert record.reason == told
        assert (record.image is None) == bool(told)
    for group in out:
        shutil.rmtree(tmp_path / "mine" / group)
    (tmp_path / "mine/none.txt").unlink()
    kept = {r.id for r in records(half)}
    assert kept == {r.id for r in found.values() if not r.reason}
    reseeded = {r.group for r in records(half.model_copy(update={"seed": 1})) if r.reason}
    assert reseeded - out


def test_another_pool_is_taken_whole_whatever_its_sample(tmp_path):
    for name in ("mine", "other"):
        for i in range(20):
            write_pair(tmp_path / name, f"{name}{i}", f"{name} {i}", i + 100 * (name == "other"))
    splits = {**NO_SPLITS, "evaluation": {"pool": "other"}}
    got = rows(
        user_pool(tmp_path / "mine", splits=splits), 1, "mine",
        {"other": user_pool(tmp_path / "other", sample=0.2)},
    )  # fmt: skip
    assert not [row.reason for row in got if row.reason]
