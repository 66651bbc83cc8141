"""Acceptance tests of the transformer: init loss, overfit, isolation of rows, causality, cache."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from conftest import TINY, random_text

from alchemist.models.encoded import Batch
from alchemist.models.star import transformer as star
from alchemist.models.star.generator import StarGenerator
from alchemist.models.star.tokenizer import Tokenizer
from alchemist.models.star.transformer import Star, Text, pick, sample
from alchemist.settings.model import StarSettings


@pytest.fixture
def model(codes: Tokenizer) -> Star:
    config = codes.config
    net = Star(TINY, config.scales, config.codes, config.channels, 384)
    net.initialise(0)
    # At the start the output layer is nearly zero: make it matter.
    net.head.weight.data.mul_(50)  # type: ignore[union-attr]
    return net.eval()


def tokens(codes: Tokenizer, count: int, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(codes.config.codes, (count, codes.config.tokens), generator=rng)


@pytest.mark.parametrize(
    ("name", "spec"),
    [("star_40m", 40.4e6), ("star_300m", 273.9e6), ("star_900m", 876.6e6)],
)
def test_published_sizes_have_the_published_parameters(name: str, spec: float) -> None:
    with open("params.yaml") as held:
        settings = StarSettings(**yaml.safe_load(held)["models"][name])
    with torch.device("meta"):
        net = Star(settings, (1, 2, 3, 4, 5, 6, 8, 10, 13, 16), 4096, 32, 1024)
    count = sum(p.numel() for p in net.parameters())
    c, t, k, v, d = settings.width, 1024, 10, 4096, settings.depth
    per_block = 14 * c * c + 2 * t * c + 11 * c + 2 * settings.heads
    assert count == d * per_block + c * (32 + 1) + c + k * c + (c + 1) * v + c * (t + 1)
    assert count == pytest.approx(spec, abs=5e4)  # the spec rounds to a tenth of a million


def test_loss_at_the_start_is_that_of_a_uniform_guess(codes: Tokenizer) -> None:
    generator = StarGenerator(TINY, codes, 0)
    loss = generator.losses(Batch(tokens(codes, 16), random_text(16))).mean()
    assert float(loss) == pytest.approx(math.log(codes.config.codes), abs=0.05)


def test_overfits_a_handful_of_pairs(codes: Tokenizer) -> None:
    torch.manual_seed(0)
    generator = StarGenerator(TINY, codes, 0)
    batch = Batch(tokens(codes, 64), random_text(64, length=2))
    adam = torch.optim.AdamW(generator.parameters(), lr=3e-3)
    for _ in range(250):
        loss = generator.losses(batch).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert float(loss) < 0.5


def test_no_row_depends_on_its_batch_mates(model: Star, codes: Tokenizer) -> None:
    """The fault of the published code: row 0's caption reached every row."""
    batch, text = tokens(codes, 4), random_text(4)
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
    batch, text = tokens(codes, 3), random_text(3)
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
    batch, text = tokens(codes, 3), random_text(3)
    inputs = codes.teacher_inputs(batch)
    longer = Text(F.pad(text.states, (0, 0, 0, 4)), F.pad(text.mask, (0, 4)), text.pooled)
    torch.testing.assert_close(model(inputs, longer), model(inputs, text), rtol=0, atol=1e-5)


def test_tokens_of_a_scale_reach_only_finer_scales(model: Star, codes: Tokenizer) -> None:
    batch, text = tokens(codes, 2), random_text(2)
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
    batch, text = tokens(codes, 3), random_text(3)
    whole = model(codes.teacher_inputs(batch), text)
    cache, total, parts = model.start_cache(text), torch.zeros(3, 16, codes.config.channels), []
    maps = batch.split([s * s for s in codes.config.scales], 1)
    for k, index in enumerate(maps):
        parts.append(model.step(k, None if k == 0 else codes.next_input(k, total), text, cache))
        total = total + codes.codes_of(k, index)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-5)


def test_rotation_keeps_lengths_and_depends_on_relative_places() -> None:
    angles = star.rope_table((4,), 16)
    q, k = torch.randn(1, 1, 1, 16).double(), torch.randn(1, 1, 1, 16).double()
    spread_q = star.rotate(q.expand(1, 1, 16, 16), angles.cos(), angles.sin())
    spread_k = star.rotate(k.expand(1, 1, 16, 16), angles.cos(), angles.sin())
    torch.testing.assert_close(spread_q.norm(dim=-1), q.norm(dim=-1).expand(1, 1, 16))
    dots = (spread_q @ spread_k.mT)[0, 0]
    # From (row 0, column 0) to (1, 2) is as from (2, 1) to (3, 3).
    torch.testing.assert_close(dots[0, 1 * 4 + 2], dots[2 * 4 + 1, 3 * 4 + 3])
    assert abs(float(dots[0, 6] - dots[0, 9])) > 1e-3  # rows and columns are told apart


def test_pick_follows_the_nucleus_law() -> None:
    chances = torch.tensor([0.05, 0.4, 0.25, 0.2, 0.1])
    u = torch.from_numpy((np.arange(20_000) + 0.5) / 20_000)
    drawn = pick(chances.log().expand(20_000, 5), u, 0, 0.8)
    share = torch.bincount(drawn, minlength=5) / 20_000
    # The ascending tail of at most 0.2 is .05 + .10; the rest is scaled up.
    torch.testing.assert_close(share, torch.tensor([0, 0.4, 0.25, 0.2, 0]) / 0.85, rtol=0, atol=1e-4)
    best = pick(chances.log().expand(20_000, 5), u, 0, 0.01)
    assert (best == 1).all()
    first_two = pick(chances.log().expand(20_000, 5), u, 2, 1.0)
    share = torch.bincount(first_two, minlength=5) / 20_000
    torch.testing.assert_close(share, torch.tensor([0, 0.4, 0.25, 0, 0]) / 0.65, rtol=0, atol=1e-4)


def test_samples_are_functions_of_seed_position_and_caption(model: Star, codes: Tokenizer) -> None:
    text, null = random_text(6), random_text(6, seed=5)
    null = Text(null.states[:1].expand(6, -1, -1), null.mask[:1].expand(6, -1), null.pooled[:1].expand(6, -1))

    def draw(rows: list[int], seed: int = 0) -> torch.Tensor:
        pick_rows = torch.tensor(rows)
        parts = [Text(*(x[pick_rows] for x in vars(t).values())) for t in (text, null)]
        return sample(model, codes, *parts, np.array(rows), seed, 2.0, 0, 0.9)

    whole = draw([0, 1, 2, 3, 4, 5])
    assert torch.equal(torch.cat([draw([5, 4]), draw([3]), draw([2, 1, 0])]), whole.flip(0))
    assert not torch.equal(draw([0, 1, 2, 3, 4, 5], seed=1), whole)
    assert whole.shape == (6, codes.config.tokens)


def test_guidance_leans_on_the_caption(codes: Tokenizer) -> None:
    """With logits (1 + t) cond - t uncond and t growing over scales, scale 0 is unguided."""
    net = Star(TINY, codes.config.scales, codes.config.codes, codes.config.channels, 384)
    net.initialise(1)
    net.head.weight.data.mul_(50)  # type: ignore[union-attr]
    text, null = random_text(64, 3), random_text(64, 4)
    plain = sample(net, codes, text, null, np.arange(64), 0, 0.0, 0, 1.0)
    strong = sample(net, codes, text, null, np.arange(64), 0, 8.0, 0, 1.0)
    assert torch.equal(plain[:, 0], strong[:, 0])
    assert (plain[:, 1:] != strong[:, 1:]).float().mean() > 0.05
