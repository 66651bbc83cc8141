"""FLUX as a family: its losses, errors and samples against closed forms, and a trunk that sees both."""

import numpy as np
import pytest
import torch
from conftest import random_text
from flux_helpers import SIDE, TINY, images, pairs, stirred

from alchemist.families.flux import flow
from alchemist.families.flux.codec import PixelCodec
from alchemist.families.flux.generator import FluxGenerator, FluxTrunk
from alchemist.families.flux.settings import FluxLaw
from alchemist.families.flux.transformer import run
from alchemist.models.batch import Batch, Chance

CODEC = PixelCodec(SIDE)
TRAINING = Chance.run(0, 0, 6, training=True)


# --- losses ---


def test_the_loss_at_the_start_is_the_velocity_itself() -> None:
    batch = pairs(6)
    image = CODEC.tokens(batch.inputs)
    noise = torch.from_numpy(flow.noise(TRAINING, 1, CODEC.shape)[0])
    found = FluxGenerator(TINY, CODEC, 0).losses(batch, TRAINING)
    assert torch.allclose(found, (noise - image).square().mean((1, 2)), rtol=1e-5)


def test_scoring_is_the_mean_over_strata_that_training_would_draw() -> None:
    generator, batch, chance = stirred(), pairs(3), Chance(5, np.array([11, 4, 7]))
    found = generator.losses(batch, chance)
    assert found.shape == (3,)
    image = CODEC.tokens(batch.inputs)
    sigma, noise = flow.sigmas(TINY, chance), flow.noise(chance, 4, CODEC.shape)
    expected = torch.zeros(3)
    for share, drawn in zip(torch.from_numpy(sigma), torch.from_numpy(noise), strict=True):
        at = share[:, None, None]
        out = run(generator.network, (1 - at) * image + at * drawn, share, batch.text)
        expected += (out - (drawn - image)).square().mean((1, 2)) / 4
    assert torch.allclose(found, expected, rtol=1e-5)


def test_the_mean_training_loss_is_that_of_a_sigma_a_pair_where_blocks_share_one() -> None:
    batch, draws, block = pairs(1), 1024, 4
    many = Batch({"pixels": batch.inputs["pixels"].expand(draws, -1, -1, -1)}, _rows(batch, [0] * draws))
    plain, shared = (
        stirred(TINY.model_copy(update={"sigma_block": size}))
        .losses(many, Chance.run(seed, 0, draws, training=True))
        .detach()
        for seed, size in ((0, 1), (1, block))
    )
    error = float(((1 + block) * plain.var() / draws) ** 0.5)  # a block is worth one draw of sigma
    assert abs(float(plain.mean() - shared.mean())) < 3 * error < 0.1 * float(plain.mean())


@pytest.mark.parametrize("training", [True, False])
def test_a_row_depends_on_its_pair_and_its_chance_alone(training: bool) -> None:
    generator, batch = stirred(), pairs(6)
    chance = Chance(3, np.array([9, 1, 4, 7, 5, 2]), training)
    for of in (generator.losses, generator.error_norms):
        together = of(batch, chance)
        turned = torch.arange(5, -1, -1)
        other = Batch({"pixels": batch.inputs["pixels"][turned]}, _rows(batch, turned))
        assert torch.allclose(
            of(other, Chance(3, chance.positions[::-1].copy(), training)), together[turned], rtol=1e-4
        )
        alone = Batch({"pixels": batch.inputs["pixels"][2:3]}, _rows(batch, torch.tensor([2])))
        assert torch.allclose(of(alone, chance[2:3]), together[2:3], rtol=1e-4)
        assert not torch.allclose(of(batch, Chance(4, chance.positions, training)), together, rtol=1e-3)


def _rows(batch: Batch, rows: torch.Tensor) -> object:
    text = batch.text
    return type(text)(text.states[rows], text.mask[rows], text.pooled[rows])


def test_error_norms_are_square_roots_of_unweighted_losses_at_one_sigma() -> None:
    one = TINY.model_copy(update={"scored_sigmas": 1})
    generator, batch, chance = stirred(one), pairs(4), Chance.run(0, 0, 4)
    norms, losses = generator.error_norms(batch, chance), generator.losses(batch, chance)
    assert torch.allclose(norms, (losses.double() * 4 * 48).sqrt(), rtol=1e-5)


def test_weights_of_the_error_reach_the_losses() -> None:
    batch = pairs(4)
    chance = Chance.run(0, 0, 4, training=True)
    plain, weighted = (
        stirred(TINY.model_copy(update={"weighting": name})).losses(batch, chance)
        for name in ("none", "sigma_sqrt")
    )
    sigma = torch.from_numpy(flow.sigmas(TINY, chance)[0])
    assert torch.allclose(weighted, plain / sigma**2, rtol=1e-4)


def test_learns_captions_that_tell_the_image() -> None:
    """Two flat images and a caption each: the velocity at much noise follows the caption."""
    torch.manual_seed(0)
    generator = FluxGenerator(TINY, CODEC, 0)
    flat = torch.tensor([30, 220], dtype=torch.uint8)[:, None, None, None].expand(2, SIDE, SIDE, 3)
    text = random_text(2, length=3)
    batch = Batch({"pixels": flat.repeat(16, 1, 1, 1)}, _tiled(text, 16))
    adam = torch.optim.AdamW(generator.parameters(), lr=1e-2)
    for step in range(200):
        loss = generator.losses(batch, Chance.run(0, 32 * step, 32, training=True)).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    made = generator.sample(text, text, Chance.run(1, 0, 2), FluxLaw(steps=8, guidance=1.0)).float()
    assert float(made[0].mean()) < 70
    assert float(made[1].mean()) > 180


