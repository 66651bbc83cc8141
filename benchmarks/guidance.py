"""Guidance and top-p of the sampler on the meta-validation split: how the values of the scales are chosen.

    python -m benchmarks.guidance [CELL] [--guidance 1.5 2 3] [--top-p 0.6 0.8 0.95]

CELL is a folder that stage train wrote, by default that of the full data, model xs, seed 0. Images are
made from the captions of the meta-validation split and compared with its own images, so the evaluation
split is not touched. FD is of Lite0 features, of as many generated as real images; the last line is the
tokenizer's reconstructions of the same images, which no generator behind it can beat by much.
"""

import argparse
import time
from pathlib import Path

import pandas as pd
import torch
import yaml
from safetensors.torch import load_file

from alchemist.core import files
from alchemist.measures import distances as metrics
from alchemist.measures import features
from alchemist.measures import generator as evaluation
from alchemist.models.encoded import Encoded
from alchemist.models.star import tokenizer, tokenizer_fit
from alchemist.models.star.generator import StarGenerator
from alchemist.pools import store as pool_store
from alchemist.settings.evaluation import EvaluateSettings
from alchemist.settings.model import StarSettings


def main() -> None:
    """Prints one line a pair of values."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cell", nargs="?", type=Path, default=Path("data/models/full-xs-0"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--scale", default="small")
    parser.add_argument("--guidance", nargs="*", type=float, default=[1.5, 2.0, 3.0])
    parser.add_argument("--top-p", nargs="*", type=float, default=[0.6, 0.8, 0.95])
    asked = parser.parse_args()
    torch.set_flush_denormal(True)
    params = yaml.safe_load(Path("params.yaml").read_text())
    settings = EvaluateSettings(**params["scales"][asked.scale]["evaluate"])
    codes = tokenizer.load(asked.data / "tokenizer")
    ran = files.read_json(asked.cell / "run.json")
    generator = StarGenerator(StarSettings(**params["models"][ran["model"]]), codes, 0).eval()
    generator.load_state_dict(load_file(max(asked.cell.glob("ema-*.safetensors"))))
    data = Encoded(asked.data / "encoded")
    rows = data.split("meta_val")
    ids = data.rows["id"].iloc[rows]
    index = pd.read_parquet(asked.data / "pool/index.parquet").set_index("id", drop=False)
    real = pool_store.images(asked.data / "pool", index.loc[ids])
    by = features.extractor(settings.features, settings.feature_size)
    moments = metrics.moments(features.extract(real, by, settings.batch))
    print(f"{asked.cell}: {len(rows)} pairs of the meta-validation split", flush=True)
    for guidance in asked.guidance:
        for top_p in asked.top_p:
            begun = time.perf_counter()
            chosen = settings.model_copy(update={"guidance": guidance, "top_p": top_p})
            images = evaluation.generate(generator, data, rows, chosen, lambda n: None)
            found = metrics.moments(features.extract(images, by, settings.batch))
            score = metrics.frechet_distance(found, moments)
            seconds = time.perf_counter() - begun
            print(f"guidance {guidance}, top-p {top_p}: FD {score:.1f} ({seconds:.0f} s)", flush=True)
    pictures = tokenizer_fit.reconstruct(codes, real)
    floor = metrics.frechet_distance(metrics.moments(features.extract(pictures, by, settings.batch)), moments)
    print(f"reconstructions: FD {floor:.1f}")


if __name__ == "__main__":
    main()
