"""Adapters: where they sit, that they start as nothing, that they alone are trained and written."""

import contextlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline
from flux_helpers import SIDE, TINY, images, pairs, stirred
from safetensors.torch import load_file, save_file

from alchemist.core.scratch import Scratch
from alchemist.core.settings.budget import TrainSettings
from alchemist.families.flux.codec import PixelCodec
from alchemist.families.flux.generator import FluxGenerator
from alchemist.families.flux.lora import TARGETS, adapt
from alchemist.families.flux.settings import FluxSettings, LoraSettings
from alchemist.families.flux.transformer import transformer
from alchemist.models import training
from alchemist.models.batch import Chance
from alchemist.models.encoded import Encoded, Writer

CHANCE = Chance.run(0, 0, 4)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a trained cell."""
    path = tmp_path_factory.mktemp("base") / "ema-000000016.safetensors"
    save_file(stirred().weights(), path)
    return path


def adapted(base: Path, target: str = "attention", seed: int = 0, rank: int = 3) -> FluxGenerator:
    lora = LoraSettings(rank=rank, target=target)
    return FluxGenerator(TINY.model_copy(update={"weights": str(base), "lora": lora}), PixelCodec(SIDE), seed)


@pytest.mark.parametrize(("target", "millions"), [("attention", 6.9), ("double", 11.8), ("all", 17.2)])
def test_adapters_of_flux_mini_have_the_parameters_of_the_spec(target: str, millions: float) -> None:
    mini = FluxSettings(
        family="flux",
        double_blocks=5,
        single_blocks=10,
        heads=24,
        head_width=128,
        rope=(16, 56, 56),
        text_width=4096,
        pooled_width=768,
    )
    with torch.device("meta"):
        network = transformer(mini, 64)
        from peft import LoraConfig

        network.add_adapter(LoraConfig(r=16, lora_alpha=16, target_modules=TARGETS[target]))
    count = sum(p.numel() for name, p in network.named_parameters() if "lora_" in name)
    assert count / 1e6 == pytest.approx(millions, abs=0.05)
    assert not any("lora" in name for name, _ in network.proj_out.named_parameters())


def test_adapters_change_nothing_at_first_and_are_functions_of_the_seed(base: Path) -> None:
    batch = pairs(4)
    model = adapted(base)
    assert torch.equal(model.losses(batch, CHANCE), stirred().losses(batch, CHANCE))
    first, again, other = (adapted(base, seed=seed).weights() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    wide = adapted(base, rank=400).weights()
    drawn = torch.cat([v.flatten() for name, v in wide.items() if "lora_A" in name])
    assert float(drawn.std()) == pytest.approx(1 / 400, rel=0.05)


@pytest.mark.parametrize("target", ["attention", "double", "all"])
def test_adapters_alone_are_trained_written_and_put_back(base: Path, target: str, tmp_path: Path) -> None:
    model, batch = adapted(base, target), pairs(4)
    before = {name: p.clone() for name, p in model.named_parameters()}
    moving = training.trainable(model)
    assert moving
    assert all("lora_" in name for name in moving)
    adam = training.optimiser(model, model, 1e-2, 0.0)
    for number in range(3):
        loss = model.losses(batch, Chance.run(0, 4 * number, 4, training=True)).mean()
        training.descend(model, adam, [loss], 2.0)
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == set(moving)
    save_file(model.weights(), tmp_path / "adapters.safetensors")
    kept = load_file(tmp_path / "adapters.safetensors")
    assert sum(value.numel() for value in kept.values()) == sum(p.numel() for p in moving.values())
    fresh = adapted(base, target, seed=9)
    fresh.load_weights(kept)
    assert torch.equal(fresh.losses(batch, CHANCE), model.losses(batch, CHANCE))
    with pytest.raises(KeyError, match="another network"):
        fresh.load_weights(
            {name: value for name, value in kept.items() if "transformer_blocks.0" not in name}
        )


class KilledError(Exception):
    """Ends a run as a kill does."""


def trained(
    model: FluxGenerator, data: Encoded, folder: Path, killed: bool = False
) -> dict[str, torch.Tensor]:
    """Adapters after 48 images, by the training loop; `killed`: it ends after 32."""
    settings = TrainSettings(images=48, batch=8, learning_rate=1e-2, warmup_images=8, precision="fp32")
    seen = 0

    def tick(count: int, words: str) -> None:
        nonlocal seen
        seen += count
        if killed and seen == 32:
            raise KilledError

    with Scratch(folder, "0" * 16, every_seconds=0) as scratch, contextlib.suppress(KilledError):
        training.train(model, data, data.pool(), settings, 1, [48], scratch, lambda n, m: None, tick)
    return model.weights()


def test_a_killed_run_of_adapters_ends_where_an_unbroken_one_does(base: Path, tmp_path: Path) -> None:
    """Its state holds no frozen weight, and its average shares them."""
    folder = tmp_path / "encoded"
    folder.mkdir()
    with Writer(folder) as writer:
        writer.rows(
            pd.DataFrame(
                {
                    "id": list("abcdefghijkl"),
                    "split": "pool",
                    "text": [1, 2, 3] * 4,
                    "lent": False,
                    "cluster": 0,
                }
            )
        )
        writer.append(PixelCodec(SIDE).encode(images(12).numpy()))
        writer.captions((np.full((2 + i, 384), i, dtype=np.float16), None) for i in range(4))
    data = Encoded(folder)
    whole = trained(adapted(base), data, tmp_path / "whole")
    trained(adapted(base), data, tmp_path / "broken", killed=True)
    saved = load_file(next((tmp_path / "broken").rglob("state.safetensors")))
    assert not [name for name in saved if "lora_" not in name and not name.startswith(("adam", "losses"))]
    again = trained(adapted(base), data, tmp_path / "broken")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert any(not torch.equal(whole[name], value) for name, value in adapted(base).weights().items())
    average = training.Average(model := adapted(base), 8.0)
    frozen = [p for p in model.parameters() if not p.requires_grad]
    assert {id(p) for p in frozen} <= {id(p) for p in average.model.parameters()}
    assert not {id(p) for p in training.trainable(model).values()} & {
        id(p) for p in average.model.parameters()
    }


def test_a_pipeline_of_diffusers_reads_the_adapters(base: Path, tmp_path: Path) -> None:
    model = adapted(base)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data += 0.3
    save_file(model.weights(), tmp_path / "pytorch_lora_weights.safetensors")
    pipeline = FluxPipeline(
        FlowMatchEulerDiscreteScheduler(), AutoencoderKL(), None, None, None, None, stirred().network
    )
    pipeline.load_lora_weights(tmp_path)
    batch, whole = pairs(4), stirred()
    whole.network = pipeline.transformer
    ours, theirs = model.losses(batch, CHANCE), whole.losses(batch, CHANCE)
    assert torch.allclose(ours, theirs, rtol=1e-4)
    assert not torch.allclose(ours, stirred().losses(batch, CHANCE), rtol=1e-3)


def test_a_frozen_network_in_bf16_has_adapters_in_float32(base: Path) -> None:
    settings = TINY.model_copy(
        update={"weights": str(base), "lora": LoraSettings(rank=2), "frozen_type": "bf16"}
    )
    model = FluxGenerator(settings, PixelCodec(SIDE), 0)
    types = {p.dtype: p.requires_grad for p in model.parameters()}
    assert types == {torch.bfloat16: False, torch.float32: True}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model.losses(pairs(4), CHANCE)
    assert losses.dtype == torch.float32
    assert torch.allclose(losses, stirred().losses(pairs(4), CHANCE), rtol=0.05)
    losses.mean().backward()


def test_adapters_want_a_trained_network() -> None:
    with pytest.raises(ValueError, match="adapters need a trained network"):
        FluxSettings(**{**TINY.model_dump(), "lora": {"rank": 4}})
    network = transformer(TINY, 48)
    adapt(network, LoraSettings(rank=2), 0)
    assert not network.x_embedder.weight.requires_grad
