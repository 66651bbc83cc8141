"""A run that trains a rater: schedule, order, windows, equal seeds, resumption, and what it learns."""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from broken import Broken, BrokenRater
from conftest import CPU, TINY, write_encoded
from rater_helpers import (
    BUDGET,
    CREDITS,
    SETTINGS,
    new_rater,
    of_credit,
    run_of,
    step_of,
    train_rater,
    weights_of,
)

from alchemist.core import stateless
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch
from alchemist.core.state import all_finite
from alchemist.families.star.generator import StarCodec, StarGenerator, StarTrunk
from alchemist.families.star.tokenizer import Tokenizer, TokenizerConfig
from alchemist.models.encoded import Encoded
from alchemist.models.training import numbers_at
from alchemist.raters import score
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.meta import correlation, meta_train, step_at, upper_weight
from alchemist.raters.network import Group, Rater
from alchemist.raters.steps import Step, meta_window, start


def test_schedule_of_the_upper_weight() -> None:
    found = [upper_weight(SETTINGS, step, 100) for step in (0, 9, 10, 55, 99)]
    assert found == pytest.approx([1.0, 1.0, 0.97, 0.85, 0.73])


def test_a_window_counts_every_train_image_once(tmp_path: Path, data: Encoded, codec: StarCodec) -> None:
    """8 steps in windows of 3, the last of 2; the rater rests in the first, without moments."""
    budget, heard = BUDGET.model_copy(update={"images": 64}), list[int]()
    proxies = []
    for credit in ("unrolled", "penalty"):
        proxy, rater = StarGenerator(TINY, codec, 0), new_rater(codec)
        settings = of_credit(credit, group="none", upper_weight=1.0, upper_decay=0.0)
        with Scratch(tmp_path / credit, "m") as scratch:
            run = run_of(
                data, lambda seed, proxy=proxy: proxy, scratch, budget=budget,
                trained=lambda n, words: heard.append(n),
            )  # fmt: skip
            log = meta_train(run, settings, rater)
        assert log[-1]["images"] == 64
        proxies.append(weights_of(proxy))
    assert heard == [24] * 2 + [16] + [8] * 8
    # At u = 1 no weight reaches the proxy: it takes the same common steps, whose rates differ in warm-up.
    assert float((proxies[0] - proxies[1]).norm() / proxies[1].norm()) < 0.05
    state = start(StarGenerator(TINY, codec, 0), new_rater(codec), of_credit("unrolled"), BUDGET)
    meta_window(state, [step_of(data, 1.0)], of_credit("unrolled"), BUDGET)
    assert torch.equal(weights_of(state.rater), weights_of(new_rater(codec)))
    meta_window(state, [step_of(data, 1.0)], of_credit("unrolled"), BUDGET)
    assert not torch.equal(weights_of(state.rater), weights_of(new_rater(codec)))


WARMED = "penalty, behind eq. 4"


def short(credit: str) -> MetaRater:
    """Settings of a run of five steps, of which the warm-up by eq. 4 is two."""
    if credit == WARMED:
        return of_credit("penalty", reference_warmup=0.4)
    return of_credit(credit, **({"reference_warmup": 0.4} if credit == "reference" else {}))


Whole = Callable[[str], tuple[Rater, list[dict[str, float]]]]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, data: Encoded, codec: StarCodec) -> Whole:
    """A run of 40 images of each credit, and its log."""

    @functools.cache
    def trained(credit: str) -> tuple[Rater, list[dict[str, float]]]:
        folder = tmp_path_factory.mktemp(credit)
        return train_rater(folder, data, codec, settings=short(credit), images=40)

    return trained


