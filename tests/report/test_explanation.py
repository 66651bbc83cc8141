"""One pair explained: what is told of it is what ratings, subsets and index say."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from report_helpers import EVIL

from alchemist.core.refusal import Refusal
from alchemist.pools import store
from stages import explain


@pytest.fixture
def told(three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The lines of the verb for a pair, on the data of the three seeds."""
    shutil.copytree(three / "data", tmp_path / "data")
    for path in tmp_path.glob("data/subsets/*/*/[0-9].parquet"):
        shutil.copy(path, path.with_name(f"ids-{path.name}"))  # nothing is lent here
    monkeypatch.chdir(tmp_path)

    def lines(pair: str, seed: int | None = None, nearest: int = 0) -> list[str]:
        explain.run(pair, seed, nearest, Path("data/pool"), Path("data/ratings"), Path("data/subsets"))
        return capsys.readouterr().out.splitlines()

    return lines


def test_every_rater_and_every_subset_has_its_line(told) -> None:
    index = store.read_index(Path("data/pool"))
    name = index.loc[(index["split"] == "pool") & (index["status"] == "ok"), "id"].iloc[5]
    said = told(name, 1)
    assert EVIL in said[0]
    assert said[0].startswith(f"{name}: ")
    rating = pd.read_parquet("data/ratings/alchemist/1.parquet").set_index("id")["rating"]
    (line,) = [one.split() for one in said if one.startswith("  alchemist  ")]
    assert float(line[1]) == pytest.approx(rating[name], rel=1e-4)
    rank = 100 * ((rating > rating[name]).sum() + 0.5) / len(rating)
    assert float(line[3]) == pytest.approx(rank, abs=0.051)
    for selection, ratio in (("topk", 0.2), ("topk", 0.5), ("random", 0.5), ("block40", 0.2)):
        kept = name in set(pd.read_parquet(f"data/subsets/{selection}/{ratio}/1.parquet")["id"])
        arm = f"{selection}, {100 * ratio:g}\N{NO-BREAK SPACE}%"
        (line,) = [one for one in said if one.startswith(f"  {arm}  ")]
        assert line[len(arm) + 2 :].split()[0] == ("kept" if kept else "pruned")
        if selection == "topk":
            assert line.endswith(f"{'among' if kept else 'below'} the best {100 * ratio:g} %")
    (line,) = [one for one in said if one.startswith("  loss ")]
    assert re.search(r"loss under the proxy \S+$", line)


def test_a_pair_of_another_split_is_in_no_subset_and_a_rejected_one_has_its_reason(told) -> None:
    index = store.read_index(Path("data/pool")).set_index("id")
    held = index.index[index["split"] == "evaluation"][0]
    assert told(held)[-1] == "  not rated, so in no subset"
    rejected = index.index[index["status"] != "ok"][0]
    assert f"rejected: {index.loc[rejected, 'reason']}" in told(rejected)[1]


def test_an_image_is_found_by_its_pixels_and_its_nearest_is_its_copy(told) -> None:
    index = store.read_index(Path("data/pool"))
    usable = index[(index["split"] == "pool") & (index["status"] == "ok")]
    pixels = store.images(Path("data/pool"), usable.iloc[[7]])[0]
    Image.fromarray(pixels).save("one.png")
    said = told("one.png", nearest=3)
    assert said[0].startswith(usable["id"].iloc[7])
    found = [float(line.split()[0]) for line in said[-3:]]
    assert found == sorted(found, reverse=True)
    assert max(found) <= 1.001
    Image.fromarray(np.full((32, 32, 3), 7, np.uint8)).save("other.png")
    with pytest.raises(Refusal, match=r"other\.png has the pixels of no usable pair of data/pool at 32 px"):
        told("other.png")


def test_ratings_that_were_made_anew_before_the_subsets_are_told(told) -> None:
    index = store.read_index(Path("data/pool"))
    name = index.loc[(index["split"] == "pool") & (index["status"] == "ok"), "id"].iloc[0]
    shutil.copy("data/ratings/alchemist/1.parquet", "data/ratings/alchemist/0.parquet")
    with pytest.raises(
        Refusal, match=r"the subset \w+ at 0\.\d, seed 0, is not of the ratings of alchemist; run"
    ):
        told(name)


def test_mistakes_are_one_sentence(told) -> None:
    index = store.read_index(Path("data/pool"))
    name = index["id"].iloc[0]
    with pytest.raises(Refusal, match=rf"{name}x is no id of data/pool and no file; ids look like .*{name}"):
        told(f"{name}x")
    with pytest.raises(Refusal, match=r"--seed is 9; legal are those of grid.seeds: 0, 1, 2\."):
        told(name, 9)
    Path("data/ratings/alchemist/0.parquet").unlink()
    usable = index.loc[(index["split"] == "pool") & (index["status"] == "ok"), "id"].iloc[0]
    with pytest.raises(Refusal, match=r"data/ratings/alchemist/0.parquet is missing; run dvc repro prune"):
        told(usable)
