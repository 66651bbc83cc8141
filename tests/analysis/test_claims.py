import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_cost import META, Curve, bills, falling, scores, study

from alchemist.analysis import claims as verdicts
from alchemist.analysis import results as report
from alchemist.analysis.claims import Part, Roles, Verdict
from alchemist.analysis.results import FULL, Cell, Study
from alchemist.analysis.statistics import excludes
from alchemist.core.refusal import Refusal
from alchemist.settings.rater import rater_settings
from alchemist.settings.selection import SelectionSettings

EVERY = ("zero", "one", "two", "three", "four", "five")
PAPER = {FULL: 6.0, "zero": 7.0, "one": 1.0, "two": 2.0, "three": 9.0, "four": 3.0, "five": 4.0}
KINDS = ("plain", "informative", "chaotic")


def level(levels: dict[str, float], noise: float = 0.05) -> Curve:
    """One figure an arm, whatever the images, with a seed that all arms feel and a little of their own."""

    def at(cell: Cell, images: float) -> float:
        own = noise * ((7 * cell.seed + 3 * len(cell.selection) + ord(cell.selection[0])) % 5 - 2)
        return levels[cell.selection] + 100 * cell.seed + own

    return at


def judge(
    made: Study, levels: dict[str, float] | None = None, noise: float = 0.05, **more: Any
) -> dict[str, Verdict]:
    fd = level(PAPER if levels is None else levels, noise)
    table = report.tidy(made, scores(made, fd, clip=lambda cell, images: -fd(cell, images)))
    return {v.claim: v for v in verdicts.verdicts(made, table, 0.95, **more)}


def deciding(verdict: Verdict) -> list[Part]:
    return [part for part in verdict.parts if part.decides]


# --------------------------------------------------------------------------------------- roles


def test_roles_are_found_by_what_the_selections_are() -> None:
    assert Roles.of(study(*reversed(EVERY))) == Roles(
        alchemist="one", no_group="four", gsample="two", topk="three", loss="five", random="zero"
    )


def test_roles_that_are_missing_are_none() -> None:
    assert Roles.of(study("six")) == Roles(None, None, None, None, None, None)
    assert Roles.of(study("one")) == Roles("one", None, None, None, None, None)


def test_controls_of_the_paper_must_differ_in_one_thing_alone() -> None:
    shift = {"sampler": "shift_gsample"}
    selections = {
        "wide": {"rater": "low", **shift, "sigma": 30.0},  # another sampler than ours
        "high": {"rater": "high", **shift},  # high loss first
        "other": {"rater": "other", **shift},  # no gate, but another bound too
    }
    raters = {
        "high": {"kind": "loss", "direction": 1},
        "other": META | {"group": "none", "bound": 1.0},
    }
    found = Roles.of(study("one", *selections, selections=selections, raters=raters))
    assert found == Roles("one", None, None, None, None, None)


def test_the_papers_gate_and_default_sampler_come_first() -> None:
    shift = {"sampler": "shift_gsample"}
    selections = {
        "unrolled": {"rater": "unrolled", **shift},
        "warm": {"rater": "warm", **shift},
        "swept": {"rater": "r", **shift, "sigma": 30.0},
    }
    raters = {
        "unrolled": META | {"credit": "unrolled", "unroll_steps": 2, "baseline": "none"},
        "warm": META | {"group": "temperature"},
    }
    made = study(*selections, "one", selections=selections, raters=raters)
    assert Roles.of(made).alchemist == "one"
    assert Roles.of(study("unrolled", "warm", selections=selections, raters=raters)).alchemist == "warm"


CARRIED = META | {"weights": "another-pool"}


