"""Blocks of `raters:`: each kind has a class, a list of the grid and a table."""

from typing import Any

import pytest

from alchemist.core.refusal import Refusal
from alchemist.core.settings.rater import seeded, table_name
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.table import KINDS, LISTS, rater_settings

LOSS = {"kind": "loss", "direction": -1}
CLARITY = {"kind": "clarity", "direction": 1}
META = {
    "kind": "meta", "credit": "penalty", "reference_warmup": None, "unroll_steps": None, "group": "product",
    "rating_mode": "reference_group", "baseline": "validation", "bound": 2.0, "upper_weight": 1.0,
    "upper_decay": 0.03, "epochs": 10, "weights": None,
}  # fmt: skip


def test_every_kind_stands_in_one_list_of_the_grid() -> None:
    assert set(LISTS) == set(KINDS)
    assert set(LISTS.values()) == {"raters", "embeddings", "heuristics", "oracles"}
    assert [LISTS[kind] for kind in ("meta", "random", "semdedup", "clarity", "oracle")] == [
        "raters", "raters", "embeddings", "heuristics", "oracles",
    ]  # fmt: skip


def test_raters_of_the_grids_list_have_a_table_a_seed_and_others_one() -> None:
    loss, clarity = rater_settings(LOSS, "raters.a"), rater_settings(CLARITY, "raters.b")
    assert seeded(loss)
    assert not seeded(clarity)
    assert table_name("a", loss, 3) == "a/3.parquet"
    assert table_name("b", clarity, 3) == "b/all.parquet"


@pytest.mark.parametrize("value", [{}, {"kind": "lost"}, {"kind": ["loss"]}, 3, None])
def test_an_unknown_kind_is_refused_with_the_known_ones(value: Any) -> None:
    with pytest.raises(Refusal, match=r"raters\.r(\.kind)? is .*(are|one of) meta, loss,"):
        rater_settings(value, "raters.r")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unroll_steps": 2}, "it should be null, because only credit unrolled uses it"),
        ({"credit": "unrolled", "baseline": "none"}, "it should be a number, because credit unrolled"),
        ({"credit": "reference", "baseline": "none"}, "it should be a number, because credit reference"),
        ({"credit": "alignment"}, "baseline should be none"),
        ({"group": "double_softmax", "bound": None}, "go together, as published"),
        ({"group": "double_softmax", "rating_mode": "batch"}, "bound should be null"),
        ({"weights": "../emoji"}, "raters.r.weights is '../emoji'"),
    ],
)
def test_a_value_that_the_credit_or_group_would_ignore_is_refused(
    changes: dict[str, Any], words: str
) -> None:
    rater_settings(META, "raters.r")
    with pytest.raises(Refusal, match=words):
        rater_settings({**META, **changes}, "raters.r")


@pytest.mark.parametrize("credit", ["penalty", "alignment"])
def test_eq_4_goes_before_any_credit_for_a_share_of_the_run(credit: str) -> None:
    block = {**META, "credit": credit, "baseline": "none", "reference_warmup": 0.2}
    found = rater_settings(block, "raters.r")
    assert isinstance(found, MetaRater)
    assert found.reference_warmup == 0.2
    with pytest.raises(Refusal, match=r"raters\.r\.reference_warmup is 1\.0; .* less than 1"):
        rater_settings({**block, "reference_warmup": 1.0}, "raters.r")
