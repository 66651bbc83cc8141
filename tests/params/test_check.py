"""params.yaml: the default is sound, and every kind of mistake is one sentence that helps."""

import copy
from typing import Any

import pytest
from params_helpers import DEFAULT, REPOS, asking, edited

from alchemist.core.refusal import Refusal
from alchemist.models.training import points
from alchemist.params.check import check


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


def test_three_epochs_are_of_the_large_pool_with_checkpoints_behind_those_of_a_subset() -> None:
    params = edited("pool", "emoji_large")
    params["scale"] = "three_epochs"
    found = check(params)
    train, pairs = found.scales["three_epochs"].train, found.pools["emoji_large"].model_dump()["pairs"]
    assert train.images == 3 * pairs
    assert train.images % train.batch == 0
    for ratio in (0.2, 0.5):
        ends = {name: point.images for point in points(train, ratio) for name in point.names}
        behind = [p for p in points(train, ratio) if ends["equal_epochs"] < p.images < train.images]
        assert ends["equal_epochs"] == pytest.approx(3 * ratio * pairs, abs=train.batch)
        assert behind
        assert train.warmup_images < ends["equal_epochs"] / 10


@pytest.mark.parametrize("ratios", [[0.3], [0.2, 0.5], [0.9]])
def test_the_contrasts_of_the_default_follow_a_sweep_of_ratios(ratios: list[float]) -> None:
    params = copy.deepcopy(REPOS)
    params["grid"]["ratios"] = ratios
    found = check(params)
    assert found.contrasts[str(found.statistics.primary)].of(found.grid).ratio == ratios[0]


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (
            "pool",
            "coyo",
            "pool is 'coyo'; legal values are emoji, emoji_large, emoji_crowded, emoji_quick, "
            "emoji_quick_crowded, emoji_sources, emoji_neutral, mine, icons, icons_clean, laion30m, "
            "hpdv3_2m, flux_reason_6m, mjhq30k.",
        ),
        (
            "scale",
            3,
            "scale is 3; legal values are tiny, small, confirm, equal_cost, three_epochs, quick, pilot, "
            "paper, paper_hpdv3, paper_flux_reason, tiny_paper_metrics.",
        ),
        ("extra", 1, "extra is not a known key; legal keys are pool, scale, device, launcher, roles,"),
        ("roles.proxy", "xl", "roles.proxy is 'xl', nearest to xs; legal values are xs, s, m,"),
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
        (
            "grid.ratios",
            [0.00001],
            "grid.ratios holds 1e-05; of 8000 pairs that keeps none, and at least 0.0001 is legal.",
        ),
        ("grid.seeds", [-1], "grid.seeds.0 is -1; it should be a whole number, at least 0."),
        ("grid.seeds", ["0"], "grid.seeds.0 is '0'; it should be a whole number, at least 0 (write 0)."),
        ("grid.selections", ["alchemy"], "'alchemy', nearest to alchemist; legal values are oracle, random,"),
        ("grid.raters", ["random"], "whose rater alchemist is not in grid.raters; add it there."),
        ("grid.oracles", [], "whose rater oracle is not in grid.oracles; add it there."),
        ("grid.oracles", ["loss"], "grid.oracles holds loss, which belongs in grid.raters; move it there."),
        ("pool", "mine", "grid.oracles is oracle; it should be [], because pool mine has no truth."),
        ("raters.loss.kind", "gradient", "raters.loss.kind is 'gradient'; legal values are meta, loss,"),
        (
            "raters.alchemist.group",
            "mlp",
            "raters.alchemist.group is 'mlp'; it should be product, temperature, none, double_",
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
        ("models.a-b", DEFAULT["models"]["s"], "legal names hold letters, digits and underscores, at"),
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
        (
            "scales.tiny.evaluate.images",
            2000,
            "scales.tiny.evaluate.images is 2000; the evaluation split has 3000 pairs, so at most 1500 is",
        ),
        (
            "scales.tiny.evaluate",
            {"images": 30000, "references": "all"},
            "is 30000; the evaluation split has 3000 pairs, so at most 3000 is legal.",
        ),
        (
            "scales.tiny.sample.star.top_p",
            0.0,
            "scales.tiny.sample.star.top_p is 0.0; it should be a finite number, larger than 0 and at",
        ),
        ("scales.tiny.rate.images", 8, "scales.tiny.rate.images is 8; at least rate.batch (32) is legal."),
        ("codecs.star.refit", "yes", "codecs.star.refit is 'yes'; it should be true or false (write true)."),
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
            "is .inf; it should be a finite number, larger than 0.",
        ),
        (
            "scales.tiny.scorer.batch",
            1501,
            "batch is 1501; the split scorer has 3000 pairs, so at most 1500 is",
        ),
        (
            "pools.emoji.meta_validation.pairs",
            12,
            "split has 12 pairs; pools.emoji.meta_validation.pairs 100 would",
        ),
        ("codecs.star.fit.images", 640, "images should be at least 200 batches of 32"),
        (
            "codecs.star.fit.codes",
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
        ("raters.alchemist.groups", {}, "groups should be null, because only groups compared and"),
        ("raters.alchemist.group", "compared", "groups should be a block, because group compared uses it"),
        ("raters.alchemist.group", "within", "groups should be a block, because group within uses it"),
        ("raters.alignment.baseline", "validation", "baseline should be none, because the validation loss"),
        ("raters.clarity.direction", 0, "raters.clarity.direction is 0; it should be 1 or -1."),
        ("grid.heuristics", ["loss"], "grid.heuristics holds loss, which belongs in grid.raters"),
        (
            "grid.ablation",
            {"selections": ["loss_low"], "ratios": [1.0]},
            "grid.ablation holds loss_low at 1.0, which keeps every pair; give selections.loss_low a",
        ),
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
        (
            "statistics.secondary",
            ["alchemist_loss"],
            "statistics.primary is null, but statistics.secondary is ['alchemist_loss']; name a block of",
        ),
        ("scales.tiny.rate.batch", 1, "rate.batch is 1; it should be a whole number, at least 2."),
        ("scales.tiny.evaluate.kid_subset_size", 1, "is 1; it should be a whole number, at least 2."),
        ("scales.tiny.evaluate.images", 2, "images is 2; it should be a whole number, at least 4 or null."),
        ("device", "gpu", "device is 'gpu'; legal values are auto, cpu, cuda and cuda:0, cuda:1,"),
        (
            "launcher",
            "python; rm x",
            "launcher is 'python; rm x'; legal are plain words of a command, as python",
        ),
        ("launcher", "", "launcher is ''; legal are plain words"),
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


@pytest.mark.parametrize(
    ("groups", "rate", "told"),
    [
        (
            {"a_step": 3},
            {},
            "groups.a_step is 3, and scales.tiny.rate.batch 32 has no so many equal parts of 2 ",
        ),
        ({"a_step": 32, "count": 99}, {}, "a divisor of 32 up to 16 is legal."),
        ({"count": 3}, {}, "raters.alchemist.groups.a_step is 4; at most count (3) is legal."),
        ({}, {"reference_group": 1}, "scales.tiny.rate.reference_group is 1; the rater alchemist knows"),
        (
            {"by": "source"},
            {},
            "groups.by is source, and pools.emoji.sources is null, so that its pairs tell",
        ),
    ],
)
def test_groups_that_do_not_fit_are_refused_before_any_work(
    groups: dict[str, Any], rate: dict[str, Any], told: str
) -> None:
    params = edited("raters.alchemist", {"kind": "meta", "group": "compared", "groups": groups})
    params["scales"]["tiny"]["rate"] |= rate
    with pytest.raises(Refusal) as refused:
        check(params)
    assert told in str(refused.value)
    params["raters"]["alchemist"]["groups"] = {"by": "caption_length", "a_step": 8}
    params["scales"]["tiny"]["rate"] |= {"reference_group": 255}
    check(params)
    # Where an encoder pads captions all have one length.
    params["scales"]["tiny"]["encode"]["text"] = {"star": {"kind": "t5_clip", "weights": "some/model"}}
    with pytest.raises(Refusal, match=r"is caption_length, and .*text\.star pads every caption to 512"):
        check(params)


def test_groups_of_a_ranking_within_them_are_such_as_the_pool_tells() -> None:
    within: dict[str, Any] = {"kind": "loss_within", "groups": {"by": "source"}}
    params = edited("raters.random", within)
    with pytest.raises(Refusal, match=r"random.groups.by is source, and pools.emoji.sources is null, so"):
        check(params)
    within["groups"] = {"by": "embedding", "count": 2}
    check(params)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"statistics__primary": "unknown"},
            "statistics.primary is 'unknown'; legal values are alchemist_random,",
        ),
        (
            {"statistics__secondary": ["alchemist_full"] * 2},
            "statistics.secondary holds 'alchemist_full' twice;",
        ),
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