def test_a_rater_with_weights_plays_no_role() -> None:
    """First in the grid, with the paper's sampler, and alike in all else."""
    samplers = {"shifted": "shift_gsample", "middle": "gsample", "top": "topk", "ungrouped": "shift_gsample"}
    selections = {n: {"rater": "bare_moved" if n == "ungrouped" else "moved", "sampler": s}
                  for n, s in samplers.items()}  # fmt: skip
    raters = {"moved": CARRIED, "bare_moved": CARRIED | {"group": "none", "baseline": "none"}}
    alone = study("zero", *selections, "five", selections=selections, raters=raters)
    assert Roles.of(alone) == Roles(None, None, None, None, None, "zero")
    both = study(*selections, *EVERY, selections=selections, raters=raters)
    assert Roles.of(both) == Roles.of(study(*EVERY))


# ------------------------------------------------------------------------------------- quality


def test_every_claim_of_quality_is_supported_where_the_arms_stand_as_the_paper_says() -> None:
    found = judge(study(*EVERY, transfer=("m",)))
    assert list(found) == [f"C{i}" for i in range(1, 9)]
    assert [found[f"C{i}"].verdict for i in (1, 2, 3, 4, 6)] == ["supported"] * 5
    assert found["C1"].sentence == verdicts.CLAIMS["C1"]
    # CLIP-Score is better when higher, so the turned figures say the same.
    sides = {p.unit: (p.better, np.sign(p.interval.mean), p.verdict) for p in found["C1"].parts}
    assert sides["fd"] == (-1, -1, "supported")
    assert sides["clip"] == (1, 1, "supported")


def test_claims_are_not_supported_where_the_order_is_turned() -> None:
    found = judge(study(*EVERY), {name: -value for name, value in PAPER.items()})
    assert [found[f"C{i}"].verdict for i in (1, 2, 3, 4, 6)] == ["not supported"] * 5


def test_claims_are_undecided_where_the_noise_is_larger() -> None:
    found = judge(study(*EVERY), {name: value / 1000 for name, value in PAPER.items()}, noise=1.0)
    assert [found[f"C{i}"].verdict for i in (1, 2, 4, 6)] == ["undecided"] * 4


def test_the_papers_metric_and_point_decide_and_the_others_stand_beside() -> None:
    made = study(*EVERY)
    table = report.tidy(made, scores(made, level(PAPER), nll=level({n: -v for n, v in PAPER.items()})))
    found = verdicts.verdicts(made, table, 0.95)[0]
    assert [(p.unit, p.point) for p in deciding(found)] == [("fd", "equal_epochs")]
    assert {(p.unit, p.point) for p in found.parts} == {
        (unit, point) for unit in ("fd", "nll", "clip") for point in ("equal_epochs", "equal_images")
    }
    assert {p.verdict for p in found.parts if p.unit == "nll"} == {"not supported"}
    assert found.verdict == "supported"
    assert "NLL 0 for and 1 against of 1" in found.why


def test_intervals_are_those_of_the_differences_paired_by_seed() -> None:
    exact = judge(study(*EVERY), noise=0.0)["C1"]
    part = deciding(exact)[0]
    # The seeds move every arm by 100, which the pairing takes out.
    assert (part.interval.n, part.interval.mean) == (3, pytest.approx(-5.0))
    assert (part.ratio, part.model) == (0.5, "xs")
    assert part.interval.high - part.interval.low < 1e-9


def test_the_part_nearest_to_failing_is_told() -> None:
    """All are supported, and the second by far the least."""
    made = study("zero", "one", ratios=(0.5, 0.2))

    def fd(cell: Cell, images: float) -> float:
        return level(PAPER)(cell, images) + (5.5 if (cell.selection, cell.ratio) == ("one", 0.5) else 0)

    found = {v.claim: v for v in verdicts.verdicts(made, report.tidy(made, scores(made, fd)), 0.95)}["C2"]
    assert [(p.ratio, p.verdict) for p in deciding(found)] == [(0.2, "supported"), (0.5, "supported")]
    assert found.why.startswith(f"FD at equal epochs, one less zero at 50 %, model xs: {verdicts._MINUS}0.5")


