"""Which pairs of the split scorer are held out: two at least, whole groups, and enough left to fit on."""

import numpy as np
import pandas as pd
import pytest

from alchemist.core import stateless
from alchemist.core.refusal import Refusal
from alchemist.core.settings.evaluation import ScorerSettings
from alchemist.measures.scorer_split import HELD_OUT, LEAST, held_out

SETTINGS = ScorerSettings()


def rows(count, groups=None):
    return pd.DataFrame({"group": [f"pair {i % (groups or count)}" for i in range(count)]})


def test_of_many_pairs_a_tenth_is_held_out_by_the_draw_of_its_groups():
    pairs = rows(2000)
    places = stateless.id_uniforms(list(pairs["group"]), "scorer held out", 0)
    assert np.array_equal(held_out(pairs, SETTINGS), places < HELD_OUT)


@pytest.mark.parametrize("seed", range(8))
def test_of_a_few_pairs_two_are_held_out_whatever_the_seed_draws(seed):
    held = held_out(rows(8), ScorerSettings(seed=seed))
    assert held.sum() >= LEAST
    assert (~held).sum() >= 4


@pytest.mark.parametrize("seed", range(8))
def test_a_group_is_never_parted(seed):
    pairs = rows(30, groups=6)
    held = held_out(pairs, ScorerSettings(seed=seed))
    assert pd.Series(held).groupby(pairs["group"]).nunique().eq(1).all()
    assert 0 < held.sum() < len(pairs)


def test_what_leaves_too_few_to_fit_on_is_refused_with_its_key():
    with pytest.raises(Refusal, match=r"scales\.tiny\.scorer\.batch is null, and there are 3 pairs"):
        held_out(rows(5), SETTINGS, "scales.tiny.scorer")
    with pytest.raises(Refusal, match=r"batch is 7, and there are 6 pairs to fit on"):
        held_out(rows(8), ScorerSettings(batch=7))
    with pytest.raises(Refusal, match="there are 0 pairs to fit on"):
        held_out(rows(30, groups=1), SETTINGS)
