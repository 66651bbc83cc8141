"""Blocks of `selections:`: each sampler takes its own values, and no more than the retention leaves."""

import math
from typing import Any

import pytest

from alchemist.core.refusal import Refusal
from alchemist.settings import parse
from alchemist.settings.selection import SelectionSettings, check_start, shift_drop


def settings(sampler: str, seed: int = 0, **values: Any) -> SelectionSettings:
    empty = {"start": None, "drop": None, "mean": None, "sigma": None}
    block = {"rater": "r", "sampler": sampler, "seed": seed, **empty, **values}
    return parse(SelectionSettings, block, "selections.s")


@pytest.mark.parametrize(
    ("sampler", "values", "message"),
    [
        (
            "topk",
            {"drop": 25.0},
            r"selections\.s\.drop is 25\.0; it should be null, because sampler topk uses none",
        ),
        ("random", {"sigma": 1.0}, r"selections\.s\.sigma is 1\.0; it should be null"),
        ("full", {"start": 0.0}, r"selections\.s\.start is 0\.0; it should be null"),
        ("block", {"mean": 50.0}, r"it should be null, because sampler block uses start\."),
        ("gsample", {"drop": 5.0}, r"it should be null, because sampler gsample uses mean and sigma\."),
        ("shift_gsample", {"start": 5.0}, r"shift_gsample uses drop and mean and sigma\."),
        (
            "shift_gsample",
            {"drop": 100.0},
            r"selections\.s\.drop is 100\.0; .*at least 0 and less than 100 or null",
        ),
        ("gsample", {"sigma": 0.0}, r"selections\.s\.sigma is 0\.0; .* larger than 0"),
        ("gsample", {"sigma": math.inf}, r"selections\.s\.sigma is inf; .* finite"),
        ("gsample", {"mean": 101.0}, r"selections\.s\.mean is 101\.0; .* at most 100"),
        ("block", {"start": -1.0}, r"selections\.s\.start is -1\.0; .* at least 0"),
        ("block", {"start": "10"}, r"selections\.s\.start is '10'; it should be a finite number"),
        ("bottomk", {}, r"selections\.s\.sampler is 'bottomk'; .*topk"),
        ("topk", {"seed": -1}, r"selections\.s\.seed is -1"),
        ("topk", {"extra": 1}, r"selections\.s\.extra is not a known key; legal keys are rater, sampler"),
    ],
)
def test_settings_that_a_sampler_cannot_use_are_refused(
    sampler: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refusal, match=message):
        settings(sampler, **values)


def test_a_selection_is_a_rater_and_a_sampler_and_the_rest_has_defaults() -> None:
    assert parse(SelectionSettings, {"rater": "r", "sampler": "topk"}, "selections.s") == settings("topk")
    with pytest.raises(
        Refusal, match=r"selections\.s\.rater is missing; selections\.s needs the keys rater, sampler"
    ):
        parse(SelectionSettings, {"sampler": "topk"}, "selections.s")


def test_what_a_drop_or_start_leaves_should_be_enough_for_the_retention() -> None:
    assert shift_drop(0.8, None) == 15.0
    assert shift_drop(0.8, 20.0) == 20.0
    check_start(0.8, 20.0)
    with pytest.raises(Refusal, match=r"drop is 20\.1; at retention 0\.8 it should be at most 20,"):
        shift_drop(0.8, 20.1)
    with pytest.raises(Refusal, match=r"start is 20\.1; at retention 0\.8 it should be at most 20,"):
        check_start(0.8, 20.1)