def test_a_grid_with_holes_is_not_supported_at_every_ratio_and_size() -> None:
    whole = judge(study("zero", "one", transfer=("m",)))["C2"]
    assert (whole.verdict, len(deciding(whole))) == ("supported", 4)
    # The further model at one of both ratios, as the study's own grid has it.
    made = study("zero", "one", transfer=("m",))
    transfer = made.grid.transfer.model_copy(update={"ratios": (0.5,)})
    holed = replace(made, grid=made.grid.model_copy(update={"transfer": transfer}))
    found = judge(holed)["C2"]
    assert {p.verdict for p in deciding(found)} == {"supported"}
    assert found.verdict == "undecided"
    assert "Tested in part: model m was compared at 50 % alone." in found.why
    # Both selections should be there to compare.
    transfer = transfer.model_copy(update={"ratios": (0.5, 0.2), "selections": ("one",)})
    found = judge(replace(made, grid=made.grid.model_copy(update={"transfer": transfer})))["C2"]
    assert found.verdict == "undecided"
    assert "it has one model size alone, and model m was compared at no ratio" in found.why


def test_one_part_against_is_enough() -> None:
    made = study(*EVERY)

    def fd(cell: Cell, images: float) -> float:
        return level(PAPER)(cell, images) + (50 if (cell.selection, cell.ratio) == ("one", 0.2) else 0)

    found = {v.claim: v for v in verdicts.verdicts(made, report.tidy(made, scores(made, fd)), 0.95)}
    assert [(p.ratio, p.verdict) for p in deciding(found["C2"])] == [
        (0.2, "not supported"), (0.5, "supported"),
    ]  # fmt: skip
    assert found["C2"].verdict == "not supported"
    assert "Of 2 parts that decide 1 is supported and 1 not." in found["C2"].why
    assert "at 20 %" in found["C2"].why  # the part that decided is told
    assert found["C1"].verdict == "supported"


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ([], "not tested"),
        (["supported"], "supported"),
        (["supported", "undecided"], "undecided"),
        (["supported", "undecided", "not supported"], "not supported"),
    ],
)
def test_parts_make_a_verdict(words: list[verdicts.Word], verdict: str) -> None:
    assert verdicts._together(words) == verdict


def test_samplers_are_compared_in_turn_at_the_lowest_ratio() -> None:
    found = judge(study(*EVERY))["C3"]
    assert {p.ratio for p in found.parts} == {0.2}
    assert [p.what.split(", ")[1].split(" at ")[0] for p in deciding(found)] == [
        "one less two",
        "two less three",
    ]
    assert any("three less zero" in p.what for p in found.parts)
    assert "NLL 2 for and 0 against of 2" in found.why  # of the same arms as the parts that decide
    wrong = judge(study(*EVERY), PAPER | {"three": 1.5})["C3"]
    assert [p.verdict for p in deciding(wrong)] == ["supported", "not supported"]


def test_what_the_grid_lacks_is_not_tested() -> None:
    found = judge(study("one", "zero", ratios=(0.2,)))
    assert {c: v.verdict for c, v in found.items()} == {
        "C1": "not tested", "C2": "undecided", "C3": "not tested", "C4": "not tested", "C5": "not tested",
        "C6": "not tested", "C7": "not tested", "C8": "not tested",
    }  # fmt: skip
    assert found["C1"].why == "The grid lacks one at 50 %."
    assert "Tested in part: it has one ratio alone, and it has one model size alone" in found["C2"].why
    assert all(v.parts == () and v.why for v in found.values() if v.verdict == "not tested")
    assert {v.verdict for v in judge(study("six"), {FULL: 1.0, "six": 1.0}).values()} == {"not tested"}


def test_one_seed_tests_nothing() -> None:
    found = judge(study(*EVERY, seeds=(3,)))
    assert {v.verdict for v in found.values()} == {"not tested"}
    assert all("one seed (3)" in v.why for v in found.values())


def test_a_figure_that_a_generator_has_not_is_left_out() -> None:
    made = study(*EVERY)
    held = scores(made, level(PAPER), nll=lambda cell, images: float("nan"))
    found = verdicts.verdicts(made, report.tidy(made, held), 0.95, bills=bills(made, held))
    assert {p.unit for p in found[0].parts} == {"fd", "clip"}


