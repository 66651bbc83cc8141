"""A data folder as the earlier stages leave it, for a grid of one's own, and its report as it is read."""

import dataclasses
import hashlib
import itertools
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from analysis_helpers import UNIT
from PIL import Image

from alchemist.analysis.grid import FULL, Cell, Study
from alchemist.core import files, stateless
from alchemist.core.settings import parse
from alchemist.core.settings.grid import GridSettings
from alchemist.core.settings.rater import table_name
from alchemist.params.inherit import inherited
from alchemist.pools import read
from alchemist.pools.copies import FACTS
from alchemist.pools.emoji import EmojiPool
from alchemist.pools.read import pool_settings
from alchemist.pools.store import Row, write_pool
from alchemist.pruning import laws
from alchemist.pruning.samplers import selection_settings
from alchemist.raters.table import rater_settings
from stages import report as stage
from stages.params_file import read_params

REPO = Path(__file__).resolve().parents[1]
EVIL = "<script>alert('caption')</script> & more"
REJECTED = {"unreadable image": 3, "empty caption": 2}
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PAIRS = 203  # not a multiple of ten
PARAMETERS = {"xs": 1234567, "s": 2345678, "m": 3456789, "flux_xs": 4567890}


def params(**grid: Any) -> dict[str, Any]:
    """The repo's params.yaml with a small pool and a grid of its own."""
    held: dict[str, Any] = inherited(read_params(REPO / "params.yaml"))
    held["pools"]["emoji"] |= {
        "pairs": PAIRS, "meta_validation": {"pairs": 10, "source": "mixture"}, "evaluation": {"pairs": 12},
        "scorer": {"pairs": 10},
    }  # fmt: skip
    held["grid"] = {
        "families": ["star"], "others": {},
        "selections": ["oracle", "random", "topk", "alchemist", "loss"], "ratios": [0.5, 0.2],
        "raters": ["alchemist", "loss", "random"], "embeddings": [], "heuristics": [], "oracles": ["oracle"],
        "models": ["xs"], "seeds": [0], "ablation": {"selections": [], "ratios": []},
        "transfer": {"selections": [], "ratios": [], "models": []},
    } | grid  # fmt: skip
    held["statistics"] = {"primary": None, "secondary": [], "confidence": 0.95}
    return held


def study_of(held: dict[str, Any]) -> Study:
    grid = parse(GridSettings, held["grid"], "grid")
    chosen = {n: selection_settings(held["selections"][n], n) for n in grid.chosen()}
    names = [*(s.rater for s in chosen.values()), *grid.rated()]
    return Study(grid, chosen, {name: rater_settings(held["raters"][name], name) for name in names})


