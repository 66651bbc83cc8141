from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_helpers import PAIRS, part, run, text

from alchemist.analysis.words import DASH
from alchemist.core.refusal import Refusal
from alchemist.pools import base, store
from alchemist.pools.row import RARE, SPLITS
from alchemist.report.ledger import ledger, licences, merged, split_table


def test_the_ledger_adds_up_and_names_reasons(world: Path) -> None:
    page = (world / "reports" / "index.html").read_text()
    rows = text(part(page, "ledger"))
    assert "rejected of it: empty caption of it: unreadable image all" in rows
    assert f"full {DASH} 203 0 5 2 3 208" in rows
    assert "alchemist, 50 % 0 102 101 5 2 3 208" in rows
    assert "alchemist, 20 % 0 41 162 5 2 3 208" in rows
    assert "evaluation 12 0" in rows


def test_a_ledger_row_holds_for_every_seed(three: Path) -> None:
    rows = text(part((three / "reports" / "index.html").read_text(), "ledger"))
    assert "alchemist, 50 % 0, 1, 2 102 101 5 2 3 208" in rows
    assert "block40, 20 % 0, 1, 2 41 162 5 2 3 208" in rows


def test_a_pair_twice_in_one_seed_is_refused(three: Path, tmp_path: Path) -> None:
    index = store.read_index(three / "data" / "pool")
    index = index[index["split"] == "pool"]
    ids = index.loc[index["status"] == "ok", "id"].reset_index(drop=True)
    good, bad = ids[:40], pd.concat([ids[:39], ids[:1]])
    accounts = ledger(index, {("a", 0.2, 0): good, ("a", 0.2, 1): good, ("a", 0.2, 2): ids[:50]})
    assert [(a.kept, seeds) for a, seeds in merged(accounts)] == [
        (PAIRS, []), (40, [0, 1]), (50, [2]),
    ]  # fmt: skip
    with pytest.raises(Refusal, match=r"a at 0\.2, seed 1, does not add up"):
        ledger(index, {("a", 0.2, 0): good, ("a", 0.2, 1): bad})


def test_the_ledger_of_the_ids_has_every_own_pair_lent_ones_and_copies_that_are_not_rated() -> None:
    rows = [("a", "pool", "ok", ""), ("b", "pool", "ok", ""), ("c", "pool", "rejected", base.NEAR),
            ("d", "meta_val", "ok", ""), ("e", "meta_val", "ok", base.NEAR_HELD),
            ("f", "scorer", "rejected", base.EMPTY_CAPTION)]  # fmt: skip
    own = pd.DataFrame(rows, columns=["id", "split", "status", "reason"])
    whole, half = ledger(own, {("random", 0.5, 0): pd.Series(["a", "d"])})
    rejected = {base.EMPTY_CAPTION: 1, base.NEAR: 1, base.NEAR_HELD: 1}
    assert (whole.kept, whole.pruned, whole.rejected, whole.total) == (3, 0, rejected, 6)
    assert (half.kept, half.pruned, half.rejected, half.total) == (2, 1, rejected, 6)
    with pytest.raises(Refusal, match="'e', which is no usable pair"):
        ledger(own, {("random", 0.5, 0): pd.Series(["a", "e"])})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda ids: [*ids[1:], "evaluation-0000001"], "'evaluation-0000001', which is no usable pair"),
        (lambda ids: [*ids[1:], "bad-0"], "'bad-0', which is no usable pair"),
        (lambda ids: [*ids[1:], ids[1]], "102 kept [+] 102 pruned [+] 5 rejected are not 208 pairs"),
        (lambda ids: ids[1:], "was trained on 102 pairs, but its subset holds 101"),
    ],
)
def test_a_subset_that_does_not_fit_is_refused(
    copy: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any, said: str
) -> None:
    path = copy / "data" / "subsets" / "random" / "0.5" / "0.parquet"
    ids = pd.read_parquet(path)["id"].tolist()
    pd.DataFrame({"id": spoil(ids)}).to_parquet(path)
    with pytest.raises(Refusal, match=said):
        run(copy, monkeypatch)


def test_the_pool_of_the_report_is_the_split_that_is_pruned(world: Path) -> None:
    index = store.read_index(world / "data" / "pool")
    # So that a report that counted all would fail.
    assert set(index["split"]) == {*SPLITS} - {*RARE}


def card(**sources: dict[str, dict[str, int]]) -> dict[str, Any]:
    whole: dict[str, dict[str, int]] = {split: {} for split in SPLITS}
    for counts in sources.values():
        for split, found in counts.items():
            for outcome, count in found.items():
                whole[split][outcome] = whole[split].get(outcome, 0) + count
    full = {name: {split: counts.get(split, {}) for split in SPLITS} for name, counts in sources.items()}
    return {"pool": "mine", "licence": "ours", "sources": full, "counts": whole}


def test_splits_are_counted_by_source_where_there_are_several() -> None:
    mine = {"pool": {"ok": 5, "empty caption": 2, "exact duplicate": 1}, "scorer": {"ok": 1}}
    alone = split_table(card(mine=mine))
    assert alone.head == ["split", "usable", "rejected"]
    assert [row[0] for row in alone.rows] == list(SPLITS)
    both = card(other={"evaluation": {"ok": 9, "missing image": 1}}, mine=mine)
    table = split_table(both)
    assert table.head == ["pool", "split", "usable", "rejected"]
    assert table.rows == [
        ["other", "evaluation", "9", "1"], ["mine", "pool", "5", "3"], ["mine", "scorer", "1", "0"],
    ]  # fmt: skip
    both["counts"]["evaluation"]["ok"] += 1
    with pytest.raises(Refusal, match="do not add up in split evaluation"):
        split_table(both)


def test_the_licence_of_every_source_is_told() -> None:
    one = card(mine={})
    assert licences(one) == "ours"
    assert licences({**one, "others": {"other": {"licence": "theirs"}}}) == "mine: ours; other: theirs"