def with_pools(splits: dict[str, Any], **others: dict[str, Any]) -> dict[str, Any]:
    """Pool mine in force with these splits, and pools of folders whose splits are given."""
    params = edited("pool", "mine")
    params["grid"]["oracles"], params["grid"]["selections"] = [], ["random", "alchemist"]
    params["pools"]["mine"]["splits"] = splits
    for name, held_out in others.items():
        params["pools"][name] = {"format": "folder", "path": name, "splits": held_out}
    return params


NONE = {"meta_validation": 0.0, "evaluation": 0.0, "scorer": 0.0}


def test_splits_may_be_other_pools() -> None:
    splits = {"evaluation": {"pool": "mjhq30k"}, "meta_validation": {"pool": "clean"}, "scorer": 0.1}
    assert check(with_pools(splits, clean=NONE)).pools["mine"].splits.others() == {
        "evaluation": "mjhq30k", "meta_val": "clean",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("splits", "others", "told"),
    [
        ({"evaluation": {"pool": "mjhq"}}, {}, "evaluation.pool is 'mjhq', nearest to mjhq30k; legal values"),
        ({"evaluation": {"pool": "mine"}}, {}, "evaluation.pool is 'mine'"),
        ({"evaluation": {"pool": "emoji"}}, {}, "evaluation.pool is 'emoji'"),
        (
            {"evaluation": {"pool": "a"}, "scorer": {"pool": "a"}},
            {"a": NONE},
            "evaluation.pool is 'a', which is another split too",
        ),
        (
            {"meta_validation": {"pool": "a"}},
            {"a": {**NONE, "scorer": {"pool": "b"}}, "b": {**NONE, "evaluation": {"pool": "mine"}}},
            "meta_validation.pool is 'a', whose own splits lead back to mine",
        ),
        ({"meta_validation": 0}, {}, "meta_validation is 0; the rater alchemist needs pairs"),
        ({"evaluation": {"pol": "a"}}, {}, "evaluation.pol is not a known key, nearest to pool; legal keys"),
        (
            {"evaluation": {}},
            {},
            "evaluation is {}; it should be a finite number, at least 0 and less than 1 or a block with the "
            "keys pool.",
        ),
        ({"evaluation": 1.5}, {}, "evaluation is 1.5; it should be a finite number, at least 0 and less"),
        ({"evaluation": "mjhq30k"}, {}, "evaluation is 'mjhq30k'; it should be a finite number"),
    ],
)  # fmt: skip
def test_wrong_splits_are_told(splits: dict[str, Any], others: dict[str, Any], told: str) -> None:
    with pytest.raises(Refusal) as refused:
        check(with_pools(splits, **others))
    assert str(refused.value).startswith(f"pools.mine.splits.{told}")
    assert "\n" not in str(refused.value)


