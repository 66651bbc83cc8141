"""Acceptance tests of the transformer: isolation of rows, causality, cache."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TINY, random_text, random_tokens

from alchemist.core import devices
from alchemist.core.refusal import Refusal
from alchemist.families.star.tokenizer import Tokenizer
from alchemist.families.star.transformer import Star, rope_table, turn
from alchemist.models.batch import Text


@pytest.fixture
def model(codes: Tokenizer) -> Star:
    config = codes.config
    net = Star(TINY, config.scales, config.codes, config.channels)
    net.initialise(0)
    # At the start the output layer is nearly zero: make it matter.
    net.head.weight.data.mul_(50)  # type: ignore[union-attr]
    return net.eval()


def test_captions_of_another_width_are_refused_in_a_sentence(model: Star, codes: Tokenizer) -> None:
    inputs = codes.teacher_inputs(random_tokens(codes, 2))
    good, wide = random_text(2), random_text(2, width=64)
    for text in (wide, Text(good.states, good.mask, wide.pooled), Text(wide.states, wide.mask, good.pooled)):
        given = text.states.shape[-1], text.pooled.shape[-1]
        words = rf"text_width is 384; .* with {given[0]} numbers .* and {given[1]} pooled"
        with pytest.raises(Refusal, match=words):
            model(inputs, text)
        with pytest.raises(Refusal, match=words):
            model.step(0, None, text, model.start_cache(good))


@pytest.mark.parametrize("wide", [False, True])
def test_a_float32_head_is_so_under_autocasting(codes: Tokenizer, wide: bool) -> None:
    """By both ways to a loss: its own logits, and the fused steps of a CPU."""
    config = codes.config
    settings = TINY.model_copy(update={"float32_head": wide})
    net = Star(settings, config.scales, config.codes, config.channels)
    net.initialise(0)
    assert net.head is not None
    net.head.weight.data.mul_(50)
    hidden = torch.randn(2, config.tokens, 64, dtype=torch.bfloat16)
    tokens = random_tokens(codes, 2)
    normal = F.layer_norm(hidden.double(), (64,), eps=1e-6)
    expected = normal @ net.head.weight.double().T + net.head.bias.double()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, losses = net.logits(hidden), net.code_losses(hidden, tokens)
        with devices.plain_operations():
            plain = net.code_losses(hidden, tokens)
    wanted = F.cross_entropy(expected.flatten(0, 1), tokens.flatten(), reduction="none").view(2, -1)
    for found, exact in ((logits, expected), (losses, wanted), (plain, wanted)):
        assert ((found - exact).abs().max() < 1e-4) == wide


def test_no_row_depends_on_its_batch_mates(model: Star, codes: Tokenizer) -> None:
    """The fault of the published code: row 0's caption reached every row."""
    batch, text = random_tokens(codes, 4), random_text(4)
    inputs = codes.teacher_inputs(batch)
    whole = model(inputs, text)
    other = random_text(4, seed=9)
    for row in range(4):
        alone = model(inputs[row : row + 1], Text(*(x[row : row + 1] for x in vars(text).values())))
        torch.testing.assert_close(alone[0], whole[row], rtol=0, atol=1e-5)
        swapped = [torch.where((torch.arange(4) == row).view(-1, *[1] * (a.ndim - 1)), a, b)
                   for a, b in zip(vars(text).values(), vars(other).values(), strict=True)]  # fmt: skip
        torch.testing.assert_close(model(inputs, Text(*swapped))[row], whole[row], rtol=0, atol=1e-5)
    order = torch.tensor([2, 0, 3, 1])
    moved = model(inputs[order], Text(*(x[order] for x in vars(text).values())))
    torch.testing.assert_close(moved, whole[order], rtol=0, atol=1e-5)


def test_every_row_reads_its_own_caption_beyond_the_pooled_one(model: Star, codes: Tokenizer) -> None:
    batch, text = random_tokens(codes, 3), random_text(3)
    inputs = codes.teacher_inputs(batch)
    whole = model(inputs, text)
    for row in range(3):
        states = text.states.clone()
        states[row] = states[row].roll(1, -1)
        changed = model(inputs, Text(states, text.mask, text.pooled))
        moved = (changed - whole).abs().amax((1, 2))
        assert moved[row] > 1e-4
        assert moved[torch.arange(3) != row].max() == 0


def test_padding_changes_nothing(model: Star, codes: Tokenizer) -> None:
    batch, text = random_tokens(codes, 3), random_text(3)
    inputs = codes.teacher_inputs(batch)
    longer = Text(F.pad(text.states, (0, 0, 0, 4)), F.pad(text.mask, (0, 4)), text.pooled)
    torch.testing.assert_close(model(inputs, longer), model(inputs, text), rtol=0, atol=1e-5)


def test_tokens_of_a_scale_reach_only_finer_scales(model: Star, codes: Tokenizer) -> None:
    batch, text = random_tokens(codes, 2), random_text(2)
    whole = model(codes.teacher_inputs(batch), text)
    edges = np.cumsum([0, *(s * s for s in codes.config.scales)])
    for k in range(len(codes.config.scales)):
        changed = batch.clone()
        changed[:, edges[k] : edges[k + 1]] = (changed[:, edges[k] : edges[k + 1]] + 1) % 64
        moved = (model(codes.teacher_inputs(changed), text) - whole).abs().amax((0, 2))
        assert moved[: edges[k + 1]].max() == 0
        if k + 1 < len(codes.config.scales):
            assert moved[edges[k + 1] :].min() > 0


def test_cached_steps_give_the_logits_of_one_pass(model: Star, codes: Tokenizer) -> None:
    batch, text = random_tokens(codes, 3), random_text(3)
    whole = model(codes.teacher_inputs(batch), text)
    cache, total, parts = model.start_cache(text), torch.zeros(3, 16, codes.config.channels), []
    maps = batch.split([s * s for s in codes.config.scales], 1)
    for k, index in enumerate(maps):
        parts.append(model.step(k, None if k == 0 else codes.next_input(k, total), text, cache))
        total = total + codes.codes_of(k, index)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-5)


def test_a_turn_gives_the_lengths_asked_for_and_depends_on_relative_places() -> None:
    angles = rope_table((4,), 16)
    turns = torch.polar(torch.ones_like(angles), angles)
    q, k = torch.randn(1, 1, 1, 16).double(), torch.randn(1, 1, 1, 16).double()
    sizes = torch.tensor([[2.5]], dtype=torch.float64)
    spread_q, spread_k = (turn(x.expand(1, 16, 1, 16), turns, sizes)[0] for x in (q, k))
    torch.testing.assert_close(spread_q.norm(dim=-1), torch.full((1, 1, 16), 2.5, dtype=torch.float64))
    dots = (spread_q @ spread_k.mT)[0, 0]
    # From (row 0, column 0) to (1, 2) is as from (2, 1) to (3, 3).
    torch.testing.assert_close(dots[0, 1 * 4 + 2], dots[2 * 4 + 1, 3 * 4 + 3])
    assert abs(float(dots[0, 6] - dots[0, 9])) > 1e-3  # rows and columns are told apart
