"""Blocks of `models:` name their family, and a stage takes those of its own."""

from typing import Any

import pytest

from alchemist.core.refusal import Refusal
from alchemist.core.settings.model import families, model_settings, sample_settings
from alchemist.families.star.settings import StarSettings

SIZE = {"family": "star", "depth": 2, "width": 96, "heads": 3, "drop_path": 0.01, "activation": "relu"}


def test_a_block_is_of_its_familys_class() -> None:
    assert isinstance(model_settings(SIZE, "models.s"), StarSettings)
    assert model_settings(SIZE, "models.s", "star") == model_settings(SIZE, "models.s")


@pytest.mark.parametrize(
    "value", [{**SIZE, "family": "star2"}, {"depth": 2}, 7, {**SIZE, "family": ["star"]}]
)
def test_an_unknown_family_is_refused_with_the_known_ones(value: Any) -> None:
    with pytest.raises(
        Refusal, match=r"models\.s(\.family)? is .*; (legal values are|it .* one of) flux, star"
    ):
        model_settings(value, "models.s")


def test_a_model_of_another_family_is_refused_by_the_stages_of_one() -> None:
    with pytest.raises(
        Refusal, match=r"models\.s\.family is 'star'; this stage runs models of the family x\."
    ):
        model_settings(SIZE, "models.s", "x")


LAW = {"guidance": 2.0, "top_p": 0.9}


def test_a_scale_holds_a_law_for_each_family_that_it_names() -> None:
    assert "star" in families()
    assert sample_settings({"star": LAW}, "scales.tiny.sample")["star"].model_dump() == LAW | {"top_k": 0}
    for value, words in (
        ({}, r"scales\.tiny\.sample is \{\}; it should be a block with a law for each family"),
        (3, r"scales\.tiny\.sample is 3; it should be a block"),
        ({"star": LAW, "x": LAW}, r"scales\.tiny\.sample\.x is not a known key; legal keys are .*star"),
        ({"star": {**LAW, "top_p": 0.0}}, r"scales\.tiny\.sample\.star\.top_p is 0\.0"),
    ):
        with pytest.raises(Refusal, match=words):
            sample_settings(value, "scales.tiny.sample")
