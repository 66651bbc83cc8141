"""What pages.py reads of headers against what pyarrow wrote, and what is concluded of them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alchemist.core.stateless import generator
from alchemist.pools import thrift
from alchemist.pools.pages import footer, layout
from alchemist.pools.place import Cell, HeavyPages, TooLarge, fetch

MOST = 200_000_000


def written(path, table, **options):
    pq.write_table(pa.table(table), path, **options)
    return footer(path)


def noise(count, size):
    return [generator("pages", number).bytes(size) for number in range(count)]


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", ["none", "snappy", "zstd"])
def test_pages_are_told_by_their_headers(tmp_path, version, codec):
    group = written(
        tmp_path / "a.parquet", {"image": noise(250, 3000)}, use_dictionary=False, compression=codec,
        data_page_version=version, data_page_size=200_000, write_batch_size=50, write_statistics=True,
    )  # fmt: skip
    (column,) = layout(group, 0, ["image"]).columns
    assert column.firsts == {0, 100, 200}  # pages end after the batch that makes them larger than 200,000
    assert column.fewest == 100
    assert 100 * 3004 <= column.page <= 100 * 3004 + 100
    assert column.dictionary == column.widest == 0


def test_a_dictionary_counts_for_every_row(tmp_path):
    group = written(tmp_path / "a.parquet", {"image": noise(1, 100_000) * 64, "caption": ["x"] * 64})
    found = layout(group, 0, ["image"])
    assert found.columns[0].dictionary == 100_004
    assert found.at_once(64, MOST, 10_000_000) == 64
    assert found.at_once(64, MOST, 3_000_000) == 16
    assert found.at_once(64, MOST, 1) == 1
    assert found.at_once(64, 180_000, 10_000_000) == 0
    assert found.at_once(64, 190_000, 10_000_000) == 64


def test_values_that_repeat_the_one_before_count_as_their_page(tmp_path):
    group = written(
        tmp_path / "a.parquet", {"image": [b"x" * 100_000] * 64}, use_dictionary=False,
        column_encoding={"image": "DELTA_BYTE_ARRAY"},
    )  # fmt: skip
    (column,) = layout(group, 0, ["image"]).columns
    assert column.page < 110_000
    assert column.dense(64) > 64 * 100_000


def test_parts_of_a_struct_and_lists_count_together(tmp_path):
    cells = [{"bytes": content, "path": "x" * 1000} for content in noise(20, 5000)]
    group = written(
        tmp_path / "a.parquet", {"image": cells, "imagery": noise(20, 9000)}, use_dictionary=False
    )
    found = layout(group, 0, ["image"])
    assert len(found.columns) == 2
    assert 20 * 6000 < sum(column.page for column in found.columns) < 20 * 6050
    group = written(tmp_path / "b.parquet", {"image": [[0] * 100_000] * 20})
    assert layout(group, 0, ["image"]).columns[0].page >= 20 * 100_000 * 8


def test_a_footer_and_headers_that_lie_end_in_no_error(tmp_path):
    path = tmp_path / "a.parquet"
    group = written(path, {"image": noise(40, 3000)}, use_dictionary=False)
    whole = bytearray(path.read_bytes())
    for number in range(200):
        content = bytearray(whole)
        places = np.random.default_rng(number).integers(0, 60, 3)
        content[4 + int(places[0])] ^= 1 << number % 8
        content[4 + int(places[1])] = number
        path.write_bytes(content)
        assert layout(group, 0, ["image"]).at_once(64, MOST, 10) in (0, 1)
    path.write_bytes(whole[:50])
    assert layout(group, 0, ["image"]).columns[0].page > 0


def test_a_footer_says_what_arrow_says_of_it(tmp_path):
    cells = [{"bytes": content, "path": "x"} for content in noise(20, 500)]
    table = pa.table({"image": cells, "a.b": [[1, 2]] * 20, "caption": ["x"] * 20, "flag": [True] * 20})
    for options in ({}, {"use_dictionary": False, "compression": "none", "data_page_version": "2.0"}):
        pq.write_table(table, tmp_path / "a.parquet", row_group_size=7, **options)
        told = pq.ParquetFile(tmp_path / "a.parquet").metadata
        found = footer(tmp_path / "a.parquet").groups
        assert [rows for rows, _ in found] == [7, 7, 6]
        for number, (_, chunks) in enumerate(found):
            columns = [told.row_group(number).column(i) for i in range(told.num_columns)]
            for chunk, column in zip(chunks, columns, strict=True):
                start = column.dictionary_page_offset or column.data_page_offset
                assert (chunk.name, chunk.start) == (column.path_in_schema, start)
                assert (chunk.compressed, chunk.size) == (
                    column.total_compressed_size, column.total_uncompressed_size,
                )  # fmt: skip
                assert chunk.values == column.num_values


def test_fields_of_a_struct_by_hand():
    # 1: -1 (zigzag), 3: 300 in two bytes, 5: a struct with 1: 4; a string, a list and a truth value between.
    header = bytes([0x15, 1, 0x25, 0xD8, 4, 0x18, 2, 65, 66, 0x1C, 0x15, 8, 0, 0x19, 0x25, 2, 4, 0x11, 0])
    fields, end = thrift.struct(header + b"rest", 0, {1: None, 3: None, 5: {1: None}})
    assert end == len(header)
    assert fields == {1: -1, 3: 300, 5: {1: 4}}
    fields, _ = thrift.struct(header, 0, {4: None, 6: thrift.Each(None, str)})
    assert fields == {4: b"AB", 6: ["1", "2"]}
    for asked in ({5: None}, {1: {}}, {4: thrift.Each(None)}):
        with pytest.raises(ValueError, match="another type"):
            thrift.struct(header, 0, asked)
    with pytest.raises(IndexError):
        thrift.struct(header[:9], 0, {})
    with pytest.raises(ValueError, match="too deep"):
        thrift.struct(b"\x1c" * 100, 0, {})


def test_what_is_too_large_is_told_and_all_else_of_the_file_is_read(tmp_path):
    small = noise(8, 10_000)
    large = [small[0], b"x" * 1_100_000, *small[1:4]]
    with pq.ParquetWriter(
        tmp_path / "a.parquet", pa.schema([("image", pa.binary())]), use_dictionary=False
    ) as file:
        for values in (large, [b"y" * 200_000] * 8, small):
            file.write_table(pa.table({"image": values}))
    # Of 2 MB, pages may take 1.2 and an image 1.
    cells = [Cell(tmp_path / "a.parquet", "image", row) for row in range(21)]
    assert [fetch(cells[row], 2) for row in (0, 2, 3, 4)] == [large[0], *large[2:]]
    with pytest.raises(TooLarge, match="1,100,000 bytes at row 1"):
        fetch(cells[1], 2)
    assert fetch(cells[1]) == large[1]
    for cell in cells[5:13]:
        with pytest.raises(HeavyPages, match=r"a\.parquet has pages too large"):
            fetch(cell, 2)
    assert [fetch(cell, 2) for cell in cells[13:]] == small
    assert [fetch(cell) for cell in cells[5:13]] == [b"y" * 200_000] * 8
