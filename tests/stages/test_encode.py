"""What the stage encode passes on: the right image and caption under the right id, of usable pairs alone."""

import contextlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from stage_grid import Grid
from text_helpers import PLACES, write_clip

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.models.encoded import Encoded
from alchemist.models.text_towers import load_minilm
from stages import encode, train

SPLITS = ("pool", "meta_val", "evaluation")
splitter, network = load_minilm()


def pieces(caption: str) -> list[int]:
    numbers: list[int] = splitter(caption)["input_ids"]
    return numbers


@torch.no_grad()
def states(caption: str, longest: int) -> np.ndarray:
    """The states of one caption, cut before its closing piece where it is too long."""
    whole = pieces(caption)
    cut = whole if len(whole) <= longest else [*whole[: longest - 1], whole[-1]]
    found: np.ndarray = network(input_ids=torch.tensor([cut])).last_hidden_state[0].numpy()
    return found


@pytest.mark.parametrize("split", SPLITS)
def test_a_row_holds_its_own_image_and_caption(grid: Grid, split: str) -> None:
    rows, longest = grid.index(split).iloc[[0, 7, -1]], grid.scale.encode.text["star"].pieces
    batch = grid.encoded.batch(grid.numbers(rows["id"]))
    for name, values in grid.codec.encode(grid.images(rows)).items():
        assert np.array_equal(batch.inputs[name].numpy(), values)
    for i, caption in enumerate(rows["caption"]):
        expected = states(caption, longest)
        assert int(batch.text.mask[i].sum()) == len(expected)
        assert np.allclose(batch.text.states[i, : len(expected)].numpy(), expected, atol=0.05)


def test_long_captions_are_cut_and_short_ones_are_whole(grid: Grid) -> None:
    rows, longest = grid.index("pool"), grid.scale.encode.text["star"].pieces
    lengths = np.array([len(pieces(caption)) for caption in rows["caption"]])
    assert lengths.min() < longest < lengths.max()
    text = grid.encoded.batch(grid.numbers(rows["id"])).text
    assert text.mask.sum(1).tolist() == np.minimum(lengths, longest).tolist()
    i = int(lengths.argmax())
    assert np.allclose(text.states[i].numpy(), states(rows["caption"].iloc[i], longest), atol=0.05)


def test_a_dropped_caption_is_the_empty_one(grid: Grid) -> None:
    batch = grid.encoded.batch(grid.numbers(grid.index("pool")["id"].iloc[:1]), np.array([True]))
    assert np.allclose(batch.text.states[0].numpy(), states("", 8), atol=0.05)


def test_every_usable_pair_of_three_splits_is_encoded_and_no_other(grid: Grid) -> None:
    rows = pd.read_parquet(grid.folder / "data/encoded/rows.parquet")
    index = pd.read_parquet(grid.folder / "data/pool/index.parquet")
    for split in SPLITS:
        assert "rejected" in set(index["status"][index["split"] == split])
        assert sorted(rows["id"][rows["split"] == split]) == sorted(grid.index(split)["id"])
    assert not set(rows["id"]) & set(index["id"][(index["status"] != "ok") | (index["split"] == "scorer")])


def test_captions_go_through_the_encoder_that_the_scale_names(grid: Grid, tmp_path: Path) -> None:
    """A CLIP tower: its states and pooled vectors are kept, and models of another text width are refused."""
    write_clip(tmp_path / "towers", "!")
    params = files.read_sealed(grid.folder / "data/params.json")
    towers = {"kind": "clip", "weights": str(tmp_path / "towers"), "pieces": PLACES}
    params["scales"]["tiny"]["encode"]["text"] = {"star": towers}
    params["models"]["clip"] = params["models"]["xxs"] | {"text_width": 16}
    (tmp_path / "data").mkdir()
    for name in ("pool", "codec"):
        (tmp_path / "data" / name).symlink_to(grid.folder / "data" / name)
    params["budgets"]["clip"] = params["budgets"]["xxs"]
    files.write_json(tmp_path / "data/params.json", files.sealed(params))
    out = tmp_path / "data/encoded"
    common = {"family_name": "star", "time_out": tmp_path / "time.json"}
    with contextlib.chdir(tmp_path):
        encode.run(pool=Path("data/pool"), codec=Path("data/codec"), scale="tiny", out=out, **common)
        cell = {**common, "encoded": out, "seed": 0, "scratch": tmp_path / ".scratch"}
        with pytest.raises(Refusal, match=r"text_width is 384; .* 16 numbers a word piece and 16 pooled"):
            train.run(model="xxs", out=tmp_path / "wrong", **cell)
        train.run(model="clip", out=tmp_path / "right", **cell)
    assert not (tmp_path / "wrong").exists()
    assert (tmp_path / "right/run.json").is_file()
    data = Encoded(out)
    assert data.manifest["text_encoder"] == f"clip/{tmp_path}/towers/text_encoder"
    assert data.manifest["text_width"] == 16
    text = data.batch(np.arange(4)).text
    for i in range(4):
        last = int(text.mask[i].sum()) - 1
        assert 1 <= last < PLACES
        assert torch.equal(text.pooled[i], text.states[i, last])
