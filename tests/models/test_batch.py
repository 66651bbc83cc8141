"""Batches that join without a trace on their rows, and chances that are functions of seed and position."""

import numpy as np
import torch
from conftest import CPU, TINY, random_text

from alchemist.families.star.generator import StarCodec, StarGenerator, drop_path
from alchemist.models.batch import Batch, Chance, Text
from alchemist.models.encoded import Encoded


def test_joined_batches_keep_each_samples_loss(data: Encoded, codec: StarCodec) -> None:
    proxy = StarGenerator(TINY, codec, 0)
    a, b = data.batch(np.arange(5)), data.batch(np.array([80]), np.array([True]))
    chance = Chance.run(0, 0, 6)
    together = proxy.losses(a.join(b), chance)
    torch.testing.assert_close(together[:5], proxy.losses(a, chance[:5]), rtol=0, atol=1e-5)
    torch.testing.assert_close(together[5:], proxy.losses(b, chance[5:]), rtol=0, atol=1e-5)


def test_captions_are_padded_to_the_longer_whichever_comes_first() -> None:
    short, long = random_text(2, 1, length=3), random_text(3, 2, length=6)
    for first, second in ((short, long), (long, short)):
        both = first.join(second)
        assert both.states.shape == (5, 6, 384)
        assert len(both) == 5
        for part, rows in ((first, slice(None, len(first))), (second, slice(len(first), None))):
            length = part.states.shape[1]
            assert torch.equal(both.states[rows, :length], part.states)
            assert torch.equal(both.mask[rows, :length], part.mask)
            assert torch.equal(both.pooled[rows], part.pooled)
            assert not both.mask[rows, length:].any()


def test_a_batch_moves_whole() -> None:
    batch = Batch({"a": torch.zeros(2, 3), "b": torch.zeros(2)}, random_text(2)).to(torch.device("meta"))
    parts = [*batch.inputs.values(), *vars(batch.text).values()]
    assert [part.device.type for part in parts] == ["meta"] * 5
    assert len(batch) == 2


def test_every_named_input_is_joined() -> None:
    def batch(value: float, count: int) -> Batch:
        inputs = {"a": torch.full((count, 2), value), "b": torch.full((count,), value)}
        return Batch(
            inputs, Text(torch.zeros(count, 1, 4), torch.ones(count, 1).bool(), torch.zeros(count, 4))
        )

    both = batch(1.0, 2).join(batch(2.0, 1))
    assert both.inputs["a"].tolist() == [[1, 1], [1, 1], [2, 2]]
    assert both.inputs["b"].tolist() == [1, 1, 2]


def test_a_chance_is_its_seed_and_the_position_of_each_row() -> None:
    whole = Chance.run(3, 20, 8, training=True)
    assert whole.positions.tolist() == list(range(20, 28))
    part = whole[5:]
    assert (part.seed, part.positions.tolist(), part.training) == (3, [25, 26, 27], True)
    assert len(part) == 3
    assert not Chance.run(3, 20, 8).training
    drawn = drop_path(0.5, 2, whole, CPU)
    assert drawn is not None
    assert torch.equal(drop_path(0.5, 2, part, CPU), drawn[5:]), "a slice draws what the whole draws there"
