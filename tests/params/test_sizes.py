"""Sizes by the counts of a pool: what is told, and what is refused with the largest legal value."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from params_helpers import edited
from scipy import stats

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.settings.evaluation import ScorerSettings
from alchemist.params import sizes
from alchemist.params.check import check
from alchemist.params.sizes import Counts
from alchemist.params.whole import Params, read

# Of the pool of clip art that docs/own_pairs.md speaks of.
ART = Counts(pool=3749, meta_val=335, evaluation=1383, scorer=1431, rated=6898)


def mine(**changes: Any) -> Params:
    """Pool mine in force, and changes at dotted keys with __ for dots."""
    return read(of_mine(**changes))


def of_mine(**changes: Any) -> dict[str, Any]:
    """The same as params.yaml has it."""
    params = edited("pool", "mine")
    params["grid"] |= {"oracles": [], "selections": ["alchemist"], "raters": ["alchemist"], "ratios": [0.5]}
    for key, value in changes.items():
        *path, last = key.split("__")
        place = params
        for part in path:
            place = place[part]
        place[last] = value
    return params


def told(counts: Counts = ART, **changes: Any) -> str:
    return "\n".join(sizes.told(mine(**changes), counts))


def test_every_size_is_told() -> None:
    assert told().splitlines() == [
        "3,749 pairs in the split pool, 6,898 pairs rated",
        "kept at 0.5: 3,449 ids; cells train on 1,874 pairs",
        "335 meta-validation pairs, each seen 19.1 times by a rater's proxy",
        "255 pairs of the split pool beside which every pair is rated",
        "691 prompts and 692 references of 1,383 evaluation pairs",
        "256 pairs a step of the scorer, of 1,431",
    ]


def test_prompts_that_the_cap_decides_say_so() -> None:
    capped = told(scales__tiny__evaluate={"most_images": 256})
    assert "256 prompts (most_images) and 1,127 references of 1,383 evaluation pairs" in capped


def test_a_fit_is_told_by_the_pictures_that_there_are() -> None:
    assert "112,470 images of the fit of the codec of star" in told(codecs__star__refit=True)  # 30 times each
    asked = {"refit": True, "asset": "emoji32", "fit": {"images": 100000}}
    assert "100,000 images of the fit" in told(codecs__star=asked)
    assert "500,000 images of the fit" in told(codecs__star__refit=True, pool="emoji")
    few = dataclasses.replace(ART, pool=31)
    with pytest.raises(Refusal, match=r"codecs\.star\.fit\.batch is 32; the pool has 31 images to fit on"):
        told(few, codecs__star__refit=True)


def test_a_best_checkpoint_needs_meta_validation_pairs() -> None:
    """Said by the settings where they ask for none, and by the counts where a share drew none."""
    best = {"arm": "loss_low", "against": "random", "point": "best"}
    asked: dict[str, Any] = {
        "contrasts__loss_low_random": best, "grid__selections": ["loss_low", "random"],
        "grid__raters": ["loss", "random"], "grid__seeds": [0, 1],
        "statistics": {"primary": "loss_low_random", "secondary": []},
    }  # fmt: skip
    words = (
        "contrasts.loss_low_random.point is best, the checkpoint of least meta-validation loss, and the pool "
        "mine has no meta-validation pairs; equal_images and equal_epochs are legal."
    )
    with pytest.raises(Refusal, match=re.escape(words)):
        told(dataclasses.replace(ART, meta_val=0), **asked)
    assert "335 meta-validation pairs" in told(**asked)
    without = of_mine(**asked, grid__oracles=[], pools__mine__splits={"meta_validation": 0.0})
    with pytest.raises(Refusal, match=re.escape(words)):
        check(without)


def test_a_pool_without_held_out_pairs_still_has_ids() -> None:
    found = told(Counts(pool=6563, meta_val=335, evaluation=0, scorer=0, rated=6898))
    assert "kept at 0.5: 3,449 ids" in found
    assert "no evaluation pairs: no cell can be measured; `dvc repro prune` ends with the ids" in found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"scales__tiny__evaluate": {"images": 1000}},
            "scales.tiny.evaluate.images is 1000; the evaluation split has 1383 pairs, so at most 691 is",
        ),
        (
            {"scales__tiny__scorer": {"batch": 716}},
            "scales.tiny.scorer.batch is 716; the split scorer has 1431 pairs, so at most 715 is legal.",
        ),
        (
            {"scales__tiny__rate__validation_passes": 4.0},
            "scales.tiny.rate.images is 6400; 335 meta-validation pairs, each seen 4 times at most "
            "(validation_passes), allow for at most 1340.",
        ),
        (
            {"raters__alchemist__least_validation": 400},
            "raters.alchemist.least_validation is 400, and the meta-validation split has 335 pairs; "
            "pools.mine.splits.meta_validation 0.068 would do.",
        ),
        (
            {"grid__ratios": [0.0001]},
            "grid.ratios holds 0.0001; of 3749 pairs that keeps none, and at least 0.0002 is legal.",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Refusal, match="^" + re.escape(words)):
        told(**changes)


def test_where_no_share_leaves_room_what_else_would_do_is_told() -> None:
    with pytest.raises(
        Refusal, match=r"5 pairs; pools\.mine\.splits with meta_validation 0\.9\d* and no other"
    ):
        told(Counts(pool=80, meta_val=5, evaluation=20, scorer=15, rated=120))
    with pytest.raises(Refusal, match=r"5 pairs; of 55 pairs in all no share would do: pools\.mine needs"):
        told(Counts(pool=30, meta_val=5, evaluation=10, scorer=10, rated=55))


@pytest.mark.parametrize(("pairs", "least"), [(600, 100), (6898, 100), (6898, 400), (120, 100)])
def test_a_share_that_is_advised_draws_enough_but_for_once_in_500(pairs: int, least: int) -> None:
    share = sizes._share(pairs, least)
    assert stats.binom.cdf(least - 1, pairs, share) < 1 / 500
    assert stats.binom.cdf(least - 1, pairs, share - 0.002) > 1 / 2000, "and is not far above that"


def test_a_share_in_force_that_drew_too_few_is_never_advised_again() -> None:
    few = Counts(pool=420, meta_val=60, evaluation=60, scorer=60, rated=600)  # of some 129
    with pytest.raises(Refusal, match=r"has 60 pairs; pools\.mine\.splits\.meta_validation 0\.36 would do"):
        told(few, pools__mine__splits={"meta_validation": 0.216})


def test_copies_count_once_among_the_pairs_to_validate_on() -> None:
    copied = dataclasses.replace(ART, distinct=7)
    with pytest.raises(
        Refusal, match=r"has 7 pairs where copies count once; .* meta_validation 0\.715 and no"
    ):
        told(copied)
    with pytest.raises(Refusal, match=r"a pool of more pairs than clean would do, or a share of mine itself"):
        told(copied, pools__clean={"format": "folder", "path": "x"},
             pools__mine__splits={"meta_validation": {"pool": "clean"}})  # fmt: skip


def test_raters_that_train_nothing_need_no_validation() -> None:
    few = Counts(pool=3749, meta_val=1, evaluation=1383, scorer=1431, rated=6898)
    assert "1 meta-validation pairs" in told(few, grid__raters=["alchemist_carried"])
    with pytest.raises(Refusal, match="least_validation"):
        told(few)


def test_the_scorers_batch_fits_what_it_is_fitted_on() -> None:
    assert ScorerSettings().taken(2700) == ScorerSettings().taken(512) == 256
    assert ScorerSettings().taken(101) == 50
    assert ScorerSettings(batch=101).taken(101) == 101
    for settings, pairs in ((ScorerSettings(), 3), (ScorerSettings(batch=102), 101)):
        with pytest.raises(Refusal, match=f"there are {pairs} pairs to fit on"):
            settings.taken(pairs)


def test_lent_pairs_are_counted_among_the_rated_where_they_are_usable(tmp_path: Path) -> None:
    counts = {
        "pool": {"ok": 2, "empty caption": 1},
        "meta_val": {"ok": 3},
        "evaluation": {"ok": 1},
        "scorer": {},
    }
    files.write_json(tmp_path / "card.json", {"counts": counts})
    rows = [
        ("pool", "ok", False), ("pool", "ok", False), ("pool", "rejected", False), ("meta_val", "ok", True),
        ("meta_val", "ok", False), ("meta_val", "ok", True), ("evaluation", "ok", False),
        ("scorer", "rejected", True),
    ]  # fmt: skip
    index = pd.DataFrame(rows, columns=["split", "status", "lent"])
    index["cluster"] = [1, 2, 3, 4, 5, 4, 4, 8]
    index.to_parquet(tmp_path / "index.parquet", index=False)
    assert sizes.counted(tmp_path) == Counts(pool=2, meta_val=3, evaluation=1, scorer=0, rated=4, distinct=2)


def test_a_clean_split_is_told_and_has_to_be_there_where_it_decides() -> None:
    clean = dataclasses.replace(ART, clean=40)
    assert "20 prompts of 40 clean ones" in told(clean)
    with pytest.raises(Refusal, match="the split clean has 7 usable pairs; at least 8 are needed"):
        told(dataclasses.replace(ART, clean=7))
    with pytest.raises(
        Refusal, match=r"evaluate\.decides is clean, but the pool's block asks for no such split"
    ):
        told(ART, scales__tiny__evaluate={"decides": "clean"})
