"""Where the spread of an arm's figures comes from: raters, subsets, trainings or the images drawn.

    python -m benchmarks.components SELECTION [--ratio .5] [--subsets 2] [--targets 2] [--draws 2] [--out CSV]

Run it where `dvc repro prune` has run, by whose data/params.json it goes: every seed of `grid.seeds` is a
rater. From each rating as many subsets are drawn, on each as many targets trained, of each checkpoint as many
sets of images generated, by seeds that no stage uses. CSV gets a row a measurement and is gone on with where
it stands. Prints each level's standard deviation and its share of the variance, for every point and metric.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.torch import load_file

from alchemist.analysis.components import components, variance_of_mean
from alchemist.core import devices, files, tables
from alchemist.core.settings.evaluation import EvaluateSettings
from alchemist.core.settings.given import section
from alchemist.core.settings.model import law_settings, model_settings
from alchemist.measures import clip_score, features, figures, references, scorers
from alchemist.measures import generator as measure
from alchemist.measures.figures import References
from alchemist.models import course, family
from alchemist.models.encoded import CODEC, Encoded
from alchemist.pruning.laws import select
from alchemist.pruning.samplers import selection_settings
from stages.prune import table_of

LEVELS = ["rater", "subset", "target", "draw"]
METRICS = ["fd", "fd_coded", "kid", "clip", "nll"]
POINTS = ("equal_epochs", "equal_images")


def main() -> None:
    """Measures what is missing in the file and prints the components."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("selection")
    parser.add_argument("--ratio", type=float, default=0.5)
    parser.add_argument("--subsets", type=int, default=2)
    parser.add_argument("--targets", type=int, default=2)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--model", default="xs")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("components.csv"))
    asked = parser.parse_args()
    params = section("")  # as the stages read it, which a study may have laid other values over
    for rater in params["grid"]["seeds"]:
        for subset in range(asked.subsets):
            for target in range(asked.targets):
                done = pd.read_csv(asked.out) if asked.out.exists() else pd.DataFrame(columns=LEVELS)
                key = {"rater": rater, "subset": subset, "target": target}
                if (done[list(key)] == pd.Series(key)).all(axis=1).any():
                    continue
                rows = measured(params, asked, key)
                with files.whole(asked.out) as draft:
                    pd.concat([done, pd.DataFrame(rows)]).to_csv(draft, index=False)
                print(rows[-1], flush=True)
    show(pd.read_csv(asked.out))


def measured(params: dict[str, Any], asked: argparse.Namespace, key: dict[str, int]) -> list[dict[str, Any]]:
    """Trains one target and measures it: a row a point and draw."""
    # Seeds apart from those of the grid, and from each other.
    settings = selection_settings(params["selections"][asked.selection], f"selections.{asked.selection}")
    law = settings.model_copy(update={"seed": 1000 + 10 * key["rater"] + key["subset"]})
    seed = 100_000 + 100 * key["rater"] + 10 * key["subset"] + key["target"]
    here = asked.data / "components" / f"{asked.selection}-{'-'.join(map(str, key.values()))}"
    here.mkdir(parents=True, exist_ok=True)
    table = tables.read(
        table_of(asked.data / "ratings" / settings.rater, key["rater"]), ["id", "rating", "lent"]
    )
    tables.write(here / "subset.parquet", select(table[~table["lent"]], asked.ratio, law).to_frame("id"))
    cell, name = here / "cell", params["models"][asked.model]["family"]
    if not cell.is_dir():
        files_of = [
            "--encoded",
            asked.data / "encoded" / name,
            "--subset",
            here / "subset.parquet",
            "--out",
            cell,
        ]
        files_of += ["--time-out", here / "time.json", "--scratch", here / "scratch"]
        what = ["--family", name, "--model", asked.model, "--seed", str(seed)]
        subprocess.run([sys.executable, "-m", "stages.train", *what, *files_of], check=True)
    arm = {"selection": asked.selection, "ratio": asked.ratio}
    return [{**key, **arm, **found} for found in figures_of(params, asked, cell, name)]


def figures_of(
    params: dict[str, Any], asked: argparse.Namespace, cell: Path, name: str
) -> Iterator[dict[str, Any]]:
    """The figures of every point and set of images, as stage evaluate has them."""
    device, scale = devices.chosen(params["device"]), params["scales"][params["scale"]]
    settings, floors = EvaluateSettings(**scale["evaluate"]), asked.data / "floors" / name
    data = Encoded(asked.data / "encoded" / name)
    settings = settings.fitted(references.drawn(data.rows))
    prompts = pd.read_parquet(floors / "prompts.parquet")
    rows, captions = data.evaluation(prompts["id"]), prompts["caption"].tolist()
    networks = features.extractors(settings, device)
    judge = scorers.load_scorer(settings.clip, floors / "scorer", device, captions=False)
    clip_score.remember(judge, captions, np.load(floors / "captions.npy"))
    compared = References.of(features.read(floors, "real", settings.networks), np.load(floors / "coded.npy"))
    chosen, ran = family.load(name), files.read_json(cell / course.RUN)
    size, _ = course.begun(model_settings(ran["settings"], asked.model), None)
    generator = chosen.generator(size, chosen.codec(data.folder / CODEC, device), 0).to(device).eval()
    law = law_settings(scale["sample"].get(name, {}), "sample", name)
    short = {full: name for name, full in settings.names.items()} | {f"{settings.fd_name}_coded": "fd_coded"}
    for point in ran["points"]:
        names = [one for one in point["names"] if one in POINTS]
        if not names:
            continue
        generator.load_weights(load_file(cell / course.checkpoint(point["images"])))
        nll = float(measure.held_out_losses(generator, data, rows, settings.batch).mean())
        for draw in range(asked.draws):
            drawn = settings.model_copy(update={"seed": 5000 + draw})
            images = measure.generate(generator, data, rows, law, drawn, lambda n: None)
            found = figures.figures(
                figures.measured(images, networks, settings.batch, judge, captions), compared, settings
            )
            for one in names:
                kept = {short[k]: v for k, v in found.items() if k in short}
                yield {"point": one, "draw": draw, **kept, "nll": nll}


def show(table: pd.DataFrame) -> None:
    """Each level's standard deviation and share of the variance, a line a point and metric."""
    for (selection, point), rows in table.groupby(["selection", "point"]):
        for metric in METRICS:
            # The loss of held-out pairs has no draw.
            levels = LEVELS if metric != "nll" else LEVELS[:-1]
            rows_of = rows if metric != "nll" else rows[rows["draw"] == 0]
            found = components(rows_of, levels, metric)
            total = sum(max(c.variance, 0.0) for c in found) or 1.0
            variances = [(c.level, max(c.variance, 0.0), c.freedom) for c in found]
            words = ", ".join(
                f"{level} sd {np.sqrt(variance):.3g} ({variance / total:.0%}, df {freedom})"
                for level, variance, freedom in variances
            )
            print(f"{selection} {point} {metric}: {words}")
            whole = variance_of_mean(found, {}) or 1.0
            left = (
                f"{one.level} {np.sqrt(variance_of_mean(found, {one.level: 2}) / whole):.3f}" for one in found
            )
            print(f"  standard deviation with twice as many of one level: {', '.join(left)}")


if __name__ == "__main__":
    main()
