"""Counts on `meta` against closed forms, and the paper's sizes of both families against the specs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import REPO
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from alchemist.core.refusal import Refusal
from alchemist.core.settings.model import classes, model_settings
from alchemist.models import outline as counts
from alchemist.models.batch import Batch, Chance
from alchemist.models.outline import META, PROBE, Outline, Stored
from alchemist.params.inherit import inherited
from stages.params_file import read_params

MODELS: dict[str, Any] = inherited(read_params(REPO / "params.yaml"))["models"]
ASSETS = REPO / "assets/codecs"
WIDE, HIDDEN = 48, 32


class Linear(nn.Module):
    """Two layers and nothing else."""

    likelihood = None

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDE, HIDDEN, device=META), nn.Linear(HIDDEN, 1, device=META)
        self.first.requires_grad_(False)

    def losses(self, batch: Batch, chance: Chance) -> Tensor:
        out: Tensor = self.second(self.first(batch.inputs["pixels"].flatten(1))).squeeze(1)
        return out

    def weights(self) -> dict[str, Tensor]:
        return {name: p for name, p in self.named_parameters() if p.requires_grad}


def of(family: str, resolution: int, **codec: Any) -> Outline:
    return counts.outline(family, classes(family).CODEC(**codec), resolution, ASSETS)


def model(name: str) -> Any:
    return model_settings(MODELS[name], f"models.{name}")


PUBLISHED = {"kind": "published", "asset": "emoji32", "refit": False}


def test_a_network_of_linear_layers_costs_two_operations_a_weight() -> None:
    net: Any = Linear()
    outline = Outline(
        {"pixels": Stored((4, 4, 3), 1, torch.float32)}, lambda s: net, lambda s: net, lambda s: (7, 5),
        lambda s: 4, net, lambda n: None, lambda n: None,
    )  # fmt: skip
    batch = outline.batch(None, 6, 9)
    assert batch.text.states.shape == (6, 9, 7)
    assert batch.text.pooled.shape == (6, 5)
    assert counts.loss_flops(net, batch, training=True) == 2 * (WIDE * HIDDEN + HIDDEN)
    size = counts.size(net)
    assert (size.parameters, size.moved) == (WIDE * HIDDEN + HIDDEN + HIDDEN + 1, HIDDEN + 1)
    assert size.checkpoint_bytes == 4 * (HIDDEN + 1)


class Chain(nn.Module):
    """A row of functions that each keep what they give, (B, 1000) float32."""

    def __init__(self, length: int, again: bool = False) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.empty(1, 1000, device=META))
        self.length, self.again = length, again

    def part(self, x: Tensor) -> Tensor:
        for _ in range(self.length // 2):
            x = x.sigmoid()
        return x

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.start
        for _ in range(2):
            x = checkpoint(self.part, x, use_reentrant=False) if self.again else self.part(x)
        return x.sum()


def kept(length: int, again: bool = False, pairs: int = 8) -> float:
    net = Chain(length, again)
    x = torch.empty(pairs, 1000, device=META)
    return counts.activation_bytes(net, lambda: net(x), pairs)


def test_activations_are_what_a_backward_pass_waits_for() -> None:
    """One map a function, less where blocks are run again; parameters and gradients are not among them."""
    assert kept(40) - kept(20) == 20 * 4000
    assert 20 * 4000 <= kept(20) <= 25 * 4000
    assert 20 * 4000 <= kept(40, again=True) <= 26 * 4000
    assert kept(20, pairs=16) == pytest.approx(kept(20), rel=0.02)


def test_fused_attention_keeps_no_logits() -> None:
    net = nn.Linear(8, 8, device=META)
    x = torch.empty(1, 1, 4096, 8, device=META)
    own = torch.nn.functional.scaled_dot_product_attention

    def loss() -> Tensor:
        q = net(x)
        return torch.nn.functional.scaled_dot_product_attention(q, q, q).sum()

    assert counts.activation_bytes(net, loss, 1) < 10 * x.numel() * 4 < 4096**2 * 4
    assert torch.nn.functional.scaled_dot_product_attention is own


@pytest.mark.parametrize(
    ("name", "parameters", "gflop"),
    [("star_40m", 40.4e6, 53), ("star_300m", 273.9e6, 364), ("star_900m", 876.6e6, 1174)],
)
def test_the_paper_s_star_has_the_figures_of_the_spec(name: str, parameters: float, gflop: float) -> None:
    outline, settings = of("star", 256, **PUBLISHED), model(name)
    net = outline.generator(settings)
    assert counts.size(net).parameters == pytest.approx(parameters, abs=5e4)
    assert outline.arrays["tokens"].shape == (680,)
    batch = outline.batch(settings, PROBE, 77)
    assert counts.loss_flops(net, batch, training=True) == pytest.approx(gflop * 1e9, rel=0.02)


def test_the_published_tokenizer_encodes_and_other_sides_are_refused() -> None:
    outline = of("star", 512, **PUBLISHED)
    assert outline.arrays["tokens"].shape == (2240,)
    assert counts.pass_flops(lambda: of("star", 256, **PUBLISHED).encode(1)) > 1e11
    with pytest.raises(Refusal, match="256, 512, 1024 pixels"):
        of("star", 128, **PUBLISHED)


def test_a_fitted_tokenizer_is_known_by_its_card_or_by_its_fit() -> None:
    assert of("star", 32, asset="emoji32", refit=False).arrays["tokens"].shape == (85,)
    assert of("star", 64, asset="emoji32", refit=True).arrays["tokens"].shape == (341,)
    with pytest.raises(Refusal, match="works at 32"):
        of("star", 64, asset="emoji32", refit=False)


def test_flux_mini_with_adapters_has_the_figures_of_the_spec() -> None:
    """3,179,199,552 frozen parameters in bf16, 6.9 million that move, 1,024 tokens at 512 pixels."""
    outline = of("flux", 512, kind="latents", weights="black-forest-labs/FLUX.1-dev")
    settings = model("flux_mini_lora")
    net = outline.generator(settings)
    size = counts.size(net)
    assert size.parameters - size.moved == 3_179_199_552
    assert size.moved / 1e6 == pytest.approx(6.9, abs=0.05)
    assert size.checkpoint_bytes == 4 * size.moved
    assert outline.frozen_bytes(settings) == 2
    assert outline.arrays["latents"].shape == (16, 64, 64)
    # Two operations a weight and place: 1,024 of the image and 512 of the caption pass all big layers.
    flops = counts.loss_flops(net, outline.batch(settings, 1, 512), training=True)
    assert 2 * 2.3e9 * 1536 * 0.5 < flops < 2 * 3.2e9 * 1536


def test_an_autoencoder_that_is_here_says_its_own_sizes(tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    small = AutoencoderKL(block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2,
                          up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4)  # fmt: skip
    small.save_config(tmp_path / "vae")
    outline = of("flux", 64, kind="latents", weights=str(tmp_path))
    assert outline.arrays["latents"].shape == (4, 32, 32)


@pytest.mark.parametrize(
    ("family", "block", "wanted"),
    [
        ("star", classes("star").CODEC(**PUBLISHED), [("FoundationVision/var", "vae_ch160v4096z32.pth")]),
        ("star", classes("star").CODEC(asset="emoji32", refit=False), []),
        ("flux", classes("flux").CODEC(), []),
        ("flux", classes("flux").CODEC(kind="latents", weights="o/n"), [("o/n", "vae/config.json")]),
        ("flux", model("flux_mini_lora"), [("flux-mini.safetensors", "transformer/config.json")]),
        ("flux", model("flux_s"), []),
        ("star", model("star_300m"), []),
    ],
)
def test_blocks_say_which_published_weights_they_want(
    family: str, block: Any, wanted: list[tuple[str, str]]
) -> None:
    assert counts.needs(family, block) == wanted
