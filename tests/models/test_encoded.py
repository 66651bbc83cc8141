"""The encoded store: rows typed by split, shards that leave no trace, and files that are what was written."""

import contextlib
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import write_encoded

from alchemist.core import files, stateless
from alchemist.core.refusal import Refusal
from alchemist.models.batch import CaptionStates
from alchemist.models.encoded import Encoded, EvaluationRows, PoolRows, ValidationRows, Writer, join


def test_a_batch_holds_its_rows_and_the_empty_caption_where_dropped(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {"id": ["a", "b", "c"], "split": "pool", "text": [2, 1, 2], "lent": False, "cluster": 0}
    )
    tokens = np.arange(15, dtype=np.uint16).reshape(3, 5)
    states = [np.full((n, 4), value, np.float16) for n, value in ((1, 7), (3, 1), (2, 2))]
    store = write_encoded(tmp_path, rows, tokens, states)
    batch = store.batch(np.array([2, 1, 0]), np.array([False, False, True]))
    assert batch.inputs["tokens"].tolist() == tokens[[2, 1, 0]].tolist()
    assert batch.text.mask.tolist() == [[True, True, False], [True] * 3, [True, False, False]]
    assert torch.equal(batch.text.pooled, torch.tensor([[2.0] * 4, [1.0] * 4, [7.0] * 4]))
    assert batch.text.states[0, 2].eq(0).all()


def test_batches_do_not_depend_on_their_neighbours(data: Encoded) -> None:
    rows = np.array([3, 50, 7])
    whole = data.batch(rows, np.array([False, True, False]))
    for i, row in enumerate(rows):
        alone = data.batch(np.array([row]), np.array([i == 1]))
        length = int(alone.text.mask.sum())
        assert torch.equal(whole.inputs["tokens"][i], alone.inputs["tokens"][0])
        assert torch.equal(whole.text.states[i, :length], alone.text.states[0, :length])
        torch.testing.assert_close(whole.text.pooled[i], alone.text.pooled[0])
    null = data.null(1, 2)
    assert torch.equal(whole.text.states[1, :2], null.states[0])
    assert stateless.key("a", 1) != stateless.key("a", "1")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_nothing_stays_mapped_between_batches(data: Encoded) -> None:
    """A mapping that stays counts every page that it has read: memory would grow with the pool."""
    data.batch(np.arange(50))
    mapped = Path("/proc/self/maps").read_text()
    assert str(data.folder) not in mapped


def test_arrays_are_mapped_and_not_read(data: Encoded) -> None:
    assert isinstance(data._map("tokens", 0), np.memmap)
    assert isinstance(data._map("text", 0), np.memmap)


# --- rows by split ---


def test_each_split_has_rows_of_its_own_kind(data: Encoded) -> None:
    splits = data.rows["split"].to_numpy()
    for rows, kind, split in (
        (data.pool(), PoolRows, "pool"),
        (data.validation(), ValidationRows, "meta_val"),
        (data.evaluation(data.rows["id"][splits == "evaluation"]), EvaluationRows, "evaluation"),
    ):
        assert type(rows) is kind
        assert sorted(rows.numbers.tolist()) == np.flatnonzero(splits == split).tolist()
        assert len(rows) == (splits == split).sum() > 0


def test_rows_of_a_split_stand_in_an_order_of_their_ids_and_not_of_the_files(tmp_path: Path) -> None:
    """A pool whose pairs are lent and whose files are sorted, turned, or whose rows lie among others."""
    names = [f"sorted/{i:03d}" for i in range(60)]
    split = np.resize(["pool", "pool", "meta_val", "pretraining"], 60)
    table = pd.DataFrame({"id": names, "split": split, "text": 1, "lent": split == "meta_val", "cluster": 0})
    state = [np.ones((1, 4), np.float16)] * 2
    found = []
    for name, order in (("a", np.arange(60)), ("b", np.arange(60)[::-1]), ("c", np.argsort(split))):
        (tmp_path / name).mkdir()
        tokens = order[:, None].astype(np.uint16)
        store = write_encoded(tmp_path / name, table.iloc[order], tokens, state)
        kinds = (store.pool(), store.rated(), store.validation(), store.pretraining())
        found.append([store.rows["id"].iloc[rows.numbers].tolist() for rows in kinds])
        read = store.batch(kinds[0].numbers).inputs["tokens"][:, 0].tolist()
        assert [names[i] for i in read] == found[-1][0]
    assert found[0] == found[1] == found[2]
    pool = found[0][0]
    assert pool != sorted(pool)
    assert sum(a < b for a, b in pairwise(pool)) < 25, "no order of the ids' texts is left"


