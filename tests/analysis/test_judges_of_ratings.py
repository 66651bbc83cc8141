import math
import re

import numpy as np
import pandas as pd
import pytest
from analysis_helpers import EVERY, KINDS, PAPER, deciding, judge, ratings, study


@pytest.mark.parametrize(
    ("order", "verdict", "words"),
    [
        ({"plain": 3.0, "informative": 2.0, "chaotic": 0.0}, "supported", ["supported", "supported"]),
        ({"plain": 3.0, "informative": 0.0, "chaotic": 2.0}, "not supported", ["supported", "not supported"]),
        ({"plain": 3.0, "informative": 0.0, "chaotic": 0.0}, "undecided", ["supported", "undecided"]),
    ],
)
def test_the_order_of_the_planted_kinds(order: dict[str, float], verdict: str, words: list[str]) -> None:
    kinds, by_seed = ratings(order)
    found = judge(study(*EVERY), ratings={"r": by_seed}, kinds=kinds)["C5"]
    assert (found.verdict, [p.verdict for p in deciding(found)]) == (verdict, words)


def test_percentiles_and_shares_of_kinds_that_do_not_mix() -> None:
    kinds, by_seed = ratings({"plain": 300.0, "informative": 200.0, "chaotic": 0.0})
    found = judge(study(*EVERY), ratings={"r": by_seed}, kinds=kinds)["C5"]
    # Each kind fills a third of the ranking; the ends hold nothing else, where a third would be chance.
    assert [p.unit for p in found.parts] == ["percentile", "percentile", "share", "share"]
    assert [p.interval.mean for p in found.parts] == pytest.approx([100 / 3, 100 / 3, 2 / 3, 2 / 3])
    assert [p.decides for p in found.parts] == [True, True, False, False]


def test_the_ends_of_the_ranking_are_its_tenths() -> None:
    """A tenth of the pool is plain and a tenth chaotic: each fills its end, and half of a fifth."""
    ids = [f"id-{i}" for i in range(300)]
    kinds = pd.Series(["plain"] * 30 + ["informative"] * 240 + ["chaotic"] * 30, index=ids)
    rating = pd.Series(-np.arange(300.0), index=ids)
    found = judge(study(*EVERY), ratings={"r": {0: rating, 1: rating}}, kinds=kinds)["C5"]
    assert [p.interval.mean for p in found.parts if p.unit == "share"] == pytest.approx([0.9, 0.9])


def test_the_order_of_kinds_needs_truth_and_two_seeds() -> None:
    kinds, by_seed = ratings(dict.fromkeys(KINDS, 0.0))
    for given in (
        {"ratings": {"r": by_seed}}, {"kinds": kinds}, {"kinds": kinds, "ratings": {"r": {0: by_seed[0]}}},
        {"kinds": kinds[kinds != "chaotic"], "ratings": {"r": by_seed}},
    ):  # fmt: skip
        assert judge(study(*EVERY), **given)["C5"].verdict == "not tested"


def noisy(r: float, noise: float, seeds: int = 3, pairs: int = 20_000) -> dict[str, dict[int, pd.Series]]:
    """A rating that correlates by r with low loss but for noise, which each seed adds to both."""
    rng = np.random.default_rng(2)
    ids = [str(i) for i in range(pairs)]
    loss, other = rng.normal(size=(2, pairs))
    rating = r * loss + math.sqrt(1 - r**2) * other
    return {
        name: {s: pd.Series(true + rng.normal(0, noise, pairs), ids) for s in range(seeds)}
        for name, true in (("r", rating), ("low", loss))
    }


@pytest.mark.parametrize(
    ("r", "noise", "word"),
    [
        (1.0, 0.01, "not supported"),
        # Noise alone makes no other ranking of a copy: its correlation with low loss is .5 then.
        (1.0, 1.0, "not supported"),
        (0.5, 0.01, "supported"),
        (0.5, 1.0, "supported"),
    ],
)
def test_a_copy_of_the_loss_ranking_is_called_one_whatever_its_noise(
    r: float, noise: float, word: str
) -> None:
    made, held = study(*EVERY), noisy(r, noise, pairs=20_000 if noise == 1.0 else 2_000)
    found = judge(made, ratings=held)["C6"]
    part = next(p for p in found.parts if p.unit == "rank correlation")
    assert (part.claimed, part.better, part.verdict) == (0.95, -1, word)
    assert part.interval.high <= 1
    assert "corrected for both ratings' noise" in part.what
    copy = word == "not supported"
    # It decides against alone: all figures support the claim, and still a copy is no more than the loss.
    assert part.decides is copy
    assert {p.verdict for p in found.parts if p.unit == "fd"} == {"supported"}
    assert found.verdict == ("not supported" if copy else "supported")
    assert ("it is a loss ranking" in found.why) is copy
    worse = judge(made, {name: -value for name, value in PAPER.items()}, ratings=held)["C6"]
    assert worse.verdict == "not supported"
    if noise == 1.0:
        # Spearman's correlation of Gaussians that correlate by r / 2, by 1 / 2 and by r.
        seen, own, true = (6 / math.pi * math.asin(v / 2) for v in (r / 2, 0.5, r))
        told = re.search(
            r"is ([.\d]+) as seen, where the rating has ([.\d]+) .* low loss ([.\d]+), so ([.\d]+) ",
            found.why,
        )
        assert told is not None
        assert [float(v) for v in told.groups()] == pytest.approx([seen, own, own, true], abs=0.02)
        assert part.interval.mean == pytest.approx(true, abs=0.02)


def test_p_of_the_rank_correlation_is_that_of_the_claimed_one() -> None:
    """Far from 0, which nobody claims, and near to .95."""
    found = judge(study(*EVERY), ratings=noisy(0.955, 0.3, pairs=300))["C6"]
    part = next(p for p in found.parts if p.unit == "rank correlation")
    assert part.verdict == "undecided"
    assert part.interval.low > 0.5
    assert part.interval.p_t > 0.05
    assert part.decides is False


@pytest.mark.parametrize(("seeds", "noise"), [(1, 0.1), (3, 1e6)])
def test_no_rank_correlation_without_seeds_or_of_noise_alone(seeds: int, noise: float) -> None:
    held = noisy(1.0, noise, seeds, 2_000)
    if seeds > 1:  # two that turn each other round, so that they agree less than chance would have it
        held["r"][1] = -held["r"][0]
    found = judge(study(*EVERY), ratings=held)["C6"]
    assert {p.unit for p in found.parts} == {"fd", "nll", "clip"}
    assert found.verdict == "supported"
