"""FLUX-mini's size, its published file through the converter, other layouts, and what is refused."""

from pathlib import Path

import pytest
import torch
from conftest import random_text
from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers
from flux_helpers import SIDE, TINY, pairs, stirred
from safetensors.torch import save_file

from alchemist.core.refusal import Refusal
from alchemist.core.weights import Weights
from alchemist.families.flux import pretrained
from alchemist.families.flux.codec import PixelCodec
from alchemist.families.flux.generator import FluxGenerator
from alchemist.families.flux.lora import adapt
from alchemist.families.flux.settings import FluxLaw, FluxSettings, LoraSettings
from alchemist.families.flux.transformer import fit_out, run, transformer
from alchemist.models.batch import Chance, Text

MINI = FluxSettings(
    family="flux", double_blocks=5, single_blocks=10, heads=24, head_width=128, rope=(16, 56, 56),
    text_width=4096, pooled_width=768, embedded_guidance=4.0,
)  # fmt: skip
META = torch.device("meta")


def published(
    double: int, single: int, width: int = 3072, text: int = 4096, pooled: int = 768
) -> dict[str, torch.Tensor]:
    """Keys and shapes of the published single file, on `meta`."""
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, outputs: int, inputs: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs), (outputs,)

    linear("img_in", width, 64)
    linear("txt_in", width, text)
    for name, inputs in (("time_in", 256), ("vector_in", pooled), ("guidance_in", 256)):
        linear(f"{name}.in_layer", width, inputs)
        linear(f"{name}.out_layer", width, width)
    for block in range(double):
        for side in ("img", "txt"):
            at = f"double_blocks.{block}.{side}"
            linear(f"{at}_mod.lin", 6 * width, width)
            linear(f"{at}_attn.qkv", 3 * width, width)
            linear(f"{at}_attn.proj", width, width)
            linear(f"{at}_mlp.0", 4 * width, width)
            linear(f"{at}_mlp.2", width, 4 * width)
            shapes[f"{at}_attn.norm.query_norm.scale"] = shapes[f"{at}_attn.norm.key_norm.scale"] = (128,)
    for block in range(single):
        at = f"single_blocks.{block}"
        linear(f"{at}.modulation.lin", 3 * width, width)
        linear(f"{at}.linear1", 7 * width, width)
        linear(f"{at}.linear2", width, 5 * width)
        shapes[f"{at}.norm.query_norm.scale"] = shapes[f"{at}.norm.key_norm.scale"] = (128,)
    linear("final_layer.linear", 64, width)
    linear("final_layer.adaLN_modulation.1", 2 * width, width)
    return {name: torch.empty(shape, device=META) for name, shape in shapes.items()}


def test_flux_mini_has_its_parameters_and_its_file_converts_whole() -> None:
    with META:
        network = transformer(MINI, 64)
    assert sum(p.numel() for p in network.parameters()) == 3_179_199_552
    given = published(5, 10)
    assert sum(value.numel() for value in given.values()) == 3_179_199_552
    converted = convert_flux_transformer_checkpoint_to_diffusers(given)
    assert not given, "a key was left"
    wanted = {name: value.shape for name, value in network.state_dict().items()}
    assert {name: value.shape for name, value in converted.items()} == wanted


def test_a_published_file_is_loaded_with_the_config_of_the_settings(tmp_path: Path) -> None:
    """By the loader itself: of the published width, which the converter fixes, but one block of each kind."""
    sizes = {"double_blocks": 1, "single_blocks": 1, "text_width": 32, "pooled_width": 16}
    few = MINI.model_copy(update={**sizes, "frozen_type": "bf16"})
    rng, given = torch.Generator().manual_seed(0), {}
    for name, value in published(1, 1, text=32, pooled=16).items():
        given[name] = torch.empty(value.shape, dtype=torch.bfloat16)
        given[name].view(-1)[:4] = torch.randn(min(4, value.numel()), generator=rng)
    save_file(given, tmp_path / "flux.safetensors")
    few = few.model_copy(update={"weights": str(tmp_path / "flux.safetensors")})
    with META:
        network = transformer(few, 64)
    loaded = pretrained.load(network, few)
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
    qkv = given["double_blocks.0.img_attn.qkv.weight"]
    assert torch.equal(loaded.transformer_blocks[0].attn.to_q.weight[0, :4], qkv[0, :4])
    shift, _ = given["final_layer.adaLN_modulation.1.weight"].chunk(2)
    assert torch.equal(loaded.norm_out.linear.weight[3072, :4], shift[0, :4])
    more = few.model_copy(update={"single_blocks": 2})
    with META:
        network = transformer(more, 64)
    with pytest.raises(Refusal, match=r"weights is .* lacks single_transformer_blocks\.1\."):
        pretrained.load(network, more)


