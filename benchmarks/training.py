"""STAR's training step beside a plain float32 eager loop, and beside the rate of bf16 matrix products."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from alchemist.families.star.generator import StarGenerator
from alchemist.models.batch import Batch, Text
from alchemist.models.encoded import Encoded
from alchemist.models.text import TEXT_WIDTH
from alchemist.models.text_towers import load_minilm
from alchemist.models.training import forward_flops, numbers_at
from benchmarks import given, material
from benchmarks.contest import Contestant, medians
from benchmarks.plain import PlainStar, PlainTraining
from benchmarks.ratio import Ratio

BATCH, STEPS = given.sized((32, 4), (8, 1))  # of a turn
SHARES = {"xs": "", "s": ">= 0.16", "m": ">= 0.25"}  # of the rate of products that a training step reaches
SIDE = given.sized(2048, 256)


def ours(folder: Path, model: str) -> Callable[[], object]:
    """Steps of `alchemist.models.training`, with what the loop does around each."""
    data, _ = material.opened(folder)
    return material.our_steps(data, StarGenerator(material.size(model), material.codec(), 0), BATCH, STEPS)


def plain(folder: Path, model: str) -> Callable[[], object]:
    """The yardstick's steps, on cached captions."""
    data, _ = material.opened(folder)
    training, seen = _plain_training(model), 0

    def turn() -> None:
        nonlocal seen
        for _ in range(STEPS):
            training.step(_pairs(data, seen))
            seen += BATCH

    return turn


def encoding(folder: Path, model: str) -> Callable[[], object]:
    """The yardstick's steps, where each encodes its captions anew."""
    data, captions = material.opened(folder)
    splitter, network = load_minilm()
    training, seen = _plain_training(model), 0

    def turn() -> None:
        nonlocal seen
        for _ in range(STEPS):
            numbers = numbers_at(data.pool(), 0, seen, BATCH)
            words = splitter([captions[n] for n in numbers], padding=True, return_tensors="pt")
            with torch.no_grad():
                states = network(**words).last_hidden_state
            mask = words["attention_mask"].bool()
            states = states * mask[..., None]
            text = Text(states, mask, states.sum(1) / mask.sum(1, keepdim=True))
            training.step(Batch(data.batch(numbers).inputs, text))
            seen += BATCH

    return turn


def products() -> Callable[[], object]:
    """One bf16 product of square matrices."""
    a, b = (torch.randn(SIDE, SIDE).bfloat16() for _ in range(2))
    return lambda: a @ b


def _pairs(data: Encoded, seen: int) -> Batch:
    return data.batch(numbers_at(data.pool(), 0, seen, BATCH))


def _plain_training(model: str) -> PlainTraining:
    network = PlainStar(material.size(model), material.codec().tokenizer, TEXT_WIDTH)
    return PlainTraining(network, 1e-3, 0.05, 2.0)


def ratios(repeats: int) -> list[Ratio]:
    """Training at `s` beside both yardsticks, and the share of the products' rate at each size."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        material.write(folder, material.tokens())
        seconds = medians(
            {
                "ours": Contestant(ours, folder, "s", ours=True),
                "plain": Contestant(plain, folder, "s", ours=False),
                "encoding": Contestant(encoding, folder, "s", ours=False),
            },
            repeats,
        )
        rate = {name: STEPS * BATCH / each for name, each in seconds.items()}
        for yardstick, what in (("plain", "a float32 eager loop"), ("encoding", "one that encodes its text")):
            words = f"images/s at s, batch {BATCH}: {rate['ours']:.0f} over {rate[yardstick]:.0f} of {what}"
            found.append(Ratio(f"training beside {what}", rate["ours"] / rate[yardstick], ">= 2.5", words))

        data, _ = material.opened(folder)
        pairs = data.batch(data.pool().numbers[:BATCH])
        turns = {size: Contestant(ours, folder, size, ours=True) for size in SHARES}
        seconds = medians({**turns, "products": Contestant(products, ours=True)}, repeats)
        peak = 2 * SIDE**3 / seconds["products"]
        for size, goal in SHARES.items():
            losses = StarGenerator(material.size(size), material.codec(), 0).losses
            work = 3 * forward_flops(losses, pairs, training=True) * STEPS * BATCH / seconds[size]
            words = (
                f"{work / 1e9:.0f} of {peak / 1e9:.0f} GFLOP/s; {STEPS * BATCH / seconds[size]:.0f} images/s"
            )
            found.append(Ratio(f"share of the bf16 product rate, {size}", work / peak, goal, words))
    return found