def test_seeds_that_do_not_match_are_refused() -> None:
    made = study(*EVERY)
    table = report.tidy(made, scores(made, level(PAPER)))
    with pytest.raises(Refusal, match="paired arms should have the same"):
        verdicts.verdicts(made, table[table["cell"] != "full-xs-1"], 0.95)


# ------------------------------------------------------------------------------------- ratings


def ratings(order: dict[str, float], seeds: int = 3) -> tuple[pd.Series, dict[int, pd.Series]]:
    """Kinds of 300 pairs, and ratings around a level for each kind."""
    rng = np.random.default_rng(0)
    ids = [f"id-{i}" for i in range(300)]
    kinds = pd.Series([KINDS[i % 3] for i in range(300)], index=ids)
    centre = kinds.map(order).to_numpy()
    return kinds, {s: pd.Series(centre + rng.normal(0, 1, 300), index=ids) for s in range(seeds)}


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
    made, held = study(*EVERY), noisy(r, noise)
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
    held = noisy(1.0, noise, seeds)
    if seeds > 1:  # two that turn each other round, so that they agree less than chance would have it
        held["r"][1] = -held["r"][0]
    found = judge(study(*EVERY), ratings=held)["C6"]
    assert {p.unit for p in found.parts} == {"fd", "nll", "clip"}
    assert found.verdict == "supported"


# ------------------------------------------------------------------------------------- speed-up


def speed(factor: float) -> Curve:
    """Selection one falls so many times faster than the others."""

    def fd(cell: Cell, images: float) -> float:
        return 200 - images / 10 * (factor if cell.selection == "one" else 1) + 0.1 * cell.seed

    return fd


@pytest.mark.parametrize(
    ("factor", "seconds", "out", "whole", "verdict"),
    [
        (4.0, 0.6, "supported", "supported", "undecided"),  # the other ratio is not in the grid
        (4.0, 60.0, "supported", "not supported", "not supported"),
        (2.0, 0.6, "not supported", "not supported", "not supported"),
        (0.5, 0.6, "not supported", "not supported", "not supported"),  # never as good
        (60.0, 0.6, "supported", "supported", "undecided"),  # before the first checkpoint: at least
    ],
)
def test_speedup_without_and_with_the_rating(
    factor: float, seconds: float, out: str, whole: str, verdict: str
) -> None:
    made = study("zero", "one", ratios=(0.2,))
    held = scores(made, speed(factor))
    cost = bills(made, held, seconds, train_flops=seconds * 1e11, score_flops=0.0)
    found = verdicts.verdicts(made, report.tidy(made, held), 0.95, bills=cost)[6]
    alone, with_rating = deciding(found)
    assert (alone.claimed, alone.unit, alone.better) == (2.33, "times", 1)
    assert (alone.verdict, with_rating.verdict, found.verdict) == (out, whole, verdict)
    assert ("As fast as claimed only while the cost of the rating" in found.why) is (out != whole)
    assert ("never had the final FD" in found.why) is (factor < 1)
    assert "Tested in part: 50 % is not in the grid" in found.why
    assert ("where the factor is a lower bound" in found.why) is (factor > 10)
    assert "FLOPs" in with_rating.what
    assert [p.decides for p in found.parts if "seconds" in p.what] == [False]


def test_seconds_decide_where_operations_were_not_counted() -> None:
    made = study("zero", "one", ratios=(0.2,))
    held = scores(made, speed(4.0))
    found = verdicts.verdicts(made, report.tidy(made, held), 0.95, bills=bills(made, held, train_flops=None))[
        6
    ]
    assert ["seconds" in p.what for p in deciding(found)] == [False, True]


def test_a_bound_decides_on_its_own_side_alone() -> None:
    """Reached before the first checkpoint: at least 10 times by the images, which cannot refute 20 times."""
    made = study("zero", "one", ratios=(0.2,))
    held = scores(made, speed(60.0))
    at = verdicts.speedup(
        made, report.tidy(made, held), bills(made, held), "one", "zero", 0.2, "xs", "fd", 0.95, 20.0
    )
    assert set(at.bounds.values()) == {"at least"}
    assert at.images is not None
    assert (at.images.low, at.images.high) == (pytest.approx(10.0), math.inf)
    assert verdicts._times(at, at.images, 20.0, "", True)[0].verdict == "undecided"
    assert verdicts._times(at, at.images, 5.0, "", True)[0].verdict == "supported"


