"""Models that adapt a pretrained network: the grid is sound, or one sentence says what does not fit."""

from typing import Any

import pytest
from params_helpers import asking, put

from alchemist.core.refusal import Refusal
from alchemist.core.settings.model import model_settings
from alchemist.params.check import check
from alchemist.params.inherit import inherited

FLUX = {
    "proxy": "flux_s",
    "rater": "flux_xs",
    "raters": [],
    "models": ["flux_s", "flux_adapted"],
}


def adapting(**changes: Any) -> dict[str, Any]:
    """The default with a model of a second family that adapts; `changes` as in `put`."""
    params = asking(
        grid__families=["star", "flux"], grid__others={"flux": {**FLUX}}, grid__models=["xs"],
        grid__selections=["random", "alchemist"], grid__oracles=[],
    )  # fmt: skip
    for key, value in {"pool": "emoji_neutral", "statistics__secondary": []}.items():
        put(params, {key: value})
    return put(params, changes)


def test_an_adapted_model_is_a_further_model_of_its_family() -> None:
    grid = check(adapting(statistics__primary="adapted")).grid
    assert grid.whole() == ["xs", "flux_s", "flux_adapted"]
    assert grid.family_of("flux_adapted") == "flux"
    assert ("alchemist", 0.5, "flux_adapted") in grid.runs()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"grid__others__flux__adapted": ["flux_adapted"]},
         "grid.others.flux.adapted is not a known key; legal keys are proxy, rater, raters, models"),
        ({"grid__transfer": {"selections": ["random"], "ratios": [0.5], "models": ["flux_adapted"]},
          "grid__models": ["flux_s"], "roles": {"proxy": "flux_s", "rater": "flux_s"},
          "grid__families": ["flux"], "grid__others": {}},
         "grid.transfer.models holds flux_adapted, whose weights are pretrained here; such a "),
        ({"grid__others__flux__proxy": "flux_adapted"}, "grid.others.flux.proxy holds flux_adapted, whose"),
        ({"roles__proxy": "flux_adapted", "roles__rater": "flux_xs", "grid__models": ["flux_xs"],
          "grid__families": ["flux"], "grid__others": {}}, "roles.proxy holds flux_adapted, whose weights"),
        ({"models__flux_adapted": {"base": "flux_s", "weights": "pretrained"}},
         "lora should be named where weights is pretrained"),
        ({"pool": "emoji"}, "pools.emoji.pretraining.pairs is 0, and the grid adapts flux_adapted, whose "
         "network is trained on that split; it should be at least 32."),
        ({"pool": "mine"}, "pools.mine.splits.pretraining is 0, and the grid adapts flux_adapted, whose "
         "network is trained on that split; it should be a share or {pool: NAME}."),
        ({"pools__emoji_neutral__pretraining": {"pairs": 20}},
         "scales.tiny.pretrain.batch is 32; at most pools.emoji_neutral.pretraining.pairs (20) is legal."),
        ({"scales__tiny__pretrain": {"checkpoints": [0.5]}},
         "scales.tiny.pretrain.checkpoints is [0.5]; it should be left out"),
        ({"scales__tiny__pretrain": None}, "scales.tiny.pretrain is missing; the grid adapts flux_adapted,"),
        ({"scales__tiny__pretrain__batch": 0}, "scales.tiny.pretrain.batch is 0; it should be a "),
        ({"scales__tiny__train_of": {"flux_adpated": {}}}, "scales.tiny.train_of.flux_adpated is not a known "
         "key, nearest to flux_adapted; legal keys are"),
        ({"scales__tiny__train_of": {"s": {"bath": 3}}}, "scales.tiny.train_of.s.bath is not a known key, "
         "nearest to batch; legal keys are images,"),
        ({"scales__tiny__train_of": {"s": {"batch": 0}}}, "scales.tiny.train_of.s.batch is 0; it should be a "
         "whole number, at least 1."),
        ({"scales__tiny__train_of": {"s": 7}}, "scales.tiny.train_of.s is 7; it should be a block with keys"),
        ({"scales__tiny__train_of": 7}, "scales.tiny.train_of is 7; it should be "),
        ({"pools__mine__splits": {"pretraining": {"pool": "mine"}}}, "pools.mine.splits.pretraining.pool is"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(Refusal) as refused:
        check(adapting(**changes))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_network_below_is_the_model_without_what_adapts_it() -> None:
    models = inherited(adapting())["models"]
    adapted = model_settings(models["flux_adapted"], "m")
    assert adapted.adapts
    assert adapted.whole() == model_settings(models["flux_s"], "m")
