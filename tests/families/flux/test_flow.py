"""What is drawn of a flow: functions of seed and position, of the stated density."""

import numpy as np
import pytest
import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift as pipeline_shift
from flux_helpers import TINY
from scipy import stats

from alchemist.families.flux import flow
from alchemist.families.flux.settings import FluxLaw
from alchemist.models.batch import Chance


def of(**values: object) -> object:
    return TINY.model_copy(update=values)


def test_noise_is_a_function_of_seed_position_and_draw() -> None:
    chance = Chance(3, np.array([5, 2**62, 9]))
    drawn = flow.noise(chance, 2, (4, 6))
    alone = flow.noise(Chance(3, np.array([9])), 2, (4, 6))
    assert drawn.shape == (2, 3, 4, 6)
    assert np.array_equal(drawn[:, 2:], alone)
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn, flow.noise(Chance(4, chance.positions), 2, (4, 6)))
    many = flow.noise(Chance.run(0, 0, 200), 1, (64,)).ravel()
    assert stats.kstest(many, "norm").pvalue > 0.01


@pytest.mark.parametrize(
    ("values", "law"),
    [
        ({}, lambda s: stats.norm.cdf(np.log(s / (1 - s)))),
        ({"density_mean": -0.5, "density_sd": 0.7}, lambda s: stats.norm.cdf(np.log(s / (1 - s)), -0.5, 0.7)),
        ({"density": "uniform"}, lambda s: s),
        ({"density": "uniform", "shift": 3.0}, lambda s: s / (3 - 2 * s)),
    ],
)
def test_sigmas_of_training_are_of_the_density(values: dict[str, object], law: object) -> None:
    chance = Chance.run(0, 0, 4000, training=True)
    drawn = flow.sigmas(of(**values), chance)
    assert drawn.shape == (1, 4000)
    assert stats.kstest(drawn[0], law).pvalue > 0.01
    assert np.array_equal(drawn[:, 100:200], flow.sigmas(of(**values), chance[100:200]))


def test_a_block_shares_its_sigma_wherever_a_batch_begins() -> None:
    settings = of(sigma_block=8)
    whole = flow.sigmas(settings, Chance.run(3, 0, 64, training=True))
    blocks = whole.reshape(8, 8)
    assert (blocks == blocks[:, :1]).all()
    assert len(np.unique(blocks[:, 0])) == 8
    for first, count in ((0, 3), (5, 16), (21, 43)):
        part = flow.sigmas(settings, Chance.run(3, first, count, training=True))
        assert np.array_equal(part, whole[:, first : first + count])
    assert not np.array_equal(flow.sigmas(settings, Chance.run(4, 0, 64, training=True)), whole)


def test_sigmas_of_scoring_are_the_strata_of_the_density_and_the_same_for_every_pair() -> None:
    found = flow.sigmas(of(scored_sigmas=4), Chance(0, np.array([7, 8, 9])))
    assert found.shape == (4, 3)
    assert (found == found[:, :1]).all()
    share = stats.norm.cdf(np.log(found[:, 0] / (1 - found[:, 0].astype(float))))
    assert share == pytest.approx([0.125, 0.375, 0.625, 0.875], abs=1e-5)


def test_steps_go_from_noise_to_image_and_are_shifted() -> None:
    even = np.linspace(1, 0.1, 10)
    plain, static, dynamic = (
        flow.steps(FluxLaw(steps=10, shift=shift), 256).sigmas.numpy() for shift in (1.0, 3.0, "dynamic")
    )
    assert plain == pytest.approx([*even, 0], abs=1e-6)
    assert static == pytest.approx([*(3 * even / (1 + 2 * even)), 0], abs=1e-6)
    assert dynamic == pytest.approx([*(np.exp(0.5) / (np.exp(0.5) + 1 / even - 1)), 0], abs=1e-6)


@pytest.mark.parametrize("tokens", [64, 256, 1024, 4096])
def test_the_dynamic_shift_is_that_of_the_pipeline(tokens: int) -> None:
    assert flow.calculate_shift(tokens) == pytest.approx(pipeline_shift(tokens))


def test_weights_of_the_error() -> None:
    sigma = torch.tensor([[0.2, 0.5, 0.9]])
    assert torch.equal(flow.error_weights(of(), sigma), torch.ones(1, 3))
    assert torch.allclose(flow.error_weights(of(weighting="sigma_sqrt"), sigma), sigma**-2)
    cosmap = 2 / (torch.pi * (1 - 2 * sigma + 2 * sigma**2))
    assert torch.allclose(flow.error_weights(of(weighting="cosmap"), sigma), cosmap)