def _tiled(text: object, times: int) -> object:
    return type(text)(
        text.states.repeat(times, 1, 1), text.mask.repeat(times, 1), text.pooled.repeat(times, 1)
    )


# --- samples ---


class Straight(torch.nn.Module):
    """The velocity of a pool that has one image for each row: (x - image) / sigma."""

    def __init__(self, image: torch.Tensor) -> None:
        super().__init__()
        self.image = image

    def forward(
        self, hidden_states: torch.Tensor, timestep: torch.Tensor, **_: object
    ) -> tuple[torch.Tensor]:
        image = self.image.repeat(len(hidden_states) // len(self.image), 1, 1)
        return ((hidden_states - image) / timestep[:, None, None],)


def test_straight_paths_end_at_the_image_after_any_number_of_steps() -> None:
    target, generator = images(3), stirred()
    generator.network = Straight(CODEC.tokens({"pixels": target}))
    for law in (FluxLaw(steps=1, guidance=1.0), FluxLaw(steps=7, guidance=3.0)):
        made = generator.sample(random_text(3), random_text(3, 1), Chance.run(0, 0, 3), law)
        assert torch.equal(made.permute(0, 2, 3, 1), target)


def test_guidance_goes_from_the_empty_caption_through_the_given_one() -> None:
    generator, given, empty, chance = stirred(), random_text(2, 1), random_text(2, 2), Chance.run(0, 0, 2)

    def made(law: FluxLaw) -> torch.Tensor:
        return generator.sample(given, empty, chance, law).float()

    assert torch.equal(
        made(FluxLaw(steps=3, guidance=0.0)),
        generator.sample(empty, empty, chance, FluxLaw(steps=3, guidance=1.0)).float(),
    )
    # one step is linear in the guidance, where no pixel is cut off
    none, one, two = (made(FluxLaw(steps=1, guidance=g)) for g in (0.0, 1.0, 2.0))
    inside = (two > 0) & (two < 255) & (one > 0) & (one < 255) & (none > 0) & (none < 255)
    assert inside.float().mean() > 0.3
    assert float(((one - none) - (two - one))[inside].abs().max()) <= 2  # rounding to whole numbers
    assert float((two - one)[inside].abs().max()) > 5


def test_a_sample_is_a_function_of_seed_position_and_caption() -> None:
    generator, text, null, law = stirred(), random_text(5), random_text(5, 3), FluxLaw(steps=3)
    whole = generator.sample(text, null, Chance.run(2, 10, 5), law)
    row = torch.tensor([3])
    alone = generator.sample(
        *(type(part)(part.states[row], part.mask[row], part.pooled[row]) for part in (text, null)),
        Chance.run(2, 13, 1),
        law,
    )
    assert whole.shape == (5, 3, SIDE, SIDE)
    assert int((alone[0].int() - whole[3].int()).abs().max()) <= 1
    assert not torch.equal(generator.sample(text, null, Chance.run(3, 10, 5), law), whole)


# --- the trunk, and what decays ---


def test_the_trunk_sees_image_and_caption_and_no_noise() -> None:
    trunk, batch = FluxTrunk(TINY, CODEC, 0), pairs(4)
    rng = torch.Generator().manual_seed(1)
    for parameter in trunk.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=rng)
    trunk.requires_grad_(False)
    base = trunk.features(batch, Chance.run(0, 0, 4))
    assert base.shape == (4, trunk.width) == (4, 16)
    assert torch.equal(trunk.features(batch, Chance.run(9, 5, 4, training=True)), base)
    other_image = Batch({"pixels": images(4, 5)}, batch.text)
    other_text = Batch(batch.inputs, random_text(4, 5))
    for other in (other_image, other_text):
        assert float((trunk.features(other, Chance.run(0, 0, 4)) - base).abs().max()) > 1e-3


def test_weight_decay_acts_on_matrices_alone() -> None:
    generator = stirred()
    kinds = {generator.decays(name, p): set() for name, p in generator.named_parameters()}
    for name, parameter in generator.named_parameters():
        kinds[generator.decays(name, parameter)].add(parameter.ndim)
    assert kinds == {True: {2}, False: {1}}
    assert not any("frozen" in name for name in generator.state_dict())


def test_slopes_of_forward_mode_are_those_of_autograd() -> None:
    """What exact credits ask for: d losses_i / d theta along a direction, for every pair in one pass."""
    generator, batch = stirred(), pairs(4)
    named = dict(generator.named_parameters())
    rng = torch.Generator().manual_seed(3)
    direction = {name: torch.randn(p.shape, generator=rng) for name, p in named.items()}

    class Losses(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.generator = generator

        def forward(self) -> torch.Tensor:
            return generator.losses(batch, TRAINING[:4])

    def losses(values: dict[str, torch.Tensor]) -> torch.Tensor:
        renamed = {f"generator.{name}": value for name, value in values.items()}
        return torch.func.functional_call(Losses(), renamed, ())

    detached = {name: p.detach() for name, p in named.items()}
    _, slopes = torch.func.jvp(losses, (detached,), (direction,))
    for row in range(4):
        found = torch.autograd.grad(
            generator.losses(batch, TRAINING[:4])[row], list(named.values()), allow_unused=True
        )
        expected = sum(
            float((g * direction[n]).sum()) for n, g in zip(named, found, strict=True) if g is not None
        )
        assert float(slopes[row]) == pytest.approx(expected, rel=1e-3)
