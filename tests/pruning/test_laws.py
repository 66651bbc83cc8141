"""The pruning laws against their exact distributions, and every refusal."""

import functools
import io
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from law_helpers import gauss, set_chances
from scipy import stats

from alchemist.core.refusal import Refusal
from alchemist.pruning.laws import kept_count, percentile_ranks, select
from alchemist.pruning.rated import checked
from alchemist.pruning.sampler import Sampler
from alchemist.pruning.samplers import selection_settings
from alchemist.pruning.shift_gsample import default_drop

SAMPLERS = ["random", "topk", "block", "gsample", "shift_gsample", "interval"]
# Below this a chi-square test fails; seeds are fixed, so a pass stays a pass.
LEVEL = 1e-3


@functools.cache
def parsed(sampler: str, **values: Any) -> Sampler:
    return selection_settings({"rater": "r", "sampler": sampler, **values}, "selections.s")


def settings(sampler: str, seed: int = 0, **values: Any) -> Sampler:
    return parsed(sampler, **values).model_copy(update={"seed": seed})


def draws(
    table: pd.DataFrame, retention: float, sampler: str, seeds: int, **values: float
) -> Iterator[list[str]]:
    """What `select` keeps by each of many seeds, of a table that is looked through once: half of its time."""
    pool, ids = checked(table, seed=0), table["id"].sort_values().to_numpy(dtype=object)
    count = kept_count(len(pool), retention)
    for seed in range(seeds):
        law = settings(sampler, seed, **values)
        kept = list(ids[law.keep(replace(pool, seed=seed), count, retention)])
        if seed % 500 == 1:
            assert kept == list(select(table, retention, law))
        yield kept


def times_kept(table: pd.DataFrame, retention: float, sampler: str, seeds: int) -> "pd.Series[int]":
    """How often each id is kept, by id, in the table's order."""
    hits = Counter(itertools.chain(*draws(table, retention, sampler, seeds)))
    assert hits.keys() <= set(table["id"])
    return pd.Series(hits).reindex(table["id"], fill_value=0)


def pool(count: int, seed: int = 0, levels: int | None = None) -> pd.DataFrame:
    """Ids in no order, ratings either all different or of a few levels."""
    rng = np.random.default_rng(seed)
    rating = rng.normal(size=count) if levels is None else rng.integers(levels, size=count).astype(float)
    return pd.DataFrame({"id": [f"pair-{i:06d}" for i in rng.permutation(count)], "rating": rating})


def ladder(count: int) -> pd.DataFrame:
    """Ids a, b, c, ... from the best rating to the worst."""
    return pd.DataFrame({"id": [chr(97 + i) for i in range(count)], "rating": -np.arange(float(count))})


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("count", [1, 2, 3, 7, 100, 1013])
def test_count_is_exact_and_ids_are_unique_sorted_members(sampler: str, count: int) -> None:
    table = pool(count)
    for retention in [0.001, 0.1, 0.15, 0.2, 0.25, 0.29, 1 / 3, 0.5, 0.55, 0.8, 0.85, 0.9, 0.95, 0.97, 1.0]:
        kept = select(table, retention, settings(sampler))
        assert len(kept) == max(1, round(retention * count))
        assert kept.is_unique
        assert kept.is_monotonic_increasing
        assert set(kept) <= set(table["id"])


def test_halves_round_to_even_and_never_to_nothing() -> None:
    assert [kept_count(n, 0.5) for n in (1, 3, 5, 7)] == [1, 2, 2, 4]
    assert kept_count(1000, 1e-9) == 1


@pytest.mark.parametrize("sampler", ["full", *SAMPLERS])
@pytest.mark.parametrize("levels", [None, 3, 1])
def test_bytes_do_not_depend_on_run_or_row_order(sampler: str, levels: int | None) -> None:
    table = pool(500, levels=levels)
    retention = 1.0 if sampler == "full" else 0.4

    def kept(given: pd.DataFrame) -> bytes:
        file = io.BytesIO()
        select(given, retention, settings(sampler)).to_frame("id").to_parquet(file, index=False)
        return file.getvalue()

    assert kept(table) == kept(table.copy())
    assert kept(table) == kept(table.sample(frac=1, random_state=1))
    assert kept(table) == kept(table.sort_values("id"))
    assert kept(table) == kept(table.sort_values("rating").set_index(np.arange(500)[::-1]))


