"""STAR at the paper's sizes: parameters, arithmetic, and whole steps of training and sampling on `meta`."""

import functools
from typing import Any

import numpy as np
import pytest
import torch
from one_device import OneDevice
from tiny import REPO
from torch.utils.flop_counter import FlopCounterMode

from alchemist.core.settings.budget import TrainSettings
from alchemist.core.settings.model import model_settings
from alchemist.families.star.generator import StarCodec, StarGenerator, StarTrunk
from alchemist.families.star.published import PublishedConfig, PublishedTokenizer
from alchemist.families.star.settings import StarLaw, StarSettings
from alchemist.models import training
from alchemist.models.batch import Batch, Chance, Text
from alchemist.params.inherit import inherited
from alchemist.plan.remembered import Remembered
from stages.params_file import read_params

META = torch.device("meta")
MODELS: dict[str, Any] = inherited(read_params(REPO / "params.yaml"))["models"]
# Depth, parameters, and GFLOP of a forward pass over 680 tokens, as the spec has them.
SPEC = {
    "star_40m": (8, 40.4e6, 53),
    "star_300m": (16, 273.9e6, 364),
    "star_900m": (24, 876.6e6, 1174),
    "star_1700m": (30, 1676.8e6, 2253),
}


def size(name: str) -> StarSettings:
    if name == "star_1700m":  # for tests alone
        return StarSettings(
            **MODELS["star_40m"] | {"depth": 30, "width": 1920, "heads": 30, "drop_path": 0.125}
        )
    found = model_settings(MODELS[name], f"models.{name}", "star")
    assert isinstance(found, StarSettings)
    return found


@functools.cache
def codec() -> StarCodec:
    with META:
        return StarCodec(PublishedTokenizer(PublishedConfig()))


def pairs(count: int) -> Batch:
    """Pairs of 256 px and captions of 77 pieces of CLIP."""
    with META:
        text = Text(
            torch.empty(count, 77, 1024), torch.ones(count, 77, dtype=torch.bool), torch.empty(count, 1024)
        )
        return Batch({"tokens": torch.zeros(count, 680, dtype=torch.int64)}, text)


def generator(name: str) -> StarGenerator:
    with META:
        return StarGenerator(size(name), codec(), 0)


@pytest.mark.parametrize("name", SPEC)
def test_sizes_follow_from_the_depth_and_have_the_published_parameters(name: str) -> None:
    depth, published, _ = SPEC[name]
    settings = size(name)
    assert (settings.depth, settings.width, settings.heads) == (depth, 64 * depth, depth)
    assert settings.drop_path == pytest.approx(0.1 * depth / 24, abs=1e-4)
    assert (settings.activation, settings.text_width, settings.float32_head) == ("gelu", 1024, True)
    count = sum(p.numel() for p in generator(name).parameters())
    c, t, k, v, d = settings.width, 1024, 10, 4096, settings.depth
    per_block = 14 * c * c + 2 * t * c + 11 * c + 2 * settings.heads
    assert count == d * per_block + c * (32 + 1) + c + k * c + (c + 1) * v + c * (t + 1)
    assert count == pytest.approx(published, abs=5e4)  # the spec rounds to a tenth of a million
    with META:
        trunk = StarTrunk(settings, codec(), 0)
    assert count - sum(p.numel() for p in trunk.parameters()) == (c + 1) * v


@pytest.mark.parametrize("name", SPEC)
def test_a_forward_pass_costs_what_the_spec_says(name: str) -> None:
    net, batch = generator(name), pairs(1)
    inputs = torch.empty(1, 679, 32, device=META)
    with FlopCounterMode(display=False) as counter:
        net.star(inputs, batch.text)
    assert counter.get_total_flops() == pytest.approx(SPEC[name][2] * 1e9, rel=0.02)


@pytest.mark.parametrize("name", ["star_40m", "star_1700m"])
def test_a_training_step_runs_whole_on_one_device(name: str) -> None:
    net, batch = generator(name), pairs(2)
    settings = TrainSettings(images=64, batch=2, schedule="linear")
    average = training.Average(net, 100.0)
    adam = training.optimiser(net, net, 1e-4, 0.05)
    still = [name for name, p in net.named_parameters() if not net.decays(name, p)]
    assert {name.rpartition(".")[2] for name in still} == {
        "q_bias", "v_bias", "text_v_bias", "bias", "log_scale", "text_log_scale", "start_position", "level",
    }  # fmt: skip
    with Remembered(), OneDevice():
        done = training.step(net, adam, batch, Chance.run(0, 0, 2, training=True), settings, META)
        average.update(net, 2, 2)
    assert done.loss.device == META
    assert all(p in adam.state for p in net.parameters()), "a gradient reaches every parameter"


def test_sampling_runs_whole_on_one_device() -> None:
    net, text = generator("star_40m"), pairs(2).text
    law = StarLaw(guidance=4.0, top_k=600, top_p=0.8)
    with Remembered(), OneDevice():
        images = net.sample(text, text, Chance(0, np.arange(2)), law)
    assert images.shape == (2, 3, 256, 256)
    assert images.device == META
