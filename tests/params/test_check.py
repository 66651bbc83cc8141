"""params.yaml: the default is sound, and every kind of mistake is one sentence that helps."""

import copy
from pathlib import Path
from typing import Any

import pytest

from alchemist.core.refusal import Refusal
from alchemist.params.check import _one_family, check
from alchemist.settings.grid import RolesSettings
from alchemist.settings.model import ModelSettings
from stages.params_file import read_params

REPOS: dict[str, Any] = read_params(Path(__file__).parents[2] / "params.yaml")
# The repo's blocks with a grid of this file's own, to which the mistakes below are made.
DEFAULT: dict[str, Any] = REPOS | {
    "pool": "emoji", "scale": "tiny", "roles": {"proxy": "s", "rater": "xs"}, "device": "auto",
    "grid": {
        "selections": ["oracle", "random", "topk", "alchemist", "loss"],
        "raters": ["alchemist", "loss", "random"], "embeddings": [], "heuristics": [], "oracles": ["oracle"],
        "ratios": [0.5, 0.2], "models": ["xs"], "seeds": [0],
        "ablation": {"selections": [], "ratios": []},
        "transfer": {"selections": [], "ratios": [], "models": []},
    },
    "statistics": {"primary": None, "secondary": [], "confidence": 0.95},
}  # fmt: skip


def edited(key: str, value: Any) -> dict[str, Any]:
    params = copy.deepcopy(DEFAULT)
    *path, last = key.split(".")
    place = params
    for part in path:
        place = place.setdefault(part, {})
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return params


def test_the_default_is_sound() -> None:
    assert check(REPOS).grid.ratios == tuple(REPOS["grid"]["ratios"])
    assert check(DEFAULT).grid.ratios == (0.5, 0.2)


def test_a_contrast_in_a_further_figure_needs_its_network() -> None:
    params = copy.deepcopy(REPOS)
    params["contrasts"]["alchemist_random"] |= {"metric": "cmmd"}
    with pytest.raises(
        Refusal, match=r"contrasts\.alchemist_random\.metric is cmmd.*tiny\.evaluate\.further"
    ):
        check(params)
    params["scales"]["tiny"]["evaluate"] |= {"further": ["cmmd"]}
    assert check(params).scales["tiny"].evaluate.names["cmmd"] == "cmmd"


