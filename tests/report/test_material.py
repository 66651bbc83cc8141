from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_helpers import run

from alchemist.core import files
from alchemist.core.refusal import Refusal


def test_a_missing_cell_is_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / "data" / "scores" / "topk-0.2-xs-0" / "figures.json").unlink()
    with pytest.raises(Refusal, match=r"the grid names the cell topk-0\.2-xs-0") as told:
        run(copy, monkeypatch)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "path",
    [
        "scores/loss-0.5-xs-0/figures.json",
        "scores/full-xs-0/sheet-000012000.png",
        "raters/loss/0/rating.json",
        "timings/train/loss-0.5-xs-0.json",
    ],
)
def test_a_changed_byte_is_told(copy: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    changed = copy / "data" / path
    content = changed.read_bytes()
    changed.write_bytes(content[:-40] + bytes([content[-40] ^ 1]) + content[-39:])
    with pytest.raises(
        Refusal, match=rf"{changed.name} is (damaged|not the file that its manifest describes)"
    ):
        run(copy, monkeypatch, is_as_written=False)


def test_cells_measured_otherwise_are_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = copy / "data" / "scores" / "loss-0.5-xs-0" / "figures.json"
    files.write_json(path, files.read_json(path) | {"n": 7})
    with pytest.raises(Refusal, match=r"full-xs-0 and loss-0\.5-xs-0 differ in n,"):
        run(copy, monkeypatch)


@pytest.mark.parametrize("spoil", [lambda t: t.iloc[1:], lambda t: pd.concat([t.iloc[1:], t.iloc[1:2]])])
def test_ratings_that_miss_a_pair_are_refused(
    copy: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any
) -> None:
    path = copy / "data" / "ratings" / "loss" / "0.parquet"
    spoil(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(Refusal, match=r"loss/0\.parquet does not rate each of the 203 usable pairs"):
        run(copy, monkeypatch)