def test_rated_rows_are_those_of_the_pool_and_lent_ones_of_every_other_split(tmp_path: Path) -> None:
    splits = ["scorer", "pool", "meta_val", "pool", "meta_val", "pretraining"]
    lent = [True, False, True, False, False, True]
    rows = pd.DataFrame({"id": list("abcdef"), "split": splits, "text": 1, "lent": lent, "cluster": 0})
    tokens = np.zeros((6, 1), np.uint16)
    store = write_encoded(tmp_path, rows, tokens, [np.zeros((1, 4), np.float16)] * 2)
    numbers = store.rated().numbers
    assert list(numbers[:2]) == list(store.pool().numbers)
    assert sorted(numbers) == [0, 1, 2, 3, 5]


def test_a_subset_is_the_rows_of_its_ids_in_their_order(data: Encoded) -> None:
    ids = pd.Series(["pair-041", "pair-003", "pair-079"])
    rows = data.subset(ids)
    assert type(rows) is PoolRows
    assert rows.numbers.tolist() == [41, 3, 79]
    with pytest.raises(Refusal, match=r"prompts holds id 'pair-041', .* of the split evaluation or clean"):
        data.evaluation(ids)
    assert data.rows["id"].iloc[rows.numbers].tolist() == ids.tolist()


@pytest.mark.parametrize("strange", ["pair-080", "pair-100", "pair-119", "nobody"])
def test_a_subset_refuses_an_id_of_another_split_or_of_none(data: Encoded, strange: str) -> None:
    with pytest.raises(
        Refusal, match=f"id '{strange}', which is not among the encoded pairs of the split pool"
    ):
        data.subset(pd.Series(["pair-001", strange, "pair-002"]))


def test_positions_are_functions_of_the_ids(data: Encoded) -> None:
    whole = data.positions(np.arange(120))
    assert len(set(whole.tolist())) == 120
    assert data.positions(np.array([7, 3])).tolist() == [whole[7], whole[3]]
    assert whole.tolist() == stateless.id_positions(data.rows["id"]).tolist()


# --- shards ---

COUNT = 23


def table() -> pd.DataFrame:
    rng = stateless.generator("sharded")
    split = ["pool"] * 15 + ["meta_val"] * 4 + ["evaluation"] * 4
    return pd.DataFrame(
        {
            "id": [f"p{i}" for i in range(COUNT)],
            "split": split,
            "text": rng.integers(0, 9, COUNT),
            "lent": False,
            "cluster": 0,
        }
    )


def arrays() -> dict[str, np.ndarray]:
    """Whole numbers, fractions and bytes, of other shapes; a pair takes at most 12 bytes of one of them."""
    rng = stateless.generator("sharded arrays")
    return {
        "tokens": rng.integers(0, 60_000, (COUNT, 5)).astype(np.uint16),
        "latents": rng.normal(size=(COUNT, 2, 3)).astype(np.float16),
        "pixels": rng.integers(0, 256, (COUNT, 2, 2, 3)).astype(np.uint8),
    }


def states(pooled: bool = False) -> list[CaptionStates]:
    """Of nine captions, 12 bytes a word piece."""
    rng = stateless.generator("sharded states")
    made = [rng.normal(size=(1 + i % 4, 6)).astype(np.float16) for i in range(9)]
    return [(one, rng.normal(size=3).astype(np.float16) if pooled else None) for one in made]


def written(folder: Path, shard_bytes: int, at_once: int = COUNT, pooled: bool = False) -> Encoded:
    folder.mkdir(parents=True)
    made = arrays()
    with Writer(folder, shard_bytes, codec="c") as writer:
        writer.rows(table())
        for start in range(0, COUNT, at_once):
            writer.append({name: array[start : start + at_once] for name, array in made.items()})
        writer.captions(iter(states(pooled)))
    return Encoded(folder)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("rows_per_shard", [1, 5, 22, 23])
