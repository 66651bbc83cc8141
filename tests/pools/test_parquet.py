from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pool_helpers import encoded, outcomes, picture, user_pool

from alchemist.core.refusal import Refusal
from alchemist.pools import base, parquet
from alchemist.pools.place import fetch
from alchemist.pools.read import expected, records


def write_parquet(path, image, caption, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": image, "caption": caption, **columns}), path, row_group_size=3)


IMAGES = [encoded(picture(0)), None, b"x", encoded(picture(3)), encoded(picture(4)), encoded(picture(5))]


CAPTIONS = ["zero", "one", "two", None, " ", "five"]


PARQUET = [
    "",
    base.MISSING_IMAGE,
    base.UNREADABLE_IMAGE,
    base.MISSING_CAPTION,
    base.EMPTY_CAPTION,
    "",
]


@pytest.mark.parametrize("shape", ["bytes", "large", "struct", "nullstruct"])
def test_parquet_gives_every_row_an_outcome(tmp_path, shape):
    if shape == "bytes":
        image = pa.array(IMAGES)
    elif shape == "large":
        image = pa.array(IMAGES, pa.large_binary())
    else:
        cells = [
            None if shape == "nullstruct" and b is None else {"bytes": b, "path": "x.png"} for b in IMAGES
        ]
        image = pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    write_parquet(tmp_path / "sub/a.parquet", image, CAPTIONS)
    found = outcomes(user_pool(tmp_path, "parquet"))
    assert found == {f"sub/a.parquet:{i}": reason for i, reason in enumerate(PARQUET)}
    assert expected(user_pool(tmp_path, "parquet")) == 6


def test_parquet_ids(tmp_path):
    ids = [7, 8, None, 7, 9, 10]
    write_parquet(tmp_path / "a.parquet", IMAGES, CAPTIONS, number=ids)
    write_parquet(tmp_path / "b.parquet", [encoded(picture(9))], ["nine"], number=[8])
    columns = {"image": "image", "caption": "caption", "id": "number"}
    found = outcomes(user_pool(tmp_path, "parquet", columns=columns))
    assert list(found) == ["7", "8", "a.parquet:2", "7#2", "9", "10", "8#2"]
    assert found["7#2"] == found["8#2"] == base.DUPLICATE_ID


def test_parquet_text_that_is_not_utf8(tmp_path):
    text = pa.StringArray.from_buffers(
        2, pa.py_buffer(np.array([0, 2, 4], np.int32)), pa.py_buffer(b"ok\xf6\xf6")
    )
    write_parquet(tmp_path / "a.parquet", [encoded(picture(0)), encoded(picture(1))], text)
    found = outcomes(user_pool(tmp_path, "parquet"))
    assert list(found.values()) == ["", base.UNREADABLE_CAPTION]


def test_a_broken_parquet_file_spoils_no_other(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no parquet")
    pictures = [encoded(picture(i)) for i in range(9)]
    write_parquet(tmp_path / "b.parquet", pictures, [str(i) for i in range(9)])
    content = bytearray((tmp_path / "b.parquet").read_bytes())
    middle = pq.ParquetFile(tmp_path / "b.parquet").metadata.row_group(1).column(0)
    start = middle.dictionary_page_offset or middle.data_page_offset
    content[start : start + 60] = b"\xff" * 60
    (tmp_path / "b.parquet").write_bytes(content)
    write_parquet(tmp_path / "c.parquet", [encoded(picture(20))], ["whole"])
    found = outcomes(user_pool(tmp_path, "parquet"))
    assert found["a.parquet"] == base.UNREADABLE_FILE
    assert found["c.parquet:0"] == ""
    assert [name for name in found if name.startswith("b.")] == [f"b.parquet:{i}" for i in range(9)]
    assert Counter(found.values())[base.UNREADABLE_FILE] >= 4


def test_parquet_columns_are_checked_before_anything_is_read(tmp_path):
    write_parquet(tmp_path / "a.parquet", IMAGES, CAPTIONS)
    pq.write_table(pa.table({"image": IMAGES, "text": CAPTIONS}), tmp_path / "b.parquet")
    with pytest.raises(Refusal, match=r"columns.caption is 'caption', which .*b.parquet lacks.*image, text"):
        next(records(user_pool(tmp_path, "parquet")))
    columns = {"image": "caption", "caption": "image", "id": None}
    (tmp_path / "b.parquet").unlink()
    with pytest.raises(Refusal, match=r"columns.image is 'caption', which is of type string"):
        next(records(user_pool(tmp_path, "parquet", columns=columns)))


def test_a_files_rows_are_not_held_once_they_are_read(tmp_path):
    """Arrow's memory while a file of 64 row groups of 256 KiB is read: a few of them, not the file."""
    images = [bytes([row]) * 65_536 for row in range(256)]
    table = pa.table({"image": images, "caption": [str(row) for row in range(256)]})
    # Plain, or the pages of equal bytes would be small.
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=4, use_dictionary=False, compression="none")
    del table
    before, peak = pa.total_allocated_bytes(), 0
    for found in parquet.read(user_pool(tmp_path, "parquet")):
        assert len(fetch(found.image)) == 65_536
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert peak < 8 * 2**20


def test_a_file_whose_last_row_was_read_holds_none_and_is_read_again(tmp_path):
    images = [bytes([row]) * 65_536 for row in range(64)]
    table = pa.table({"image": images, "caption": [str(row) for row in range(64)]})
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=False, compression="none")
    del table
    before = pa.total_allocated_bytes()
    places = [found.image for found in parquet.read(user_pool(tmp_path, "parquet"))]
    for _ in range(2):
        assert [fetch(place) for place in places] == images
        assert pa.total_allocated_bytes() - before < 2**18
    assert fetch(places[-1]) == images[-1]


