"""Values of a family's sampling law on the meta-validation split: how those of the scales are chosen.

    python -m benchmarks.guidance [--cell CELL] [--start FOLDER] guidance=1.5,2,3 top_p=0.6,0.8,0.95

CELL is a folder that stage train wrote, by default that of the full data, model xs, seed 0; FOLDER the one
of stage pretrain, where the cell adapts its network. Images are made from the captions of the
meta-validation split and compared with its own images, so the evaluation split is not touched. FD is of
Lite0 features, of as many generated as real images; the last line is the codec's reconstructions of the
same images, which no generator behind it can beat by much.
"""

import argparse
import itertools
import time
from pathlib import Path

import pandas as pd
import yaml
from safetensors.torch import load_file

from alchemist.core import devices, files
from alchemist.core.settings.evaluation import EvaluateSettings
from alchemist.core.settings.model import law_settings, model_settings
from alchemist.measures import distances, features
from alchemist.measures.figures import measured
from alchemist.measures.generator import generate
from alchemist.models import course, family
from alchemist.models.encoded import CODEC, Encoded, EvaluationRows
from alchemist.pools import store
from benchmarks import given


def main() -> None:
    """Prints one line a combination of values."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cell", type=Path, default=Path("data/models/full-xs-0"))
    parser.add_argument("--start", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--scale", default="small")
    parser.add_argument("values", nargs="*", metavar="KEY=VALUE,VALUE", help="of scales.SCALE.sample.FAMILY")
    asked = parser.parse_args()
    params = given.params()
    device = devices.chosen(params["device"])
    settings = EvaluateSettings(**params["scales"][asked.scale]["evaluate"])
    ran = files.read_json(asked.cell / "run.json")
    chosen = family.load(ran["family"])
    data = Encoded(asked.data / "encoded" / chosen.name)
    codec = chosen.codec(data.folder / CODEC, device)
    size, _ = course.begun(model_settings(ran["settings"], ran["model"]), asked.start)
    generator = chosen.generator(size, codec, 0).to(device).eval()
    generator.load_weights(load_file(max(asked.cell.glob("ema-*.safetensors"))))
    numbers = data.validation().numbers
    rows = EvaluationRows(numbers)
    ids = data.rows["id"].iloc[numbers]
    index = pd.read_parquet(asked.data / "pool/index.parquet").set_index("id", drop=False)
    real = store.images(asked.data / "pool", index.loc[ids])
    by = features.extractor(settings.features, settings.feature_size, device, settings.weights)
    moments = distances.moments(features.extract(real, by, settings.batch))
    print(f"{asked.cell}: {len(rows)} pairs of the meta-validation split", flush=True)
    lists = {key: values.split(",") for key, _, values in (value.partition("=") for value in asked.values)}
    before = params["scales"][asked.scale]["sample"].get(chosen.name, {})
    for combination in itertools.product(*lists.values()):
        begun = time.perf_counter()
        changed = dict(zip(lists, map(yaml.safe_load, combination), strict=True))
        law = law_settings({**before, **changed}, "values", chosen.name)
        images = generate(generator, data, rows, law, settings, lambda n: None)
        found = measured(images, [by], settings.batch).features[by.name]
        score = distances.frechet_distance(found, moments)
        words = ", ".join(f"{key} {value}" for key, value in changed.items()) or "as in the scale"
        print(f"{words}: FD {score:.1f} ({time.perf_counter() - begun:.0f} s)", flush=True)
    floor = distances.frechet_distance(features.extract(codec.reconstruct(real), by, settings.batch), moments)
    print(f"reconstructions: FD {floor:.1f}")


if __name__ == "__main__":
    main()