def first_at(images: int, factor: float) -> tuple[Study, pd.DataFrame, Any]:
    """Both arms, at 50 %, with checkpoints from a number of images on."""
    made = study("zero", "one", ratios=(0.5,))
    held = scores(made, speed(factor))
    table = report.tidy(made, held)
    return made, table[table["images"] >= images], bills(made, held)


@pytest.mark.parametrize("factor", [60.0, 1.5])
def test_a_first_checkpoint_that_cannot_show_the_claimed_factor_is_told(factor: float) -> None:
    made, table, cost = first_at(500, factor)
    found = verdicts.verdicts(made, table, 0.95, bills=cost)[6]
    said = "At 50 % the first checkpoint of one, 500 images, cannot show a factor above 2, "
    assert f"{said}and the claimed one is 5." in found.why
    # Not more than 2 times seen is no more than 5 times only where it was seen at a later checkpoint.
    assert found.verdict == ("undecided" if factor == 60.0 else "not supported")
    made, table, cost = first_at(200, factor)
    assert "cannot show a factor above 5, and" in verdicts.verdicts(made, table, 0.95, bills=cost)[6].why
    made, table, cost = first_at(100, factor)
    assert "cannot show" not in verdicts.verdicts(made, table, 0.95, bills=cost)[6].why


def test_a_factor_that_is_a_bound_in_every_seed_is_told_as_one() -> None:
    made, table, cost = first_at(500, 60.0)
    found = verdicts.verdicts(made, table, 0.95, bills=cost)[6]
    part = deciding(found)[0]
    assert (part.interval.low, part.interval.high) == (pytest.approx(2.0), math.inf)
    assert "at least 2 times against the claimed 5 (95 % interval 2 or more, n = 3)" in found.why
    made, table, cost = first_at(100, 0.5)
    found = verdicts.verdicts(made, table, 0.95, bills=cost)[6]
    assert found.verdict == "not supported"
    assert "or less, n = 3)" in found.why
    assert "at most" in found.why


def test_seeds_of_which_nothing_is_known_decide_nothing() -> None:
    """Both sides were as good at the first checkpoint: seen is a factor of 1, and known is none."""
    made = study("zero", "one", ratios=(0.2,))
    held = scores(made, lambda cell, images: (1.0 if cell.selection == "one" else 4.0) + cell.seed)
    found = verdicts.verdicts(made, report.tidy(made, held), 0.95, bills=bills(made, held))[6]
    assert [p.verdict for p in deciding(found)] == ["undecided", "undecided"]
    assert {(p.interval.low, p.interval.high) for p in deciding(found)} == {(0.0, math.inf)}
    assert found.verdict == "undecided"
    assert "open at both ends" in found.why


def test_each_ratio_has_its_own_claim() -> None:
    made = study("zero", "one")
    held = scores(made, speed(4.0))
    found = verdicts.verdicts(made, report.tidy(made, held), 0.95, bills=bills(made, held, 0.6))[6]
    assert [(p.ratio, p.claimed) for p in deciding(found)] == [(0.2, 2.33), (0.5, 5.0)] * 2
    assert [p.verdict for p in deciding(found)][:2] == ["supported", "not supported"]
    assert verdicts.verdicts(made, report.tidy(made, held), 0.95)[6].verdict == "not tested"


# ------------------------------------------------------------------------------------- transfer


MOVED: dict[str, Any] = {
    "selections": {"seven": {"rater": "moved", "sampler": "shift_gsample"}}, "raters": {"moved": CARRIED},
}  # fmt: skip
HERE = {"pool": "here", "scale": "small"}


