"""The metrics: one table of what cells are measured by, and how each is named and written.

A column of the tidy table has a short name (`fd`), whatever network measured it; the scores hold the figure
under its full name (`fd_lite0`), because values of two networks have nothing in common. `names` below are
the full names by short ones, as every cell's scores hold them under that key. Figures of further networks
stand beside under their full name in both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from alchemist.analysis.words import TIMES


@dataclass(frozen=True)
class Metric:
    """One kind of figure."""

    name: str  # column of the tidy table
    word: str  # in a sentence that need not say which network measured it
    better: Literal["lower", "higher"]
    digits: int  # after the point, as the report writes it
    scale: float = 1.0  # factor before it is written
    optional: bool = False  # True: not all families of models, or not all scales, have it


_NETWORKS = {  # as they are named in a figure, and in words
    "fd_lite0": ("FD (Lite0)", "kid_lite0", "KID (Lite0)"),
    "fid_pytorch": ("FID (pytorch-fid)", "kid_pytorch", "KID (pytorch-fid)"),
    "fid_clean": ("FID (clean-fid)", "kid_clean", "KID (clean-fid)"),
    "fd_dinov2_vitl14": ("FD (DINOv2 ViT-L/14)", "kid_dinov2_vitl14", "KID (DINOv2 ViT-L/14)"),
    "fd_dinov2_vitb14": ("FD (DINOv2 ViT-B/14)", "kid_dinov2_vitb14", "KID (DINOv2 ViT-B/14)"),
}
METRICS = (
    Metric("fd", "FD", "lower", 1),
    Metric("fd_coded", "FD against coded references", "lower", 1),
    Metric("kid", "KID", "lower", 1, scale=1000),
    Metric("clip", "CLIP-Score", "higher", 2),
    Metric("nll", "NLL", "lower", 3, optional=True),
    *(
        metric
        for fd, (fd_word, kid, kid_word) in _NETWORKS.items()
        for metric in (
            Metric(fd, fd_word, "lower", 1, optional=True),
            Metric(kid, f"{kid_word} {TIMES} 1000", "lower", 1, scale=1000, optional=True),
        )
    ),
    Metric("cmmd", "CMMD", "lower", 3, optional=True),
)
_BY_NAME = {metric.name: metric for metric in METRICS}


def metric(name: str) -> Metric:
    """The metric of a column of the tidy table."""
    return _BY_NAME[name]


def is_metric(name: str) -> bool:
    """Whether a name is that of a metric."""
    return name in _BY_NAME


def measured(table: pd.DataFrame) -> tuple[str, ...]:
    """Names of the metrics of a tidy table, in their order: all but the optional ones that no row has.

    Whoever goes through metrics asks here, so that a family without a likelihood has a report without NLL:
    of the whole table where all models are spoken of, or else of the rows of one (`of_model`).
    """
    return tuple(
        m.name for m in METRICS if not m.optional or (m.name in table and table[m.name].notna().any())
    )


def of_model(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """The rows of a model."""
    return table[table["model"] == model]


def better(name: str) -> Literal[-1, 1]:
    """Sign of a difference that is an improvement: 1 for the metrics that are better when higher."""
    return 1 if metric(name).better == "higher" else -1


def columns(names: Mapping[str, str], likelihood: str | None) -> dict[str, str]:
    """Short names of the figures and the full names that scores hold them under.

    `likelihood` is the unit of the NLL; None for models that have none.
    """
    out = {
        "fd": names["fd"],
        "fd_coded": f"{names['fd']}_coded",
        "kid": names["kid"],
        "kid_sd": f"{names['kid']}_sd",
        "clip": names["clip"],
    } | {short: full for short, full in names.items() if short == full}
    return out if likelihood is None else out | {"nll": "nll"}


def metric_name(name: str, names: Mapping[str, str]) -> str:
    """A metric with its network, as it heads a column; `names` may hold `silent`, see `Material.names`."""
    network = metric(names["fd"]).word if is_metric(names["fd"]) else names["fd"]
    clip = {"clip_lit": "CLIP-Score (LiT)"}.get(
        names["clip"], f"CLIP-Score ({names['clip'].removeprefix('clip_')})"
    )
    if "silent" in names:
        clip += ", which says nothing here"
    return {
        "fd": network,
        "fd_coded": f"{network}, references through the image codec",
        "kid": f"KID {TIMES} 1000",
        "clip": clip,
    }.get(name, metric(name).word)


def hundredfold(clip: str) -> bool:
    """Whether a CLIP-Score is 100 x cosine, as LiT's is; a published model's is the raw cosine."""
    return clip == "clip_lit"


def shown(name: str, names: Mapping[str, str]) -> tuple[float, int]:
    """Factor and digits of a figure as it is written."""
    raw_cosine = name == "clip" and not hundredfold(names["clip"])
    return metric(name).scale, 4 if raw_cosine else metric(name).digits
