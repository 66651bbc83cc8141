"""A tiny grid of the real networks, made by the stages' own functions in one process."""

import contextlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import tiny_params

from alchemist.core import files, stateless
from alchemist.core.settings import Settings
from alchemist.measures import clip_score, features, scorers
from alchemist.models import family
from alchemist.models.encoded import Encoded
from alchemist.models.family import Codec, Family, Generator
from alchemist.params.check import Params, check
from alchemist.params.sources import passed_on
from alchemist.pools import store
from alchemist.raters.network import Rater

SEED, OTHER = 3, 4  # of the cells; neither is 0, so that a seed that is left out shows
MODEL, PROXY, TRUNK = "xxs", "xs", "xxs"


class Grid:
    """The folders of a tiny grid, and what the tests ask of them independently of the stages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held: dict[str, list[int]] = {}  # by stage, see `noted`
        params = tiny_params()
        params["roles"] = {"proxy": PROXY, "rater": TRUNK}
        params["grid"] |= {"seeds": [SEED, OTHER], "heuristics": ["frequency"], "embeddings": ["clip_score"]}
        # Values under which a setting that is left out shows.
        params["raters"]["clip_score"] |= {"direction": -1}
        params["raters"]["carried"] = params["raters"]["alchemist_carried"] | {"weights": "ours"}
        for name in ("alchemist_groups", "alchemist_within"):
            params["raters"][name] |= {"groups": {"by": "caption_length", "a_step": 2}}
        scale = params["scales"]["tiny"]
        scale["encode"] |= {"text": {"star": {"kind": "minilm", "pieces": 8}}}
        scale["scorer"] |= {"seed": 7}
        scale["evaluate"] |= {"seed": 5, "feature_size": 128}
        scale["rate"] |= {"warmup_images": 32}
        scale["train"] |= {"warmup_images": 32}
        params["models"]["xs"] |= {"drop_path": 0.2}
        params["models"]["xxs"] = params["models"]["xs"] | {"depth": 1, "width": 48}
        files.write_json(folder / "data/params.json", files.sealed(passed_on(params)))
        self.params: Params = check(params)
        self.scale = self.params.scales["tiny"]

    def __call__(self, stage: str, **options: Any) -> None:
        """Runs a stage as its command would; text that names a folder of data is made a path."""
        module = __import__(f"stages.{stage}", fromlist=["run"])
        paths = {
            key: Path(value) if str(value).startswith(("data", ".scratch")) else value
            for key, value in options.items()
        }
        with contextlib.chdir(self.folder):
            costs = module.run(**paths)
            if costs is not None and "time_out" in paths:
                files.write_json(paths["time_out"], files.sealed(costs))

    def noted(self, stage: str, **options: Any) -> None:
        """Runs a stage and notes how many images it reads at once, each time."""
        read, held = store.images, self.held.setdefault(stage, [])

        def images(folder: Path, rows: pd.DataFrame) -> Any:
            held.append(len(rows))
            return read(folder, rows)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "images", images)
            self(stage, **options)

    def reject(self) -> None:
        """Puts a pair that could not be read into every split of the pool, between two usable ones."""
        path = self.folder / "data/pool/index.parquet"
        index = pd.read_parquet(path)
        broken = index.groupby("split").nth(5)
        broken = broken.assign(
            id="broken-" + broken["id"], caption="a caption of no usable pair", status="rejected",
            reason="unreadable image", shard=np.int32(-1), row=np.int32(-1),
        )  # fmt: skip
        pd.concat([index, broken]).sort_index(kind="stable").to_parquet(path, index=False)
        # Beside the index, in an order of its own, as a format that knows categories leaves it.
        known = index["id"].sort_values(ascending=False).iloc[3:]
        kinds = ["food" if stateless.key(one) % 3 else "art" for one in known]
        pd.DataFrame({"id": known, "category": kinds}).to_parquet(
            path.with_name("facts.parquet"), index=False
        )
        files.write_manifest(path.parent)

    def rate(self, rater: str, seed: int = SEED) -> "pd.Series[float]":
        """Ratings by id, of the stage rate, in the order of `index`."""
        out = f"data/ratings/{rater}/{seed}.parquet"
        if not (self.folder / out).is_file():
            self(
                "rate", rater=rater, seed=seed, family_name="star", encoded="data/encoded",
                assets="data/assets", scale="tiny", out=out,
                log_out=f"data/raters/{rater}/{seed}", time_out=f"data/timings/ratings/{rater}/{seed}.json",
                scratch=".scratch",
            )  # fmt: skip
        table: pd.Series[float] = pd.read_parquet(self.folder / out).set_index("id")["rating"]
        ids = self.index("pool")["id"]
        assert list(table.index) == sorted(ids), "each usable pair once, by id"
        return table.reindex(ids)

    def subset(self, count: int = 60) -> "pd.Series[str]":
        """Ids of the pool that stand neither first nor last in it, in a file for the stage train."""
        ids = self.index("pool")["id"].sort_values().iloc[20 : 20 + count].reset_index(drop=True)
        ids.to_frame("id").to_parquet(self.folder / "data/subset.parquet", index=False)
        return ids

    def train(self, name: str, seed: int = SEED, subset: str | None = "data/subset.parquet") -> Path:
        """The folder of a cell, trained by the stage train."""
        if not (self.folder / "data/models" / name).is_dir():
            self.subset()
            self(
                "train", family_name="star", encoded="data/encoded", model=MODEL, seed=seed,
                out=f"data/models/{name}", time_out=f"data/timings/train/{name}.json", scratch=".scratch",
                subset=subset,
            )  # fmt: skip
        return self.folder / "data/models" / name

    def score(self, name: str) -> dict[str, Any]:
        """A cell's figures, by the stage evaluate."""
        out = self.folder / f"data/scores/{name}/figures.json"
        if not out.is_file():
            self(
                "evaluate", family_name="star", cell=f"data/models/{name}", encoded="data/encoded",
                floors="data/floors", scale="tiny",
                out=f"data/scores/{name}", time_out=f"data/timings/evaluate/{name}.json",
            )  # fmt: skip
        scores: dict[str, Any] = files.read_json(out)
        return scores

    # What the tests know by themselves: which pairs there are, and fresh networks.

    def index(self, split: str) -> pd.DataFrame:
        """The usable pairs of a split, in the order in which they count, that of a hash of their ids."""
        index = pd.read_parquet(self.folder / "data/pool/index.parquet")
        index = index[(index["status"] == "ok") & (index["split"] == split)]
        places = stateless.id_uniforms(index["id"], "order")
        return index.iloc[np.argsort(places)].reset_index(drop=True)

    def categories(self, rows: pd.DataFrame) -> list[str]:
        """Of pairs, looked up one by one; "" where the table has none."""
        table = pd.read_parquet(self.folder / "data/pool/facts.parquet")
        known = dict(zip(table["id"], table["category"], strict=True))
        return [known.get(name, "") for name in rows["id"]]

    def sides(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The evaluation pairs that are prompts, and those that are references."""
        rows, n = self.index("evaluation"), self.scale.evaluate.images
        return rows.iloc[len(rows) - n :], rows.iloc[: len(rows) - n]

    @property
    def encoded(self) -> Encoded:
        return Encoded(self.folder / "data/encoded")

    def numbers(self, ids: "pd.Series[str]") -> Any:
        """Row numbers of ids, looked up one by one in the table of rows."""
        rows = pd.read_parquet(self.folder / "data/encoded/rows.parquet")
        place = {name: i for i, name in enumerate(rows["id"])}
        return pd.Series([place[name] for name in ids]).to_numpy()

    def images(self, rows: pd.DataFrame) -> Any:
        return store.images(self.folder / "data/pool", rows)

    @property
    def family(self) -> Family:
        return family.load("star")

    @property
    def codec(self) -> Codec:
        return self.family.codec(self.folder / "data/codec", torch.device("cpu"))

    def generator(self, model: str, seed: int) -> Generator:
        return self.family.generator(self.params.models[model], self.codec, seed)

    def rater(self, seed: int) -> Rater:
        return Rater(self.family.trunk(self.params.models[TRUNK], self.codec, seed), seed)

    @property
    def law(self) -> Settings:
        law: Settings = self.scale.sample["star"]
        return law

    @cached_property
    def extractor(self) -> features.Extractor:
        return features.extractor(self.scale.evaluate.features, self.scale.evaluate.feature_size)

    @cached_property
    def scorer(self) -> clip_score.Scorer:
        return scorers.load_scorer("lit", self.folder / "data/scorer")

    def features_of(self, images: Any) -> Any:
        return features.extract(images, self.extractor, self.scale.evaluate.batch)

    def clip(self, images: Any, captions: "pd.Series[str]") -> Any:
        """The score of each image beside the caption in its place, (n,)."""
        return clip_score.score(self.scorer, images, list(captions), self.scale.evaluate.batch)
