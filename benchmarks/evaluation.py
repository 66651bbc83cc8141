"""A cell's evaluation beside the published packages: clean-fid, and open_clip image by image.

    python -m benchmarks evaluation

Ours is all that stage evaluate does at a checkpoint: it draws the images, takes both Fréchet distances, KID,
CLIP-Score and NLL. The packages get the drawn images as PNG files and give one Fréchet distance and
CLIP-Score; they draw nothing and take no KID and no NLL. Both sides have the same networks
(EfficientNet-Lite0 at 128 px, the LiT scorer), the same images and one thread. The packages' are float32, as
they come: clean-fid in its own batches of 32, open_clip's transform and its two towers a pair at a time.
Ours are as in the stages: bfloat16 where the CPU has it, batch norms folded, and embeddings of the captions
that stage floors made once for all cells.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.nn import functional as F

from alchemist.core import stateless
from alchemist.core.settings.evaluation import EvaluateSettings, ScorerSettings
from alchemist.families.star.generator import StarGenerator, open_codec
from alchemist.families.star.settings import StarLaw, StarSettings
from alchemist.measures import clip_score, features, figures, scorers
from alchemist.measures import generator as measure
from alchemist.models.encoded import Encoded, EvaluationRows, Writer
from alchemist.models.text import minilm
from benchmarks import given
from benchmarks.contest import Contestant
from benchmarks.ratio import Ratio

CPU = torch.device("cpu")
REFERENCES = given.sized(2000, 100)
MOST = 3  # turns of each side, which take up to half a minute
WORDS = "red blue old small bird house boat tree moon dog ball hat beside above under with one two three many"


def settings() -> tuple[Any, EvaluateSettings]:
    """params.yaml, and the evaluation of its scale tiny."""
    params = given.params()
    settings = EvaluateSettings(**params["scales"]["tiny"]["evaluate"])
    return params, settings.fitted(given.sized(2 * settings.most_images, 2 * REFERENCES))


def prepare(folder: Path) -> None:
    """Captions, encoded pairs, a LiT scorer (hardly trained, which costs the same), images as PNG files."""
    params, evaluate = settings()
    codec = open_codec(Path("assets/codecs") / params["codecs"]["star"]["asset"], CPU)
    config, rng = codec.tokenizer.config, stateless.generator("benchmark evaluation")
    total = REFERENCES + evaluate.prompts
    captions = [" ".join(rng.choice(WORDS.split(), rng.integers(4, 12))) + f" {i}" for i in range(total)]
    (folder / "captions.json").write_text(json.dumps(captions[REFERENCES:]))
    tokens = rng.integers(0, config.codes, (total, config.tokens)).astype(np.uint16)
    rows = pd.DataFrame({"id": [f"pair-{i:06d}" for i in range(total)], "split": "evaluation"})
    rows = rows.assign(lent=False, cluster=np.arange(total, dtype=np.uint64))
    (folder / "encoded").mkdir()
    with Writer(folder / "encoded") as writer:
        writer.rows(rows.assign(text=1 + np.arange(total)))
        writer.append({"tokens": tokens})
        writer.captions(minilm(32, CPU).states(["", *captions], 250))
    (folder / "scorer").mkdir()
    fit = ScorerSettings(**(params["scales"]["tiny"]["scorer"] | {"steps": 1, "batch": 16}))
    real = codec.tokenizer.decode(torch.from_numpy(tokens[:REFERENCES].astype(np.int64)))
    images = real.permute(0, 2, 3, 1).contiguous().numpy()
    judge = scorers.fit_lit([images[:16]], captions[:16], fit)
    scorers.save_lit(judge, folder / "scorer")
    words = clip_score.embed_captions(judge, captions[REFERENCES:], evaluate.batch)
    np.save(folder / "captions.npy", words.numpy())
    by = features.extractor("lite0", evaluate.feature_size)
    np.save(folder / "real.npy", features.extract(images, by, evaluate.batch))
    data, generator = (
        Encoded(folder / "encoded"),
        StarGenerator(StarSettings(**params["models"]["xs"]), codec, 0),
    )
    rows_of, law = asked(data), StarLaw(**params["scales"]["tiny"]["sample"]["star"])
    drawn = measure.generate(generator.eval(), data, rows_of, law, evaluate, lambda n: None)
    for name, side in (("real", [images]), ("drawn", drawn)):
        (folder / name).mkdir()
        for i, image in enumerate(np.concatenate([*side])):
            Image.fromarray(image).save(folder / name / f"{i:05d}.png")


def asked(data: Encoded) -> EvaluationRows:
    """The prompts, which come after the references."""
    return data.evaluation(data.rows["id"].iloc[REFERENCES:])


def cell(folder: Path) -> Callable[[], float]:
    """Our evaluation of a checkpoint; gives `fd_lite0`."""
    params, evaluate = settings()
    codec = open_codec(Path("assets/codecs") / params["codecs"]["star"]["asset"], CPU)
    generator = StarGenerator(StarSettings(**params["models"]["xs"]), codec, 0).eval()
    law = StarLaw(**params["scales"]["tiny"]["sample"]["star"])
    data, captions = Encoded(folder / "encoded"), json.loads((folder / "captions.json").read_text())
    rows, real = asked(data), np.load(folder / "real.npy")
    references = figures.References.of({"lite0": real}, real)
    by = features.extractor("lite0", evaluate.feature_size)
    judge = scorers.load_lit(folder / "scorer", captions=False)
    clip_score.remember(judge, captions, np.load(folder / "captions.npy"))

    def work() -> float:
        drawn = measure.generate(generator, data, rows, law, evaluate, lambda n: None)
        kept = figures.measured(drawn, [by], evaluate.batch, judge, captions)
        found = figures.figures(kept, references, evaluate)
        measure.held_out_losses(generator, data, rows, evaluate.batch)
        return found[evaluate.fd_name]

    return work


def compute_fid(folder: Path) -> Callable[[], float]:
    """clean-fid of the two folders, each read and measured."""
    from cleanfid import fid

    network, resize = clean_fid_parts()
    drawn, real = str(folder / "drawn"), str(folder / "real")
    return lambda: float(
        fid.compute_fid(
            drawn, real, custom_feat_extractor=network, custom_fn_resize=resize, num_workers=0, device=CPU,
            verbose=False, use_dataparallel=False,
        )
    )  # fmt: skip


def kept_statistics(folder: Path) -> Callable[[], float]:
    """What clean-fid's `fid_folder` does where the statistics of the references are kept."""
    from cleanfid import fid

    network, resize = clean_fid_parts()
    real = np.load(folder / "real.npy")
    mean, covariance = real.mean(axis=0), np.cov(real, rowvar=False)

    def work() -> float:
        found = fid.get_folder_features(
            str(folder / "drawn"), network, num_workers=0, batch_size=32, device=CPU, custom_fn_resize=resize,
            verbose=False,
        )  # fmt: skip
        mine = found.mean(axis=0), np.cov(found, rowvar=False)
        return float(fid.frechet_distance(*mine, mean, covariance))

    return work