def test_table_is_left_as_it_was() -> None:
    table = pool(100, levels=4)
    before = table.copy()
    for sampler in SAMPLERS:
        select(table, 0.3, settings(sampler))
    pd.testing.assert_frame_equal(table, before)


def test_ids_order_by_text_not_by_length_or_locale() -> None:
    table = pd.DataFrame({"id": ["b10", "B2", "é", "b9", "a"], "rating": 0.0})
    assert list(select(table, 1.0, settings("full"))) == ["B2", "a", "b10", "b9", "é"]


def test_topk_keeps_the_highest_and_breaks_ties_evenly() -> None:
    table = ladder(8)
    assert list(select(table, 0.25, settings("topk"))) == ["a", "b"]
    table["rating"] = [3.0, 1, 1, 1, 1, 0, 0, 0]
    hits = times_kept(table, 0.25, "topk", 1000)
    assert hits["a"] == 1000
    assert hits[["f", "g", "h"]].sum() == 0
    assert stats.chisquare(hits[["b", "c", "d", "e"]]).pvalue > LEVEL


@pytest.mark.parametrize("levels", [None, 3, 1])
def test_topk_is_the_block_at_zero_and_blocks_tile_the_pool(levels: int | None) -> None:
    table = pool(200, levels=levels)
    blocks = [select(table, 0.25, settings("block", start=s)) for s in (0, 25, 50, 75)]
    assert list(blocks[0]) == list(select(table, 0.25, settings("topk")))
    assert sorted(itertools.chain(*blocks)) == sorted(table["id"])


def test_block_covers_exactly_its_ranks() -> None:
    table = pool(1000)
    best_first = table.sort_values("rating", ascending=False)["id"].to_numpy()
    for start, retention, low, high in [(10, 0.2, 100, 300), (80, 0.2, 800, 1000), (33.3, 0.1, 333, 433)]:
        kept = select(table, retention, settings("block", start=start))
        assert set(kept) == set(best_first[low:high])
    assert set(select(table, 0.2, settings("block"))) == set(best_first[400:600])


def test_block_that_rounding_pushes_past_the_end_is_moved_back() -> None:
    # 2.5 ids are skipped and 2.5 kept of 5: legal in percent, and 2 (halves to even) are kept.
    assert list(select(ladder(5), 0.5, settings("block", start=50))) == ["c", "d"]
    # 3.5 -> 4 skipped and 3.5 -> 4 kept of 7: one too many.
    assert list(select(ladder(7), 0.5, settings("block", start=50))) == ["d", "e", "f", "g"]


def test_interval_keeps_one_rank_of_every_so_many_from_the_best_on() -> None:
    def kept(count: int, retention: float, **values: float) -> str:
        return "".join(select(ladder(count), retention, settings("interval", **values)))

    assert kept(12, 0.25) == "aei"
    assert kept(10, 0.3) == "adg"  # ranks 0, 3.3 and 6.7
    assert kept(7, 4 / 7) == "abdf"
    assert kept(12, 0.25, every=2) == "ace"
    assert kept(12, 0.25, every=2.5) == "acf"
    assert kept(12, 0.5, every=1) == "abcdef"
    assert kept(5, 0.5, every=2) == "ac", "2 of 5, and 2.5 asked for"
    assert kept(7, 0.5, every=2) == "abdf", "4 of 7, for which an interval of 2 is too wide"


@pytest.mark.parametrize("retention", [0.1, 0.3, 0.5, 0.77])
def test_interval_takes_the_same_share_of_every_part_of_the_ranking(retention: float) -> None:
    table = pool(1013, levels=50)
    ranks = percentile_ranks(table, seed=0)
    kept = ranks.index.isin(select(table, retention, settings("interval")))
    shares = np.add.reduceat(kept, np.arange(0, 1000, 100))[:-1]
    assert np.abs(shares - 100 * retention).max() <= 1


