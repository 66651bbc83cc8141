"""The work of a grid; at the paper's sizes, its figures beside those that are known of the paper."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from tiny import REPO

from alchemist.analysis.speedup import break_even
from alchemist.core.settings.plan import CardSettings
from alchemist.params.check import check
from alchemist.params.inherit import inherited
from alchemist.plan import cost
from alchemist.plan.estimates import Estimates
from alchemist.plan.jobs import Job, State
from alchemist.plan.missing import missing
from alchemist.plan.pairs import Pairs
from alchemist.plan.returns import returns
from alchemist.plan.work import work
from stages.params_file import read_params

ASSETS = REPO / "assets"
LAION = Pairs(30_000_000, 1_000_000, 30_000, 1, "as the paper has it")
STEPS, BATCH = 94_000, 64  # of the published rater: six passes over a million validation pairs
FULL_HOURS, CARDS = 65.34, 8  # Table 1: three epochs over 30 million images by STAR-0.3B, on A800


def paper() -> dict[str, Any]:
    """params.yaml with STAR as the paper has it."""
    params: dict[str, Any] = inherited(read_params(REPO / "params.yaml"))
    params["roles"] = {"proxy": "star_300m", "rater": "star_40m"}
    params["grid"] |= {
        "selections": ["random", "alchemist"], "raters": ["random", "alchemist"], "models": ["star_300m"],
        "ratios": [0.5, 0.2], "seeds": [0],
    }  # fmt: skip
    params["statistics"] = {"primary": None, "secondary": [], "confidence": 0.95}
    params["codecs"]["star"] |= {"kind": "published"}
    params["pool"], params["pools"]["mine"]["resolution"] = "mine", 256
    scale = params["scales"]["tiny"]
    scale["encode"] |= {"text": {"star": {"kind": "clip", "weights": "nobody/sd-2-1", "pieces": 77}}}
    scale["rate"] |= {"images": STEPS * BATCH, "batch": BATCH}
    scale["train"] |= {"images": 90_000_000, "batch": 512, "checkpoints": []}
    return params


@cache
def estimates() -> Estimates:
    return Estimates(check(paper()), LAION, ASSETS / "codecs")


def job(name: str, script: str, state: State = "runs", **options: str) -> Job:
    return Job(name, script, {f"--{key}": value for key, value in options.items()}, state)


RATE = job("rate@alchemist-0", "rate", rater="alchemist", family="star")
FULL = job("train_full@full-star_300m-0", "train", model="star_300m", out="data/models/full-star_300m-0")
HALF = job("train@alchemist-0.5-star_300m-0", "train", model="star_300m",
           out="data/models/alchemist-0.5-star_300m-0")  # fmt: skip


def test_a_cell_of_the_paper_takes_thrice_its_forward_passes() -> None:
    full, half = (work([one], estimates())[0] for one in (FULL, HALF))
    assert full.images == pytest.approx(90e6, rel=1e-5)
    assert full.steps == full.images // 512
    assert full.flops == pytest.approx(3 * 364e9 * 90e6, rel=0.02)
    # A subset goes on to as many images as the whole, with a checkpoint at equal epochs on its way.
    assert half.images == full.images
    assert half.disk == 2 * full.disk == pytest.approx(2 * 4 * 273.9e6, rel=1e-3)


def test_the_paper_s_hours_give_the_utilisation_by_default() -> None:
    """16.7 % of an A800's 312 TFLOP/s."""
    flops = work([FULL], estimates())[0].flops
    assert flops is not None
    utilisation = flops / (FULL_HOURS * CARDS * 3600 * 312e12)
    assert CardSettings().utilisation == pytest.approx(utilisation, abs=0.005)
    assert CardSettings().tflops == 312


def test_ratings_by_features_of_all_pairs_take_the_network_of_the_evaluation() -> None:
    """Which the predictor of aesthetics does not: its CLIP ViT-L/14 takes 162 GFLOP an image."""
    each = {}
    for name in ("semdedup", "cluster_balance", "aesthetic"):
        [found] = work([job(f"embedding@{name}", "embedding", rater=name)], estimates())
        each[name] = found.flops
    assert each["semdedup"] == each["cluster_balance"]
    assert each["aesthetic"] == pytest.approx(30e6 * 162e9, rel=0.05)
    assert each["aesthetic"] != pytest.approx(each["semdedup"], rel=0.5)


def test_the_paper_s_rating_takes_about_ninety_card_hours() -> None:
    """94,000 steps of 64 pairs of either split, STAR-0.3B forward and back on both, the 40M rater on the
    train batch, then 30 million pairs rated; at the utilisation that the paper's own hours say."""
    [rating] = work([RATE], estimates())
    by_hand = STEPS * BATCH * 3 * (2 * 364e9 + 53e9) + 30e6 * 53e9
    assert rating.flops is not None
    assert rating.flops == pytest.approx(by_hand, rel=0.05)
    assert cost.hours(rating.flops, CardSettings()) == pytest.approx(90, rel=0.15)
    assert rating.images == STEPS * BATCH + 30_000_000


