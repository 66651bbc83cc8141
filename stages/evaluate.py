"""One cell's figures at every checkpoint, and its sample grid."""

import json
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from PIL import Image
from safetensors.torch import load_file
from tqdm import tqdm

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.measures import clip_score, features
from alchemist.measures import distances as metrics
from alchemist.measures import generator as evaluation
from alchemist.measures.generator import References
from alchemist.models.encoded import Encoded
from alchemist.models.star import tokenizer
from alchemist.models.star.generator import StarGenerator
from alchemist.settings.evaluation import EvaluateSettings
from alchemist.settings.model import StarSettings
from stages.common import block, stage

COLUMNS = 8  # of the sample grid


def run(
    cell: Annotated[Path, typer.Option(help="folder that stage train wrote")],
    encoded: Annotated[Path, typer.Option(help="folder that stage encode wrote")],
    tokenizer_folder: Annotated[Path, typer.Option("--tokenizer", help="folder that stage tokenizer wrote")],
    scorer: Annotated[Path, typer.Option(help="folder that stage scorer wrote")],
    index: Annotated[Path, typer.Option(help="index of the pool, for the prompts' words")],
    model: Annotated[str, typer.Option(help="name of the model in params.yaml")],
    scale: Annotated[str, typer.Option(help="name of the scale in params.yaml")],
    out: Annotated[Path, typer.Option(help="JSON to write")],
    grid_out: Annotated[Path, typer.Option(help="PNG to write: the same prompts and noise in every cell")],
) -> None:
    """Measures one cell; the prompts are the last pairs of the evaluation split, the rest is reference."""
    settings = block(EvaluateSettings, f"scales.{scale}.evaluate")
    size = block(StarSettings, f"models.{model}")
    torch.set_flush_denormal(True)
    for folder in (cell, scorer):
        files.check_manifest(folder)
    ran = files.read_json(cell / "run.json")
    data = Encoded(encoded)
    rows = data.split("evaluation")
    if len(rows) < 2 * settings.images:
        raise Refusal(
            f"scales.{scale}.evaluate.images is {settings.images}; the evaluation split has {len(rows)} "
            f"pairs, so at most {len(rows) // 2} is legal."
        )
    prompts = rows[-settings.images :]
    words = pd.read_parquet(index, columns=["id", "caption"]).set_index("id")["caption"]
    captions = words.loc[data.rows["id"].iloc[prompts]].tolist()
    real = np.load(scorer / "reference.npy")[: -settings.images]
    tokenized = np.load(scorer / "reference_tokenized.npy")[: -settings.images]
    references = References(real, metrics.moments(real), metrics.moments(tokenized))
    by = features.extractor(settings.features, settings.feature_size)
    judge = clip_score.load_scorer(settings.clip, scorer)
    generator = StarGenerator(size, tokenizer.load(tokenizer_folder), 0).eval()
    checkpoints = []
    pictures = np.empty(0, dtype=np.uint8)
    started = time.perf_counter()
    with tqdm(total=len(ran["points"]) * settings.images, unit="img", desc=out.stem, mininterval=1) as bar:
        for point in ran["points"]:
            begun = time.perf_counter()
            generator.load_state_dict(load_file(cell / f"ema-{point['images']:09d}.safetensors"))
            pictures = evaluation.generate(generator, data, prompts, settings, bar.update)
            found = evaluation.figures(pictures, captions, by, judge, references, settings)
            checkpoints.append(
                {
                    "images": point["images"],
                    "epochs": point["images"] / ran["subset_pairs"],
                    "points": point["names"],
                    **found,
                    "nll": evaluation.token_nll(generator, data, prompts, settings.batch),
                    "seconds": time.perf_counter() - begun,
                }
            )
    with files.whole(grid_out) as draft:
        sheet(pictures[: settings.grid]).save(draft, "PNG")
    files.write_json(
        out,
        {
            "cell": cell.name,
            **{k: v for k, v in ran.items() if k != "points"},
            "checkpoints": checkpoints,
            "floors": files.read_json(scorer / "card.json")["floors"],
            "n": settings.images,
            "reference_n": len(real),
            "names": {"fd": settings.fd_name, "kid": settings.kid_name, "clip": settings.clip_name},
            "grid_prompts": captions[: settings.grid],
            "evaluate_seconds": time.perf_counter() - started,
        },
    )
    last = {k: round(v, 3) for k, v in checkpoints[-1].items() if isinstance(v, float)}
    print(f"wrote {out}: {json.dumps(last)}")


def sheet(pictures: np.ndarray) -> Image.Image:
    """Images (n, R, R, 3) side by side, eight a row."""
    blank = np.zeros((-len(pictures) % COLUMNS, *pictures.shape[1:]), dtype=np.uint8)
    rows = np.concatenate([pictures, blank]).reshape(-1, COLUMNS, *pictures.shape[1:])
    return Image.fromarray(np.concatenate(list(np.concatenate(list(rows.transpose(1, 0, 2, 3, 4)), 2)), 0))


if __name__ == "__main__":
    stage(run)