def test_random_includes_every_id_equally_and_ignores_ratings() -> None:
    table = pool(12)
    hits = times_kept(table, 1 / 3, "random", 1500)
    expected = 1500 * 4 / 12
    # Inclusions have variance p (1 - p) and sum to 4, hence the factor of the finite population.
    z2 = ((hits - expected) ** 2).sum() / (1500 * (1 / 3) * (2 / 3)) * 11 / 12
    assert stats.chi2(11).sf(z2) > LEVEL
    other = table.assign(rating=-table["rating"])
    assert list(select(table, 0.5, settings("random"))) == list(select(other, 0.5, settings("random")))


def test_pairs_are_drawn_independently_by_random() -> None:
    table = ladder(6)
    hits = dict.fromkeys(itertools.combinations("abcdef", 2), 0)
    for kept in draws(table, 1 / 3, "random", 1500):
        hits[tuple(kept)] += 1
    assert stats.chisquare(list(hits.values())).pvalue > LEVEL


@pytest.mark.parametrize("sampler", ["random", "topk"])
def test_smaller_subsets_lie_in_larger_ones(sampler: str) -> None:
    table = pool(300, levels=5)
    subsets = [set(select(table, retention, settings(sampler))) for retention in (0.1, 0.2, 0.5, 0.9)]
    assert all(a < b for a, b in itertools.pairwise(subsets))


def test_gsample_draws_one_id_by_equation_11() -> None:
    table, seeds = ladder(8), 2500
    hits = np.zeros(8)
    for kept in draws(table, 0.125, "gsample", seeds, mean=40.0, sigma=30.0):
        hits[ord(kept[0]) - 97] += 1
    assert stats.chisquare(hits, seeds * gauss(8, 40, 30)).pvalue > LEVEL


def test_order_of_ties_and_draw_are_independent() -> None:
    table, seeds = ladder(6).assign(rating=1.0), 800
    pool, hits = checked(table, seed=0), np.zeros(6)
    for seed, kept in enumerate(draws(table, 1 / 6, "gsample", seeds, sigma=40.0)):
        hits[list(replace(pool, seed=seed).best_first()).index(ord(kept[0]) - 97)] += 1
    assert stats.chisquare(hits, seeds * gauss(6, 50, 40)).pvalue > LEVEL


def test_gsample_draws_sets_as_successive_draws_without_replacement() -> None:
    table, seeds = ladder(6), 4000
    exact = set_chances(gauss(6, 50, 25), 3)
    hits = dict.fromkeys(exact, 0)
    for kept in draws(table, 0.5, "gsample", seeds, sigma=25.0):
        hits[tuple(ord(name) - 97 for name in kept)] += 1
    expected = np.array([seeds * p for p in exact.values()])
    assert expected.min() > 5
    assert stats.chisquare(list(hits.values()), expected).pvalue > LEVEL
    # and the marginal inclusion of each rank
    for rank in range(6):
        chance = sum(p for names, p in exact.items() if rank in names)
        seen = sum(n for names, n in hits.items() if rank in names)
        assert abs(seen - seeds * chance) < 4 * math.sqrt(seeds * chance * (1 - chance))


def test_the_brute_force_law_differs_from_the_plausible_wrong_one() -> None:
    """Inclusion is not k p_i: the test above can tell draws without replacement from thinned ones."""
    chance = gauss(6, 50, 25)
    exact = set_chances(chance, 3)
    inclusion = [sum(p for names, p in exact.items() if rank in names) for rank in range(6)]
    assert max(abs(np.array(inclusion) - 3 * chance)) > 0.1


def test_shift_gsample_is_gsample_on_the_ranks_that_are_left() -> None:
    table, seeds = ladder(8), 1000
    chance = gauss(8, 62.5, 15)  # the stated defaults at this retention
    chance[:2] = 0
    hits = np.zeros(8)
    for kept in draws(table, 0.125, "shift_gsample", seeds):
        hits[ord(kept[0]) - 97] += 1
    assert hits[:2].sum() == 0
    seen = chance * seeds > 1
    assert stats.chisquare(hits[seen], seeds * chance[seen] / chance[seen].sum()).pvalue > LEVEL


