from typing import Any

import numpy as np
import pandas as pd
import pytest
from analysis_helpers import EVERY, HERE, PAPER, deciding, elsewhere, judge, knowing, level, scores, study

from alchemist.analysis.claims import CLAIMS, verdicts
from alchemist.analysis.grid import Cell
from alchemist.analysis.results import tidy


def test_every_claim_of_quality_is_supported_where_the_arms_stand_as_the_paper_says() -> None:
    found = judge(study(*EVERY, transfer=("m",)))
    assert list(found) == [f"C{i}" for i in range(1, 9)]
    assert [found[f"C{i}"].verdict for i in (1, 2, 3, 4, 6)] == ["supported"] * 5
    assert found["C1"].sentence == CLAIMS["C1"]
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


def test_one_part_against_is_enough() -> None:
    made = study(*EVERY)

    def fd(cell: Cell, images: float) -> float:
        return level(PAPER)(cell, images) + (50 if (cell.selection, cell.ratio) == ("one", 0.2) else 0)

    found = {v.claim: v for v in verdicts(made, tidy(made, scores(made, fd)), 0.95)}
    assert [(p.ratio, p.verdict) for p in deciding(found["C2"])] == [
        (0.2, "not supported"), (0.5, "supported"),
    ]  # fmt: skip
    assert found["C2"].verdict == "not supported"
    assert "Of 2 parts that decide 1 is supported and 1 not." in found["C2"].why
    assert "at 20 %" in found["C2"].why  # the part that decided is told
    assert found["C1"].verdict == "supported"


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
