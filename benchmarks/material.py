"""Pairs to train on without the pipeline: random tokens, and captions as long as those of the pool."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from alchemist.families.star.generator import StarCodec, open_codec
from alchemist.families.star.settings import StarSettings
from alchemist.models.encoded import Encoded, Writer
from alchemist.models.family import Arrays
from alchemist.models.text import minilm
from benchmarks import given

CPU = torch.device("cpu")
PAIRS, CAPTIONS = 2000, 500
SENTENCE = "a small red bird beside the blue house on green grass under one yellow sun near two old trees"


def size(name: str) -> StarSettings:
    """A model of params.yaml."""
    return StarSettings(**given.params()["models"][name])


@cache
def codec() -> StarCodec:
    """The tracked tokenizer."""
    return open_codec(Path("assets") / given.params()["tokenizer"]["asset"], CPU)


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
        }
    )
    with Writer(folder) as writer:
        writer.rows(rows)
        writer.append(arrays)
        writer.captions(minilm(32, CPU).states(captions, 250))
    (folder / "captions.json").write_text(json.dumps(captions))


def opened(folder: Path) -> tuple[Encoded, list[str]]:
    """The pairs, and the caption of each."""
    data = Encoded(folder)
    captions = json.loads((folder / "captions.json").read_text())
    return data, [captions[number] for number in data.rows["text"]]