def test_several_shards_give_the_batches_of_one(tmp_path: Path, rows_per_shard: int, pooled: bool) -> None:
    one = written(tmp_path / "one", 10**6, pooled=pooled)
    several = written(tmp_path / "several", 12 * rows_per_shard, pooled=pooled)
    for name in arrays():
        assert len(list(several.folder.glob(f"{name}-*"))) == -(-COUNT // rows_per_shard)
    assert len(list(one.folder.glob("text-*"))) == 1
    assert len(list(several.folder.glob("pooled-*"))) == (
        len(list(several.folder.glob("text-*"))) if pooled else 0
    )
    assert len(list(several.folder.glob("text-*"))) == {1: 9, 5: 4, 22: 1, 23: 1}[rows_per_shard]
    rng = stateless.generator("rows of a batch")
    for numbers in (np.arange(COUNT), rng.permutation(COUNT), rng.integers(0, COUNT, 40), np.array([22])):
        dropped = rng.random(len(numbers)) < 0.3
        first, second = one.batch(numbers, dropped), several.batch(numbers, dropped)
        for name, value in first.inputs.items():
            assert torch.equal(second.inputs[name], value)
        for name, value in vars(first.text).items():
            assert torch.equal(getattr(second.text, name), value)
    numbers = rng.permutation(COUNT)
    inputs, made = several.batch(numbers).inputs, arrays()
    for name, kind in (("tokens", torch.int64), ("latents", torch.float32), ("pixels", torch.uint8)):
        assert inputs[name].dtype == kind
        assert np.array_equal(inputs[name].numpy(), made[name][numbers])


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("shard_bytes", [12, 60, 10**6])
def test_folders_that_are_joined_give_the_batches_of_each(
    tmp_path: Path, shard_bytes: int, pooled: bool
) -> None:
    """Twice the same, behind one another; at 12 bytes the last caption fills a shard."""
    one = written(tmp_path / "one", shard_bytes, pooled=pooled)
    shutil.copytree(one.folder, tmp_path / "two")
    (tmp_path / "joined").mkdir()
    join([one.folder, tmp_path / "two"], tmp_path / "joined")
    both = Encoded(tmp_path / "joined")
    for name in ("row_shards", "caption_shards"):
        assert len(both.manifest[name]) == 2 * len(one.manifest[name])
    rng = stateless.generator("rows of a batch")
    for numbers in (np.arange(COUNT), rng.integers(0, COUNT, 40)):
        for shift in (0, COUNT):
            first, second = one.batch(numbers), both.batch(numbers + shift)
            for name, value in first.inputs.items():
                assert torch.equal(second.inputs[name], value)
            for name, value in vars(first.text).items():
                assert torch.equal(getattr(second.text, name), value)


@pytest.mark.parametrize("pooled", [False, True])
def test_a_pooled_vector_is_the_encoders_own_or_the_mean_of_the_states(tmp_path: Path, pooled: bool) -> None:
    store, made = written(tmp_path / "store", 60, pooled=pooled), states(pooled)
    captions = np.array([7, 0, 7, 3])
    text = store.text(captions)
    for row, caption in enumerate(captions):
        one, vector = made[caption]
        assert torch.equal(text.states[row, : len(one)], torch.from_numpy(one).float())
        assert text.mask[row].tolist() == [place < len(one) for place in range(text.mask.shape[1])]
        wanted = one.astype(np.float32).mean(0) if vector is None else vector.astype(np.float32)
        np.testing.assert_allclose(text.pooled[row].numpy(), wanted, rtol=0, atol=1e-6)


def test_appends_of_any_size_give_equal_bytes(tmp_path: Path) -> None:
    digests = []
    for at_once in (1, 3, 7, COUNT):
        store = written(tmp_path / str(at_once), 60, at_once, pooled=True)
        digests.append({path.name: files.sha256(path) for path in store.folder.iterdir()})
    assert all(found == digests[0] for found in digests)
    assert len(digests[0]) == 3 * 5 + 2 * 4 + 3, "arrays; states, pooled; rows, offsets, manifest"


def test_the_manifest_tells_what_was_written_and_by_what(tmp_path: Path) -> None:
    store = written(tmp_path / "store", 60, 3)
    assert store.manifest["arrays"] == ["latents", "pixels", "tokens"]
    assert store.manifest["codec"] == "c"
    assert {name for name in store.manifest["files"] if name.startswith("tokens")} == {
        f"tokens-0000{i}.npy" for i in range(5)
    }


def test_a_folder_whose_writing_failed_has_no_manifest(tmp_path: Path) -> None:
    class FailedError(Exception):
        pass

    with contextlib.suppress(FailedError), Writer(tmp_path) as writer:
        writer.rows(table())
        raise FailedError
    with pytest.raises(Refusal, match=r"has no manifest\.json"):
        Encoded(tmp_path)


def test_a_shard_with_a_flipped_byte_is_refused(tmp_path: Path) -> None:
    store = written(tmp_path / "store", 60, 3)
    path = store.folder / "latents-00002.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(Refusal, match=r"latents-00002\.npy is not the file that its manifest describes"):
        Encoded(store.folder)


def test_what_is_no_number_is_not_written_and_told_with_its_id(tmp_path: Path) -> None:
    """As latents that overflow 16 bits are not."""
    rows = pd.DataFrame({"id": list("abcdef"), "split": "pool", "text": 0, "lent": False, "cluster": 0})
    with Writer(tmp_path) as writer:
        writer.rows(rows)
        writer.append({"x": np.ones((2, 3), np.float16), "n": np.ones((2, 1), np.uint8)})
        wrong = np.ones((3, 3), np.float16)
        wrong[1] = np.inf
        with pytest.raises(Refusal, match=r"the x of 1 of 3 pairs is not finite: 'd'; the codec's weights"):
            writer.append({"x": wrong, "n": np.ones((3, 1), np.uint8)})
        with pytest.raises(Refusal, match="the states of caption 2 of those encoded are not finite;"):
            writer.captions([(np.ones((2, 4), np.float16), None), (np.full((2, 4), np.nan), None)])
        writer.append({"x": np.ones((4, 3), np.float16), "n": np.ones((4, 1), np.uint8)})
        writer.captions([(np.ones((2, 4), np.float16), None)])
