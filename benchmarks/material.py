"""Pairs to train on without the pipeline: random tokens, and captions as long as those of the pool."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from alchemist.core import devices
from alchemist.core.settings import parse
from alchemist.core.settings.budget import TrainSettings
from alchemist.families.star.generator import StarCodec, open_codec
from alchemist.families.star.settings import StarSettings
from alchemist.models.batch import Chance
from alchemist.models.encoded import Encoded, Writer
from alchemist.models.family import Arrays, Generator
from alchemist.models.text import minilm
from alchemist.models.training import Average, numbers_at, optimiser, step
from benchmarks import given

CPU = torch.device("cpu")
PAIRS, CAPTIONS = given.sized((2000, 500), (400, 40))
SENTENCE = "a small red bird beside the blue house on green grass under one yellow sun near two old trees"


def size(name: str) -> StarSettings:
    """A model of params.yaml."""
    return StarSettings(**given.params()["models"][name])


@cache
def codec() -> StarCodec:
    """The tracked tokenizer."""
    return open_codec(Path("assets/codecs") / given.params()["codecs"]["star"]["asset"], CPU)


def tokens() -> Arrays:
    """What STAR's codec would store, at random."""
    config = codec().tokenizer.config
    drawn = np.random.default_rng(0).integers(0, config.codes, (PAIRS, config.tokens))
    return {"tokens": drawn.astype(np.uint16)}


def write(folder: Path, arrays: Arrays) -> None:
    """Encoded pairs, half of them of the pool and half for validation, and their captions as JSON."""
    rng = np.random.default_rng(0)
    words = SENTENCE.split()
    captions = [""] + [" ".join(rng.choice(words, rng.integers(6, 13))) for _ in range(CAPTIONS)]
    rows = pd.DataFrame(
        {
            "id": [f"pair-{i:06d}" for i in range(PAIRS)],
            "split": ["pool", "meta_val"] * (PAIRS // 2),
            "text": rng.integers(1, CAPTIONS + 1, PAIRS),
            "lent": False,
            "cluster": np.arange(PAIRS, dtype=np.uint64),
        }
    )
    with Writer(folder) as writer:
        writer.rows(rows)
        writer.append(arrays)
        writer.captions(minilm(32, CPU).states(captions, 250))
    (folder / "captions.json").write_text(json.dumps(captions))


def our_steps(
    data: Encoded, generator: Generator, batch: int, steps: int, chunk: int | None = None
) -> Callable[[], object]:
    """A turn of `steps` of `alchemist.models.training`, with what the loop does around each."""
    values = given.params()["scales"]["tiny"]["train"]
    settings = parse(TrainSettings, {**values, "chunk": chunk}, "train")
    device = devices.chosen("cpu")
    average = Average(generator, settings.ema_images)
    adam = optimiser(generator, generator, settings.learning_rate, settings.weight_decay)
    seen = 0

    def turn() -> None:
        nonlocal seen
        for _ in range(steps):
            pairs = data.batch(numbers_at(data.pool(), 0, seen, batch))
            step(generator, adam, pairs, Chance.run(0, seen, batch, training=True), settings, device)
            seen += batch
            average.update(generator, seen, batch)

    return turn


def opened(folder: Path) -> tuple[Encoded, list[str]]:
    """The pairs, and the caption of each."""
    data = Encoded(folder)
    captions = json.loads((folder / "captions.json").read_text())
    return data, [captions[number] for number in data.rows["text"]]
