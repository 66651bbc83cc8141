"""What the registered studies of this repo set: a sound grid on each of their pools, lists by family."""

import shutil
from pathlib import Path

import pytest
import yaml
from params_helpers import REPOS
from tiny import REPO, only

from alchemist.core.settings.study import ClaimSettings
from alchemist.params.check import check
from alchemist.params.registered import values
from alchemist.params.whole import Params
from stages.overlay import laid_over
from stages.params_file import read_params

WHOLE = check(REPOS)


def claim_of(arm: str, against: str) -> ClaimSettings:
    return ClaimSettings(says="It beats that.", arm=arm, against=against)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repo's params without the studies, which are more than half of the file, and its dvc.yaml."""
    folder = tmp_path_factory.mktemp("repo")
    given = only(read_params(REPO / "params.yaml"))
    (folder / "params.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
    shutil.copy(REPO / "dvc.yaml", folder)
    return folder


def laid(root: Path, name: str, pool: str) -> Params:
    study = WHOLE.studies[name]
    return laid_over(root, values(WHOLE, study, pool, study.seeds.all()[:2]))[2]


@pytest.mark.parametrize(
    ("name", "pool"), [(name, pool) for name, study in WHOLE.studies.items() for pool in study.pools]
)
def test_a_study_has_the_cells_of_its_claims_and_rates_once_by_each_rater(
    root: Path, name: str, pool: str
) -> None:
    study, params = WHOLE.studies[name], laid(root, name, pool)
    grid = params.grid
    assert (params.pool, params.scale, grid.seeds) == (pool, study.scale, tuple(study.seeds.all()[:2]))
    assert set(grid.whole()) == set(study.models)
    for claim in study.claims:
        asked = study.claim(claim)
        for arm in {asked.arm, asked.against} - {"full"}:
            assert (arm, asked.ratio, asked.model) in grid.runs()
    assert sorted(grid.rated()) == sorted({params.selections[arm].rater for arm, _ in grid.arms()})


def test_models_and_raters_of_another_family_stand_in_its_own_lists(root: Path) -> None:
    grid = laid(root, "flow", "emoji").grid
    flux = grid.others["flux"]
    assert grid.families == ("star", "flux"), "that of the proxy first, whose rater of random draws"
    assert (grid.models, grid.raters, flux.models, flux.raters) == (
        (),
        ("random",),
        ("flux_s",),
        ("alchemist_flux",),
    )
    assert flux.proxy == "flux_proxy"
    alone = WHOLE.studies["flow"].model_copy(update={"claims": {"full": claim_of("alchemist_flux", "full")}})
    own = laid_over(root, values(WHOLE, alone, "emoji", [900]))[2].grid
    assert (own.families, own.raters) == (("flux",), ()), "nothing of the proxy's family is asked for"
    home = laid(root, "confirm", "emoji").grid
    assert (home.families, home.models, home.others["flux"].models) == (("star",), ("xs",), ())
