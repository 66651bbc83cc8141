"""stages.overlay: legal values go into params.yaml, others leave it as it was."""

from pathlib import Path

import pytest
import yaml
from tiny import REPO, only

from alchemist.core.refusal import Refusal
from stages import overlay
from stages.params_file import read_params


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    given = only(
        read_params(REPO / "params.yaml"), scales=["tiny", "pilot"], pools=["emoji", "icons"],
        contrasts=["alchemist_random", "best_alchemist"],
    )  # fmt: skip
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(given))
    monkeypatch.setattr(overlay, "ROOT", tmp_path)
    return tmp_path / "params.yaml"


def test_values_are_laid_over_the_file(params: Path) -> None:
    before = read_params(params)
    overlay.run(["scale=pilot", "++pools.icons.sample=0.25"])
    after = read_params(params)
    assert (after["scale"], after["pools"]["icons"].pop("sample")) == ("pilot", 0.25)
    assert after | {"scale": before["scale"]} == before


@pytest.mark.parametrize("wrong", ["scale=none_such", "grid.no_key=1", "++pools.icons.sample=7"])
def test_what_is_not_legal_changes_nothing(params: Path, wrong: str) -> None:
    before = params.read_bytes()
    with pytest.raises(Refusal):
        overlay.run(["device=cpu", wrong])
    assert params.read_bytes() == before
    assert [path.name for path in params.parent.iterdir()] == ["params.yaml"]
