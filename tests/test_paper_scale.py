"""The budgets that ./study asks for at the scale paper are the paper's, in epochs of the pool in force."""

from pathlib import Path

import pytest
from study_recorder import runs, study

from alchemist.models.training import learning_rate, points
from alchemist.params.check import Params
from alchemist.plan.pairs import planned
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.meta import upper_weight

PASSES = {"laion30m": 6, "hpdv3_2m": 2, "flux_reason_6m": 2}  # of a rating over meta-validation pairs
PAPERS = "-S", "scale=paper"
ASKED = [
    ("table1", PAPERS, {"laion30m"}),
    ("table3", PAPERS, {"hpdv3_2m", "flux_reason_6m"}),
    ("credits", (*PAPERS, "-S", "pool=flux_reason_6m"), {"flux_reason_6m"}),
    ("table4", ("-S", "scale=paper_hpdv3"), {"hpdv3_2m"}),
    ("table2", (*PAPERS, "-S", "pool=hpdv3_2m"), {"hpdv3_2m"}),
]


def asked(folder: Path, name: str, words: tuple[str, ...]) -> list[Params]:
    done = study(folder, name, *words)
    assert done.returncode == 0, done.stderr
    return [params for _, params in runs(folder)]


@pytest.mark.parametrize(("name", "words", "pools"), ASKED)
def test_targets_see_three_epochs_of_each_pool_of_the_paper(
    tmp_path: Path, name: str, words: tuple[str, ...], pools: set[str]
) -> None:
    """Full data and, at equal epochs, every arm. LAION's images are three epochs of the paper's 30 million,
    of which a thirtieth is held out here."""
    found = asked(tmp_path, name, words)
    assert {params.pool for params in found} == pools
    for params in found:
        pairs, budget = planned(params.pool, params.pools), params.scales[params.scale].budget
        for model in params.grid.whole():
            epochs = 1 if params.models[model].family == "flux" else 3
            assert budget(model).images / pairs.pool == pytest.approx(epochs, rel=0.035), params.pool
            for ratio in params.grid.ratios:
                [stop] = [p.images for p in points(budget(model), ratio) if "equal_epochs" in p.names]
                assert stop / (ratio * pairs.pool) == pytest.approx(epochs, rel=0.04)


@pytest.mark.parametrize(("name", "words", "pools"), ASKED)
def test_raters_pass_as_often_over_meta_validation_pairs_as_the_paper_s(
    tmp_path: Path, name: str, words: tuple[str, ...], pools: set[str]
) -> None:
    """And the weight of their loss falls by .03 after each pass."""
    for params in asked(tmp_path, name, words):
        budget, passes = params.scales[params.scale].rate, PASSES[params.pool]
        pairs = planned(params.pool, params.pools).meta_val
        assert budget.images / pairs == pytest.approx(passes, rel=0.01)
        assert budget.warmup_images == pytest.approx(0.2 * pairs, rel=0.01)
        steps = budget.images // budget.batch
        for rater in params.grid.raters:
            block = params.raters[rater]
            if isinstance(block, MetaRater):
                middles = [int((i + 0.5) * steps / passes) for i in range(passes)]
                falls = [upper_weight(block, step, steps) for step in middles]
                assert falls == pytest.approx([1 - 0.03 * i for i in range(passes)]), rater


def test_arms_at_equal_epochs_stand_at_one_place_of_the_schedule(tmp_path: Path) -> None:
    """At its full rate, after a warm-up of a fifth of an epoch of the smallest arm."""
    for name, smallest in (("table2", 0.1), ("table3", 0.2)):
        for params in asked(tmp_path / name, name, PAPERS):
            train, pairs = params.scales[params.scale].train, planned(params.pool, params.pools).pool
            assert min(params.grid.ratios) == smallest
            assert train.warmup_images == pytest.approx(0.2 * smallest * pairs, rel=0.04)
            for ratio in (1.0, *params.grid.ratios):
                assert learning_rate(train, round(ratio * train.images)) == train.learning_rate


def test_what_is_measured_is_the_paper_s_protocol_and_full_is_all_of_the_pool(tmp_path: Path) -> None:
    for params in asked(tmp_path, "table3", PAPERS):
        asks = params.scales[params.scale].evaluate
        assert (asks.images, asks.references, asks.decides) == (30_000, "all", "as_is")
        assert (asks.kid_subsets, asks.kid_subset_size) == (100, 1000)
        assert params.pools[params.pool].copies.drop == "never"  # type: ignore[attr-defined]


def test_a_pool_of_one_s_own_has_the_budgets_that_were_asked_for(tmp_path: Path) -> None:
    [params] = asked(tmp_path, "table4", (*PAPERS, "-S", "pool=mine", "-S", "++pools.mine.resolution=256"))
    assert params.scale == "paper"
    rater = params.raters["alchemist"]
    assert isinstance(rater, MetaRater)
    assert rater.epochs == 10


def test_values_of_one_s_own_stand_over_those_of_the_study(tmp_path: Path) -> None:
    words = (*PAPERS, "-S", "++raters.alchemist.epochs=4", "-S", "scales.paper.train.batch=256")
    for params in asked(tmp_path, "table3", words):
        rater = params.raters["alchemist"]
        assert isinstance(rater, MetaRater)
        assert rater.epochs == 4
        assert params.scales[params.scale].train.batch == 256


def test_budgets_of_one_s_own_are_those_of_the_pools_block_too(tmp_path: Path) -> None:
    """Who sets images of the scale paper runs so many, on each pool."""
    words = (*PAPERS, "-S", "scales.paper.train.images=1000000", "-S", "++scales.paper.rate.images=6400")
    for params in asked(tmp_path, "table3", words):
        scale = params.scales[params.scale]
        assert (scale.train.images, scale.rate.images) == (1_000_000, 6_400)


def test_a_scale_that_was_named_is_that_one_on_any_pool(tmp_path: Path) -> None:
    for params in asked(tmp_path, "table4", ("-S", "scale=paper_hpdv3", "-S", "pool=laion30m")):
        assert (params.pool, params.scale) == ("laion30m", "paper_hpdv3")


def test_eq_5_weighs_both_losses_alike(tmp_path: Path) -> None:
    [params] = asked(tmp_path, "table4", PAPERS)
    rater = params.raters["alchemist_one_to_one"]
    assert isinstance(rater, MetaRater)
    assert {upper_weight(rater, step, 100) for step in range(100)} == {0.5}