def clean_fid_parts() -> tuple[Callable[[torch.Tensor], torch.Tensor], Any]:
    """The feature network in float32, and clean-fid's resizing to its size."""
    from cleanfid.resize import make_resizer

    _, evaluate = settings()
    network, side = features.lite0(), evaluate.feature_size
    return lambda images: network((images - 127) / 128), make_resizer("PIL", False, "bicubic", (side, side))


def open_clip_one_by_one(folder: Path) -> Callable[[], float]:
    """The mean cosine of each image and its caption, a pair at a time."""
    judge = scorers.load_lit(folder / "scorer")
    model, pieces = judge.model, judge.pieces
    assert pieces is not None
    model.visual.to(memory_format=torch.contiguous_format)
    captions = json.loads((folder / "captions.json").read_text())
    files = sorted((folder / "drawn").glob("*.png"))

    def cosine(file: Path, caption: str) -> float:
        with torch.no_grad():
            image = F.normalize(model.visual(judge.preprocess(Image.open(file))[None]), dim=-1)
            text = F.normalize(model.text(pieces([caption])), dim=-1)
        return float((image * text).sum())

    return lambda: float(np.mean([cosine(*pair) for pair in zip(files, captions, strict=True)]))


def ratios(repeats: int) -> list[Ratio]:
    """Our evaluation over theirs, with and without the references' features among their work."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        sides = {
            "cell": Contestant(cell, folder, ours=True),
            "compute_fid": Contestant(compute_fid, folder, ours=False),
            "kept": Contestant(kept_statistics, folder, ours=False),
            "open_clip": Contestant(open_clip_one_by_one, folder, ours=False),
        }
        taken: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(min(repeats, MOST)):
            for side, contestant in sides.items():
                taken[side].append(contestant.turn())
        for contestant in sides.values():
            contestant.close()
    ours, whole, kept, clip = (float(np.median(taken[side])) for side in sides)
    told = "a checkpoint of a cell with drawing, KID and NLL"
    return [
        Ratio(
            "cell's evaluation / compute_fid and open_clip",
            ours / (whole + clip),
            "<= 0.35",
            f"{told} ({ours:.1f} s) over clean-fid of two folders ({whole:.1f}) and open_clip one by one "
            f"({clip:.1f})",
        ),
        Ratio(
            "cell's evaluation / the same, statistics kept",
            ours / (kept + clip),
            "<= 0.35",
            f"{told} over clean-fid without the references' features ({kept:.1f} s) and open_clip one by one",
        ),
    ]