@pytest.mark.parametrize("drop", [1.0, 12.5, 25.0, 60.0, 90.0])
def test_shift_gsample_never_keeps_the_top(drop: float) -> None:
    table = pool(400, levels=7)
    top = set(percentile_ranks(table, seed=3).index[: round(4 * drop)])
    # The mean lies in the dropped part, so a sampler that forgot to drop would keep it.
    kept = select(table, 0.1, settings("shift_gsample", seed=3, drop=drop, mean=0.0, sigma=5.0))
    assert len(kept) == 40
    assert not top & set(kept)


def test_shift_gsample_without_drop_is_gsample() -> None:
    table = pool(300)
    shifted = select(table, 0.3, settings("shift_gsample", drop=0, mean=50, sigma=10))
    assert list(shifted) == list(select(table, 0.3, settings("gsample", mean=50, sigma=10)))


def test_defaults_by_retention() -> None:
    given = {0.1: 25, 0.5: 25, 0.51: 15, 0.8: 15, 0.81: 5, 0.9: 5, 0.95: 5, 0.96: 0, 1.0: 0}
    assert {retention: default_drop(retention) for retention in given} == given
    table = pool(1000)
    for retention, drop in given.items():
        explicit = {"drop": drop, "mean": (100 + drop) / 2, "sigma": 15}
        assert list(select(table, retention, settings("shift_gsample"))) == list(
            select(table, retention, settings("shift_gsample", **explicit))
        )
    assert list(select(table, 0.2, settings("gsample"))) == list(
        select(table, 0.2, settings("gsample", mean=50, sigma=15))
    )


@pytest.mark.parametrize("sampler", ["gsample", "shift_gsample"])
@pytest.mark.parametrize("sigma", [1e-3, 1e-12, 1e-300])
def test_far_tails_do_not_underflow(sampler: str, sigma: float) -> None:
    table = pool(1000)
    kept = select(table, 0.5, settings(sampler, mean=60.0, sigma=sigma))
    assert len(kept) == 500
    if sampler == "shift_gsample":
        assert not set(kept) & set(percentile_ranks(table, seed=0).index[:250])
    if sigma > 1e-6:  # so narrow that the nearest ranks win
        ranks = percentile_ranks(table, seed=0)
        assert (ranks[kept] - 60).abs().max() < (ranks.drop(kept)[lambda r: r > 25.1] - 60).abs().min() + 0.2


def test_hashing_in_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pool(100, levels=3)
    for sampler in SAMPLERS:
        whole = select(table, 0.3, settings(sampler))
        with monkeypatch.context() as small:
            small.setattr("alchemist.pruning.rated.PIECE", 7)
            small.setattr("alchemist.pruning.gsample.PIECE", 7)
            assert list(select(table, 0.3, settings(sampler))) == list(whole)


def test_other_seeds_draw_other_ids() -> None:
    table = pool(200)
    for sampler in ("random", "gsample", "shift_gsample"):
        assert list(select(table, 0.3, settings(sampler, 0))) != list(
            select(table, 0.3, settings(sampler, 1))
        )


def test_percentile_ranks_run_from_best_to_worst() -> None:
    ranks = percentile_ranks(ladder(5).sample(frac=1, random_state=0), seed=0)
    assert ranks.to_dict() == {"a": 0, "b": 25, "c": 50, "d": 75, "e": 100}


@pytest.mark.parametrize("retention", [0, -0.1, 1.01, math.nan, math.inf])
def test_retention_out_of_range_is_refused(retention: float) -> None:
    with pytest.raises(Refusal, match=r"^retention is .*larger than 0 and at most 1\.$"):
        select(pool(10), retention, settings("topk"))


def test_full_keeps_all_or_refuses() -> None:
    table = pool(10)
    assert sorted(table["id"]) == list(select(table, 1.0, settings("full")))
    with pytest.raises(Refusal, match=r"retention is 0\.5; sampler full keeps all"):
        select(table, 0.5, settings("full"))


@pytest.mark.parametrize(
    ("sampler", "values", "message"),
    [
        ("shift_gsample", {"drop": 25.0}, r"drop is 25\.0; at retention 0\.8 it should be at most 20,"),
        ("block", {"start": 30.0}, r"start is 30\.0; at retention 0\.8 it should be at most 20,"),
    ],
)
def test_retention_larger_than_what_is_left_is_refused(
    sampler: str, values: dict[str, float], message: str
) -> None:
    with pytest.raises(Refusal, match=message):
        select(pool(10), 0.8, settings(sampler, **values))
    assert len(select(pool(10), 0.7, settings(sampler, **values))) == 7  # 25 + 70, 30 + 70


