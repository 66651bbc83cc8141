"""Studies, scores and bills that are made up, and the verdicts on them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from alchemist.analysis.claims import verdicts
from alchemist.analysis.cost import Bills
from alchemist.analysis.grid import FULL, Cell, Study
from alchemist.analysis.parts import Part, Verdict
from alchemist.analysis.results import tidy
from alchemist.core.settings.grid import GridSettings
from alchemist.pruning.samplers import selection_settings
from alchemist.raters.table import rater_settings

UNIT = "bits a byte"  # of the NLL; no unit that the code could know by itself
BUDGET = 1000  # images of every cell
SHARES = (0.1, 0.2, 0.5, 1.0)  # of the budget, at which there are checkpoints
META = {
    "kind": "meta", "credit": "penalty", "reference_warmup": None, "unroll_steps": None, "group": "product",
    "rating_mode": "reference_group", "baseline": "validation", "bound": 2.0, "upper_weight": 1.0,
    "upper_decay": 0.03, "epochs": 10, "weights": None,
}  # fmt: skip
RATERS = {
    "r": META,
    "bare": META | {"group": "none", "baseline": "none"},
    "low": {"kind": "loss", "direction": -1},
    "dice": {"kind": "random"},
    "fit": {"kind": "clip_score", "direction": 1},
}
# Names that tell nothing of what the selections are.
SELECTIONS = {
    "zero": ("dice", "random"), "one": ("r", "shift_gsample"), "two": ("r", "gsample"),
    "three": ("r", "topk"), "four": ("bare", "shift_gsample"), "five": ("low", "shift_gsample"),
    "six": ("fit", "topk"),
}  # fmt: skip
Curve = Callable[[Cell, float], float]


def study(
    *names: str,
    ratios: tuple[float, ...] = (0.5, 0.2),
    seeds: tuple[int, ...] = (0, 1, 2),
    transfer: tuple[str, ...] = (),
    selections: dict[str, dict[str, Any]] | None = None,
    raters: dict[str, dict[str, Any]] | None = None,
) -> Study:
    blocks: dict[str, dict[str, Any]] = {n: {"rater": r, "sampler": s} for n, (r, s) in SELECTIONS.items()}
    blocks |= selections or {}
    rest = {"raters": (), "embeddings": (), "heuristics": (), "oracles": ()}
    moved = bool(transfer)
    grid = GridSettings.model_validate(
        {
            "selections": names, "ratios": ratios, "models": ("xs",), "seeds": seeds, **rest,
            "families": ("star",), "others": {},
            "ablation": {"selections": (), "ratios": ()},
            "transfer": {
                "selections": names if moved else (), "ratios": ratios if moved else (), "models": transfer,
            },
        }
    )  # fmt: skip
    chosen = {n: selection_settings(blocks[n], n) for n in names}
    kinds = RATERS | (raters or {})
    return Study(grid, chosen, {s.rater: rater_settings(kinds[s.rater], s.rater) for s in chosen.values()})


def scores(
    made: Study, fd: Curve, nll: Curve | None = None, clip: Curve | None = None, likelihood: bool = True
) -> dict[str, dict[str, Any]]:
    """Every cell takes 10 s and 1e12 operations more for each seed, 100 s and 2e13 for the budget."""
    out = {}
    for cell in made.cells():
        checkpoints = []
        for share in SHARES:
            images = round(share * BUDGET)
            points = [p for p, at in (("equal_epochs", cell.ratio), ("equal_images", 1.0)) if at == share]
            figures = {
                "F": fd(cell, images),
                "F_coded": 0.0,
                "K": 0.0,
                "K_sd": 0.0,
                "C": (clip or fd)(cell, images),
            }
            if likelihood:
                figures["nll"] = (nll or fd)(cell, images)
            checkpoints.append({"images": images, "epochs": 1.0, "points": points or ["curve"]} | figures)
        out[cell.name] = {
            "subset_pairs": 50, "train_seconds": 100.0 + 10 * cell.seed,
            "train_flops": 2e13 + 1e12 * cell.seed, "checkpoints": checkpoints,
            "names": {"fd": "F", "kid": "K", "clip": "C"}, "likelihood": UNIT if likelihood else None,
        }  # fmt: skip
    return out


def bills(made: Study, held: dict[str, dict[str, Any]], seconds: float = 30.0, **facts: Any) -> Bills:
    """A rater costs 25 s of training and 5 s of scoring, and 4e12 and 1e12 operations."""
    log = {
        "log": [], "seconds": seconds, "score_seconds": seconds / 6, "train_flops": 4e12, "score_flops": 1e12,
    } | facts  # fmt: skip
    free = {"log": [], "seconds": 0.0, "score_seconds": 0.0}
    logs = {
        name: dict.fromkeys(made.grid.seeds, free if rater.kind == "random" else log)
        for name, rater in made.raters.items()
    }
    return Bills(held, logs, {"encode@star": {"seconds": 9.0, "flops": 7e12}, "scorer": {"seconds": 40.0}})


def falling(cell: Cell, images: float) -> float:
    """Selection one is as good after half of the images as the others are at the end."""
    return 200.0 - images / 10 * (2 if cell.selection == "one" else 1) + cell.seed


EVERY = ("zero", "one", "two", "three", "four", "five")
PAPER = {FULL: 6.0, "zero": 7.0, "one": 1.0, "two": 2.0, "three": 9.0, "four": 3.0, "five": 4.0}
KINDS = ("plain", "informative", "chaotic")
CARRIED = META | {"weights": "another-pool"}
HERE = {"pool": "here", "scale": "small"}


def level(levels: dict[str, float], noise: float = 0.05) -> Curve:
    """One figure an arm, whatever the images, with a seed that all arms feel and a little of their own."""

    def at(cell: Cell, images: float) -> float:
        own = noise * ((7 * cell.seed + 3 * len(cell.selection) + ord(cell.selection[0])) % 5 - 2)
        return levels[cell.selection] + 100 * cell.seed + own

    return at


def judge(
    made: Study, levels: dict[str, float] | None = None, noise: float = 0.05, **more: Any
) -> dict[str, Verdict]:
    fd = level(PAPER if levels is None else levels, noise)
    table = tidy(made, scores(made, fd, clip=lambda cell, images: -fd(cell, images)))
    return {v.claim: v for v in verdicts(made, table, 0.95, **more)}


def deciding(verdict: Verdict) -> list[Part]:
    return [part for part in verdict.parts if part.decides]


def ratings(order: dict[str, float], seeds: int = 3) -> tuple[pd.Series, dict[int, pd.Series]]:
    """Kinds of 300 pairs, and ratings around a level for each kind."""
    rng = np.random.default_rng(0)
    ids = [f"id-{i}" for i in range(300)]
    kinds = pd.Series([KINDS[i % 3] for i in range(300)], index=ids)
    centre = kinds.map(order).to_numpy()
    return kinds, {s: pd.Series(centre + rng.normal(0, 1, 300), index=ids) for s in range(seeds)}


def speed(factor: float) -> Curve:
    """Selection one falls so many times faster than the others."""

    def fd(cell: Cell, images: float) -> float:
        return 200 - images / 10 * (factor if cell.selection == "one" else 1) + 0.1 * cell.seed

    return fd


def knowing(made: Study, **changes: Any) -> Study:
    """The study with a selection beside those of its grid, whose rater was trained elsewhere."""
    block = {"rater": "moved", "sampler": "shift_gsample"} | changes.pop("selection", {})
    rater = rater_settings(CARRIED | changes, "moved")
    return replace(
        made,
        selections={**made.selections, "seven": selection_settings(block, "seven")},
        raters={**made.raters, "moved": rater},
    )


MOVED: dict[str, Any] = {
    "selections": {"seven": {"rater": "moved", "sampler": "shift_gsample"}}, "raters": {"moved": CARRIED},
}  # fmt: skip


def elsewhere(
    pool: str,
    better: bool,
    carried: bool | None = None,
    scale: str = "small",
    seeds: tuple[int, ...] = (0, 1, 2),
) -> pd.DataFrame:
    """Another pool, on which the arm, and seven where `carried` says so, is better than random or worse."""
    names = ("zero", "one") if carried is None else ("zero", "one", "seven")
    made = study(*names, ratios=(0.5,), seeds=seeds, **MOVED)
    levels = {FULL: 0.0, "zero": 3.0, "one": 1.0 if better else 5.0, "seven": 0.0 if carried else 6.0}
    return tidy(made, scores(made, level(levels))).assign(pool=pool, scale=scale)
