import tarfile
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pool_helpers import write_tar

from alchemist.pools import place
from alchemist.pools.place import Cell, Span, Unreadable, fetch, read_each


def test_a_span_is_a_file_or_a_part_of_one(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(range(100)))
    assert fetch(Span(tmp_path / "a.bin")) == bytes(range(100))
    assert fetch(Span(tmp_path / "a.bin", 10, 5)) == bytes(range(10, 15))
    assert fetch(Span(tmp_path / "a.bin", 90, 10)) == bytes(range(90, 100))
    with pytest.raises(Unreadable, match=r"a\.bin ends before byte 101"):
        fetch(Span(tmp_path / "a.bin", 90, 11))
    with pytest.raises(Unreadable, match=r"b\.bin is missing"):
        fetch(Span(tmp_path / "b.bin"))
    with pytest.raises(Unreadable, match="cannot be read"):
        fetch(Span(tmp_path))


def test_a_member_of_a_tar_is_a_span(tmp_path):
    long = "f" * 150 + ".png"  # whose name takes headers of its own
    write_tar(tmp_path / "a.tar", [("x.txt", b"words"), (long, b"pixels" * 200), ("b.png", b"more")])
    with tarfile.open(tmp_path / "a.tar") as tar:
        spans = {m.name: Span(tmp_path / "a.tar", m.offset_data, m.size) for m in tar}
    assert fetch(spans[long]) == b"pixels" * 200
    assert fetch(spans["b.png"]) == b"more"


@pytest.fixture
def table(tmp_path):
    """300 rows in row groups of 90, so that each takes more than one batch."""
    values = [None if row % 50 == 7 else f"row {row}".encode() for row in range(300)]
    cells = [None if row % 50 == 8 else {"bytes": value, "path": ""} for row, value in enumerate(values)]
    pq.write_table(pa.table({"image": values, "cell": cells}), tmp_path / "a.parquet", row_group_size=90)
    return tmp_path / "a.parquet"


@pytest.mark.parametrize("order", [1, -1, 7, 89, 131])
def test_cells_come_in_any_order(table, order):
    for number in range(300):
        row = number * order % 300
        plain = None if row % 50 == 7 else f"row {row}".encode()
        assert fetch(Cell(table, "image", row)) == plain
        assert fetch(Cell(table, "cell", row)) == (None if row % 50 == 8 else plain)


def test_rows_in_order_decode_each_row_group_once(table, monkeypatch):
    opened = []
    original = pq.ParquetFile.iter_batches

    def counted(self, *args, **options):
        opened.append(options["row_groups"])
        return original(self, *args, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    place._column.cache_clear()
    for row in range(0, 300, 3):
        fetch(Cell(table, "image", row))
    assert opened == [[0], [1], [2], [3]]
    fetch(Cell(table, "image", 297))
    assert len(opened) == 4
    fetch(Cell(table, "image", 100))  # a step back
    assert opened[4:] == [[1]]


def test_rows_behind_a_fault_do_not_decode_the_rest_again(table, monkeypatch):
    content = bytearray(table.read_bytes())
    chunk = pq.ParquetFile(table).metadata.row_group(1).column(0)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    content[start : start + 40] = b"\xff" * 40
    table.write_bytes(content)
    opened = []
    original = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile, "iter_batches", lambda *a, **o: opened.append(o["row_groups"]) or original(*a, **o)
    )
    for row in range(300):
        if 90 <= row < 180:
            with pytest.raises(Unreadable, match=r"a\.parquet cannot be read from row 90 on"):
                fetch(Cell(table, "image", row))
        else:
            fetch(Cell(table, "image", row))
    assert opened == [[0], [1], [2], [3]]


def test_a_file_that_was_written_anew_is_opened_anew(table):
    assert fetch(Cell(table, "image", 1)) == b"row 1"
    pq.write_table(pa.table({"image": [b"other", b"bytes"]}), table)
    assert fetch(Cell(table, "image", 1)) == b"bytes"


def test_cells_that_there_are_not(table, tmp_path):
    with pytest.raises(Unreadable, match=r"a\.parquet has 300 rows and none of number 300"):
        fetch(Cell(table, "image", 300))
    with pytest.raises(Unreadable, match=r"a\.parquet has no column other"):
        fetch(Cell(table, "other", 0))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no parquet")
    with pytest.raises(Unreadable, match=r"b\.parquet cannot be read"):
        fetch(Cell(tmp_path / "b.parquet", "image", 0))


def test_many_are_read_in_order_and_not_far_ahead(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(100))
    asked = []

    def items():
        for number in range(2000):
            asked.append(number)
            yield number, Span(tmp_path / "a.bin", number, 1)

    def work(number, content):
        assert threading.current_thread() is not threading.main_thread()
        assert isinstance(content, Unreadable) == (number >= 100)
        return number

    for number in read_each(items(), work):
        assert number == asked[number]
        assert len(asked) <= number + 16 * (2 * 8 + 1)
    assert len(asked) == 2000


def test_a_mistake_in_the_work_comes_out(tmp_path):
    def work(number, content):
        assert content == b"x"
        raise KeyError(number)

    with pytest.raises(KeyError, match="3"):
        list(read_each([(3, b"x")], work))
