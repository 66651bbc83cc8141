"""Which pairs of the split scorer are fitted on and which examined: whole groups, no copies, two at least."""

import numpy as np
import pandas as pd
import pytest

from alchemist.core import stateless
from alchemist.core.refusal import Refusal
from alchemist.core.settings.evaluation import ScorerSettings
from alchemist.measures.scorer_split import HELD_OUT, LEAST, divided

SETTINGS = ScorerSettings()


def rows(count, groups=None, clusters=None):
    numbers = range(count)
    return pd.DataFrame(
        {"group": [f"pair {i % (groups or count)}" for i in numbers],
         "cluster": [i % (clusters or count) for i in numbers]}
    )  # fmt: skip


def test_of_many_pairs_a_tenth_is_held_out_by_the_draw_of_its_groups():
    pairs = rows(2000)
    places = stateless.id_uniforms(list(pairs["group"]), "scorer held out", 0)
    fitted, examined = divided(pairs, SETTINGS)
    assert np.array_equal(examined, places < HELD_OUT)
    assert np.array_equal(fitted, ~examined)


def test_what_has_a_copy_among_those_that_are_fitted_on_is_not_examined():
    pairs = rows(2000, clusters=1500)  # 500 of two, 1,000 of one
    fitted, examined = divided(pairs, SETTINGS)
    assert not set(pairs["cluster"][examined]) & set(pairs["cluster"][fitted])
    alone = divided(rows(2000), SETTINGS)
    assert np.array_equal(fitted, alone[0]), "copies take nothing from the fit"
    assert LEAST < examined.sum() < alone[1].sum()


@pytest.mark.parametrize("seed", range(8))
def test_of_a_few_pairs_two_are_examined_whatever_the_seed_draws(seed):
    fitted, examined = divided(rows(8), ScorerSettings(seed=seed))
    assert examined.sum() >= LEAST
    assert fitted.sum() >= 4


@pytest.mark.parametrize("seed", range(8))
def test_a_group_is_never_parted(seed):
    pairs = rows(30, groups=6)
    fitted, examined = divided(pairs, ScorerSettings(seed=seed))
    assert not set(pairs["group"][examined]) & set(pairs["group"][fitted])
    assert examined.any()


def test_what_leaves_too_few_is_refused():
    with pytest.raises(Refusal, match=r"scales\.tiny\.scorer\.batch is null, and there are 3 pairs"):
        divided(rows(5), SETTINGS, "scales.tiny.scorer")
    with pytest.raises(Refusal, match=r"batch is 7, and there are 6 pairs to fit on"):
        divided(rows(8), ScorerSettings(batch=7))
    with pytest.raises(Refusal, match="there are 0 pairs to fit on"):
        divided(rows(30, groups=1), SETTINGS)
    with pytest.raises(
        Refusal, match="90 usable pairs in 1 clusters of copies and 90 groups; that is too few"
    ):
        divided(rows(90, clusters=1), SETTINGS)