@pytest.mark.parametrize("credit", [*CREDITS, WARMED])
def test_equal_seeds_give_equal_raters_bit_for_bit(
    tmp_path: Path, data: Encoded, codec: StarCodec, unbroken: Whole, credit: str
) -> None:
    """Test 8, and the log's figures lie where they can."""
    first, log = unbroken(credit)
    second, _ = train_rater(tmp_path, data, codec, settings=short(credit), images=40)
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
    assert all(1 / 8 - 1e-6 <= row["effective_sample_share"] <= 1 + 1e-6 for row in log)
    assert all(-1 <= row["weight_loss_correlation"] <= 1 for row in log)
    for row in log:
        assert row["weight_sd"] == pytest.approx((1 / row["effective_sample_share"] - 1) ** 0.5, abs=1e-3)
        assert -1 <= row["credit_loss_correlation"] <= 1
    assert short(credit).reference_warmup or log[0]["upper_weight"] == 1.0
    if credit == "penalty":
        assert all(row["credit_mean"] == -row["train_loss"] for row in log)
    if credit in ("alignment", "unrolled"):
        assert all(0.1 < row["credit_sd"] / row["credit_scale"] < 10 for row in log[1:])


@pytest.mark.parametrize(
    ("credit", "alive"),
    [*((credit, 24) for credit in CREDITS), ("reference", 8), (WARMED, 8), (WARMED, 16), (WARMED, 24)],
)
def test_a_killed_rater_run_ends_where_an_unbroken_one_does(
    tmp_path: Path, data: Encoded, codec: StarCodec, unbroken: Whole, credit: str, alive: int
) -> None:
    """Killed late, within the warm-up of 16 images, and as it ends."""
    settings = short(credit)
    whole, log = unbroken(credit)

    class KilledError(Exception):
        pass

    seen: list[int] = []

    def tick(images: int, words: str) -> None:
        seen.append(images)
        if sum(seen) > alive:
            raise KilledError

    with pytest.raises(KilledError):
        train_rater(tmp_path, data, codec, tick, settings, 40)
    resumed, later = train_rater(tmp_path, data, codec, settings=settings, images=40)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0, msg=name)
    drop = {"seconds"}
    assert [{k: v for k, v in row.items() if k not in drop} for row in later] == [
        {k: v for k, v in row.items() if k not in drop} for row in log
    ]


def _shuffled(folder: Path, config: TokenizerConfig) -> tuple[Encoded, np.ndarray]:
    """1500 pairs of a pool of which 30 % have the other kind's caption (true), and 500 clean ones."""
    rng = stateless.generator("shuffled")
    kind, shuffled = rng.integers(0, 2, 2000), np.zeros(2000, dtype=bool)
    shuffled[:1500] = rng.random(1500) < 0.3
    half = config.codes // 2
    tokens = half * kind[:, None] + rng.integers(0, half, (2000, config.tokens))
    states = [np.zeros((2, 384), np.float16), *rng.normal(size=(2, 2, 384)).astype(np.float16)]
    split = ["pool"] * 1500 + ["meta_val"] * 500
    rows = pd.DataFrame({"id": np.arange(2000).astype(str), "split": split, "text": 1 + (kind ^ shuffled)})
    rows = rows.assign(lent=False, cluster=0)
    folder.mkdir()
    return write_encoded(folder, rows, tokens.astype(np.uint16), states), shuffled[:1500]


@pytest.mark.parametrize("credit", ["alignment", "unrolled"])
def test_exact_credits_rate_shuffled_captions_down(tmp_path: Path, credit: str) -> None:
    """Test 6. The proxy is slow on purpose: once it has learned all that the validation pairs teach,
    exact credits are the noise of a validation batch, and a rater that trains on forgets.
    """
    torch.manual_seed(0)
    config = TokenizerConfig(resolution=8, scales=(1, 2), codes=32, channels=8, width=16)
    codec = StarCodec(Tokenizer(config))
    data, shuffled = _shuffled(tmp_path / "data", config)
    settings = of_credit(credit, group="none", upper_weight=0.2, upper_decay=0.0)
    if credit == "unrolled":
        settings = settings.model_copy(update={"unroll_steps": 2})
    values = {"images": 2560, "batch": 64, "proxy_learning_rate": 3e-4, "rater_learning_rate": 3e-3}
    budget = BUDGET.model_copy(update={**values, "warmup_images": 160, "caption_dropout": 0.0})
    size = TINY.model_copy(update={"depth": 1, "width": 32})
    rater, pool = new_rater(codec, size, 1), data.pool()
    with Scratch(tmp_path / "scratch", "m") as scratch:
        run = run_of(data, lambda seed: StarGenerator(size, codec, seed), scratch, 1, budget)
        meta_train(run, settings, rater)
    rater.eval()
    group = score.pooled_features(rater, data, score.group_members(pool, 63, 1), 63)
    ratings = score.rate_pool(rater, data, pool, Group.of(rater, group), settings, 500, lambda n: None)
    shuffled = shuffled[pool.numbers]
    ranks, bad = ratings.argsort().argsort(), int(shuffled.sum())
    clean_above = (ranks[~shuffled].sum() - (1500 - bad) * (1500 - bad - 1) / 2) / (bad * (1500 - bad))
    assert clean_above > 0.83, "the chance that a clean pair has a higher rating than a shuffled one"


