import itertools
import os
import pickle
import shutil
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kept_helpers import FORMATS, image, many, number_of, select, selection
from torch.utils.data import DataLoader

from alchemist.core.refusal import Refusal
from alchemist.kept.loader import KeptPairs
from alchemist.pools import place

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than cores
SMALL = {"block": 4, "mixed": 3}  # windows of 12 of 40 pairs


def pairs(tmp_path, **changes):
    return KeptPairs(tmp_path / "kept", **{"batch": 4, "seed": 3, "epochs": 2, **SMALL, **changes})


def batches(dataset, workers=0, **options):
    options = {"collate_fn": list, **options}
    return list(DataLoader(dataset, batch_size=dataset.batch, num_workers=workers, **options))


def ids(items):
    return [item["id"] for item in items]


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_every_kept_pair_comes_once_an_epoch_with_its_own_bytes(tmp_path, source, ahead):
    kept = {pair.id: pair for pair in selection(tmp_path, source)}
    found = list(pairs(tmp_path, ahead=ahead, batch=7))
    assert [item["position"] for item in found] == list(range(80))
    for epoch in (found[:40], found[40:]):
        assert sorted(ids(epoch)) == sorted(kept)
        assert ids(epoch) != sorted(kept)
    for item in found:
        pair = kept[item["id"]]
        assert item == {
            "position": item["position"], "id": pair.id, "caption": pair.caption, "rating": pair.rating,
            "image": image(number_of(item)),
        }  # fmt: skip