def test_a_split_is_of_other_files_than_its_pool() -> None:
    params = with_pools({"evaluation": {"pool": "a"}, "meta_validation": 0.1, "scorer": 0.1}, a=NONE)
    params["pools"]["a"] |= {key: params["pools"]["mine"][key] for key in ("format", "path")}
    with pytest.raises(Refusal) as refused:
        check(params)
    assert "evaluation.pool is 'a', whose files are those of mine; a pool of" in str(refused.value)
    params["pools"]["a"]["path"] = "others"
    assert check(params).pools["a"].path == "others"


def test_two_splits_are_of_other_files_than_each_other() -> None:
    params = with_pools(
        {"evaluation": {"pool": "a"}, "meta_validation": 0.1, "scorer": {"pool": "b"}}, a=NONE, b=NONE
    )
    params["pools"]["a"]["path"] = "./b/"
    with pytest.raises(Refusal, match=r"scorer\.pool is 'b', whose files are those of a;"):
        check(params)


def test_files_of_one_path_that_the_format_tells_apart_may_be_two_pools() -> None:
    params = with_pools({"evaluation": {"pool": "a"}, "meta_validation": 0.1, "scorer": 0.1}, a=NONE)
    params["pools"]["mine"] |= {"format": "hpdv3", "path": "hp", "file": "train.json"}
    params["pools"]["a"] |= {"format": "hpdv3", "path": "hp", "file": "test.json"}
    assert check(params).pool == "mine"


def test_a_rater_of_another_list_is_sent_there() -> None:
    params = edited("grid.raters", ["alchemist", "clarity"])
    with pytest.raises(
        Refusal, match=r"^grid\.raters holds clarity, which belongs in grid\.heuristics; move it"
    ):
        check(params)


def test_ids_alone_need_neither_an_evaluation_split_nor_a_scorer() -> None:
    """Raters by embeddings do, since they rate by the networks of stage scorer."""
    check(with_pools({"evaluation": 0, "scorer": 0}))
    for split, others in (("evaluation", {}), ("scorer", {"evaluation": 0.2})):
        params = with_pools({split: 0, **others})
        params["grid"]["embeddings"] = ["clip_score"]
        with pytest.raises(Refusal, match=rf"splits\.{split} is 0; grid\.embeddings holds clip_score"):
            check(params)


def test_splits_that_nothing_needs_may_be_empty() -> None:
    params = with_pools({"evaluation": {"pool": "mjhq30k"}, "scorer": 0, "meta_validation": 0})
    params["grid"]["selections"], params["grid"]["raters"] = ["random"], ["random"]
    params["scales"]["tiny"]["evaluate"] = {"clip": "ViT-L-14/openai"}
    check(params)


def test_a_clean_split_that_decides_and_is_not_there_is_told_before_anything_is_read() -> None:
    params = with_pools({"evaluation": 0.1}, clean=NONE)
    params["scales"]["tiny"]["evaluate"]["decides"] = "clean"
    with pytest.raises(Refusal, match=r"decides is clean, but the pool's block asks for no such split"):
        check(params)
    params["pools"]["mine"]["splits"] = {"evaluation": 0}  # nothing is measured
    check(params)
    params["pools"]["mine"]["splits"] = {"evaluation": 0.1, "clean": {"pool": "clean"}}
    check(params)


def test_a_rater_that_rates_beside_its_batch_needs_one_of_two() -> None:
    params = edited("scales.tiny.rate.score_batch", 1)
    check(params)
    params["grid"]["raters"].append("alchemist_published")
    with pytest.raises(
        Refusal, match=r"tiny\.rate\.score_batch is 1; the rater alchemist_published has the rating"
    ):
        check(params)
