"""A stage that is given the wrong folder, family or model says so in a sentence."""

from typing import Any

import pytest
from stage_grid import MODEL, SEED, Grid

from alchemist.core.refusal import Refusal

ENCODE = {"pool": "data/pool", "scale": "tiny", "out": "data/no", "time_out": "data/no.json"}
TRAIN = ENCODE | {"seed": SEED, "scratch": ".scratch"}
del TRAIN["pool"], TRAIN["scale"]
EVALUATE = {
    "cell": "data/models/subset", "encoded": "data/encoded", "floors": "data/floors",
    "scale": "tiny", "out": "data/no", "time_out": "data/no.json",
}  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "options", "says"),
    [
        ("encode", ENCODE | {"family_name": "dit", "codec": "data/codec"},
         "--family is 'dit'; legal values are flux, star"),
        ("encode", ENCODE | {"family_name": "batch", "codec": "data/codec"},
         "--family is 'batch'; legal values are flux, star"),
        ("encode", ENCODE | {"family_name": "star", "codec": "data/scorer"},
         "data/scorer holds no tokenizer; it should be a folder that stage codec wrote"),
        ("train", TRAIN | {"family_name": "dit", "model": MODEL, "encoded": "data/encoded"},
         "family is 'star'; this stage runs models of the family dit"),
        ("train", TRAIN | {"family_name": "star", "model": MODEL, "encoded": "data/pool"},
         "data/pool holds no encoded pairs"),
        ("evaluate", EVALUATE | {"family_name": "flux"},
         "settings.family is 'star'; this stage runs models of the family flux"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)  # fmt: skip
def test_a_mistake_is_told_in_a_sentence(grid: Grid, stage: str, options: dict[str, Any], says: str) -> None:
    grid.train("subset")
    with pytest.raises(Refusal, match=says):
        grid(stage, **options)
    assert not (grid.folder / "data/no").exists()
    assert not (grid.folder / "data/no.json").exists()