def hashed(*parts: object) -> str:
    """A digest that tells the parts apart."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def score(
    cell: Cell, pairs: int, number: float, noise: float = 0.0, likelihood: str | None = UNIT
) -> dict[str, Any]:
    """Made-up figures: every cell's differ, and every checkpoint's. Without a likelihood there is no NLL."""
    budget = 12000
    number += noise * float(stateless.generator("score", cell.name).normal())
    points = {budget: ["equal_epochs", "equal_images", "best"]} if cell.ratio == 1 else {
        round(cell.ratio * budget): ["equal_epochs"], 9000: ["best"], budget: ["equal_images"]
    }  # fmt: skip
    checkpoints = [
        {
            "images": images,
            "epochs": images / pairs,
            "points": names,
            "sheet": f"sheet-{images:09d}.png",
            "train_loss": 5.0 - images / 20000,
            "validation_loss": 5.2 - images / 30000 + cell.seed / 100,
            "fd_lite0": 600 - images / 100 + number + cell.seed / 3,
            "fd_lite0_coded": 500 - images / 100 + number,
            "kid_lite0": 0.5 - images / 1e5 + number / 100,
            "kid_lite0_sd": 0.01,
            "clip_lit": 8 + images / 6000 - number / 10 + 2 * cell.seed,
            **({"nll": 5.2 - images / 30000 + number / 50 + cell.seed / 100} if likelihood else {}),
        }
        for images, names in sorted(points.items())
    ]
    return {
        "cell": cell.name, "model": cell.model, "seed": cell.seed, "subset_pairs": pairs, "pool_pairs": PAIRS,
        "initial_sha256": hashed(cell.model, cell.seed),
        "ids_sha256": hashed(cell.selection, cell.ratio, 0 if cell.selection == FULL else cell.seed),
        "parameters": PARAMETERS[cell.model], "batch": 32, "train_flops": 3e12,
        "checkpoints": checkpoints, "n": 6, "reference_n": 6, "decides": "once",
        "floors": {
            "fd_lite0": 33.1, "fd_lite0_coded": 30.2, "fd_reconstruction": 88.8, "kid_lite0": 0.0001,
            "clip_lit": 79.0, "clip_lit_reconstruction": 71.25, "fd_spread": 200.0,
            "psnr_reconstruction": 21.5,
        },
        "names": {"fd": "fd_lite0", "kid": "kid_lite0", "clip": "clip_lit"}, "likelihood": likelihood,
        "grid_prompts": [f"prompt {i} of <b>all</b>" for i in range(6)],
    }  # fmt: skip


def log_of(kind: str) -> list[dict[str, float]]:
    steps = range(32, 9600, 320)
    if kind == "meta":
        return [
            {"images": n, "upper_weight": 1.0, "validation_loss": 7 - n / 5000,
             "train_loss": 7 - n / 6000, "effective_sample_share": 1 - n / 20000, "gate": 0.5,
             "weight_loss_correlation": -n / 10000}
            for n in steps
        ]  # fmt: skip
    row = {"epochs": 0.1, "rate": 0.001}
    every = [{"images": n, "loss": 7 - n / 5000, **row} for n in steps]
    return every if kind == "loss" else []


def build(
    root: Path, held: dict[str, Any], planted: bool = True, noise: float = 0.0, likelihood: str | None = UNIT
) -> None:
    """A data folder as the earlier stages leave it: the pool, ratings and subsets by the real modules."""
    files.write_json(root / "data/params.json", files.sealed(held))
    data, study = root / "data", study_of(held)
    pool = pool_settings(held["pools"]["emoji"], "pools.emoji")
    assert isinstance(pool, EmojiPool)
    composed = [dataclasses.replace(row, caption=f"{row.caption} {EVIL}") for row in read.rows(pool, 1)]
    if not planted:
        composed = [dataclasses.replace(row, kind=None) for row in composed]
    reasons = [reason for reason, count in REJECTED.items() for _ in range(count)]
    broken = [Row(f"bad-{i}", "", "pool", f"bad-{i}", None, reason, None) for i, reason in enumerate(reasons)]
    with files.whole_folder(data / "pool") as draft, files.whole_folder(data / "truth") as truth:
        facts = {"pool": "emoji", "licence": read.licence(pool)}
        write_pool(draft, [*composed, *broken], pool.resolution, pool.shard_pairs, facts, truth)
        files.write_json(draft / FACTS, {"looked": False})
    ids = [row.id for row in composed if row.split == "pool"]
    informative = np.array([row.kind == "informative" for row in composed if row.split == "pool"])
    rng = np.random.default_rng(0)
    for (name, rater), seed in itertools.product(study.raters.items(), study.grid.seeds):
        path = data / "ratings" / table_name(name, rater, seed)
        if not path.is_file():
            ratings = rng.normal(0.3 * informative, 1)
            ratings = informative.astype(float) if rater.kind == "oracle" else ratings
            table = pd.DataFrame({"id": ids, "rating": ratings, "lent": False}).sample(frac=1, random_state=1)
            path.parent.mkdir(parents=True, exist_ok=True)
            table.to_parquet(path)
            if rater.kind != "oracle":
                facts = {
                    "log": log_of(rater.kind),
                    "pairs": len(ids),
                    "train_flops": 4e12,
                    "score_flops": 5e11,
                }
                files.write_json(data / "raters" / name / path.stem / "rating.json", facts)
                timing = data / "timings" / "ratings" / name / f"{path.stem}.json"
                files.write_json(
                    timing, files.sealed({"seconds": 60.0, "score_seconds": 5.0, "peak_bytes": 2**30})
                )
        table = pd.read_parquet(path)
        for arm, ratio in study.arms():
            chosen = study.selections[arm]
            if chosen.rater == name:
                drawn = laws.select(table, ratio, chosen.model_copy(update={"seed": chosen.seed + seed}))
                kept_in = data / "subsets" / arm / str(ratio) / f"{seed}.parquet"
                kept_in.parent.mkdir(parents=True, exist_ok=True)
                drawn.to_frame("id").to_parquet(kept_in)
    for number, cell in enumerate(study.cells()):
        subset = data / "subsets" / cell.selection / str(cell.ratio) / f"{cell.seed}.parquet"
        kept = len(ids) if cell.selection == FULL else len(pd.read_parquet(subset))
        at_home = study.grid.family_of(cell.model) == study.grid.home  # the others have no likelihood
        made = score(cell, kept, number, noise, likelihood if at_home else None)
        made["floors"] |= {} if at_home else {"fd_reconstruction": made["floors"]["fd_lite0"]}
        files.write_json(data / "scores" / cell.name / "figures.json", made)
        for at in made["checkpoints"]:  # images of one colour each, and other ones at each checkpoint
            colours = rng.integers(256, size=(4, 8, 3), dtype=np.uint8)
            pixels = np.kron(colours, np.ones((32, 32, 1), np.uint8))
            Image.fromarray(pixels).save(data / "scores" / cell.name / at["sheet"])
        trained = {"train_seconds": 40.0, "versions": {"torch": "2.9.1", "numpy": "2.3.4"}}
        trained |= {"peak_bytes": 7 * 2**30}
        for verb, timing in (
            ("train", trained),
            ("evaluate", {"evaluate_seconds": 21.0, "peak_bytes": 2**31}),
        ):
            clock = files.sealed({"seconds": 50.0, **timing})
            files.write_json(data / "timings" / verb / f"{cell.name}.json", clock)
    for name in stage.CLOCKED:
        files.write_json(data / "timings" / f"{name}.json", files.sealed({"seconds": 1.5}))
    for family in study.grid.families:
        for verb in ("codec", "floors"):
            files.write_json(data / f"timings/{verb}/{family}.json", files.sealed({"seconds": 1.5}))
        encoding = files.sealed({"seconds": 1.5, "flops": 2e11, "peak_bytes": 5 * 2**29})
        files.write_json(data / f"timings/encode/{family}.json", encoding)
        files.write_json(data / f"codec/{family}/card.json", {"psnr": 25.25, "config": {"codes": 2048}})
        files.write_manifest(data / "codec" / family)


COPIES = {
    "looked": True, "pairs": 1234, "copies": 617, "share": 0.5, "clusters": 31, "captions": 900,
    "captions_repeated": 0.25, "pairs_of_own_caption": 0.3333, "moved": 17, "dropped": True, "unrated": 21,
    "why": "50.0 % of the pairs are copies of another, more than 5 %",
    "left_out": {"near copy": 400, "near copy of a pair of another split": 3}, "largest": [],
    "settings": {"find": True, "threshold": 0.9, "threshold_other": 0.97, "keep": 2},
}  # fmt: skip


def clustered(root: Path) -> dict[str, list[str]]:
    """Makes the pool one that was read, with clusters of 12 and 3 pairs, and of 2, of which one was dropped.

    Gives their ids by name; that of the dropped one ends its cluster, `mixed`.
    """
    path = root / "data/pool/index.parquet"
    index = pd.read_parquet(path)
    pool = index[(index["split"] == "pool") & (index["status"] == "ok")]["id"].to_list()
    found = {"large": pool[:12], "small": pool[50:53], "mixed": [pool[80], "dropped"]}
    copy = index[index["id"] == pool[80]].assign(
        id="dropped", status="rejected", reason="near copy", caption=f"left {EVIL}"
    )
    index = pd.concat([index, copy], ignore_index=True)
    for number, ids in enumerate(found.values()):
        index.loc[index["id"].isin(ids), "cluster"] = number + 1
    index.to_parquet(path, index=False)
    files.write_json(root / "data/pool" / FACTS, COPIES)
    files.write_manifest(root / "data/pool")
    return found


def run(
    root: Path, monkeypatch: pytest.MonkeyPatch, out: str = "reports", is_as_written: bool = True
) -> Path:
    """Runs the stage on figures and ratings as they lie there: as if their stages had written them so."""
    for path in (*root.glob("data/scores/*"), *root.glob("data/raters/*/*")) if is_as_written else ():
        files.write_manifest(path)
    monkeypatch.chdir(root)
    given = ("pool", "truth", "ratings", "raters", "subsets", "scores", "timings", "codec")
    folders = {name: Path("data") / name for name in given}
    stage.run(**folders, beside=Path("beside"), out=Path(out))
    return root / out


def chromium() -> str | None:
    """Chromium as the machine has it, or CHROMIUM names it; None where there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)


