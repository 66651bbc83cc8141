"""The order of a person's files means nothing: a sorted folder and a shuffled tar give equal results."""

import contextlib
import importlib
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import REPO, tiny_params

from alchemist.core import files, stateless
from alchemist.models.encoded import ORIGIN, Encoded
from alchemist.params.sources import passed_on

PAIRS, SUBJECTS = 144, 6


def drawings() -> list[tuple[str, bytes, str]]:
    """Name, PNG and caption of each pair, by subject; every sixth is a near copy of the one before."""
    out, before = [], np.zeros((32, 32, 3), np.uint8)
    for i in range(PAIRS):
        subject, rng = i * SUBJECTS // PAIRS, stateless.generator("drawing", i)
        coarse = rng.integers(0, 256, (4, 4, 3)) * (subject + 1) // SUBJECTS
        pixels = np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8)
        number = i
        if i % 6 == 5:
            pixels, number = np.clip(before.astype(int) + 2, 0, 255).astype(np.uint8), i - 1
        before, file = pixels, io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        out.append((f"{i:03d}", file.getvalue(), f"subject {subject}, drawing {number}"))
    return out


def as_folder(folder: Path) -> dict[str, str]:
    for name, image, caption in drawings():
        path = folder / "pairs/all" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
        path.with_suffix(".txt").write_text(caption)
    return {"format": "folder", "path": str(folder / "pairs")}


def as_shuffled_tar(folder: Path) -> dict[str, str]:
    pairs = drawings()
    (folder / "pairs").mkdir(parents=True)
    with tarfile.open(folder / "pairs/all.tar", "w") as tar:
        for i in stateless.generator("shuffled").permutation(PAIRS):
            name, image, caption = pairs[i]
            for suffix, content in ((".png", image), (".txt", caption.encode())):
                info = tarfile.TarInfo(name + suffix)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return {"format": "webdataset", "path": str(folder / "pairs")}


def through(folder: Path, where: dict[str, str]) -> Path:
    """All stages from a person's files to the figures of one cell; gives the folder of data."""
    params = tiny_params()
    params["grid"] |= {"heuristics": ["frequency"], "embeddings": ["clip_score"]}
    splits = {"meta_validation": 0.2, "evaluation": 0.3, "scorer": 0.2}
    params["pools"]["mine"] = {**where, "resolution": 32, "splits": splits, "copies": {"drop": "never"}}
    params["pool"] = "mine"
    params["models"]["xs"] |= {"depth": 1, "width": 48}
    for rater in params["raters"].values():
        if rater["kind"] == "meta":
            rater["least_validation"] = 2
    scale = params["scales"]["tiny"]
    scale["evaluate"] |= {"images": None, "kid_subset_size": 8}
    scale["rate"] |= {"images": 48}
    scale["train"] |= {"images": 64}
    files.write_json(folder / "data/params.json", files.sealed(passed_on(params)))
    data = Path("data")

    def run(stage: str, timed: bool = True, **options: Any) -> None:
        if timed:
            options["time_out"] = data / f"timings/{stage}.json"
        importlib.import_module(f"stages.{stage}").run(**options)

    pool, encoded, family = data / "pool", data / "encoded", {"family_name": "star"}
    rated = {"out": data / "ratings", "log_out": data / "raters"}
    with contextlib.chdir(folder):
        run("prepare", pool="mine", out=data / "read", truth_out=data / "truth")
        run("copies", pool="mine", read=data / "read", out=pool, scratch=Path(".scratch"))
        run("codec", **family, pool_name="mine", pool=pool, assets=REPO / "assets/codecs",
            out=data / "codec", scratch=Path(".scratch"))  # fmt: skip
        run("encode", **family, pool=pool, codec=data / "codec", scale="tiny", out=encoded)
        run("scorer", pool=pool, scale="tiny", out=data / "scorer")
        run(
            "floors",
            **family,
            pool=pool,
            codec=data / "codec",
            scorer=data / "scorer",
            scale="tiny",
            out=data / "floors",
        )
        for rater in ("alchemist", "loss"):
            run("rate", rater=rater, seed=0, **family, encoded=encoded,
                assets=data / "assets", scale="tiny", scratch=Path(".scratch"),
                out=data / f"ratings/{rater}/0.parquet", log_out=data / f"raters/{rater}/0")  # fmt: skip
        rated = {name: {"out": data / f"ratings/{name}/all.parquet", "log_out": data / f"raters/{name}/all"}
                 for name in ("frequency", "clip_score")}  # fmt: skip
        run("heuristic", rater="frequency", pool=pool, **rated["frequency"])
        run("embedding", rater="clip_score", pool=pool, scorer=data / "scorer", scale="tiny",
            **rated["clip_score"])  # fmt: skip
        run("prune", False, ratings=data / "ratings", selection="alchemist", ratio=0.5, out=data / "subsets")
        run("train", **family, encoded=encoded, model="xs", seed=0, out=data / "models/half",
            subset=data / "subsets/0.parquet", scratch=Path(".scratch"))  # fmt: skip
        run("evaluate", **family, cell=data / "models/half", encoded=encoded, floors=data / "floors",
            scale="tiny", out=data / "scores/half")  # fmt: skip
    return folder / "data"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    made = []
    for name, write in (("sorted", as_folder), ("shuffled", as_shuffled_tar)):
        folder = tmp_path_factory.mktemp(name)
        made.append(through(folder, write(folder)))
    return made[0], made[1]