def test_a_published_file_with_a_tensor_too_few_or_too_many_is_refused() -> None:
    found, given = Weights("weights", "x", Path("flux.safetensors")), published(1, 1)
    more = {f"model.diffusion_model.{name}": value for name, value in given.items()}
    kept = pretrained.converted(more | {"odd.bias": torch.zeros(1)}, found)
    with META:
        network = transformer(MINI.model_copy(update={"double_blocks": 1, "single_blocks": 1}), 64)
    with pytest.raises(Refusal, match=r"holds odd\.bias, which that network does not have"):
        found.fits(kept, network.state_dict())
    del given["time_in.in_layer.bias"]
    with pytest.raises(Refusal, match=r"weights is 'x', .*: it lacks 'time_in\.in_layer\.bias'\.$"):
        pretrained.converted(given, found)


def test_a_folder_of_diffusers_and_a_cells_checkpoint_give_the_same_model(tmp_path: Path) -> None:
    model = stirred()
    model.network.save_pretrained(tmp_path / "hub" / "transformer")
    save_file(model.weights(), tmp_path / "ema-000000016.safetensors")
    batch, chance = pairs(3), Chance.run(0, 0, 3)
    for weights in (tmp_path / "hub", tmp_path / "ema-000000016.safetensors"):
        again = FluxGenerator(TINY.model_copy(update={"weights": str(weights)}), PixelCodec(SIDE), 5)
        assert torch.equal(again.losses(batch, chance), model.losses(batch, chance))


@pytest.mark.parametrize(
    "what", ["nowhere", "nowhere.safetensors", "broken.safetensors", "other.safetensors", "empty"]
)
def test_weights_that_cannot_be_had_are_refused_in_a_sentence(what: str, tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    (tmp_path / "empty").mkdir()
    wider = TINY.model_copy(update={"heads": 4})
    save_file(FluxGenerator(wider, PixelCodec(SIDE), 0).weights(), tmp_path / "other.safetensors")
    settings = TINY.model_copy(update={"weights": str(tmp_path / what)})
    with pytest.raises(Refusal, match=rf"weights is '.*{what}'") as refused:
        FluxGenerator(settings, PixelCodec(SIDE), 0)
    assert "\n" not in str(refused.value)


def test_a_guidance_distilled_network_is_fed_its_constant() -> None:
    settings = TINY.model_copy(update={"embedded_guidance": 4.0})
    model, batch, chance = stirred(settings), pairs(3), Chance.run(0, 0, 3)
    other = stirred(settings.model_copy(update={"embedded_guidance": 1.0}))
    assert not torch.allclose(model.losses(batch, chance), other.losses(batch, chance), rtol=1e-3)
    text = random_text(3)
    drawn = [
        model.sample(text, text, Chance.run(0, 0, 3), FluxLaw(steps=2, embedded_guidance=g)).float()
        for g in (1.0, 3.5)
    ]
    assert float((drawn[0] - drawn[1]).abs().max()) > 2


def test_a_training_step_of_flux_mini_with_adapters_runs_whole() -> None:
    """On `meta`: forward, backward through recomputed blocks, and only adapters get a gradient."""
    with META:
        network = transformer(MINI, 64)
        adapt(network, LoraSettings(rank=16), 0)
        fit_out(network, MINI.model_copy(update={"gradient_checkpointing": True}))
        text = Text(torch.empty(2, 512, 4096), torch.ones(2, 512, dtype=torch.bool), torch.empty(2, 768))
        out = run(network, torch.empty(2, 1024, 64), torch.empty(2), text, 4.0)
        out.square().mean().backward()
    assert out.shape == (2, 1024, 64)
    named = dict(network.named_parameters())
    assert {name for name, p in named.items() if p.grad is not None} == {n for n in named if "lora_" in n}
