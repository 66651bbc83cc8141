"""Acceptance tests of the transformer: isolation of rows, causality, cache."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from conftest import TINY, random_text, random_tokens

from alchemist.families.star.settings import StarSettings
from alchemist.families.star.tokenizer import Tokenizer
from alchemist.families.star.transformer import Star, rope_table, turn
from alchemist.models.batch import Text


@pytest.fixture
def model(codes: Tokenizer) -> Star:
    config = codes.config
    net = Star(TINY, config.scales, config.codes, config.channels, 384)
    net.initialise(0)
    # At the start the output layer is nearly zero: make it matter.
    net.head.weight.data.mul_(50)  # type: ignore[union-attr]
    return net.eval()


@pytest.mark.parametrize(
    ("name", "spec"),
    [("star_40m", 40.4e6), ("star_300m", 273.9e6), ("star_900m", 876.6e6)],
)
def test_published_sizes_have_the_published_parameters(name: str, spec: float) -> None:
    with open("params.yaml") as file:
        settings = StarSettings(**yaml.safe_load(file)["models"][name])
    with torch.device("meta"):
        net = Star(settings, (1, 2, 3, 4, 5, 6, 8, 10, 13, 16), 4096, 32, 1024)
    count = sum(p.numel() for p in net.parameters())
    c, t, k, v, d = settings.width, 1024, 10, 4096, settings.depth
    per_block = 14 * c * c + 2 * t * c + 11 * c + 2 * settings.heads
    assert count == d * per_block + c * (32 + 1) + c + k * c + (c + 1) * v + c * (t + 1)
    assert count == pytest.approx(spec, abs=5e4)  # the spec rounds to a tenth of a million


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