def test_a_row_group_that_is_too_large_spoils_no_other(tmp_path):
    good = [encoded(picture(i)) for i in range(6)]
    schema = pa.schema([("image", pa.binary()), ("caption", pa.string())])
    with pq.ParquetWriter(tmp_path / "a.parquet", schema, use_dictionary=False, compression="zstd") as file:
        for images, captions in (
            (good[:2], ["a", "b"]),
            ([b"x" * 700_000] * 2, ["c", "d"]),  # of a megabyte, pages may take 600,000 bytes
            (good[2:4], ["e", "x" * 700_000]),
            (good[4:], ["g", "y" * 450_000]),
        ):
            file.write_table(pa.table([images, captions], schema))
    found = outcomes(user_pool(tmp_path, "parquet", largest=1))
    wanted = ["", "", *[base.HEAVY_ROWS] * 4, "", base.LONG_CAPTION]
    assert found == {f"a.parquet:{row}": reason for row, reason in enumerate(wanted)}
    assert set(outcomes(user_pool(tmp_path, "parquet")).values()) == {
        "", base.UNREADABLE_IMAGE, base.LONG_CAPTION,
    }  # fmt: skip


def test_what_else_a_struct_holds_need_not_be_text(tmp_path):
    cells = [{"bytes": encoded(picture(0)), "path": b"\xff\xfe"}]
    image = pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.binary())]))
    path = image.field("path").view(pa.string())
    write_parquet(
        tmp_path / "a.parquet",
        pa.StructArray.from_arrays([image.field("bytes"), path], ["bytes", "path"]),
        ["a"],
    )
    assert outcomes(user_pool(tmp_path, "parquet")) == {"a.parquet:0": ""}


def test_a_footer_that_claims_gigabytes_is_not_read(tmp_path):
    assert parquet.opened(tmp_path) is None
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + bytes(20) + b"\xff\xff\xff\x7fPAR1")
    write_parquet(tmp_path / "b.parquet", [encoded(picture(0))], ["a"])
    assert outcomes(user_pool(tmp_path, "parquet")) == {"a.parquet": base.UNREADABLE_FILE, "b.parquet:0": ""}


def test_a_column_whose_name_is_no_text_makes_an_unreadable_file(tmp_path):
    write_parquet(tmp_path / "a.parquet", [encoded(picture(0))], ["a"], other=[1])
    write_parquet(tmp_path / "b.parquet", [encoded(picture(0))], ["a"])
    content = (tmp_path / "a.parquet").read_bytes().replace(b"other", b"oth\x99r")
    (tmp_path / "a.parquet").write_bytes(content)
    assert outcomes(user_pool(tmp_path, "parquet")) == {"a.parquet": base.UNREADABLE_FILE, "b.parquet:0": ""}
