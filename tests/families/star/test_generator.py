"""STAR as a family: its losses, errors, drop-path, codec, and a trunk that sees image and caption."""

import math

import numpy as np
import pytest
import torch
from conftest import CPU, TINY, random_text, random_tokens

from alchemist.core import stateless
from alchemist.families.star.generator import (
    StarCodec,
    StarGenerator,
    StarTrunk,
    drop_path,
    open_codec,
    softmax_errors,
)
from alchemist.families.star.settings import StarLaw
from alchemist.families.star.tokenizer import Tokenizer, save
from alchemist.models.batch import Batch, Chance
from alchemist.models.pixels import to_float


def pairs(codes: Tokenizer, count: int, length: int = 5, seed: int = 0) -> Batch:
    return Batch({"tokens": random_tokens(codes, count, seed)}, random_text(count, seed, length))


# --- losses ---


def test_loss_at_the_start_is_that_of_a_uniform_guess(codes: Tokenizer, codec: StarCodec) -> None:
    generator = StarGenerator(TINY, codec, 0)
    loss = generator.losses(pairs(codes, 16), Chance.run(0, 0, 16)).mean()
    assert float(loss) == pytest.approx(math.log(codes.config.codes), abs=0.05)


def test_overfits_a_handful_of_pairs(codes: Tokenizer, codec: StarCodec) -> None:
    torch.manual_seed(0)
    generator = StarGenerator(TINY, codec, 0)
    batch = pairs(codes, 16, length=2)
    adam = torch.optim.AdamW(generator.parameters(), lr=3e-3)
    for _ in range(90):
        loss = generator.losses(batch, Chance.run(0, 0, 16)).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert float(loss) < 0.5


def test_weights_are_functions_of_the_seed_alone(codec: StarCodec) -> None:
    torch.manual_seed(1)
    first = StarGenerator(TINY, codec, 7).state_dict()
    torch.manual_seed(2)
    second = StarGenerator(TINY, codec, 7).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = StarGenerator(TINY, codec, 8).state_dict()
    assert not torch.equal(first["star.embed.weight"], other["star.embed.weight"])
    assert not any(name.startswith("_frozen") or "codebooks" in name for name in first)


# --- what training alone draws ---


def test_drop_path_is_a_function_of_seed_and_position() -> None:
    factors = drop_path(0.5, 3, Chance.run(0, 0, 4000, training=True), CPU)
    assert factors is not None
    for block, rate in enumerate((0.0, 0.25, 0.5)):
        assert sorted(factors[:, block].unique().tolist()) == pytest.approx(
            sorted({0.0, 1 / (1 - rate)} if rate else {1.0})
        )
        assert float(factors[:, block].mean()) == pytest.approx(1.0, abs=0.05)
    parts = [
        drop_path(0.5, 3, Chance.run(0, first, 500, training=True), CPU) for first in range(0, 4000, 500)
    ]
    assert torch.equal(torch.cat(parts), factors)
    assert not torch.equal(drop_path(0.5, 3, Chance.run(1, 0, 4000, training=True), CPU), factors)
    assert drop_path(0.0, 3, Chance.run(0, 0, 4, training=True), CPU) is None
    assert drop_path(0.5, 3, Chance.run(0, 0, 4), CPU) is None, "outside training every branch stays in"


def test_a_pairs_loss_depends_on_its_own_draw_alone(codes: Tokenizer, codec: StarCodec) -> None:
    generator = StarGenerator(TINY.model_copy(update={"drop_path": 0.5}), codec, 0)
    with torch.no_grad():
        generator.star.head.weight.mul_(50)  # type: ignore[union-attr]
    batch, chance = pairs(codes, 12), Chance.run(3, 40, 12, training=True)
    whole = generator.losses(batch, chance).detach()
    parts = [
        generator.losses(
            Batch(
                {"tokens": batch.inputs["tokens"][i : i + 4]},
                type(batch.text)(*(x[i : i + 4] for x in vars(batch.text).values())),
            ),
            chance[i : i + 4],
        ).detach()
        for i in (0, 4, 8)
    ]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-5)
    quiet = generator.losses(batch, Chance.run(3, 40, 12)).detach()
    assert (whole - quiet).abs().max() > 1e-3, "drop-path should matter here"
    assert torch.equal(quiet, generator.losses(batch, Chance.run(9, 0, 12)).detach())


# --- errors ---


