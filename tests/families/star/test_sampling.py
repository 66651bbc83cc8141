"""Sampling: the nucleus law, samples without neighbours, guidance."""

import numpy as np
import pytest
import torch
from conftest import TINY, random_text

from alchemist.families.star.sampling import pick, sample
from alchemist.families.star.tokenizer import Tokenizer
from alchemist.families.star.transformer import Star
from alchemist.models.batch import Chance, Text


def network(codes: Tokenizer, seed: int) -> Star:
    config = codes.config
    net = Star(TINY, config.scales, config.codes, config.channels)
    net.initialise(seed)
    # At the start the output layer is nearly zero: make it matter.
    net.head.weight.data.mul_(50)  # type: ignore[union-attr]
    return net.eval()


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


def test_samples_are_functions_of_seed_position_and_caption(codes: Tokenizer) -> None:
    model = network(codes, 0)
    text, null = random_text(6), random_text(6, seed=5)
    null = Text(null.states[:1].expand(6, -1, -1), null.mask[:1].expand(6, -1), null.pooled[:1].expand(6, -1))

    def draw(rows: list[int], seed: int = 0) -> torch.Tensor:
        pick_rows = torch.tensor(rows)
        parts = [Text(*(x[pick_rows] for x in vars(t).values())) for t in (text, null)]
        return sample(model, codes, *parts, Chance(seed, np.array(rows)), 2.0, 0, 0.9)

    whole = draw([0, 1, 2, 3, 4, 5])
    assert torch.equal(torch.cat([draw([5, 4]), draw([3]), draw([2, 1, 0])]), whole.flip(0))
    assert not torch.equal(draw([0, 1, 2, 3, 4, 5], seed=1), whole)
    assert whole.shape == (6, codes.config.tokens)


def test_guidance_leans_on_the_caption(codes: Tokenizer) -> None:
    """With logits (1 + t) cond - t uncond and t growing over scales, scale 0 is unguided."""
    net, text, null = network(codes, 1), random_text(64, 3), random_text(64, 4)
    plain = sample(net, codes, text, null, Chance.run(0, 0, 64), 0.0, 0, 1.0)
    strong = sample(net, codes, text, null, Chance.run(0, 0, 64), 8.0, 0, 1.0)
    assert torch.equal(plain[:, 0], strong[:, 0])
    assert (plain[:, 1:] != strong[:, 1:]).float().mean() > 0.05


@pytest.mark.parametrize("guidance", [0.0, 2.0])
def test_what_training_alone_draws_does_not_reach_a_sample(codes: Tokenizer, guidance: float) -> None:
    net, text, null = network(codes, 1), random_text(4, 3), random_text(4, 4)
    quiet, training = (
        sample(net, codes, text, null, Chance.run(0, 0, 4, flag), guidance, 0, 0.9) for flag in (False, True)
    )
    assert torch.equal(quiet, training)
