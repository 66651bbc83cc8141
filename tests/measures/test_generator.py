"""One generator's figures: images by (seed, prompt), NLL of the prompts, distances to the real references."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import TINY

from alchemist.core import devices, stateless
from alchemist.families.star.generator import StarCodec, StarGenerator
from alchemist.families.star.settings import StarLaw
from alchemist.measures import generator as measure
from alchemist.measures.clip_score import Scorer, score
from alchemist.measures.distances import frechet_distance, kernel_distance, moments
from alchemist.measures.features import Extractor, extract
from alchemist.measures.generator import References, Side
from alchemist.measures.scorers import fit_lit
from alchemist.models.batch import Chance
from alchemist.models.encoded import Encoded, EvaluationRows
from alchemist.settings.evaluation import EvaluateSettings, ScorerSettings

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
    return data.evaluation(8)


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
    return measure.generate(generator, data, rows, LAW, SETTINGS.model_copy(update=changes), tick)


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
        captions = data.batch(rows.prompts).text
        null = data.null(8, captions.states.shape[1])
        wanted = generator.sample(captions, null, Chance.run(5, 0, 8), LAW).permute(0, 2, 3, 1).numpy()
    images = drawn(generator, data, rows, batch=8)
    assert np.array_equal(images, wanted)
    other = EvaluationRows(rows.numbers, rows.references[:8], rows.references)
    assert (drawn(generator, data, other, batch=8) != images).mean() > 0.3
    plain = measure.generate(generator, data, rows, StarLaw(guidance=0.0, top_p=0.9), SETTINGS, silent)
    assert (plain != images).mean() > 0.1


# --- NLL ---


def test_nll_is_the_mean_loss_of_the_captioned_prompts(
    generator: StarGenerator, data: Encoded, rows: EvaluationRows
) -> None:
    found = measure.held_out_loss(generator, data, rows, 3)

    def mean_loss(numbers: np.ndarray, dropped: bool) -> float:
        batch = data.batch(numbers, np.full(len(numbers), dropped))
        with torch.no_grad():
            return float(generator.losses(batch, Chance(0, data.positions(numbers))).double().mean())

    assert found == pytest.approx(mean_loss(rows.prompts, False), abs=1e-6)
    others = [(rows.prompts, True), (rows.references, False), (rows.numbers, False)]
    for numbers, dropped in (*others, (data.pool().numbers[:8], False)):
        assert abs(found - mean_loss(numbers, dropped)) > 1e-3
    for batch in (1, 5, 8):
        assert measure.held_out_loss(generator, data, rows, batch) == pytest.approx(found, abs=1e-5)


def test_nll_of_a_uniform_guess_is_the_logarithm_of_the_codes(
    data: Encoded, rows: EvaluationRows, codec: StarCodec
) -> None:
    blank = StarGenerator(TINY, codec, 0)
    with torch.no_grad():
        blank.star.head.weight.zero_()  # type: ignore[union-attr]
    assert blank.likelihood == "nats a token"
    assert measure.held_out_loss(blank, data, rows, 4) == pytest.approx(np.log(64), rel=1e-6)


# --- distances and score ---


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    settings = ScorerSettings(image_size=32, embed_dim=8, steps=2, batch=8, learning_rate=1e-3, seed=0)
    return fit_lit(pictures("scorer", 8), words(8), settings)


@pytest.fixture(scope="module")
def by() -> Extractor:
    """Twelve fixed projections of the pixels: features of the right kind, at once."""
    mix = torch.from_numpy(stateless.generator("mix").normal(size=(16 * 16 * 3, 12)).astype(np.float32)) / 255

    def network(pixels: torch.Tensor) -> torch.Tensor:
        return torch.tanh(pixels.flatten(1) @ mix / 8)

    return Extractor("lite0", lambda image: image.astype(np.float32), network, torch.device("cpu"))


def pictures(stream: str, count: int) -> np.ndarray:
    return stateless.generator(stream).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def words(count: int) -> list[str]:
    return [f"a picture of {i} foxes" for i in range(count)]


def test_figures_are_distances_to_the_real_references_and_apart_to_the_coded(
    by: Extractor, scorer: Scorer
) -> None:
    images, real, coded = pictures("images", 8), pictures("real", 20), pictures("coded", 20) // 2
    of_real, of_coded = (extract(side, by, 7) for side in (real, coded))
    references = References(of_real, moments(of_real), moments(of_coded))
    found = measure.figures(images, words(8), by, scorer, references, SETTINGS)
    own = extract(images, by, 3)
    assert set(found) == {"fd_lite0", "fd_lite0_coded", "kid_lite0", "kid_lite0_sd", "clip_lit"}
    assert found["fd_lite0"] == pytest.approx(frechet_distance(own, of_real), rel=1e-6)
    assert found["fd_lite0_coded"] == pytest.approx(frechet_distance(own, of_coded), rel=1e-6)
    assert abs(found["fd_lite0"] - found["fd_lite0_coded"]) > 0.05 * found["fd_lite0"]
    kid, spread = kernel_distance(own, of_real, 3, 6, 5)
    assert (found["kid_lite0"], found["kid_lite0_sd"]) == pytest.approx((kid, spread), rel=1e-6)
    assert found["clip_lit"] == pytest.approx(score(scorer, images, words(8), 8).mean(), abs=1e-3)
    turned = words(8)[1:] + words(8)[:1]
    assert abs(found["clip_lit"] - score(scorer, images, turned, 8).mean()) > 1e-3, (
        "each with its own caption"
    )


def test_floors_are_those_of_perfect_images_before_and_after_the_codec(scorer: Scorer) -> None:
    rng = stateless.generator("floors")
    prompts, references = (
        Side(rng.normal(size=(count, 12)), rng.normal(size=(count, 12)) * 1.3 + 0.5) for count in (8, 20)
    )
    images, coded = pictures("prompts", 8), pictures("prompts coded", 8)
    found = measure.floors(prompts, references, images, coded, words(8), scorer, SETTINGS)
    assert found["fd_lite0"] == pytest.approx(frechet_distance(prompts.real, references.real))
    assert found["fd_lite0_coded"] == pytest.approx(frechet_distance(prompts.coded, references.coded))
    assert found["fd_reconstruction"] == pytest.approx(frechet_distance(prompts.coded, references.real))
    kid, _ = kernel_distance(prompts.real, references.real, 3, 6, 5)
    assert found["kid_lite0"] == pytest.approx(kid)
    for name, pixels in (("clip_lit", images), ("clip_lit_reconstruction", coded)):
        assert found[name] == pytest.approx(score(scorer, pixels, words(8), 8).mean(), abs=1e-3)
    assert len(set(found.values())) == len(found) == 6
