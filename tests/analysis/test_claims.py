from dataclasses import replace

import numpy as np
import pytest
from analysis_helpers import (
    EVERY,
    HERE,
    PAPER,
    bills,
    deciding,
    elsewhere,
    falling,
    judge,
    knowing,
    ratings,
    scores,
    speed,
    study,
)

from alchemist.analysis.claims import verdicts
from alchemist.analysis.grid import FULL, Cell
from alchemist.analysis.results import tidy
from alchemist.analysis.statistics import excludes


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


def test_falling_curves_give_every_verdict_a_reason() -> None:
    made = study(*EVERY, transfer=("m",))
    held = scores(made, falling)
    kinds, by_seed = ratings({"plain": 3.0, "informative": 2.0, "chaotic": 0.0})
    found = verdicts(
        made, tidy(made, held), 0.9, bills=bills(made, held), kinds=kinds,
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
    found = verdicts(
        made, tidy(made, held), confidence, bills=bills(made, held, 3.0), kinds=kinds, ratings=rated,
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
