"""What the stage encode passes on: the right image and caption under the right id, of usable pairs alone."""

import contextlib
import copy
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from stage_grid import Grid
from text_helpers import PLACES, write_clip

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.models.encoded import Encoded, Writer, join
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


def test_pairs_lent_to_the_scorer_are_encoded_too(grid: Grid, tmp_path: Path) -> None:
    """They are rated; what is of that split alone is not."""
    (tmp_path / "data").mkdir()
    for name in ("codec", "read", "params.json"):
        (tmp_path / "data" / name).symlink_to(grid.folder / "data" / name)
    shutil.copytree(grid.folder / "data/pool", tmp_path / "data/pool")
    index = pd.read_parquet(tmp_path / "data/pool/index.parquet")
    scorer = index.index[index["split"] == "scorer"]
    index.loc[scorer[::3], "lent"] = True
    index.to_parquet(tmp_path / "data/pool/index.parquet", index=False)
    files.write_manifest(tmp_path / "data/pool")
    with contextlib.chdir(tmp_path):
        encode.run("star", Path("data/pool"), Path("data/codec"), "tiny", Path("data/out"), Path("time.json"))
    rows = pd.read_parquet(tmp_path / "data/out/rows.parquet")
    usable = index[index["status"] == "ok"]
    wanted = usable["id"][usable["split"].isin(SPLITS) | usable["lent"]]
    assert list(rows["id"]) == list(wanted)
    assert 0 < (rows["split"] == "scorer").sum() < len(scorer)


@pytest.fixture(scope="module")
def sharded(grid: Grid) -> Path:
    """The grid's pool encoded by two processes, 37 rows of the index a shard."""
    params = files.read_sealed(grid.folder / "data/params.json")
    params["scales"]["sharded"] = copy.deepcopy(params["scales"]["tiny"])
    params["scales"]["sharded"]["encode"]["rows"] = 37
    files.write_json(grid.folder / "data/params.json", files.sealed(params))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLD_SIZE", "2")
        patch.setenv("RANK", "1")
        with pytest.raises(SystemExit):
            encode_sharded(grid, "data/sharded")
        assert not (grid.folder / "data/sharded").exists()
        patch.setenv("RANK", "0")
        encode_sharded(grid, "data/sharded")
        before = (grid.folder / "data/sharded").stat().st_ino
        with pytest.raises(SystemExit):  # one that comes late
            encode_sharded(grid, "data/sharded")
        assert (grid.folder / "data/sharded").stat().st_ino == before
    return grid.folder / "data/sharded"


def encode_sharded(grid: Grid, out: str) -> None:
    grid("encode", family_name="star", pool="data/pool", codec="data/codec", scale="sharded", out=out,
         time_out="data/timings/sharded.json")  # fmt: skip


def test_shards_of_several_processes_are_read_as_one_folder(grid: Grid, sharded: Path) -> None:
    one, several = grid.encoded, Encoded(sharded)
    assert len(several.manifest["row_shards"]) > 3
    for column in ("id", "split", "lent", "cluster"):
        assert list(one.rows[column]) == list(several.rows[column])
    for numbers in (np.arange(len(one.rows)), np.array([len(one.rows) - 1, 0, 40, 0])):
        dropped = np.arange(len(numbers)) % 3 == 0
        first, second = one.batch(numbers, dropped), several.batch(numbers, dropped)
        for name, value in first.inputs.items():
            assert torch.equal(value, second.inputs[name])
        assert torch.equal(first.text.mask, second.text.mask)
        assert torch.allclose(first.text.states, second.text.states, atol=0.05)
        assert torch.allclose(first.text.pooled, second.text.pooled, atol=0.05)
    for name in ("codec", "text_encoder", "text", "text_sha256", "pool", "arrays", "pooled", "text_width"):
        assert one.manifest[name] == several.manifest[name]


def test_one_process_leaves_the_bytes_of_several(grid: Grid, sharded: Path) -> None:
    before = {*(grid.folder / ".scratch").iterdir()}
    encode_sharded(grid, "data/alone")
    both = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (sharded, grid.folder / "data/alone")
    ]
    assert [name for name in both[0] if both[0][name] != both[1].get(name)] == []
    assert len(both[0]) == len(both[1])
    assert {*(grid.folder / ".scratch").iterdir()} == before


def test_parts_of_another_text_encoder_are_not_joined(grid: Grid, sharded: Path, tmp_path: Path) -> None:
    """As of machines whose weights differ."""
    parts = [tmp_path / name for name in "ab"]
    for number, part in enumerate(parts):
        part.mkdir()
        with Writer(part, codec="c", text_sha256=str(number)) as writer:
            writer.rows(pd.DataFrame({"id": ["x"], "split": "pool", "text": 0, "lent": False, "cluster": 0}))
            writer.append({"image": np.zeros((1, 2), np.uint8)})
            writer.captions([(np.zeros((1, 4), np.float16), None)])
    (tmp_path / "out").mkdir()
    with pytest.raises(Refusal, match=r"b was made with another text_sha256 than .*a, as on a machine with"):
        join(parts, tmp_path / "out")
    assert not (tmp_path / "out" / files.MANIFEST).exists()
