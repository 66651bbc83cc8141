"""A grid of several families of models: it is sound, or one sentence says what does not fit."""

import copy
from typing import Any

import pytest
from params_helpers import asking, edited, put

from alchemist.core.refusal import Refusal
from alchemist.params.check import check

FLUX = {"proxy": "flux_s", "rater": "flux_xs", "raters": ["alchemist_flux"], "models": ["flux_xs"]}


def two_families(**changes: Any) -> dict[str, Any]:
    """The default with a rater and a model of a second family; `changes` as in `put`."""
    params = asking(
        grid__families=["star", "flux"],
        grid__others={"flux": copy.deepcopy(FLUX)},
        grid__selections=["oracle", "random", "topk", "alchemist", "loss", "alchemist_flux"],
    )
    params["contrasts"]["across"] = {"arm": "alchemist_flux", "against": "random", "model": "flux_xs"}
    return put(params, changes)


def test_a_grid_of_two_families_is_sound() -> None:
    grid = check(two_families(statistics__secondary=["across"])).grid
    assert grid.home == "star"
    assert [grid.family_of(name) for name in ("xs", "flux_xs")] == ["star", "flux"]
    assert [grid.rated_by(name) for name in ("alchemist", "alchemist_flux", "oracle")] == [
        "star",
        "flux",
        None,
    ]
    assert ("alchemist_flux", 0.2, "xs") in grid.runs()
    assert ("alchemist", 0.2, "flux_xs") in grid.runs()


def test_another_family_may_stand_alone() -> None:
    """No model and no rater of the roles' family: nothing of it is encoded."""
    alone = two_families(
        grid__families=["flux"], grid__models=[], grid__raters=[], grid__oracles=[],
        grid__selections=["alchemist_flux", "random"], raters__random_flux={"kind": "random"},
        selections__random={"rater": "random_flux", "sampler": "random"}, statistics__secondary=[],
        statistics__primary="across", codecs={"flux": {}}, scales__tiny__sample={"flux": {}},
        grid__others__flux__raters=["alchemist_flux", "random_flux"],
    )  # fmt: skip
    grid = check(alone).grid
    assert (grid.home, grid.main, grid.family_of("flux_xs")) == ("flux", "flux_xs", "flux")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"grid__families": ["star"]}, "grid.families is ['star']; it should hold flux too, because"),
        ({"grid__families": ["flux"]}, "grid.families is ['flux']; it should hold star too"),
        ({"grid__others__flux__raters": [], "grid__others__flux__models": [],
          "grid__selections": ["random"], "statistics__primary": None, "statistics__secondary": []},
         "grid.families holds flux, of which the grid has no rater and no model; leave it out."),
        ({"grid__families": ["star", "flux", "dit"]}, "grid.families is 'dit'; legal values are flux, star."),
        ({"grid__models": ["flux_xs"]}, "grid.models holds flux_xs of the family flux; roles.proxy (s) is"),
        ({"grid__transfer": {"selections": ["loss"], "ratios": [0.2], "models": ["flux_s"]}},
         "grid.transfer.models holds flux_s of the family flux; roles.proxy (s) is of the family star, and"),
        ({"roles__rater": "flux_xs"}, "roles.rater holds flux_xs of the family flux; roles.proxy (s)"),
        ({"grid__others__flux__models": ["m"]}, "grid.others.flux.models holds m of the family star;"),
        ({"grid__others__flux__proxy": "s"}, "grid.others.flux.proxy holds s of the family star;"),
        ({"grid__others__flux__proxy": "flux"}, "grid.others.flux.proxy is 'flux', nearest to flux_s; legal"),
        ({"grid__others": {"star": FLUX | {"models": []}}}, "grid.others.star.proxy holds flux_s of the"),
        ({"grid__others": {"star": FLUX | {"proxy": "s", "rater": "s", "raters": [], "models": ["s"]}},
          "grid__selections": ["random"]},
         "grid.others has star, which is the family of roles.proxy (s); leave it out there."),
        ({"grid__others__flux__raters": ["alchemist"]}, "grid.others.flux.raters holds alchemist, which is "
         "in grid.raters already; a rating of another family is a block of its own, as alchemist_flux:"),
        ({"grid__others__flux__raters": ["clarity"]}, "holds clarity, which belongs in grid.heuristics"),
        ({"grid__others__flux__raters": []}, "rater alchemist_flux is not in grid.raters; add it there."),
        ({"grid__others__flux__modles": ["flux_xs"]},
         "grid.others.flux.modles is not a known key, nearest to models; legal keys are proxy, rater,"),
        ({"grid__others__flux__proxy": KeyError}, "grid.others.flux.proxy is missing; grid.others.flux"),
        ({"grid__others": {"flux": None}}, "grid.others.flux is null; it should be a block with the keys"),
        ({"grid__others": []}, "grid.others is []; it should be "),
        ({"grid__models": [], "grid__others__flux__models": []}, "grid.models is []; it should hold a block"),
        ({"codecs__flux": KeyError}, "codecs.flux is missing; the family flux, which"),
        ({"codecs__flux": {"kind": "wavelets"}}, "codecs.flux.kind is 'wavelets'; it should be pixels or"),
        ({"codecs__dit": {}}, "codecs.dit is not a known key; legal keys are flux, star."),
        ({"codecs": {}}, "codecs is {}; it should be a block with a block for each family in use."),
        ({"scales__tiny__sample": {"star": {}}}, "scales.tiny.sample.flux is missing; models of the family"),
        ({"statistics__secondary": ["across"], "contrasts__across__metric": "nll"},
         "contrasts.across.metric is 'nll'; the model flux_xs is of the family flux, which has no"),
        ({"statistics__secondary": ["across"], "contrasts__across__model": "flux_s"},
         "the grid has no cell alchemist_flux at ratio 0.5 for model flux_s"),
    ],
)  # fmt: skip
def test_families_that_do_not_fit_together_are_told_in_a_sentence(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(Refusal) as refused:
        check(two_families(**changes))
    assert told in str(refused.value)
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)


def test_a_scale_without_the_familys_law_is_refused() -> None:
    params = edited("scales.tiny.sample", {"flux": {}})
    with pytest.raises(Refusal, match=r"scales.tiny.sample.star is missing"):
        check(params)
