"""A small registered study: its repo of git, what a run of it leaves, and ./study without its shell."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from tiny import REPO, only

from alchemist.core import files
from alchemist.params.check import check
from stages import judge, part
from stages.params_file import read_params

STUDY = {
    "question": "Is it so?",
    "pools": {"emoji": {}, "emoji_crowded": {"device": "cpu", "scales.tiny.train": {"images": 3200}}},
    "values": {"grid.others.flux.proxy": "flux_s"},
    "scale": "tiny",
    "models": ["xs"],
    "ratios": [0.5],
    "further": {"selections": ["random", "alchemist"], "ratios": [0.2]},
    "seeds": {"first": 100, "count": 4, "part": 2},
    "looks": [4],
    "metric": "fd",
    "point": "equal_epochs",
    "margins": {"fd": 5.0, "nll": 0.02},
    "primary": "A",
    "claims": {
        "A": {"says": "One beats <b>two</b>.", "arm": "alchemist", "against": "random"},
        "B": {"says": "One beats all.", "arm": "alchemist", "against": "full"},
        "C": {"says": "A fifth too.", "arm": "alchemist", "against": "random", "ratio": 0.2, "point": "best"},
    },
}  # fmt: skip
GAINS = {"alchemist": 10.0, "loss": 10.0, "random": 0.0, "full": 30.0}


def git(*words: str) -> None:
    subprocess.run(["git", "-c", "user.name=test", "-c", "user.email=t@example.com", *words], check=True)


def given_params() -> dict[str, Any]:
    """The repo's, without what no study here asks for: each part of one lays its values over the file."""
    return only(
        read_params(REPO / "params.yaml"), scales=["tiny"], pools=["emoji", "emoji_large", "emoji_crowded"],
        contrasts=["alchemist_random", "best_alchemist"],
        models=["xs", "s", "flux_xs", "flux_s", "flux_adapted"],
        raters=["alchemist", "alchemist_carried", "best", "random", "loss"],
        selections=["random", "alchemist", "alchemist_carried", "best", "loss"],
    )  # fmt: skip


def write(**changes: object) -> None:
    """Params with the study, its block changed."""
    given = given_params() | {"studies": {"s": STUDY | changes}}
    Path("params.yaml").write_text(yaml.safe_dump(given, sort_keys=False))


def ran(gains: dict[str, float] = GAINS) -> None:
    """Leaves what a run of the grid in params.yaml leaves, with made-up figures."""
    params = check(read_params(Path("params.yaml")))
    arms = [("full", 1.0), *params.grid.arms()]
    rows = []
    for selection, ratio in arms:
        for seed in params.grid.seeds:
            cell = f"{selection}-{ratio}-xs-{seed}"
            rng = np.random.default_rng([seed, len(selection)])
            row = {"cell": cell, "selection": selection, "ratio": ratio, "model": "xs", "seed": seed,
                   "pool": params.pool, "scale": params.scale, "nll": 5.0 + 1e-4 * rng.normal(),
                   "fd_lite0": 300 - gains[selection] + rng.normal()}  # fmt: skip
            for reference in ("once", "as_is"):
                for point in ("best", "equal_epochs", "equal_images"):
                    rated = 0.0 if selection in ("full", "random") else 2.0
                    cost = {"images": 100, "rate_tflop": rated, "train_tflop": 10 * ratio}
                    cost |= {"n": 64, "reference_n": 128, "train_loss": 5.0, "validation_loss": 5.25}
                    rows.append(row | cost | {"reference": reference, "point": point})
            names = {"fd": "fd_lite0", "kid": "kid_lite0", "clip": "clip_lit"}
            score = {"names": names, "likelihood": "nats", "decides": "once"}
            Path(f"data/scores/{cell}").mkdir(parents=True, exist_ok=True)
            files.write_json(Path(f"data/scores/{cell}/figures.json"), score)
            for verb in ("train", "evaluate"):
                took = {f"{verb}_seconds": 30.0, "versions": {"torch": "2.13"}, "hardware": "a CPU"}
                Path(f"data/timings/{verb}").mkdir(parents=True, exist_ok=True)
                files.write_json(Path(f"data/timings/{verb}/{cell}.json"), files.sealed(took))
    Path("data/pool").mkdir(exist_ok=True)
    Path("data/pool", files.MANIFEST).write_text("{}")
    Path("reports").mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv("reports/references.csv", index=False)


def study(gains: dict[str, float] = GAINS, parts: int = 1000) -> list[str]:
    """What ./study does: parts that are missing, then the verdicts. Gives the parts."""
    before, done = Path("params.yaml").read_text(), []
    for _ in range(parts):
        Path("params.yaml").write_text(before)
        part.run("s")
        if Path("params.yaml").read_text() == before:
            break
        params = check(read_params(Path("params.yaml")))
        done.append(f"{params.pool} {params.grid.seeds[0]}")
        ran(gains)
        part.run("s", keep=True)
    Path("params.yaml").write_text(before)
    judge.run("s")
    return done