def test_an_error_norm_is_that_of_softmax_less_one_hot() -> None:
    logits = 4 * torch.randn(5, 7, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens = torch.arange(35).reshape(5, 7) % 11
    difference = logits.softmax(-1) - torch.eye(11, dtype=torch.float64)[tokens]
    expected = difference.square().sum(-1).sqrt()
    assert torch.allclose(softmax_errors(logits, tokens), expected, rtol=1e-12, atol=0)
    # It is the gradient of the cross-entropy by the logits.
    leaf = logits.requires_grad_()
    (gradient,) = torch.autograd.grad(
        torch.nn.functional.cross_entropy(leaf.flatten(0, 1), tokens.flatten(), reduction="sum"), leaf
    )
    assert torch.allclose(gradient.norm(dim=-1), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("codes_count", [2, 64, 2048])
def test_error_norms_of_known_chances(codes_count: int) -> None:
    tokens = torch.tensor([0, 1])
    uniform = softmax_errors(torch.zeros(2, codes_count), tokens)
    assert uniform.tolist() == pytest.approx([(1 - 1 / codes_count) ** 0.5] * 2, rel=1e-6)
    sure = torch.full((2, codes_count), -200.0)
    sure[:, 0] = 200.0
    assert softmax_errors(sure, tokens).tolist() == pytest.approx([0.0, 2**0.5], abs=1e-7)
    # Nearly sure in float32: the norm is about (1 - p) sqrt(1 + 1 / (V - 1)), not lost in rounding.
    gap = 12.0
    near = torch.zeros(1, codes_count)
    near[0, 0] = gap
    rest = np.exp(-gap) * (codes_count - 1) / (1 + np.exp(-gap) * (codes_count - 1))
    expected = rest * (1 + 1 / (codes_count - 1)) ** 0.5
    # A sum of 2,048 chances is rounded by as many lanes as the processor has: with eight to .11 %.
    within = 1e-3 if codes_count < 2048 else 2e-3
    assert float(softmax_errors(near, tokens[:1])) == pytest.approx(expected, rel=within, abs=1e-6)


# --- samples ---


@pytest.mark.parametrize("law", [StarLaw(guidance=0.0, top_k=1), StarLaw(guidance=0.0, top_p=1e-6)])
def test_a_sample_follows_its_law(codec: StarCodec, law: StarLaw) -> None:
    """Where one code is left, no noise matters; by the default law it does."""
    generator = StarGenerator(TINY, codec, 0)
    with torch.no_grad():
        generator.star.head.weight.mul_(50)  # type: ignore[union-attr]
    text = random_text(3)
    first, second = (generator.sample(text, text, Chance.run(seed, 0, 3), law) for seed in (0, 1))
    assert torch.equal(first, second)
    free = [generator.sample(text, text, Chance.run(seed, 0, 3), StarLaw()) for seed in (0, 1)]
    assert not torch.equal(*free)


# --- codec and trunk ---


def test_the_codec_encodes_and_reconstructs_by_its_tokenizer(codes: Tokenizer, codec: StarCodec) -> None:
    images = stateless.generator("codec").integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    arrays = codec.encode(images)
    tokens = codes.encode(to_float(torch.from_numpy(images)))
    assert arrays["tokens"].dtype == np.uint16
    assert arrays["tokens"].tolist() == tokens.tolist()
    wanted = codes.decode(tokens).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(codec.reconstruct(images), wanted)


def test_many_images_are_reconstructed_as_a_few_are(
    codec: StarCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = stateless.generator("codec").integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)
    whole = codec.reconstruct(images)
    monkeypatch.setattr("alchemist.families.star.generator.RECONSTRUCTED_AT_ONCE", 3)
    assert np.abs(codec.reconstruct(images).astype(int) - whole).max() <= 1


def test_an_opened_codec_tells_the_digest_of_its_weights(codes: Tokenizer, tmp_path) -> None:
    save(codes, tmp_path)
    opened = open_codec(tmp_path, CPU)
    assert len(opened.digest) == 64
    assert torch.equal(opened.tokenizer.codebooks, codes.codebooks)
    assert not any(p.requires_grad for p in opened.parameters())


def test_the_trunk_sees_image_and_caption_and_no_other_row(codes: Tokenizer, codec: StarCodec) -> None:
    trunk = StarTrunk(TINY, codec, 0).eval()
    first, second = pairs(codes, 3), pairs(codes, 3, seed=1)
    chance = Chance.run(0, 0, 3)
    with torch.no_grad():
        features = trunk.features(first, chance)
        assert features.shape == (3, trunk.width)
        for other in (Batch(second.inputs, first.text), Batch(first.inputs, second.text)):
            assert ((trunk.features(other, chance) - features).abs().amax(1) > 1e-4).all()
        mixed = Batch(
            {"tokens": torch.cat([first.inputs["tokens"][:1], second.inputs["tokens"][1:]])}, first.text
        )
        torch.testing.assert_close(trunk.features(mixed, chance)[0], features[0], rtol=0, atol=1e-5)
