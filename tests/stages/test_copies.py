"""The stage copies with the features that it takes: what it finds across splits, and that it goes on."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pool_helpers import encoded, settled, user_pool
from safetensors import safe_open

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.stateless import generator
from alchemist.pools import base
from stages import copies

THIRDS = {"meta_validation": 0.25, "evaluation": 0.25, "scorer": 0.25}
COUNT, COPIED = 48, 12


def drawing(number: int) -> Image.Image:
    """Blots of colour, 64 px: unlike noise, near copies of it have near features."""
    small = generator("drawing", number).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC)


def write(root: Path) -> None:
    """Drawings, some twice: the second time compressed anew, so that no pixel need be equal."""
    root.mkdir()
    for i in range(COUNT):
        (root / f"{i:03d}.png").write_bytes(encoded(drawing(i)))
        (root / f"{i:03d}.txt").write_text(f"drawing {i}")
    for i in range(COPIED):
        (root / f"copy-{i:03d}.jpg").write_bytes(encoded(drawing(i), "JPEG", quality=80))
        (root / f"copy-{i:03d}.txt").write_text(f"Drawing {i}.")


def test_near_copies_of_would_be_splits_end_in_one_and_in_the_pool_one_of_each_stays(tmp_path: Path) -> None:
    write(tmp_path / "mine")
    index = settled(tmp_path, user_pool("mine", resolution=32, splits=THIRDS, copies={})).set_index("id")
    twins = [(f"{i:03d}", f"copy-{i:03d}") for i in range(COPIED)]
    assert (index["pixels"].nunique(), len(index)) == (COUNT + COPIED, COUNT + COPIED)
    for one, two in twins:
        assert index.loc[one, "cluster"] == index.loc[two, "cluster"]
        assert index.loc[one, "split"] == index.loc[two, "split"]
        expected = 1 if index.loc[one, "split"] == "pool" else 2
        assert (index.loc[[one, two], "status"] == "ok").sum() == expected
    assert index["cluster"].nunique() == COUNT
    facts = files.read_json(tmp_path / "data/pool/copies.json")
    assert (facts["pairs"], facts["copies"], facts["clusters"]) == (COUNT + COPIED, COPIED, COPIED)
    assert facts["moved"] >= 4  # of twelve, three in four are drawn apart
    assert facts["left_out"] == {base.NEAR: int((index["reason"] == base.NEAR).sum())}
    assert 1 <= facts["left_out"][base.NEAR] < COPIED


def test_a_near_copy_of_a_pair_of_another_pool_stays_out(tmp_path: Path) -> None:
    write(tmp_path / "mine")
    (tmp_path / "other").mkdir()
    for i in range(COPIED):
        (tmp_path / "mine" / f"copy-{i:03d}.jpg").rename(tmp_path / f"other/{i:03d}.jpg")
        (tmp_path / "mine" / f"copy-{i:03d}.txt").rename(tmp_path / f"other/{i:03d}.txt")
    splits = {"meta_validation": 0.0, "evaluation": {"pool": "other"}, "scorer": 0.0}
    index = settled(
        tmp_path, user_pool("mine", resolution=32, splits=splits, copies={}), other=user_pool("other")
    ).set_index("id")
    assert (index.loc[index["source"] == "other", "status"] == "ok").all()
    out = index[index["status"] == "rejected"]
    assert sorted(out.index) == [f"{i:03d}" for i in range(COPIED)]
    assert set(out["reason"]) == {base.NEAR_SPLIT}


def test_a_killed_run_goes_on_behind_the_features_that_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "mine")
    pool = user_pool("mine", resolution=32, splits=THIRDS, copies={})
    whole = settled(tmp_path, pool)
    monkeypatch.setattr(copies, "PART", 25)
    options = {"pool": "mine", "read": Path("data/read"), "out": Path("data/again")}
    last = tmp_path / "mine" / "047.png"  # of the third part
    first = tmp_path / "mine" / "000.png"  # of the first, in the order of names
    with contextlib.chdir(tmp_path):
        content = last.read_bytes()
        last.unlink()
        with pytest.raises(Refusal, match=r"047\.png is missing"):
            copies.run(**options, time_out=Path("data/time.json"))
        last.write_bytes(content)
        (state,) = (tmp_path / ".scratch").iterdir()
        with safe_open(state / "state.safetensors", "pt") as saved:
            assert len(json.loads(saved.metadata()["facts"])["crcs"]) == 1
        first.unlink()  # nothing reads it again
        vectors = (state / "vectors.npy").read_bytes()
        for damaged in (
            vectors[:200] + bytes([vectors[200] ^ 1]) + vectors[201:],  # a value
            vectors[:20] + bytes([vectors[20] ^ 64]) + vectors[21:],  # the header
            vectors[:-1],
            b"",
        ):
            (state / "vectors.npy").write_bytes(damaged)
            with pytest.raises(Refusal, match=r"vectors\.npy is damaged: .* remove \.scratch"):
                copies.run(**options, time_out=Path("data/time.json"))
        (state / "vectors.npy").write_bytes(vectors)
        copies.run(**options, time_out=Path("data/time.json"))
        assert not list((tmp_path / ".scratch").iterdir()), "a finished run leaves no state"
    again = pd.read_parquet(tmp_path / "data/again/index.parquet")
    assert again.equals(whole)