@pytest.mark.parametrize("source", FORMATS)
def test_workers_ranks_and_reading_ahead_change_no_batch(tmp_path, source):
    selection(tmp_path, source)
    plain = batches(pairs(tmp_path, batch=6))  # 80 pairs: the last batch is short
    assert list(map(len, plain)) == [6] * 13 + [2]
    for workers in (1, 3):
        assert batches(pairs(tmp_path, batch=6, ahead=workers - 1), workers) == plain
    for ranks in (2, 3):
        parts = [batches(pairs(tmp_path, batch=6 // ranks, rank=rank, ranks=ranks)) for rank in range(ranks)]
        steps = [
            list(itertools.chain.from_iterable(step)) for step in itertools.zip_longest(*parts, fillvalue=())
        ]
        assert steps == plain


@pytest.mark.parametrize(("workers", "after"), [(0, (0, 1, 2, 7, 12, 13)), (2, (1, 7, 13)), (3, (1, 2))])
def test_a_run_goes_on_at_any_step_as_if_unbroken(tmp_path, workers, after):
    selection(tmp_path, "webdataset")
    options = {"batch": 2, "ranks": 3, "rank": 1}
    unbroken = batches(pairs(tmp_path, **options))
    for steps in after:
        assert batches(pairs(tmp_path, start=6 * steps, **options), workers) == unbroken[steps:]
    assert batches(pairs(tmp_path, start=600, **options)) == []


def test_without_an_end_the_order_goes_on_and_no_epoch_repeats_another(tmp_path):
    selection(tmp_path, "webdataset")
    endless = pairs(tmp_path, epochs=None)
    found = ids(itertools.islice(endless, 200))
    epochs = [found[first : first + 40] for first in range(0, 200, 40)]
    assert len({tuple(epoch) for epoch in epochs}) == 5
    assert all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs)
    assert found[:80] == ids(pairs(tmp_path))
    assert ids(itertools.islice(endless, 200)) == found  # every pass is the same
    assert found != ids(itertools.islice(pairs(tmp_path, epochs=None, seed=4), 200))


def test_a_selection_smaller_than_a_step(tmp_path):
    selection(tmp_path, "webdataset", keep=lambda number: number in (3, 59))
    found = batches(pairs(tmp_path, batch=5, epochs=4), workers=2)
    assert [len(batch) for batch in found] == [5, 3]
    numbers = [number_of(item) for batch in found for item in batch]
    assert [sorted(numbers[i : i + 2]) for i in range(0, 8, 2)] == [[3, 59]] * 4


def upper(item):
    return item["position"], item["caption"].upper()


def test_work_is_done_on_every_pair_and_a_started_process_reads_the_same(tmp_path):
    selection(tmp_path, "parquet")
    dataset = pairs(tmp_path, work=upper)
    found = list(dataset)
    assert found == [upper(item) for item in pairs(tmp_path)]
    assert len(pickle.dumps(dataset)) < 2000
    assert list(pickle.loads(pickle.dumps(dataset))) == found


def test_a_loader_collates_what_it_is_given(tmp_path):
    selection(tmp_path, "webdataset")
    first = next(iter(DataLoader(pairs(tmp_path), batch_size=4)))
    assert first["position"].tolist() == [0, 1, 2, 3]
    assert [len(first[name]) for name in ("id", "caption", "rating", "image")] == [4] * 4
    assert isinstance(first["image"][0], bytes)


@pytest.mark.parametrize("source", FORMATS)
def test_a_copy_of_the_files_is_read_where_it_lies(tmp_path, source):
    selection(tmp_path, source)
    wanted = list(pairs(tmp_path))
    shutil.move(tmp_path / "mine", tmp_path / "elsewhere")
    with pytest.raises(Refusal, match="is missing, where the image of"):
        list(pairs(tmp_path))
    assert list(pairs(tmp_path, root=tmp_path / "elsewhere")) == wanted


def refusal(tmp_path, **options):
    with pytest.raises(Refusal) as told:
        list(pairs(tmp_path, **options))
    text = str(told.value)
    assert "\n" not in text
    assert text.count(". ") == 0
    return text


@pytest.mark.parametrize("ahead", [0, 2])
def test_a_changed_a_shorter_and_a_lost_file_are_told_in_a_sentence(tmp_path, ahead):
    kept = selection(tmp_path, "webdataset")
    last = kept[-1].place
    content = bytearray(last.file.read_bytes())
    content[last.offset + last.size - 1] ^= 1
    last.file.write_bytes(content)
    text = refusal(tmp_path, ahead=ahead)
    assert f"{last.file} holds another image" in text
    assert kept[-1].id in text
    content[last.offset + last.size - 1] ^= 1
    content[last.offset - 1] ^= 1  # of no image
    last.file.write_bytes(content)
    assert len(list(pairs(tmp_path, ahead=ahead))) == 80
    os.truncate(last.file, last.offset + last.size - 1)
    text = refusal(tmp_path, ahead=ahead)
    assert f"{last.file} ends before byte {last.offset + last.size}" in text
    assert kept[-1].id in text
    last.file.unlink()
    assert f"{last.file} is missing, where the image of" in refusal(tmp_path, ahead=ahead)
    last.file.mkdir()
    assert f"{last.file} cannot be read" in refusal(tmp_path, ahead=ahead)


def test_a_changed_table_is_told_in_a_sentence(tmp_path):
    kept = selection(tmp_path, "parquet")
    file = kept[-1].place.file
    table = pq.read_table(file)
    for changed, words in (
        (table.slice(0, 5), "has 5 rows"),
        (table.drop_columns("image"), "has no column image"),
        (table.set_column(0, "image", pa.nulls(len(table), pa.binary())), "holds another image"),
        (table.set_column(0, "image", pa.array([image(7)] * len(table))), "another image"),
    ):
        pq.write_table(changed, file, row_group_size=6)
        text = refusal(tmp_path)
        assert words in text
        assert str(file) in text
    file.write_bytes(b"PAR1")
    assert f"{file} cannot be read" in refusal(tmp_path)


def test_a_worker_refuses_too(tmp_path):
    kept = selection(tmp_path, "webdataset")
    kept[0].place.file.unlink()
    with pytest.raises(Refusal, match=r"00000\.tar is missing, where the image of"):
        batches(pairs(tmp_path), workers=2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 0}, "batch is 0; legal are whole numbers from 1 on."),
        ({"batch": 2.0}, "batch is 2.0; legal are whole numbers from 1 on."),
        ({"ranks": 0}, "ranks is 0; legal are whole numbers from 1 on."),
        ({"rank": 2, "ranks": 2}, "rank is 2; legal are 0 to 1, since ranks is 2."),
        ({"rank": -1}, "rank is -1; legal are whole numbers from 0 on."),
        ({"start": -4}, "start is -4; legal are whole numbers from 0 on."),
        ({"start": 14, "ranks": 3}, "start is 14; legal are multiples of the 12 pairs of a step, as 12."),
        ({"epochs": 0}, "epochs is 0; legal are whole numbers from 1 on."),
        ({"block": 0}, "block is 0; legal are whole numbers from 1 on."),
        ({"mixed": None}, "mixed is null; legal are whole numbers from 1 on."),
        ({"ahead": True}, "ahead is true; legal are whole numbers from 0 on."),
        ({"seed": "a"}, "seed is 'a'; legal are whole numbers."),
    ],
)  # fmt: skip
def test_wrong_arguments_are_told_with_what_is_legal(tmp_path, changes, words):
    with pytest.raises(Refusal) as told:
        pairs(tmp_path, **changes)
    assert str(told.value) == words


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts this system's open files")
def test_few_files_are_open_and_none_for_who_stops_early(tmp_path, monkeypatch):
    monkeypatch.setattr("alchemist.kept.reader.OPEN", 5)
    selection(tmp_path, "folder")
    before = len(os.listdir("/proc/self/fd"))
    dataset = pairs(tmp_path, epochs=None)
    opened = len(os.listdir("/proc/self/fd"))
    found = iter(dataset)
    for _ in range(90):
        next(found)
        assert len(os.listdir("/proc/self/fd")) <= opened + 5 + 2  # each of two threads may open one
    found.close()
    assert len(os.listdir("/proc/self/fd")) == opened
    del dataset, found
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_row_groups_are_decoded_once_for_a_window(tmp_path, monkeypatch, ahead):
    """Of three files of 20 rows, in groups of 6, 6, 6 and 2."""
    selection(tmp_path, "parquet", keep=lambda number: True)
    opened, open_group = [], place._Column._open

    def counted(self, group):
        opened.append(group)
        open_group(self, group)

    monkeypatch.setattr(place._Column, "_open", counted)
    place._column.cache_clear()
    assert len(list(pairs(tmp_path, block=10, mixed=6, epochs=1, ahead=ahead))) == 60  # in one window
    assert len(opened) == 12
    opened.clear()
    assert len(list(pairs(tmp_path, block=10, mixed=1, epochs=20, ahead=ahead))) == 1200
    # Rows 0 to 9 and 10 to 19 of a file are of two and of three groups; one may have been open before.
    assert 20 * 15 - 120 <= len(opened) <= 20 * 15


def test_memory_is_flat_in_the_number_of_pairs(tmp_path):
    peaks = []
    for count in (3_000, 30_000):
        select(tmp_path / "kept", many(tmp_path, count), {"mine": tmp_path})
        tracemalloc.start()
        dataset = KeptPairs(
            tmp_path / "kept", batch=50, seed=0, start=count // 2 // 50 * 50, block=50, mixed=10
        )
        assert all(item["image"] == b"image" for item in itertools.islice(dataset, 3_000))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 50_000  # a number a row would be 216,000 more