# --- the schedule, the order and the warm-up ---


def test_a_step_is_a_function_of_its_seed_and_number(data: Encoded, codec: StarCodec) -> None:
    """Other seeds, other orders of both splits; equal seeds, equal steps, whatever was asked before."""

    def at(number: int, seed: int) -> Step:
        run = run_of(data, lambda seed: StarGenerator(TINY, codec, seed), seed=seed)
        return step_at(run, SETTINGS, number, CPU)

    def rows(step: Step) -> tuple[list[list[int]], list[list[int]]]:
        return step.train.inputs["tokens"].tolist(), step.validation.inputs["tokens"].tolist()

    runs = {seed: [rows(at(number, seed)) for number in range(10)] for seed in (0, 1)}
    assert [rows(at(number, 0)) for number in reversed(range(10))] == runs[0][::-1]
    for part in (0, 1):  # pool, validation
        orders = [[row for step in runs[seed] for row in step[part]] for seed in (0, 1)]
        assert orders[0] != orders[1]
        assert orders[0][:8] != orders[1][:8]
    for seed in (0, 1):
        pool, validation = ([row for step in runs[seed] for row in step[part]] for part in (0, 1))
        every = data.batch(np.arange(120)).inputs["tokens"].tolist()
        assert sorted(pool) == sorted(every[:80]), "ten batches of eight are one epoch of the pool"
        assert sorted(validation[:20]) == sorted(every[80:100]), "and four of the validation split"
    first, other = at(3, 0), at(3, 1)
    assert (first.proxy_chance.seed, other.proxy_chance.seed) == (0, 1)
    assert first.proxy_chance.positions.tolist() == list(range(48, 64))
    assert len(first.validation_chance) == len(first.train_chance) == len(first.rater_chance) == 8
    assert first.proxy_chance.training
    assert first.rater_chance.training


def test_steps_of_both_splits_share_no_chance(data: Encoded, codec: StarCodec) -> None:
    """Positions of the proxy's draws never repeat within a run."""
    run = run_of(data, lambda seed: StarGenerator(TINY, codec, seed))
    steps = [step_at(run, SETTINGS, n, CPU) for n in range(20)]
    positions = np.concatenate([step.proxy_chance.positions for step in steps])
    assert len(np.unique(positions)) == len(positions) == 2 * 160


def test_nothing_but_the_reference_moves_in_the_warm_up(
    tmp_path: Path, data: Encoded, codec: StarCodec
) -> None:
    """Eq. 4 for three quarters of the run; then the schedule of u starts, and eq. 6."""
    settings, seen = of_credit("reference", reference_warmup=0.75), []
    _, log = train_rater(tmp_path, data, codec, lambda n, words: seen.append(words), settings, 112)
    assert [words.startswith("warm-up") for words in seen] == [True] * 10 + [False] * 4
    assert log[0]["images"] == 88, "no rows before"
    assert log[0]["upper_weight"] == 1.0, "the schedule starts behind the warm-up"
    assert log[0]["credit_mean"] == pytest.approx(0, abs=1e-6), "at first both are one model"
    assert log[-1]["credit_mean"] < 0, "later only one of them trains on these pairs alone"


