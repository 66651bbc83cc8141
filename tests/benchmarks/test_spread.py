"""What a seed draws anew, and that each addition's variance comes out as it was planted."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.spread import drawn, pairs, pooled, read


@pytest.mark.parametrize(
    ("selection", "rater", "draws"),
    [
        ("full", np.nan, "training"),
        ("without_copies", "copies", "training"),
        ("random", "random", "subset"),
        ("loss_low", "loss", "rating"),
    ],
)
def test_what_a_seed_draws_anew(selection: str, rater: str | float, draws: str) -> None:
    assert drawn(selection, rater) == draws


def planted(shared: float = 0.0, seeds: int = 2000) -> pd.DataFrame:
    """Arms of one study and ratio at levels of their own: variance 9 of training, 16 more of a subset, 144
    more of a rating; `shared` is the standard deviation of what all arms of a seed have in common."""
    chance = np.random.default_rng(0)
    common = shared * chance.normal(size=seeds)
    arms = {
        "full": (0, 3, "training"),
        "random": (10, 5, "subset"),
        "best": (-70, 13, "rating"),
        "loss": (90, 13, "rating"),
    }
    return pd.concat(
        pd.DataFrame(
            {"study": "s", "pool": "p", "model": "xs", "selection": arm, "draws": draws,
             "ratio": 1.0 if arm == "full" else 0.5, "seed": range(seeds),
             "fd": level + common + sd * chance.normal(size=seeds)}
        )
        for arm, (level, sd, draws) in arms.items()
    )  # fmt: skip


def test_each_arm_is_about_its_own_level_and_kinds_are_pooled() -> None:
    table = planted()
    found = {draws: pooled(own, "fd").loc["p"] for draws, own in table.groupby("draws")}
    sds = {draws: one["sd"] for draws, one in found.items()}
    assert sds == pytest.approx({"training": 3, "subset": 5, "rating": 13}, rel=0.05)
    freedom = {draws: one["freedom"] for draws, one in found.items()}
    assert freedom == {"training": 1999, "subset": 1999, "rating": 3998}
    assert found["rating"]["least"] < sds["rating"] < found["rating"]["most"]


def test_arms_that_share_nothing_by_seed_do_not_correlate() -> None:
    one = pairs(planted(), "fd").loc["p"]
    assert one["pairs"] == 6
    assert one["correlation"] == pytest.approx(0, abs=0.05)
    assert one["sd"] == pytest.approx(
        np.median(np.sqrt([9 + 25, 9 + 169, 9 + 169, 25 + 169, 25 + 169, 338])), rel=0.05
    )


def test_what_arms_share_by_seed_leaves_their_difference() -> None:
    alone, beside = (pairs(planted(shared), "fd").loc["p"] for shared in (0.0, 50.0))
    assert beside["sd"] == pytest.approx(alone["sd"])
    assert beside["correlation"] > 0.9


def test_a_study_without_a_part_is_named() -> None:
    with pytest.raises(SystemExit, match=r"^naturel has no part in reports/studies$"):
        read(["natural_clean", "naturel"], "equal_epochs")


def test_the_kept_parts_of_a_study_are_read_by_the_reference_that_decides() -> None:
    table = read(["natural_clean"], "equal_epochs")
    assert set(table["reference"]) == {"clean"}
    assert table.groupby(["selection", "seed"]).size().eq(1).all()
    assert set(table["seed"]) == set(range(1400, 1412))