def elsewhere(
    pool: str,
    better: bool,
    carried: bool | None = None,
    scale: str = "small",
    seeds: tuple[int, ...] = (0, 1, 2),
) -> pd.DataFrame:
    """Another pool, on which the arm, and seven where `carried` says so, is better than random or worse."""
    names = ("zero", "one") if carried is None else ("zero", "one", "seven")
    made = study(*names, ratios=(0.5,), seeds=seeds, **MOVED)
    levels = {FULL: 0.0, "zero": 3.0, "one": 1.0 if better else 5.0, "seven": 0.0 if carried else 6.0}
    return report.tidy(made, scores(made, level(levels))).assign(pool=pool, scale=scale)


def knowing(made: Study, **changes: Any) -> Study:
    """The study with a selection beside those of its grid, whose rater was trained elsewhere."""
    values = {"start": None, "drop": None, "mean": None, "sigma": None, "seed": 0}
    block = {**values, "rater": "moved", "sampler": "shift_gsample"} | changes.pop("selection", {})
    rater = rater_settings(CARRIED | changes, "moved")
    return replace(
        made,
        selections={**made.selections, "seven": SelectionSettings.model_validate(block)},
        raters={**made.raters, "moved": rater},
    )


def test_transfer_to_models() -> None:
    made = study("zero", "one", transfer=("m",))
    found = judge(made)
    assert found["C8"].verdict == "undecided"
    assert {p.verdict for p in deciding(found["C8"])} == {"supported"}
    assert {p.model for p in found["C8"].parts} == {"m"}
    assert "Tested in part: no rating was carried to another pool" in found["C8"].why
    # Every model size is one of the places where a random subset is to be beaten.
    assert {p.model for p in deciding(found["C2"])} == {"xs", "m"}
    assert {p.model for p in found["C1"].parts} == {"xs"}


def test_a_rating_that_was_carried_decides_and_one_made_anew_stands_beside() -> None:
    made = knowing(study("zero", "one"))
    for anew in (True, False):
        alone = judge(made, elsewhere=elsewhere("there", anew, carried=True), **HERE)["C8"]
        assert [(p.pool, p.what.split(", ")[1].split(" at ")[0]) for p in deciding(alone)] == [
            ("there", "seven less zero")
        ]
        assert deciding(alone)[0].verdict == "supported"
        assert alone.verdict == "undecided"
        assert "Tested in part: no further model was trained on both subsets." in alone.why
        assert "its rater was trained elsewhere" in alone.why
        assert "For one on another pool the rater was trained anew" in alone.why
        beside = {p.what.split(", ")[1].split(" at ")[0] for p in alone.parts if not p.decides}
        assert beside == {"seven less zero", "one less zero", "seven less one"}
        made_anew = [p for p in alone.parts if "one less zero" in p.what and p.unit == "fd"]
        assert {p.verdict for p in made_anew} == {"supported" if anew else "not supported"}
        less = [p for p in alone.parts if "seven less one" in p.what]
        assert {p.verdict for p in less if p.unit == "fd"} == {"supported"}
        assert len(less) == 6
    whole = judge(
        knowing(study("zero", "one", transfer=("m",))), elsewhere=elsewhere("there", False, True), **HERE
    )
    assert whole["C8"].verdict == "supported"
    assert {p.pool for p in deciding(whole["C8"])} == {None, "there"}
    worse = judge(made, elsewhere=elsewhere("there", True, carried=False), **HERE)["C8"]
    assert worse.verdict == "not supported"


