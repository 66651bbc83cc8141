"""The network against diffusers' own attention, its size, its start, and rows that do not see each other."""

from typing import Any

import torch
from conftest import random_text
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor
from flux_helpers import TINY

from alchemist.families.flux.settings import FluxSettings
from alchemist.families.flux.transformer import fit_out, initialise, run, transformer
from alchemist.models.batch import Text

SPEC = FluxSettings(family="flux", double_blocks=1, single_blocks=2, heads=4, head_width=32, rope=(8, 12, 12))


def noisy() -> torch.nn.Module:
    """In float64, where what does not differ is the same to 12 digits on any machine."""
    network = transformer(TINY, 48)
    fit_out(network, TINY)
    rng = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    return network


def inputs(rows: int) -> tuple[torch.Tensor, torch.Tensor, Text]:
    """Tokens, sigmas and captions for it."""
    rng = torch.Generator().manual_seed(1)
    tokens = torch.randn(rows, 4, 48, generator=rng, dtype=torch.float64)
    sigma = torch.rand(rows, generator=rng, dtype=torch.float64)
    text = random_text(rows)
    return tokens, sigma, Text(text.states.double(), text.mask, text.pooled.double())


def test_the_tiny_network_has_the_parameters_of_the_spec() -> None:
    assert sum(p.numel() for p in transformer(SPEC, 48).parameters()) == 1_298_224


class Theirs(FluxAttnProcessor):
    """On CPUs without AVX-512 torch's fused kernel reads a float32 mask beside float64 queries wrongly."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Any,
        encoder_hidden_states: Any = None,
        attention_mask: Any = None,
        image_rotary_emb: Any = None,
    ) -> Any:
        return super().__call__(
            attn, hidden_states, encoder_hidden_states, attention_mask.double(), image_rotary_emb
        )


def test_attention_is_that_of_diffusers() -> None:
    network = noisy()
    tokens, sigma, text = inputs(3)
    ours = run(network, tokens, sigma, text)
    network.set_attn_processor(Theirs())
    theirs = run(network, tokens, sigma, text)
    assert torch.allclose(ours, theirs, atol=1e-10)
    assert float(theirs.std()) > 0.01


def test_no_row_sees_another_nor_the_padding_of_captions() -> None:
    network = noisy()
    tokens, sigma, text = inputs(5)
    together = run(network, tokens, sigma, text)
    for row in range(5):
        length = int(text.mask[row].sum())
        own = Text(
            text.states[row : row + 1, :length], text.mask[row : row + 1, :length], text.pooled[row : row + 1]
        )
        alone = run(network, tokens[row : row + 1], sigma[row : row + 1], own)
        assert torch.allclose(alone[0], together[row], atol=1e-10)
    rubbish = Text(text.states + 5.0 * ~text.mask[..., None], text.mask, text.pooled)
    assert torch.allclose(run(network, tokens, sigma, rubbish), together, atol=1e-10)


def test_caption_sigma_and_place_of_a_token_matter() -> None:
    network = noisy()
    tokens, sigma, text = inputs(2)
    base = run(network, tokens, sigma, text)
    states = text.states.clone()
    states[:, 0] += 1.0
    changed = [
        run(network, tokens, sigma, Text(states, text.mask, text.pooled)),
        run(network, tokens, sigma, Text(text.states, text.mask, text.pooled + 1)),
        run(network, tokens, sigma / 2, text),
        run(network, tokens[:, [1, 0, 2, 3]], sigma, text)[:, [1, 0, 2, 3]],
    ]
    assert all(float((other - base).abs().max()) > 1e-3 for other in changed)


def test_blocks_start_as_the_identity_and_the_output_as_zero() -> None:
    network = transformer(TINY, 48)
    initialise(network, 0)
    out = run(network, torch.randn(2, 4, 48), torch.rand(2), random_text(2))
    assert not out.any()
    for block in (*network.transformer_blocks, *network.single_transformer_blocks):
        norms = [
            module
            for name, module in block.named_children()
            if name.startswith("norm") and hasattr(module, "linear")
        ]
        assert norms
        assert not any(module.linear.weight.any() or module.linear.bias.any() for module in norms)
    moved = [
        p
        for name, p in network.named_parameters()
        if "norm" not in name and p.ndim == 2 and name.split(".")[0] != "proj_out"
    ]
    assert all(p.any() for p in moved)


def test_weights_are_functions_of_the_seed_alone() -> None:
    states = []
    for seed, noise in ((7, 1), (7, 2), (8, 1)):
        torch.manual_seed(noise)
        network = transformer(TINY, 48)
        initialise(network, seed)
        states.append(network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["x_embedder.weight"], states[2]["x_embedder.weight"])
