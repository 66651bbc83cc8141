"""One generator's figures: images by (seed, prompt), NLL of the prompts, distances to the real references."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from broken import Broken
from conftest import TINY

from alchemist.core import devices
from alchemist.core.refusal import Refusal
from alchemist.core.settings.evaluation import EvaluateSettings
from alchemist.families.star.generator import StarCodec, StarGenerator
from alchemist.families.star.settings import StarLaw
from alchemist.measures import generator as measure
from alchemist.models.batch import Chance
from alchemist.models.encoded import Encoded, EvaluationRows

SETTINGS = EvaluateSettings(
    images=8, batch=3, seed=5, features="lite0", feature_size=64, clip="lit", kid_subsets=3,
    kid_subset_size=6, grid=4,
)  # fmt: skip
LAW = StarLaw(guidance=2.0, top_p=0.9)


@pytest.fixture(scope="module")
def generator(codec: StarCodec) -> StarGenerator:
    """One whose head is far enough from zero for captions and noise to matter."""
    made = StarGenerator(TINY, codec, 3).eval()
    with torch.no_grad():
        made.star.head.weight.mul_(100)  # type: ignore[union-attr]
    return made


@pytest.fixture(scope="module")
def rows(data: Encoded) -> EvaluationRows:
    return data.evaluation(held(data).iloc[-8:])


def held(data: Encoded) -> "pd.Series[str]":
    """Ids of the evaluation split."""
    return data.rows["id"][data.rows["split"] == "evaluation"]


@pytest.fixture
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products as on a CPU without fast bfloat16, whose tokens turn with the batch at the margin."""
    monkeypatch.setattr(devices, "fast_dtype", lambda device: torch.float32)


def silent(count: int) -> None:
    pass


# --- images ---


def drawn(
    generator: StarGenerator,
    data: Encoded,
    rows: EvaluationRows,
    tick: Callable[[int], object] = silent,
    **changes: int,
) -> np.ndarray:
    settings = SETTINGS.model_copy(update=changes)
    return np.concatenate([*measure.generate(generator, data, rows, LAW, settings, tick)])


@pytest.mark.usefixtures("_float32")
def test_images_are_functions_of_the_seed_and_the_prompts_number(
    generator: StarGenerator, data: Encoded, rows: EvaluationRows
) -> None:
    """Of no batch and of nothing drawn before, so that every cell gets the same noise."""
    ticks: list[int] = []
    images = drawn(generator, data, rows, ticks.append)
    assert images.shape == (8, 16, 16, 3)
    assert images.dtype == np.uint8
    assert ticks == [3, 3, 2]
    torch.manual_seed(99)
    assert np.array_equal(drawn(generator, data, rows), images)
    for batch in (1, 8):
        other = drawn(generator, data, rows, batch=batch)
        assert (other != images).mean() < 0.02, "sums of another order round otherwise"
    assert (drawn(generator, data, rows, seed=6) != images).mean() > 0.1


def test_a_prompt_has_the_noise_of_its_number_and_not_of_its_pair(
    generator: StarGenerator, data: Encoded, rows: EvaluationRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, list[int], bool]] = []
    plain = StarGenerator.sample

    def listen(self: StarGenerator, captions: object, null: object, chance: Chance, law: StarLaw) -> object:
        heard.append((chance.seed, chance.positions.tolist(), chance.training))
        return plain(self, captions, null, chance, law)  # type: ignore[arg-type]

    monkeypatch.setattr(StarGenerator, "sample", listen)
    drawn(generator, data, rows)
    drawn(StarGenerator(TINY, StarCodec(generator.tokenizer), 17), data, rows)
    wanted = [(5, [0, 1, 2], False), (5, [3, 4, 5], False), (5, [6, 7], False)]
    assert heard == wanted * 2, "whatever the seed of the weights"


@pytest.mark.usefixtures("_float32")
def test_images_are_of_the_prompts_captions_by_the_law_that_is_given(
    generator: StarGenerator, data: Encoded, rows: EvaluationRows
) -> None:
    with torch.no_grad():
        captions = data.batch(rows.numbers).text
        null = data.null(8, captions.states.shape[1])
        wanted = generator.sample(captions, null, Chance.run(5, 0, 8), LAW).permute(0, 2, 3, 1).numpy()
    images = drawn(generator, data, rows, batch=8)
    assert np.array_equal(images, wanted)
    other = data.evaluation(held(data).iloc[:8])
    assert (drawn(generator, data, other, batch=8) != images).mean() > 0.3
    plain = measure.generate(generator, data, rows, StarLaw(guidance=0.0, top_p=0.9), SETTINGS, silent)
    assert (np.concatenate([*plain]) != images).mean() > 0.1


def test_images_are_handed_on_before_the_next_are_drawn(
    generator: StarGenerator, data: Encoded, rows: EvaluationRows
) -> None:
    ticks: list[int] = []
    batches = measure.generate(generator, data, rows, LAW, SETTINGS, ticks.append)
    seen = [(len(images), len(ticks)) for images in batches]
    assert seen == [(3, 0), (3, 1), (2, 2)]


# --- NLL ---


def test_nll_is_the_mean_loss_of_the_captioned_prompts(
    generator: StarGenerator, data: Encoded, rows: EvaluationRows
) -> None:
    found = measure.held_out_losses(generator, data, rows, 3).mean()

    def mean_loss(numbers: np.ndarray, dropped: bool) -> float:
        batch = data.batch(numbers, np.full(len(numbers), dropped))
        with torch.no_grad():
            return float(generator.losses(batch, Chance(0, data.positions(numbers))).double().mean())

    assert found == pytest.approx(mean_loss(rows.numbers, False), abs=1e-6)
    others = [data.evaluation(held(data).iloc[:-8]), data.evaluation(held(data)), data.pool()]
    for numbers, dropped in ((rows.numbers, True), *((other.numbers, False) for other in others)):
        assert abs(found - mean_loss(numbers, dropped)) > 1e-3
    for batch in (1, 5, 8):
        losses = measure.held_out_losses(generator, data, rows, batch)
        assert losses.mean() == pytest.approx(found, abs=1e-5)
    alone = measure.held_out_losses(generator, data, EvaluationRows(rows.numbers[[5]]), 8)
    assert alone == pytest.approx(losses[[5]], abs=1e-5), "one a prompt, in their order"


def test_nll_of_a_uniform_guess_is_the_logarithm_of_the_codes(
    data: Encoded, rows: EvaluationRows, codec: StarCodec
) -> None:
    blank = StarGenerator(TINY, codec, 0)
    with torch.no_grad():
        blank.star.head.weight.zero_()  # type: ignore[union-attr]
    assert blank.likelihood == "nats a token"
    assert measure.held_out_losses(blank, data, rows, 4) == pytest.approx(np.log(64), rel=1e-6)


def test_a_held_out_loss_that_is_no_number_is_told_with_its_id(data: Encoded, codec: StarCodec) -> None:
    rows = data.evaluation(data.rows["id"].iloc[100:])
    broken = Broken(TINY, codec, 0)
    broken.at = int(data.positions(rows.numbers[[4]])[0])
    with pytest.raises(Refusal, match=r"held-out loss of 1 of 20 pairs is not finite: 'pair-104' \(\.nan\);"):
        measure.held_out_losses(broken, data, rows, 6)