def test_a_rating_made_anew_on_another_pool_tests_no_transfer_of_ratings() -> None:
    good = elsewhere("there", True)
    for made in (study("zero", "one"), knowing(study("zero", "one"))):
        alone = judge(made, elsewhere=good, **HERE)["C8"]
        assert (alone.verdict, deciding(alone)) == ("not tested", [])
        assert {p.pool for p in alone.parts} == {"there"}
        assert "no rating was carried to another pool" in alone.why
        assert "the rater was trained anew: the method moves there, no rating does" in alone.why
        assert "its rater was trained elsewhere" not in alone.why
    models = judge(study("zero", "one", transfer=("m",)), elsewhere=good, **HERE)["C8"]
    assert models.verdict == "undecided"
    assert {p.pool for p in deciding(models)} == {None}
    assert "Tested in part: no rating was carried to another pool" in models.why


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": None},
        {"bound": 1.0},
        {"group": "temperature"},
        {"selection": {"sigma": 30.0}},
        {"selection": {"sampler": "topk"}},
    ],
)
def test_what_was_carried_is_as_ours_in_all_but_its_weights(changes: dict[str, Any]) -> None:
    table = elsewhere("there", True, carried=True)
    found = judge(knowing(study("zero", "one"), **changes), elsewhere=table, **HERE)["C8"]
    assert (found.verdict, deciding(found)) == ("not tested", [])


def test_only_other_pools_at_this_scale_with_two_seeds_count() -> None:
    made = knowing(study("zero", "one"))
    good, bad = elsewhere("there", True, carried=True), elsewhere("beyond", True, carried=False)
    both = judge(made, elsewhere=pd.concat([good, bad]), **HERE)["C8"]
    assert [(p.pool, p.verdict) for p in deciding(both)] == [
        ("there", "supported"), ("beyond", "not supported"),
    ]  # fmt: skip
    assert both.verdict == "not supported"
    assert both.why.endswith("Scale small, pool here.")
    one_seed = elsewhere("beyond", False, carried=False, seeds=(0,))
    for other in (bad.assign(pool="here"), bad.assign(scale="tiny"), one_seed):
        found = judge(made, elsewhere=other, **HERE)["C8"]
        assert (found.verdict, found.parts) == ("not tested", ())


def test_falling_curves_give_every_verdict_a_reason() -> None:
    made = study(*EVERY, transfer=("m",))
    held = scores(made, falling)
    kinds, by_seed = ratings({"plain": 3.0, "informative": 2.0, "chaotic": 0.0})
    found = verdicts.verdicts(
        made, report.tidy(made, held), 0.9, bills=bills(made, held), kinds=kinds,
        ratings={"r": by_seed, "low": by_seed}, pool="emoji", scale="small",
    )  # fmt: skip
    assert all(v.why.endswith("Scale small, pool emoji.") for v in found)
    assert all("90 % interval" in v.why and "n = 3" in v.why for v in found)
    assert all("nan" not in v.why and "inf" not in v.why.replace("informative", "") for v in found)


@pytest.mark.parametrize("noise", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_an_interval_holds_the_claimed_value_exactly_where_its_test_does_not_reject_it(
    noise: float, confidence: float
) -> None:
    made = knowing(study(*EVERY, transfer=("m",)))
    rng = np.random.default_rng(int(noise))
    scatter = {(cell.name, share): rng.normal(0, noise) for cell in made.cells() for share in range(1001)}

    def fd(cell: Cell, images: float) -> float:
        return speed(3.0)(cell, images) + PAPER[cell.selection] + scatter[cell.name, int(images)]

    held = scores(made, fd)
    kinds, by_seed = ratings({"plain": 0.5, "informative": 0.2, "chaotic": 0.0})
    rated = {"r": by_seed, "low": {s: r + rng.normal(0, 0.01, 300) for s, r in by_seed.items()}}
    found = verdicts.verdicts(
        made, report.tidy(made, held), confidence, bills=bills(made, held, 3.0), kinds=kinds, ratings=rated,
        elsewhere=elsewhere("there", False, carried=True), **HERE,
    )  # fmt: skip
    parts = [part for v in found for part in v.parts]
    assert {p.unit for p in parts} == {
        "fd", "nll", "clip", "percentile", "share", "rank correlation", "times",
    }  # fmt: skip
    assert {excludes(p.interval, p.claimed) for p in parts} == {-1, 0, 1}
    for part in parts:
        held_inside = excludes(part.interval, part.claimed) == 0
        assert held_inside == (part.interval.p_t > 1 - confidence), part
        assert held_inside == (part.verdict == "undecided"), part
