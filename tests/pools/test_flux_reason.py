import math

import pyarrow as pa
import pytest
from pool_helpers import outcomes, user_pool
from published import flux_reason_shard as write

from alchemist.core.refusal import Refusal
from alchemist.pools import base
from alchemist.pools.place import Cell
from alchemist.pools.read import ADAPTERS, expected, records, rows

CAPTIONS = ("caption_detail", "caption_original", "caption_style_cn")


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "Aesthetics-Part01/train-00000-of-00415.parquet")
    write(tmp_path / "Text/train-00000-of-00143.parquet", 3, 2)
    return tmp_path


def test_ids_captions_and_scores_are_those_of_the_columns(folder):
    found = list(rows(user_pool(folder, "flux_reason"), 1))
    assert [row.id for row in found] == [f"aesthetics-part01-{i:08d}" for i in range(5)]
    assert [row.caption for row in found] == [f"detail {i}" for i in range(5)]
    assert [row.extra for row in found] == [{"score_style": i / 2, "score_text": float(i)} for i in range(5)]
    assert not any(row.reason for row in found)
    assert expected(user_pool(folder, "flux_reason")) == 5
    bare = user_pool(folder, "flux_reason", columns={"scores": None})
    assert [row.extra for row in rows(bare, 1)] == [{}] * 5


def test_images_stay_in_their_cells(folder):
    found = list(ADAPTERS["flux_reason"].read(user_pool(folder, "flux_reason")))
    first, second = sorted(folder.rglob("*.parquet"))
    places = [(first, 0), (first, 1), (first, 2), (second, 0), (second, 1)]
    assert [pair.image for pair in found] == [Cell(path, "image", row) for path, row in places]


def test_the_caption_is_the_first_that_is_not_empty(tmp_path):
    write(
        tmp_path / "a.parquet", count=4, caption_detail=[None, " ", "detail", None],
        caption_original=[None, "original", "original", ""], score_style=[1.0, None, 2.0, 3.0],
    )  # fmt: skip
    pool = user_pool(tmp_path, "flux_reason", columns={"captions": list(CAPTIONS)})
    found = list(rows(pool, 1))
    assert [row.caption for row in found] == ["风格 0", "original", "detail", "风格 3"]
    assert [math.isnan(row.extra["score_style"]) for row in found] == [False, True, False, False]
    alone = outcomes(user_pool(tmp_path, "flux_reason"))
    assert list(alone.values()) == [base.MISSING_CAPTION, base.EMPTY_CAPTION, "", base.MISSING_CAPTION]


def test_every_row_has_an_outcome(tmp_path):
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [{"bytes": None, "path": "x"}, None, {"bytes": b"x", "path": None}]
    write(tmp_path / "a.parquet", image=pa.array(cells, image), id=["one", None, "two"])
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no parquet")
    write(tmp_path / "c.parquet", 5, 0)
    write(tmp_path / "d.parquet", 9, 1)
    assert outcomes(user_pool(tmp_path, "flux_reason")) == {
        "one": base.MISSING_IMAGE, "a.parquet:1": base.MISSING_IMAGE, "two": base.UNREADABLE_IMAGE,
        "b.parquet": base.UNREADABLE_FILE, "aesthetics-part01-00000009": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "columns", "told"),
    [
        ({"id": None}, {}, r"columns.id is 'id', which .*b\.parquet lacks"),
        ({"caption_detail": None}, {}, r"columns.captions is 'caption_detail', which .*b\.parquet lacks"),
        ({"score_text": None}, {}, r"columns.scores is 'score_text', which .*b\.parquet lacks"),
        ({}, {"scores": "rating_"}, r"columns.scores is 'rating_', and no column of numbers of .*a\.parquet"),
        ({}, {"scores": "score_reason"}, r"columns.scores is 'score_reason', and no column of numbers"),
        ({"image": ["x"] * 3}, {}, r"columns.image is 'image', which is of type string in .*b\.parquet"),
    ],
)
def test_wrong_columns_are_refused_before_anything_is_read(tmp_path, changes, columns, told):
    write(tmp_path / "a.parquet")
    write(tmp_path / "b.parquet", 3, **changes)
    with pytest.raises(Refusal, match=told):
        next(records(user_pool(tmp_path, "flux_reason", columns=columns)))


def test_a_folder_without_shards_is_refused(tmp_path):
    with pytest.raises(Refusal, match=r"holds no file with the suffix \.parquet"):
        next(records(user_pool(tmp_path, "flux_reason")))
    (tmp_path / "a.parquet").write_bytes(b"")
    assert outcomes(user_pool(tmp_path, "flux_reason")) == {"a.parquet": base.UNREADABLE_FILE}
    with pytest.raises(Refusal, match=r"no usable pair for its split pool \(1 x unreadable parquet file\)"):
        list(rows(user_pool(tmp_path, "flux_reason"), 1))
