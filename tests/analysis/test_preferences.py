import itertools
import math

import numpy as np
import pandas as pd
import pytest

from alchemist.analysis.preferences import preference_auc

IDS = [f"id-{i}" for i in range(24)]


def brute(rating, labels, groups, within):
    """The share of all (win, loss) pairs in which the win is rated higher, ties half, one by one."""
    won = total = 0.0
    for first, second in itertools.product(labels.index, repeat=2):
        if not within or groups[first] == groups[second]:
            weight = labels.loc[first, "wins"] * labels.loc[second, "losses"]
            total += weight
            won += weight * ((rating[first] > rating[second]) + (rating[first] == rating[second]) / 2)
    return won / total


def test_both_figures_are_those_of_all_pairs_counted_one_by_one():
    rng = np.random.default_rng(0)
    rating = pd.Series(rng.integers(6, size=24).astype(float), IDS)  # with ties
    counts = {name: rng.integers(4, size=24) for name in ("wins", "losses")}
    labels = pd.DataFrame(counts, pd.Index(IDS, name="id")).sample(frac=1, random_state=1)
    groups = pd.Series([f"prompt {i % 5}" for i in range(24)], IDS).sample(frac=1, random_state=2)
    found = preference_auc({"a": {3: rating}}, labels, groups)["a"][3]
    wanted = [brute(rating, labels, groups, within) for within in (False, True)]
    assert found == pytest.approx(wanted)
    assert abs(wanted[0] - wanted[1]) > 0.01


def test_within_a_prompt_it_plays_no_part_how_well_the_prompt_is_rated():
    groups = pd.Series([f"prompt {i // 2}" for i in range(24)], IDS)
    wins = np.tile([1, 0], 12)
    labels = pd.DataFrame({"wins": wins, "losses": 1 - wins}, IDS)
    rating = pd.Series(np.arange(24) // 2 * 10.0 + wins, IDS)
    over_all, within = preference_auc({"a": {0: rating}}, labels, groups)["a"][0]
    assert within == 1.0
    # Of two prompts the better rated one wins whatever people said: an even chance but for the 12 own pairs.
    assert over_all == pytest.approx((12 + 66) / 144)


def test_labels_of_pairs_that_are_not_rated_do_not_count():
    groups = pd.Series("prompt", IDS)
    labels = pd.DataFrame({"wins": [1, 0, 5], "losses": [0, 1, 0]}, [IDS[0], IDS[1], "rejected"])
    rating = pd.Series(np.arange(24.0), IDS)
    assert preference_auc({"a": {0: rating, 1: -rating}}, labels, groups) == {"a": {0: (0, 0), 1: (1, 1)}}


def test_without_a_comparison_there_is_no_figure():
    rating, groups = pd.Series(np.arange(24.0), IDS), pd.Series("prompt", IDS)
    labels = pd.DataFrame({"wins": [0], "losses": [1]}, [IDS[0]])
    assert all(map(math.isnan, preference_auc({"a": {0: rating}}, labels, groups)["a"][0]))
    assert all(map(math.isnan, preference_auc({"a": {0: rating}}, labels.iloc[:0], groups)["a"][0]))
