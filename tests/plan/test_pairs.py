"""How many pairs a split holds: counted, composed, stated, or refused."""

import json
from pathlib import Path

import pandas as pd
import pytest

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.settings.pool import PoolSettings
from alchemist.plan.pairs import Pairs, planned, prepared
from alchemist.pools.emoji import EmojiPool, expected
from alchemist.pools.read import pool_settings


def pools(path: Path, form: str = "folder", **more: object) -> dict[str, PoolSettings]:
    block = {
        "format": form, "path": str(path), "resolution": 32,
        "splits": {"meta_validation": 0.1, "evaluation": 0.2, "scorer": 0.0}, **more,
    }  # fmt: skip
    return {"mine": pool_settings(block, "pools.mine")}


def test_a_composed_pool_is_known() -> None:
    pool = pool_settings({"format": "emoji", "pairs": 70, "resolution": 32}, "pools.e")
    assert isinstance(pool, EmojiPool)
    found = planned("e", {"e": pool})
    assert found.pool == 70
    assert found.total == expected(pool)
    assert found.encoded == found.total - found.scorer


def test_files_are_counted_where_they_are(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number}.png").write_bytes(b"")
    found = planned("mine", pools(tmp_path, pairs=7))
    assert found == Pairs(28, 4, 8, 0, f"counted in {tmp_path}", lent=12)
    assert found.rated == found.encoded == found.total == 40
    part = planned("mine", pools(tmp_path, sample=0.5))
    assert (part.pool, part.meta_val, part.evaluation) == (14, 2, 4)


@pytest.mark.parametrize(("form", "why"), [("folder", "not there"), ("webdataset", "reading")])
def test_a_stated_number_stands_in(tmp_path: Path, form: str, why: str) -> None:
    path = tmp_path / "nowhere" if form == "folder" else tmp_path
    (tmp_path / "0.tar").write_bytes(b"")
    found = planned("mine", pools(path, form, pairs=30_000_000))
    assert (found.pool, found.meta_val, found.evaluation) == (21_000_000, 3_000_000, 6_000_000)
    assert why in found.source
    assert "30,000,000 as stated" in found.source


@pytest.mark.parametrize(("form", "why"), [("folder", "does not exist"), ("webdataset", "only reading")])
def test_nothing_is_guessed(tmp_path: Path, form: str, why: str) -> None:
    (tmp_path / "0.tar").write_bytes(b"")
    with pytest.raises(Refusal, match=f"{why}.*pools.mine.pairs"):
        planned("mine", pools(tmp_path / "no" if form == "folder" else tmp_path, form))


def test_a_prepared_pool_has_counted_itself(tmp_path: Path) -> None:
    counts = {"pool": {"ok": 5, "empty caption": 2}, "meta_val": {"ok": 3}, "evaluation": {"ok": 2}}
    (tmp_path / "card.json").write_text(json.dumps({"counts": {**counts, "scorer": {"ok": 4}}}))
    splits = ["pool"] * 5 + ["meta_val"] * 3 + ["evaluation"] * 2 + ["scorer"] * 4
    index = pd.DataFrame({"split": splits, "status": "ok"})
    index["lent"] = index["split"].isin(["meta_val", "scorer"])
    index.to_parquet(tmp_path / "index.parquet", index=False)
    files.write_manifest(tmp_path)
    found = prepared(tmp_path)
    assert found == Pairs(5, 3, 2, 4, "as prepared", lent=7, lent_scorer=4)
    assert (found.rated, found.encoded, found.total) == (12, 14, 14)


def test_a_split_that_is_another_pool_adds_its_pairs(tmp_path: Path) -> None:
    found = pools(tmp_path / "a", pairs=1000, splits={
        "meta_validation": 0.1, "evaluation": {"pool": "other"}, "scorer": 0.0,
    }) | {"other": pools(tmp_path / "b", pairs=70)["mine"]}  # fmt: skip
    counted = planned("mine", found)
    assert (counted.pool, counted.meta_val, counted.evaluation, counted.scorer) == (900, 100, 70, 0)
    assert counted.rated == 1000