@pytest.mark.parametrize("ratios", [[0.3], [0.2, 0.5], [0.9]])
def test_the_contrasts_of_the_default_follow_a_sweep_of_ratios(ratios: list[float]) -> None:
    params = copy.deepcopy(REPOS)
    params["grid"]["ratios"] = ratios
    found = check(params)
    assert found.contrasts[str(found.statistics.primary)].of(found.grid).ratio == ratios[0]


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("pool", "laion", "pool is 'laion'; legal values are emoji, emoji_crowded, mine."),
        ("scale", 3, "scale is 3; legal values are tiny, small, tiny_paper_metrics."),
        ("extra", 1, "extra is not a known key; legal keys are pool, scale, device, roles,"),
        ("roles.proxy", "xl", "roles.proxy is 'xl'; legal values are xs, s, m,"),
        (
            "grid.ratios",
            0.5,
            "grid.ratios is 0.5; it should be a list with at least one item, each a finite number, larger",
        ),
        ("grid.ratios", [], "grid.ratios is []; it should be a list with at least one item, each a"),
        ("grid.ratios", [0.5, 0.5], "each name should stand there once, and 0.5 stands there twice."),
        (
            "grid.ratios",
            [1.0],
            "grid.ratios.0 is 1.0; it should be a finite number, larger than 0 and less than 1.",
        ),
        ("grid.ratios", [0.00001], "grid.ratios holds 1e-05; of 8000 pairs that keeps none."),
        ("grid.seeds", [-1], "grid.seeds.0 is -1; it should be a whole number, at least 0."),
        ("grid.seeds", ["0"], "grid.seeds.0 is '0'; it should be a whole number, at least 0."),
        ("grid.selections", ["alchemy"], "'alchemy', nearest to alchemist; legal values are oracle, random,"),
        ("grid.raters", ["random"], "whose rater alchemist is not in grid.raters; add it there."),
        ("grid.oracles", [], "whose rater oracle is not in grid.oracles; add it there."),
        ("grid.oracles", ["loss"], "grid.oracles is 'loss'; legal values are oracle."),
        ("pool", "mine", "grid.oracles is oracle; it should be [], because pool mine has no truth."),
        ("raters.loss.kind", "gradient", "raters.loss.kind is 'gradient'; legal values are meta, loss,"),
        (
            "raters.alchemist.group",
            "mlp",
            "raters.alchemist.group is 'mlp'; it should be product, temperature, none or",
        ),
        (
            "selections.topk.rater",
            "beauty",
            "selections.topk.rater is 'beauty', nearest to best; legal values are",
        ),
        ("selections.topk.sigma", 3.0, "selections.topk.sigma is not a known key; legal keys are rater,"),
        ("pools.emoji.shares.plain", 0.5, "the shares should sum to 1, and they sum to 1.3."),
        (
            "pools.emoji.resolution",
            33,
            "is 33; it should be a whole number, at least 16 and at most 128 and a multiple of 4.",
        ),
        ("models.s.width", 130, "width should be heads (4) times a multiple of 4."),
        ("models.s", 7, "models.s is 7; it should be a block with the key family, one of flux, star."),
        ("models.a-b", DEFAULT["models"]["s"], "legal names hold letters, digits and underscores, and"),
        (
            "scales.tiny.train.batch",
            0,
            "scales.tiny.train.batch is 0; it should be a whole number, at least 1.",
        ),
        ("scales.tiny.train", KeyError, "scales.tiny.train is missing; scales.tiny needs the keys encode,"),
        ("scales.tiny.train.bath", 3, "bath is not a known key, nearest to batch; legal keys are images,"),
        (
            "scales.tiny.train.images",
            "many",
            "scales.tiny.train.images is 'many'; it should be a whole number, at least 1.",
        ),
        ("scales.tiny.evaluate.images", 2000, "scales.tiny.evaluate.images is 2000; at most half of"),
        (
            "scales.tiny.evaluate",
            {"images": 30000, "references": "all"},
            "is 30000; at most all of pools.emoji",
        ),
        (
            "scales.tiny.sample.star.top_p",
            0.0,
            "scales.tiny.sample.star.top_p is 0.0; it should be a finite number, larger than 0 and at",
        ),
        ("scales.tiny.rate.images", 8, "scales.tiny.rate.images is 8; at least rate.batch (32) is legal."),
        ("tokenizer.refit", "yes", "tokenizer.refit is 'yes'; it should be true or false."),
        ("raters.loss.kind", ["meta"], "raters.loss.kind is ['meta']; legal values are meta,"),
        ("raters", {1: DEFAULT["raters"]["loss"]}, "raters has a block named 1; legal names hold"),
        ("selections.full", DEFAULT["selections"]["topk"], "not full, which names the full data's cells."),
        ("selections.topk.sampler", "full", "whose sampler is full; the full data has its own cells."),
        ("selections.alchemist.drop", 90.0, "selections.alchemist at ratio 0.5:"),
        (
            "scales.tiny.train.checkpoints",
            [0.0],
            "checkpoints.0 is 0.0; it should be a finite number, larger than 0 and at most 1.",
        ),
        (
            "scales.tiny.train.checkpoints",
            [2.0],
            "checkpoints.0 is 2.0; it should be a finite number, larger than 0 and at most 1.",
        ),
        (
            "scales.tiny.train.learning_rate",
            float("inf"),
            "is inf; it should be a finite number, larger than 0.",
        ),
        ("pools.emoji.scorer.pairs", 20, "scales.tiny.scorer.batch is 256; at most half of"),
        ("tokenizer.fit.images", 640, "images should be at least 200 batches of 32"),
        (
            "tokenizer.fit.codes",
            70000,
            "is 70000; it should be a whole number, at least 2 and at most 65536.",
        ),
        ("raters", {}, "raters is {}; it should hold at least one named block."),
        (
            "raters.alchemist.credit",
            "hessian",
            "raters.alchemist.credit is 'hessian'; it should be penalty, reference, alignment or unrolled.",
        ),
        ("raters.alchemist.unroll_steps", 2, "unroll_steps is 2; it should be null, because only credit"),
        ("raters.unrolled.unroll_steps", None, "it should be a number, because credit unrolled uses it."),
        ("raters.alchemist.rating_mode", "batch", "group double_softmax and rating_mode batch go together"),
        ("raters.alchemist_published.bound", 2.0, "bound should be null under group double_softmax"),
        ("raters.alignment.baseline", "validation", "baseline should be none, because the validation loss"),
        ("raters.clarity.direction", 0, "raters.clarity.direction is 0; it should be 1 or -1."),
        ("grid.heuristics", ["loss"], "grid.heuristics is 'loss'; legal values are colourfulness, clarity,"),
        ("grid.ablation", {"selections": ["gsample"], "ratios": []}, "grid.ablation.ratios is []; it should"),
        (
            "grid.ablation",
            {"selections": ["topk"], "ratios": [0.2]},
            "topk at 0.2, which is a cell of the grid",
        ),
        (
            "grid.ablation",
            {"selections": ["clarity"], "ratios": [0.2]},
            "rater clarity is not in grid.heuristics",
        ),
        (
            "grid.transfer",
            {"selections": ["loss"], "ratios": [0.3], "models": ["s"]},
            "loss at 0.3, which is no",
        ),
        (
            "grid.transfer",
            {"selections": ["loss"], "ratios": [0.2], "models": ["xs"]},
            "holds xs, which is in",
        ),
        (
            "contrasts.alchemist_loss.metric",
            "fid",
            "contrasts.alchemist_loss.metric is 'fid'; it should be fd, fd_coded, kid, clip, nll, fd_lite0, ",
        ),
        (
            "statistics.confidence",
            95.0,
            "statistics.confidence is 95.0; it should be a finite number, larger than 0.5 and less than 1.",
        ),
        ("statistics.secondary", ["alchemist_loss"], "statistics.primary is null, but statistics.secondary"),
        ("device", "gpu", "device is 'gpu'; legal values are auto, cpu, cuda and cuda:0, cuda:1,"),
        ("device", KeyError, "device is missing; params.yaml needs the keys pool, scale, device,"),
    ],
)
def test_every_mistake_is_one_sentence(key: str, value: Any, told: str) -> None:
    with pytest.raises(Refusal) as refused:
        check(edited(key, value))
    sentence = str(refused.value)
    assert told in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def asking(**changes: Any) -> dict[str, Any]:
    """The default with two seeds and a primary contrast; `changes` are dotted keys with __ for dots."""
    params = edited("grid.seeds", [0, 1])
    params["statistics"] = {"primary": "alchemist_loss", "secondary": ["alchemist_full"], "confidence": 0.95}
    for key, value in changes.items():
        *path, last = key.split("__")
        place = params
        for part in path:
            place = place[part]
        place[last] = value
    return params


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"statistics__primary": "unknown"},
            "statistics.primary is 'unknown'; legal values are alchemist_random,",
        ),
        ({"statistics__secondary": ["alchemist_full"] * 2}, "statistics.secondary holds a contrast twice;"),
        (
            {"contrasts__best_alchemist__arm": "bset"},
            "contrasts.best_alchemist.arm is 'bset', nearest to best; legal values are",
        ),
        ({"statistics__secondary": ["x"]}, "statistics.secondary is 'x'; legal values are"),
        ({"statistics__primary": "alchemist_full"}, "alchemist_full, which is the primary contrast;"),
        (
            {"grid__seeds": [3]},
            "grid.seeds is [3]; statistics.primary asks for the interval of alchemist_loss",
        ),
        (
            {"grid__ratios": [0.3], "contrasts__alchemist_loss__ratio": 0.5},
            "contrasts.alchemist_loss.arm is 'alchemist'; the grid has no cell alchemist at",
        ),
        ({"contrasts__alchemist_loss__against": "clarity"}, "contrasts.alchemist_loss.against is 'clarity';"),
        ({"contrasts__alchemist_loss__model": "m"}, "no cell alchemist at ratio 0.5 for model m"),
        (
            {"contrasts__alchemist_loss__against": "alchemist"},
            "against is 'alchemist'; it should be another arm.",
        ),
    ],
)
def test_a_contrast_that_cannot_be_tested_is_one_sentence(changes: dict[str, Any], told: str) -> None:
    assert check(asking()).statistics.primary == "alchemist_loss"
    with pytest.raises(Refusal) as refused:
        check(asking(**changes))
    assert told in str(refused.value)
    assert str(refused.value).endswith(".")


def test_a_grid_of_two_families_is_refused_before_any_work() -> None:
    """A second family is looked up by name, so one that has no settings yet stands in by its word alone."""
    params = check(DEFAULT)
    other = params.models | {"xs": ModelSettings.model_construct(family="flux")}
    with pytest.raises(Refusal, match=r"grid.models holds xs of the family flux; roles.proxy \(s\) is of"):
        _one_family(params.model_copy(update={"models": other, "roles": RolesSettings(proxy="s", rater="s")}))


def test_a_scale_without_the_familys_law_is_refused() -> None:
    params = check(DEFAULT)
    scale = params.scales["tiny"].model_copy(update={"sample": {}})
    with pytest.raises(Refusal, match=r"scales.tiny.sample.star is missing"):
        _one_family(params.model_copy(update={"scales": params.scales | {"tiny": scale}}))
