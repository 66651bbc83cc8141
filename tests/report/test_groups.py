"""Groups of near-duplicates: which pairs are of one, and which of them are shown."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_helpers import EVIL, pairs_of, part, run, text

from alchemist.core import files
from alchemist.report.groups import GROUPS, MEMBERS, groups


def index_of(sizes: list[int]) -> pd.DataFrame:
    """Clusters of some sizes, all usable."""
    rows = [
        {"id": f"{number}-{i}", "cluster": number, "group": f"g{number}", "status": "ok", "reason": ""}
        for number, size in enumerate(sizes)
        for i in range(size)
    ]
    return pd.DataFrame(rows)


def test_the_largest_groups_are_shown_and_all_are_counted_whatever_the_order_of_the_index() -> None:
    sizes = [1, 3, *range(2, 60), 1, 3]
    index = index_of(sizes)
    found = groups(index, True, None)
    assert found.count == len(sizes) - 2
    assert [len(group.every) for group in found.shown] == sorted(sizes, reverse=True)[:GROUPS]
    assert {len(group.shown) for group in found.shown} == {MEMBERS}
    for group in found.shown:
        assert len({name.split("-")[0] for name in group.every}) == 1
    assert found.sizes.to_dict() == {
        f"{number}-{i}": size for number, size in enumerate(sizes) if size > 1 for i in range(size)
    }
    again = groups(index.sample(frac=1, random_state=0), True, None)
    assert [group.shown for group in again.shown] == [group.shown for group in found.shown]


def test_dropped_copies_are_of_their_group_behind_the_rated_and_other_rejected_pairs_are_not() -> None:
    index = index_of([20, 2, 2])
    index.loc[:14, ["status", "reason"]] = "rejected", "near copy"
    index.loc[index["id"].isin(["1-0", "2-0"]), ["status", "reason"]] = "rejected", "unreadable image"
    (found,) = groups(index, True, None).shown
    assert len(found.every) == 20
    assert sorted(found.shown[:5]) == [f"0-{i}" for i in range(15, 20)]


def test_planted_copies_are_told_by_their_composition_alone() -> None:
    index = index_of([3, 2]).assign(cluster=range(5))
    kinds = pd.Series(["duplicate", "duplicate", "plain", "informative", "informative"], index=index["id"])
    found = groups(index, False, kinds)
    assert found.planted
    assert [sorted(group.shown) for group in found.shown] == [["0-0", "0-1"]]
    assert groups(index, False, None).shown == [], "nobody looked, and nothing is planted"
    assert groups(index, False, kinds.replace("duplicate", "plain")).shown == []


def test_the_page_has_groups_with_what_became_of_each_pair(
    grouped: tuple[Path, dict[str, list[str]]],
) -> None:
    root, clusters = grouped
    page = (root / "reports/index.html").read_text()
    held = pairs_of(page)
    pairs = held["pairs"]
    said = text(part(page, "explore"))
    assert "and 3 groups of near-duplicates, at most 8 pictures of each. Near-duplicates are pairs of" in said
    assert [group["size"] for group in held["groups"]] == [12, 3, 2]
    assert [group["rated"] for group in held["groups"]] == [12, 3, 1]
    for group, ids in zip(held["groups"], clusters.values(), strict=True):
        here = [pairs[number] for number in group["pairs"]]
        assert {pair["id"] for pair in here} <= set(ids)
        assert len(here) == min(len(ids), 8)
        assert {pair["copies"] for pair in here} == {len(ids)}
        for arm, name in enumerate(held["arms"]):
            if name == "topk, 50\N{NO-BREAK SPACE}%":
                subset = set(pd.read_parquet(root / "data/subsets/topk/0.5/0.parquet")["id"])
                assert group["kept"][arm] == len(subset & set(ids))
                assert all(pair["kept"][arm] == (pair["id"] in subset) for pair in here if pair["kept"])
    left = pairs[held["groups"][2]["pairs"][1]]
    assert (left["id"], left["left_out"], left["rank"], left["kept"]) == ("dropped", "near copy", [], [])
    assert left["caption"] == f"left {EVIL}"
    assert EVIL not in page
    assert held["drawn"] == 203, "the dropped one is in its group alone"
    assert sum(pair["copies"] == 1 for pair in pairs) == 203 - 12 - 3 - 1


def test_without_groups_there_is_no_menu_of_them(
    three: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = part((three / "reports/index.html").read_text(), "explore")
    assert 'name="together"' in planted
    assert "Near-duplicates are planted copies of one composition, which no rater sees." in text(planted)
    truth = pd.read_parquet(copy / "data/truth/truth.parquet")
    truth["kind"] = np.where(truth["kind"] == "duplicate", "plain", truth["kind"])
    truth.to_parquet(copy / "data/truth/truth.parquet", index=False)
    files.write_manifest(copy / "data/truth")
    page = (run(copy, monkeypatch) / "index.html").read_text()
    assert 'name="together"' not in page
    assert "near-duplicate" not in text(part(page, "explore"))
    assert pairs_of(page)["groups"] == []
