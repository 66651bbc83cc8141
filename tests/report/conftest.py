import contextlib
import io
import itertools
import shutil
from pathlib import Path

import pandas as pd
import pytest
from report_helpers import build, clustered, params, run


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    build(root, params())
    with pytest.MonkeyPatch.context() as patch:
        run(root, patch)
    return root


@pytest.fixture
def copy(world: Path, tmp_path: Path) -> Path:
    """The same data, free to be spoilt."""
    shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture(scope="session")
def grouped(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]]]:
    """The same pool with groups of near-duplicates, and the ids of each."""
    root = tmp_path_factory.mktemp("grouped")
    shutil.copytree(world, root, dirs_exist_ok=True)
    clusters = clustered(root)
    with pytest.MonkeyPatch.context() as patch:
        run(root, patch)
    return root, clusters


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds, an ablation and a transfer; arms that stand later in the grid are worse."""
    held = params(
        selections=["alchemist", "random", "topk", "gsample", "loss"], oracles=[], heuristics=["clarity"],
        raters=["alchemist", "alchemist_no_group", "loss", "random"], seeds=[0, 1, 2],
        ablation={"selections": ["block0", "block40", "alchemist_no_group"], "ratios": [0.2]},
        transfer={"selections": ["random", "alchemist"], "ratios": [0.2], "models": ["s"]},
    )  # fmt: skip
    held["statistics"] |= {"primary": "alchemist_random", "secondary": ["alchemist_loss", "alchemist_full"]}
    root = tmp_path_factory.mktemp("three")
    build(root, held, noise=0.5)
    other = pd.DataFrame(
        [
            {"pool": pool, "scale": scale, "cell": "c", "selection": name, "rater": "", "sampler": "random",
             "ratio": 0.5, "model": "xs", "seed": seed, "subset_pairs": 9, "point": point, "images": 9,
             "epochs": 1.0, "fd_lite0": 111.0 + seed, "fd_lite0_coded": 1.0, "kid_lite0": 1.0,
             "kid_lite0_sd": 1.0, "clip_lit": 7.0, "nll": 3.0}
            for pool, scale in (("<i>other</i>", "tiny"), ("far", "huge"), ("emoji", "tiny"))
            for name, point, seed in itertools.product(
                ("random", "alchemist", "alchemist_carried"), ("equal_epochs", "equal_images"), (0, 1, 2)
            )
        ]
    )  # fmt: skip
    (root / "beside").mkdir()
    other.to_csv(root / "beside" / "others.csv", index=False)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as said:
        run(root, patch)
    (root / "terminal.txt").write_text(said.getvalue())
    return root
