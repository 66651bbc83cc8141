"""The plan of a grid with budgets per model, and with a network that is pretrained and adapted."""

from functools import cache

import pytest
from tiny import REPO

from alchemist.models.outline import size
from alchemist.models.training import points
from alchemist.params.check import check
from alchemist.params.inherit import inherited
from alchemist.plan.estimates import Estimates
from alchemist.plan.jobs import Job
from alchemist.plan.missing import missing
from alchemist.plan.pairs import planned
from alchemist.plan.work import work
from stages.params_file import read_params

ASSETS = REPO / "assets"


@cache
def estimates() -> Estimates:
    params = inherited(read_params(REPO / "params.yaml"))
    params["pool"], params["grid"]["families"] = "emoji_neutral", ["star", "flux"]
    params["grid"]["others"]["flux"] |= {"models": ["flux_s", "flux_adapted"]}
    params["scales"]["tiny"]["train_of"] = {"flux_adapted": {"images": 3200, "batch": 8}}
    params["scales"]["tiny"]["pretrain"] = {"images": 6400, "batch": 32}
    sound = check(params)
    return Estimates(sound, planned(sound.pool, sound.pools), ASSETS / "codecs")


def cell(model: str, script: str = "train") -> Job:
    place = "--cell" if script == "evaluate" else "--out"
    return Job(f"{script}@x", script, {place: f"data/models/random-0.5-{model}-0"}, "runs")


def test_a_cell_is_planned_by_the_budget_of_its_model() -> None:
    of = estimates()
    whole, adapted = (work([cell(model)], of)[0] for model in ("flux_s", "flux_adapted"))
    assert (whole.images, whole.steps) == (9600, 600)
    assert (adapted.images, adapted.steps) == (3200, 400)
    assert work([cell("flux_adapted", "evaluate")], of)[0].images == 1000 * len(
        points(of.scale.budget("flux_adapted"), 0.5)
    )
    # Adapters are in every pass of the frozen network, and alone in a checkpoint.
    assert adapted.flops == pytest.approx(whole.flops * 3200 / 9600, rel=0.1)
    assert adapted.flops > whole.flops * 3200 / 9600
    assert adapted.disk < 0.1 * whole.disk


def test_the_network_below_is_planned_once_and_whole() -> None:
    of = estimates()
    [one] = work([Job("pretrain@x", "pretrain", {"--model": "flux_adapted"}, "runs")], of)
    assert (one.what, one.images, one.steps) == ("pretrain flux_adapted", 6400, 200)
    assert one.flops == 3 * of.forward("flux_s") * 6400
    assert one.disk == size(of.generator("flux_s")).checkpoint_bytes
    assert of.pairs.pretraining == 8000
    assert of.pairs.encoded == 8000 + 1000 + 3000 + 8000
    assert not missing(of.params, [one], ASSETS), "what a stage makes is not looked for"


def test_a_model_that_adapts_nothing_takes_no_pretraining() -> None:
    nothing = Job("pretrain@x", "pretrain", {"--model": "flux_s"}, "runs")
    assert work([nothing], estimates()) == []
