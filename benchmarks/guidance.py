"""Guidance and top-p of the sampler on the meta-validation split: how the values of the scales are chosen.

    python -m benchmarks.guidance [CELL] [--guidance 1.5 2 3] [--top-p 0.6 0.8 0.95]

CELL is a folder that stage train wrote, by default that of the full data, model xs, seed 0. Images are
made from the captions of the meta-validation split and compared with its own images, so the evaluation
split is not touched. FD is of Lite0 features, of as many generated as real images; the last line is the
codec's reconstructions of the same images, which no generator behind it can beat by much.
"""

import argparse
import time
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file

from alchemist.core import devices, files
from alchemist.families.star.generator import StarGenerator, open_codec
from alchemist.families.star.settings import StarLaw, StarSettings
from alchemist.measures import distances, features
from alchemist.measures.figures import measured
from alchemist.measures.generator import generate
from alchemist.models.encoded import Encoded, EvaluationRows
from alchemist.pools import store
from alchemist.settings.evaluation import EvaluateSettings
from benchmarks import given


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
    params = given.params()
    device = devices.chosen(params["device"])
    settings = EvaluateSettings(**params["scales"][asked.scale]["evaluate"])
    codec = open_codec(asked.data / "tokenizer", device)
    ran = files.read_json(asked.cell / "run.json")
    generator = StarGenerator(StarSettings(**params["models"][ran["model"]]), codec, 0).to(device).eval()
    generator.load_state_dict(load_file(max(asked.cell.glob("ema-*.safetensors"))))
    data = Encoded(asked.data / "encoded/star")
    numbers = data.validation().numbers
    rows = EvaluationRows(numbers, prompts=numbers, references=numbers)
    ids = data.rows["id"].iloc[numbers]
    index = pd.read_parquet(asked.data / "pool/index.parquet").set_index("id", drop=False)
    real = store.images(asked.data / "pool", index.loc[ids])
    by = features.extractor(settings.features, settings.feature_size, device, settings.weights)
    moments = distances.moments(features.extract(real, by, settings.batch))
    print(f"{asked.cell}: {len(rows)} pairs of the meta-validation split", flush=True)
    for guidance in asked.guidance:
        for top_p in asked.top_p:
            begun = time.perf_counter()
            law = StarLaw(guidance=guidance, top_p=top_p)
            images = generate(generator, data, rows, law, settings, lambda n: None)
            found = measured(images, [by], settings.batch).features[by.name]
            score = distances.frechet_distance(found, moments)
            seconds = time.perf_counter() - begun
            print(f"guidance {guidance}, top-p {top_p}: FD {score:.1f} ({seconds:.0f} s)", flush=True)
    floor = distances.frechet_distance(features.extract(codec.reconstruct(real), by, settings.batch), moments)
    print(f"reconstructions: FD {floor:.1f}")


if __name__ == "__main__":
    main()