def text(page: str) -> str:
    """What a reader sees of a page or of a part of it."""
    import html

    bare = re.sub(r"<(style|script)\b.*?</\1>", " ", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", bare)).split())


def written(reports: Path) -> str:
    """The page without its library and the bytes of its pictures, in which any letters may stand."""
    page = re.sub(r"base64,[^\"]*", "", (reports / "index.html").read_text())
    return re.sub(r'<script type="module">.*?</script>', "", page, flags=re.S)


def pairs_of(page: str) -> dict[str, Any]:
    """What the gallery of the page holds."""
    found = re.search(r'<script type="application/json" id="pairs">(.*?)</script>', page, re.S)
    assert found is not None
    held: dict[str, Any] = json.loads(found[1])
    return held


def in_words(page: str) -> str:
    """What the page says of what was run and came out."""
    return text(page[page.index('<h3 id="words">') :].split("<h2", maxsplit=1)[0])


def part(page: str, anchor: str) -> str:
    return page[page.index(f'<h2 id="{anchor}"') :].split("<h2", 2)[1]


def of_table(root: Path, selection: str, ratio: float, point: str, metric: str) -> np.ndarray:
    table = pd.read_csv(root / "reports" / "table.csv")
    rows = table[(table["selection"] == selection) & (table["ratio"] == ratio) & (table["model"] == "xs")]
    return rows[rows["point"] == point].sort_values("seed")[metric].to_numpy()
