"""Ratings by the index: firsts of a cluster or a caption before seconds, and the arms that keep by them."""

import numpy as np
import pandas as pd
import pytest
import yaml
from workspace import REPO

from alchemist.pruning.laws import select
from alchemist.pruning.samplers import selection_settings
from alchemist.raters.kinds import caption_quota, copies
from alchemist.raters.ranks import ranks

SELECTIONS = yaml.safe_load((REPO / "params.yaml").read_text())["selections"]


@pytest.fixture
def rows():
    """Clusters of 1, 2, ..., 10 pairs, 55 in all, out of order; the last cluster is lent to another split."""
    of = np.repeat(np.arange(10), np.arange(1, 11))
    table = pd.DataFrame({"id": [f"pair-{i}" for i in range(55)], "cluster": of.astype(np.uint64) + 2**63})
    table["caption"] = [f"  A {'dog' if i % 2 else 'cat'}{'!' * (i % 3)} {i // 2}" for i in of]
    table["lent"] = of == 9
    return table.sample(frac=1, random_state=0)


def test_each_cluster_has_every_rank_once(rows):
    rating = ranks(rows["cluster"].to_numpy(), rows, 0)
    for _, own in pd.Series(rating).groupby(rows["cluster"].to_numpy()):
        assert sorted(own, reverse=True) == [float(-i) for i in range(len(own))]


def test_order_changes_nothing_and_the_seed_does(rows):
    found = pd.Series(ranks(rows["cluster"].to_numpy(), rows, 0), rows["id"])
    turned = rows.sort_values("id")
    again = pd.Series(ranks(turned["cluster"].to_numpy(), turned, 0), turned["id"])
    assert again.loc[found.index].tolist() == found.tolist()
    other = pd.Series(ranks(rows["cluster"].to_numpy(), rows, 1), rows["id"])
    assert (other != found).sum() > 20


def test_what_is_lent_comes_last_in_its_group(rows):
    """The first of the pairs that are trained on has rank 0, whoever else has the caption."""
    rows["lent"] = np.arange(55) % 3 > 0
    rating = ranks(np.zeros(55, dtype=np.uint64), rows, 0)
    assert rating[~rows["lent"].to_numpy()].min() == -18
    assert rating[rows["lent"].to_numpy()].max() == -19


def test_a_quota_counts_captions_that_are_one_together(rows):
    """Case, space and punctuation make no other caption."""
    rating = caption_quota.rate(rows, caption_quota.CaptionQuotaRater(kind="caption_quota"))
    words = rows["caption"].str.lower().str.split().str.join(" ").str.replace(r"!+", "", regex=True)
    assert (rating == 0).sum() == words.nunique()
    rows["caption"] = [f" {text.upper()} ..." if i % 2 else text for i, text in enumerate(rows["caption"])]
    again = caption_quota.rate(rows, caption_quota.CaptionQuotaRater(kind="caption_quota"))
    assert again.tolist() == rating.tolist()


def kept(rows, selection, ratio, seed=0):
    """Clusters of the ids that an arm of params.yaml keeps."""
    rating = copies.rate(rows, copies.CopiesRater(kind="copies"))
    law = selection_settings(SELECTIONS[selection], selection).model_copy(update={"seed": seed})
    ids = select(pd.DataFrame({"id": rows["id"], "rating": rating}), ratio, law)
    return rows.set_index("id").loc[ids, "cluster"]


def test_without_copies_every_cluster_counts_once(rows):
    assert sorted(kept(rows, "without_copies", 1.0) - np.uint64(2**63)) == list(range(10))


def test_a_half_without_copies_is_a_random_half_of_the_firsts(rows):
    found = {tuple(sorted(kept(rows, "copies_half", 5 / 55, seed))) for seed in range(10)}
    assert all(len(set(some)) == 5 for some in found)
    assert len(found) > 5


def test_a_half_of_many_copies_is_a_quota(rows):
    """28 of 55: one of each, then two of each that has as many, then three."""
    counts = kept(rows, "copies_half", 28 / 55).value_counts()
    assert counts.max() == 4
    assert counts.min() == 1
    assert sorted(counts)[:3] == [1, 2, 3]