def test_the_largest_legal_drop_survives_rounding() -> None:
    for count in range(1, 40):
        for drop, retention in [(5.0, 0.95), (20.0, 0.8), (70.0, 0.3), (50.0, 0.5), (10.0, 0.9)]:
            kept = select(pool(count), retention, settings("shift_gsample", drop=drop))
            assert len(kept) == kept_count(count, retention)


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ([0, 0, 1], "gives int64 of the shape (3,); a mask is legal, one bool for each of 6 pairs."),  # twice
        ([True, True, True], "gives bool of the shape (3,); a mask is legal"),
        ([True, True, False, False, False, False], "keeps 2 of 6 pairs; 3 are legal."),
        ([True] * 6, "keeps 6 of 6 pairs; 3 are legal."),
    ],
)  # fmt: skip
def test_a_law_that_keeps_no_such_half_is_refused(kept: list[Any], told: str) -> None:
    class Odd(type(settings("topk"))):  # type: ignore[misc]
        def keep(self, *_: object) -> Any:
            return np.array(kept)

    law = Odd(rater="r", sampler="topk")
    with pytest.raises(Refusal, match=re.escape(f"the sampler topk {told}")):
        select(pool(6), 0.5, law)


def test_broken_tables_are_refused() -> None:
    table = pool(5)
    with pytest.raises(Refusal, match="rating table is empty"):
        select(table.iloc[:0], 0.5, settings("topk"))
    for bad, told in ((math.nan, ".nan"), (math.inf, ".inf"), (-math.inf, "-.inf")):
        broken = table.copy()
        broken.loc[2, "rating"] = bad
        words = f"the rating of 1 of 5 pairs is not finite: {table['id'][2]!r} ({told}); ratings should be"
        with pytest.raises(Refusal, match=re.escape(words)):
            select(broken, 0.5, settings("random"))
    twice = pd.concat([table, table.iloc[[3]]])
    with pytest.raises(Refusal, match=f"id {table['id'][3]!r} is in the rating table twice"):
        select(twice, 0.5, settings("full"))
    with pytest.raises(Refusal, match="without an id"):
        select(table.assign(id=[None, "b", "c", "d", "e"]), 0.5, settings("topk"))


def test_a_lowest_rating_keeps_what_reaches_it_and_no_more() -> None:
    """Three firsts at any ratio that asks for three or more, two of them where it asks for two."""
    table = pd.DataFrame({"id": list("abcdef"), "rating": [0.0, 0.0, -1.0, -2.0, 0.0, -1.0]})
    firsts = settings("topk", least=0.0)
    assert list(select(table, 1.0, firsts)) == list(select(table, 0.5, firsts)) == ["a", "b", "e"]
    assert list(select(table, 1.0, settings("topk", least=-1.0))) == list("abcef")
    fewer = {tuple(select(table, 1 / 3, settings("topk", seed, least=0.0))) for seed in range(20)}
    assert {len(kept) for kept in fewer} == {2}
    assert fewer == {("a", "b"), ("a", "e"), ("b", "e")}


def test_a_lowest_rating_above_all_is_refused() -> None:
    with pytest.raises(Refusal, match=r"least is 6; at most 5, the highest rating, is legal\."):
        select(pd.DataFrame({"id": ["a", "b"], "rating": [5.0, 1.0]}), 1.0, settings("topk", least=6.0))


@pytest.mark.parametrize("sampler", ["random", "topk", "block", "gsample", "shift_gsample"])
def test_of_equal_ratings_as_many_are_kept_and_by_a_draw_that_knows_ids_and_seed_alone(sampler: str) -> None:
    table = pool(101).assign(rating=0.25)
    kept = select(table, 0.5, settings(sampler))
    assert len(kept) == kept_count(101, 0.5)
    assert list(kept) == list(select(table.iloc[::-1], 0.5, settings(sampler)))
    assert list(kept) == list(select(table.assign(rating=-3.0), 0.5, settings(sampler)))
    assert list(kept) != list(select(table, 0.5, settings(sampler, seed=1)))
