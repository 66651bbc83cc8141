"""Where pairs came from: planted sources of a composed pool, kept columns, files and folders."""

import numpy as np
import pandas as pd
import pytest
from pool_helpers import emoji_pool

from alchemist.pools.emoji import bad_sources, source_of
from alchemist.pools.origin import origins
from alchemist.pools.read import rows
from alchemist.pools.row import ORIGIN
from alchemist.pools.store import LABELS, read_extra, read_index, write_pool
from alchemist.pools.truth import read_labels

SOURCES = {"count": 5, "bad": 2}


def key(row):
    return row.id, row.split, row.caption, row.group, row.reason, row.kind, row.image.tobytes()


def written(pool, folder):
    folder.mkdir()
    write_pool(
        folder / "pool", rows(pool, 1, "mine"), 16, 64, {"settings": pool.model_dump()}, folder / "truth"
    )
    return folder


def test_a_pool_without_sources_has_the_files_that_it_always_had(tmp_path):
    for part in ("pool", "truth"):
        (tmp_path / "a" / part).mkdir(parents=True)
    pool = emoji_pool(pairs=40)
    card = write_pool(
        tmp_path / "a/pool",
        rows(pool, 1, "mine"),
        16,
        64,
        {"settings": pool.model_dump()},
        tmp_path / "a/truth",
    )
    assert "sources" not in card["settings"]
    assert all(not row.extra and not row.labels for row in rows(pool, 1))
    assert not list((tmp_path / "a").rglob("extra*")) + list((tmp_path / "a").rglob(LABELS))
    assert origins(tmp_path / "a/pool")(read_index(tmp_path / "a/pool")) is None


def test_all_pairs_of_a_bad_source_are_flawed_and_no_others_change():
    plain = list(rows(emoji_pool(pairs=400), 1))
    for flaw in ("mismatched", "degraded"):
        pool = emoji_pool(pairs=400, sources={**SOURCES, "flaw": flaw})
        bad, found = bad_sources(pool), list(rows(pool, 1))
        assert len(bad) == 2
        assert [row.id for row in found] == [row.id for row in plain]
        for row, before in zip(found, plain, strict=True):
            number = source_of(pool, row.split, int(row.id.rpartition("-")[2]))
            assert row.extra == {ORIGIN: f"source-{number:03d}"}
            assert row.labels == {"bad_source": int(number in bad)}
            if number in bad:
                assert row.kind == flaw
            elif not (row.kind == "duplicate" or before.kind == "duplicate"):
                assert key(row) == key(before) or row.kind == before.kind == "plain"
        sizes = pd.Series([row.extra[ORIGIN] for row in found if row.split == "pool"]).value_counts()
        assert len(sizes) == 5
        assert sizes.between(50, 110).all()
        assert {row.kind for row in found if row.split == "evaluation"} == {"informative"}
        assert not any(row.labels["bad_source"] for row in found if row.split == "evaluation")


def test_sources_do_not_depend_on_the_number_of_processes_or_pairs():
    pool = emoji_pool(pairs=300, sources=SOURCES)
    one, two = (list(rows(pool, processes)) for processes in (1, 2))
    assert [key(row) for row in one] == [key(row) for row in two]
    assert [dict(row.extra) for row in one] == [dict(row.extra) for row in two]
    shorter = [row for row in rows(emoji_pool(pairs=50, sources=SOURCES), 1) if row.split == "pool"]
    assert [key(row) for row in shorter] == [key(row) for row in one[:50]]


def test_what_is_bad_lies_with_planted_truth(tmp_path):
    for part in ("pool", "truth"):
        (tmp_path / part).mkdir()
    pool = emoji_pool(pairs=60, sources=SOURCES)
    write_pool(tmp_path / "pool", rows(pool, 1, "mine"), 16, 64, {}, tmp_path / "truth")
    assert list(read_extra(tmp_path / "pool")) == ["id", ORIGIN]
    assert list(read_labels(tmp_path / "truth")) == ["id", "bad_source"]
    index = read_index(tmp_path / "pool")
    turned = index.sample(frac=1, random_state=0)
    told = origins(tmp_path / "pool")(turned)
    assert dict(zip(turned["id"], told, strict=True)) == dict(
        read_extra(tmp_path / "pool").to_numpy().tolist()
    )


def test_fewer_sources_are_bad_than_there_are():
    with pytest.raises(Exception, match=r"bad is 5; fewer than count \(5\) is legal"):
        emoji_pool(sources={"count": 5, "bad": 5})


def test_files_and_folders_are_origins_where_nothing_is_kept(tmp_path):
    index = pd.DataFrame(
        {
            "id": list("abcdef"),
            "source": "mine",
            "place": ["file", "file", "file", "parquet", "bytes", ""],
            "file": ["cats/1.png", "2.png", "x/0.tar", "y.parquet", "bytes-00000.bin", ""],
            "offset": [0, 0, 512, 3, 9, -1],
        }
    )
    found = origins(tmp_path)(index)
    assert found.tolist() == ["cats", ".", "x/0.tar", "y.parquet", "mine", "mine"]
    kept = pd.DataFrame({"id": ["b", "d", "z"], ORIGIN: ["here", "there", "nowhere"]})
    kept.to_parquet(tmp_path / "extra.parquet", index=False)
    assert origins(tmp_path)(index).tolist() == ["cats", "here", "x/0.tar", "there", "mine", "mine"]
    assert np.array_equal(origins(tmp_path)(index.iloc[::-1]), origins(tmp_path)(index)[::-1])


@pytest.mark.parametrize("kept", [["here", "", "nowhere"], ["here", None, "nowhere"], [3.0, np.nan, 4.0]])
def test_a_pair_whose_kept_origin_is_missing_is_of_its_file(tmp_path, kept):
    index = pd.DataFrame({"id": list("ab"), "source": "mine", "place": "parquet", "file": "y", "offset": 3})
    pd.DataFrame({"id": ["a", "b", "z"], ORIGIN: kept}).to_parquet(tmp_path / "extra.parquet", index=False)
    assert origins(tmp_path)(index).tolist() == [str(kept[0]), "y"]