def test_a_rater_of_compared_groups_passes_pairs_of_each_group_too() -> None:
    """By which groups are known: as many as rate.reference_group of each, and no more than the pool has."""
    params, count = paper(), 16 * 255
    params["grid"]["raters"].append("alchemist_groups")
    known = job("rate@alchemist_groups-0", "rate", rater="alchemist_groups", family="star")
    of = Estimates(check(params), LAION, ASSETS / "codecs")
    of.remembered = estimates().remembered
    [plain], [more] = work([RATE], estimates()), work([known], of)
    assert more.images == plain.images + count
    assert more.disk == plain.disk
    assert more.flops == pytest.approx(plain.flops, rel=1e-3)
    of.pairs = few = replace(LAION, pool=1000)
    [fewer] = work([known], of)
    assert fewer.images == STEPS * BATCH + few.rated + 1000


def test_a_rating_of_the_paper_pays_for_itself_in_a_run() -> None:
    """About 90 card-hours, where a run of 523 is halved; never where the subset saves nothing."""
    of_half, of_fifth = returns(estimates())
    assert (of_half.ratio, of_fifth.ratio, of_half.runs) == (0.5, 0.2, 1)
    assert of_half.subset == pytest.approx(of_half.full / 2, rel=1e-3)
    assert break_even(of_half.rating, of_half.full, of_half.full) is None


def test_jobs_of_a_kind_are_summed_and_those_that_are_done_left_out() -> None:
    done = job("x", "train", "done", model="star_300m", out="full-x")
    [one] = work([FULL, HALF, job("check", "check"), done], estimates())
    assert (one.what, one.cells) == ("train star_300m", 2)
    assert one.memory == work([FULL], estimates())[0].memory


def test_encoded_pairs_of_the_paper_and_their_disk() -> None:
    """680 codes of two bytes, 77 states of 1,024 halves and a pooled one; 215 GFLOP of the tokenizer, and
    45 of the tower of captions."""
    [one] = work([job("encode@star", "encode", family="star")], estimates())
    assert one.images == 31_030_000
    assert one.disk == one.images * (680 * 2 + 2 * (77 * 1024 + 1024))
    assert one.flops == pytest.approx(one.images * (215e9 + 45.1e9), rel=0.01)
    weights = 4 * (108.95e6 + 340.4e6)
    assert one.memory is not None
    assert one.memory > weights
    assert one.fit is not None
    assert one.fit.key == "scales.tiny.encode.batch"


def test_a_cell_knows_its_share_of_the_pool() -> None:
    assert (FULL.ratio, HALF.ratio) == (1.0, 0.5)
    assert job("e", "evaluate", cell="data/models/a-1e-05-xs-0").ratio == 1e-05


def test_what_is_missing_is_told() -> None:
    params = paper()
    params["plan"] = {"card": {"memory_gib": 10.0}}
    params["raters"]["alchemist"] |= {"weights": "nobody"}
    params["scales"]["tiny"]["evaluate"] |= {
        "features": "inception", "further": ["cmmd", "dinov2_vitb14"],
        "weights": {"dinov2_vitb14": __file__, "cmmd": "gone.safetensors"},
    }  # fmt: skip
    found = missing(check(params), work([FULL], estimates()), ASSETS)
    said = "\n".join(found)
    for words in (
        "pools.mine.path is 'my-pairs', which does not exist",
        "codecs.star.weights is 'FoundationVision/var'", "; MIT.",
        "encode.text.star.weights is 'nobody/sd-2-1'", "text_encoder/config.json is not in the cache",
        "assets/raters/nobody/0, which is missing",
        "evaluate.weights.inception: those of its release are downloaded",
        "evaluate.weights.cmmd is 'gone.safetensors', which does not exist",
        "train star_300m takes about", "has 10 GiB. scales.tiny.train.chunk is null; at most", "fits.",
    ):  # fmt: skip
        assert words in said
    assert len(found) == 7  # DINOv2 is here


def test_gated_licences_are_named() -> None:
    params = inherited(read_params(REPO / "params.yaml"))
    params["models"]["flux_mini_lora"] |= {"weights": "black-forest-labs/FLUX.1-dev"}
    params["grid"]["families"] = ["star", "flux"]
    params["grid"]["others"]["flux"] |= {"models": ["flux_mini_lora"]}
    [said] = missing(check(params), [], ASSETS)
    assert said.startswith("models.flux_mini_lora.weights is 'black-forest-labs/FLUX.1-dev', a repository")
    assert "non-commercial licence" in said
