"""What a rater will cost on `meta` is what it is billed for: the same count on real networks and pairs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY, tiny_tokenizer
from rater_helpers import BUDGET, CREDITS, new_rater, of_credit, run_of
from torch.utils.flop_counter import FlopCounterMode

from alchemist.core.scratch import Scratch
from alchemist.families.star.generator import StarCodec, StarGenerator, StarTrunk
from alchemist.models.batch import Batch, Chance, Text
from alchemist.models.encoded import Encoded, Writer
from alchemist.models.outline import activation_bytes, alive_bytes
from alchemist.models.training import forward_flops
from alchemist.plan.remembered import Remembered
from alchemist.raters import forecast, meta_bill
from alchemist.raters.kinds.loss import LossRater
from alchemist.raters.kinds.random import RandomRater
from alchemist.raters.kinds.reference_loss import ReferenceLossRater
from alchemist.raters.meta import meta_train
from alchemist.raters.network import Rater

META = torch.device("meta")
PIECES = 5


@pytest.fixture(scope="module")
def data(codec: StarCodec, tmp_path_factory: pytest.TempPathFactory) -> Encoded:
    """Pairs whose captions all have as many word pieces."""
    folder = tmp_path_factory.mktemp("equal")
    rng = np.random.default_rng(0)
    with Writer(folder) as writer:
        split = ["pool"] * 64 + ["meta_val"] * 32
        writer.rows(
            pd.DataFrame(
                {"id": [f"{i}" for i in range(96)], "split": split, "text": 1, "lent": False, "cluster": 0}
            )
        )
        writer.append(codec.encode(rng.integers(0, 256, (96, 16, 16, 3), dtype=np.uint8)))
        writer.captions((np.ones((PIECES, 384), dtype=np.float16), None) for _ in range(2))
    return Encoded(folder)


@pytest.mark.parametrize("credit", CREDITS)
def test_a_forecast_of_each_credit_is_its_bill(
    codec: StarCodec, data: Encoded, tmp_path: Path, credit: str
) -> None:
    settings = of_credit(credit)
    run = run_of(data, lambda seed: StarGenerator(TINY, codec, seed), Scratch(tmp_path, "m"))
    billed = meta_bill.train_flops(run, settings, lambda seed: new_rater(codec, seed=seed))
    here = data.batch(np.arange(BUDGET.batch)).to(META)
    codec_there = StarCodec(tiny_tokenizer()).to(META)

    def proxy() -> StarGenerator:
        return StarGenerator(TINY, codec_there, 0).to(META)

    def rater() -> Rater:
        return forecast.network(lambda: StarTrunk(TINY, codec_there, 0).to(META))

    with Remembered():  # as a plan asks
        found = forecast.train_flops(settings, BUDGET, here, proxy, rater)
    # A CPU's fused steps have a few products more in their backward pass.
    assert found == pytest.approx(billed, rel=5e-4)


@pytest.mark.parametrize("credit", ["penalty", "reference"])  # without a warm-up and with one
def test_a_bill_is_what_the_whole_run_takes(
    codec: StarCodec, data: Encoded, tmp_path: Path, credit: str
) -> None:
    """A third of the steps that move the rater have a u of 1, and cost less."""
    settings, budget = of_credit(credit, epochs=3), BUDGET.model_copy(update={"images": 8 * 30})
    run = run_of(data, lambda seed: StarGenerator(TINY, codec, seed), Scratch(tmp_path, "m"), budget=budget)
    with FlopCounterMode(display=False) as counter:
        meta_train(run, settings, new_rater(codec))
    billed = meta_bill.train_flops(run, settings, lambda seed: new_rater(codec, seed=seed))
    # A warm-up is billed thrice its forward pass, of which the backward pass takes a little less than two.
    assert billed == pytest.approx(counter.get_total_flops(), rel=5e-3)


def test_plain_raters_are_billed_by_their_proxies_and_passes(codec: StarCodec, data: Encoded) -> None:
    model, pairs = StarGenerator(TINY, codec, 0), data.batch(np.arange(8))
    one = forward_flops(model.losses, pairs, training=True)
    rater = new_rater(codec)
    for settings, proxies, passes in (
        (LossRater(kind="loss"), 1, 1),
        (ReferenceLossRater(kind="reference_loss"), 2, 2),
        (RandomRater(kind="random"), 0, 0),
    ):
        train = forecast.train_flops(settings, BUDGET, pairs, lambda: model, lambda: rater)
        assert train == 3 * one * BUDGET.images * proxies
        assert forecast.score_flops(settings, pairs, model, rater) == passes * one


def test_a_carried_rater_trains_nothing(codec: StarCodec, data: Encoded) -> None:
    settings = of_credit("penalty", weights="elsewhere")
    model, pairs, rater = StarGenerator(TINY, codec, 0), data.batch(np.arange(8)), new_rater(codec)
    assert forecast.train_flops(settings, BUDGET, pairs, lambda: model, lambda: rater) == 0
    features = forward_flops(rater.features, pairs, training=False)
    assert forecast.score_flops(settings, pairs, model, rater) == features


@pytest.mark.parametrize("credit", CREDITS)
def test_exact_credits_hold_tangents_and_logits_and_others_nothing(credit: str) -> None:
    """More than twice what a plain pass keeps: every activation has its tangent."""
    settings, codec_there = of_credit(credit), StarCodec(tiny_tokenizer()).to(META)
    model = StarGenerator(TINY, codec_there, 0).to(META)
    rater = forecast.network(lambda: StarTrunk(TINY, codec_there, 0).to(META))

    def pairs(count: int) -> Batch:
        states = torch.empty(count, PIECES, 384, device=META)
        text = Text(states, torch.ones(count, PIECES, dtype=torch.bool, device=META), states[:, 0])
        length = codec_there.tokenizer.config.tokens
        return Batch({"tokens": torch.zeros(count, length, dtype=torch.int64, device=META)}, text)

    found = forecast.exact_bytes(settings, BUDGET, pairs, model, rater)
    if credit in ("penalty", "reference"):
        assert found == 0
        return
    count = 2 * forecast.MANY

    def loss() -> torch.Tensor:
        return model.losses(pairs(count), Chance.run(0, 0, count, training=True)).mean()

    with torch.no_grad():
        forward = alive_bytes(loss, [*model.parameters()]) / count
    plain = activation_bytes(model, loss, count)
    assert found > 2 * forward
    if credit == "unrolled":
        assert found > 1.5 * plain, "forward over reverse"


def test_copies_of_the_proxy_are_those_of_the_inner_steps() -> None:
    found = [forecast.copies(of_credit(credit)) for credit in CREDITS]
    assert found[:2] == [0, 16], "a reference model in training has weight, gradient and two moments"
    three, four = found[3], forecast.copies(of_credit("unrolled", unroll_steps=4))
    assert four - three == 16, "a step more: parameters, gradient, moments"
    assert found[2] < three