def test_behind_eq_4_each_credit_meets_the_proxy_that_the_reference_model_became(
    tmp_path: Path, data: Encoded, codec: StarCodec
) -> None:
    """Ten plain steps on pairs of the pool, then the eleventh's losses; without them the proxy is another."""

    def losses(credit: str, warmup: float | None = 0.75) -> tuple[float, float]:
        settings = of_credit(credit, group="none", reference_warmup=warmup, upper_weight=0.5, upper_decay=0.0)
        folder = tmp_path / f"{credit}-{warmup}"
        _, log = train_rater(folder, data, codec, settings=settings, images=112)
        row = next(row for row in log if row["images"] == 88)
        return row["train_loss"], row["validation_loss"]

    reference = losses("reference")
    assert losses("penalty") == reference
    assert losses("alignment") == pytest.approx(reference, rel=1e-5)
    assert losses("unrolled") == pytest.approx(reference, rel=1e-5)
    assert losses("penalty", None) != pytest.approx(reference, rel=1e-4)


def test_correlation_is_pearsons_and_zero_where_one_side_is_constant() -> None:
    a, b = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([2.0, 1.0, 7.0])
    assert correlation(a, b) == pytest.approx(float(np.corrcoef(a, b)[0, 1]))
    assert correlation(a, torch.ones(3)) == 0.0


BOTH = "rate.proxy_learning_rate is 0.001, try a smaller one."


@pytest.mark.parametrize(
    ("credit", "at", "split", "number"),
    [
        ("penalty", 16 * 4 + 3, "validation", 3),
        *((credit, 16 * 5 + 8 + 5, "pool", 5) for credit in CREDITS),
        ("reference", 16 * 2 + 8 + 5, "pool", 5),  # in its warm-up
    ],
)
def test_a_loss_that_is_no_number_ends_the_run_with_the_step_and_the_id(
    tmp_path: Path, data: Encoded, codec: StarCodec, credit: str, at: int, split: str, number: int
) -> None:
    """Image 2 n B + i of the proxy's chance is of step n: its validation pairs, and then its train pairs."""
    settings = of_credit(credit, group="none", upper_decay=0.1)
    step, proxy = at // 16, Broken(TINY, codec, 0)
    proxy.at = at
    with Scratch(tmp_path, "m", every_seconds=0) as scratch:
        run = run_of(data, lambda seed: proxy, scratch)
        with pytest.raises(Refusal) as refused:
            meta_train(run, settings, new_rater(codec))
        saved = scratch.load()
    rows = run.pool if split == "pool" else run.validation
    numbers = numbers_at(rows, stateless.key(split, 0), 8 * step, 8)
    images = f"step {step + 1} (images {8 * step + 1} to {8 * step + 8})"
    told = str(refused.value)
    if credit != "unrolled":  # which takes a window's steps at once, and finds the first that it meets
        one = data.rows["id"].iloc[numbers[number]]
        assert told == f"the loss of {images} is not finite for '{one}'; {BOTH}"
    assert told.endswith(BOTH)
    assert saved is not None
    assert saved[1]["step"] <= step
    assert all_finite(saved[0].values())


@pytest.mark.parametrize("of", ["proxy", "rater"])
def test_a_gradient_that_is_no_number_ends_the_run_at_its_last_step_too(
    tmp_path: Path, data: Encoded, codec: StarCodec, of: str
) -> None:
    proxy, rater = Broken(TINY, codec, 0), BrokenRater(StarTrunk(TINY, codec, 0), 0)
    proxy.gradient, (proxy.at, rater.at) = True, (16 * 7, -1) if of == "proxy" else (-1, 16 * 7)
    with Scratch(tmp_path, "m") as scratch:
        run = run_of(data, lambda seed: proxy, scratch, budget=BUDGET.model_copy(update={"images": 64}))
        with pytest.raises(Refusal) as refused:
            meta_train(run, SETTINGS, rater)
    ids = data.rows["id"].iloc[numbers_at(run.pool, stateless.key("pool", 0), 8 * 7, 8)].tolist()
    named = ", ".join(f"'{one}'" for one in ids[:5])
    assert str(refused.value) == (
        f"the gradient of the {of} of step 8 (images 57 to 64) is not finite; its pairs are {named} and 3 "
        f"more; rate.{of}_learning_rate is 0.001, try a smaller one."
    )