def test_each_id_is_encoded_to_the_same_arrays(both: tuple[Path, Path]) -> None:
    stores = [Encoded(folder / "encoded") for folder in both]
    ids = [store.rows["id"] for store in stores]
    assert list(ids[0]) != list(ids[1])
    one, other = (
        store.rows.sort_values("id").reset_index(drop=True).astype({"split": str}) for store in stores
    )
    # Where a pair came from is the layout's own.
    assert (set(one.pop(ORIGIN)), set(other.pop(ORIGIN))) == ({"all"}, {"all.tar"})
    pd.testing.assert_frame_equal(one, other)
    assert one["cluster"].duplicated().any()
    batches = [
        store.batch(rows.sort_values().index.to_numpy()) for store, rows in zip(stores, ids, strict=True)
    ]
    for name, array in batches[0].inputs.items():
        assert np.array_equal(array, batches[1].inputs[name])
    for name, array in vars(batches[0].text).items():
        assert np.array_equal(array, vars(batches[1].text)[name])


def test_everything_after_has_equal_bytes(both: tuple[Path, Path]) -> None:
    """Scorer, floors, ratings, subsets, weights, figures, sample grids: in which order ever it was read."""
    names = ("scorer", "floors", "ratings", "raters", "subsets", "models", "scores")
    found = [
        {str(path.relative_to(folder)): files.sha256(path) for name in names
         for path in sorted((folder / name).rglob("*")) if path.is_file()}
        for folder in both
    ]  # fmt: skip
    assert len(found[0]) > 30
    assert {name for name in found[0] if found[0][name] != found[1].get(name)} == set()
    assert found[0].keys() == found[1].keys()


def test_a_cell_has_its_figures_by_both_references(both: tuple[Path, Path]) -> None:
    """Near copies are in the evaluation, so that `once` and `as_is` are two."""
    held = files.read_json(both[0] / "scores/half/figures.json")
    assert held["decides"] == "once"
    assert set(held["reference_floors"]) == {"once", "as_is"}
    for at in held["checkpoints"]:
        once, as_is = (at["references"][name] for name in ("once", "as_is"))
        assert (once["n"], once["reference_n"]) == (held["n"], held["reference_n"])
        assert (as_is["n"] + as_is["reference_n"]) > (once["n"] + once["reference_n"])
        assert all(at[name] == once[name] for name in ("fd_lite0", "kid_lite0", "clip_lit", "nll"))
        assert all(at[name] != as_is[name] for name in ("fd_lite0", "kid_lite0", "clip_lit", "nll"))
