import csv
import io

import pytest

from alchemist.pools import lines as module
from alchemist.pools.lines import csv_rows, lines


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(module, "LINE", 10)


def text(content):
    return io.StringIO(content, newline="")


def test_lines_that_are_too_long_are_skipped():
    assert list(lines(text("abc\n\n" + "x" * 35 + "\nde\r\n" + "y" * 10))) == [
        "abc\n",
        "\n",
        None,
        "de\r\n",
        None,
    ]
    assert list(lines(io.BytesIO(b"123456789\n1234567890\nab"))) == [b"123456789\n", None, b"ab"]
    assert list(lines(text("x" * 9 + "\n" + "y" * 20))) == ["x" * 9 + "\n", None]
    assert not list(lines(text("")))


def test_rows_are_those_of_pythons_reader_where_all_are_short():
    content = 'a,b\n\n"c\nd",e\r\n"f""",\rg,"h,i"\n , j'
    assert list(csv_rows(text(content))) == [row for row in csv.reader(text(content)) if row]


def test_a_field_that_does_not_end_loses_its_first_line():
    assert list(csv_rows(text('a,b\nc,"d\ne,f\ng,h\ni,j\nk,l\n'))) == [
        ["a", "b"], None, ["e", "f"], ["g", "h"], ["i", "j"], ["k", "l"],
    ]  # fmt: skip
    assert list(csv_rows(text('a,"b'))) == [["a", "b"]], "of the last line the file's end is its end"
    assert list(csv_rows(text('a,"b\n' + "x" * 30 + '\nc"\nd'))) == [None, None, ['c"'], ["d"]]


def test_many_fields_that_do_not_end_are_not_read_again_for_each_line(monkeypatch):
    sources = []

    class Noted(module._Source):
        def __init__(self, found):
            super().__init__(found)
            sources.append(self)

    monkeypatch.setattr(module, "LINE", 100_000)
    monkeypatch.setattr(module, "_Source", Noted)
    content = 'a"b,"c\n' * 3000
    list(csv_rows(text(content)))
    assert sources[0].reread < 1000 * 3000 + 8 * len(content) + 4 * 100_000, "not 3,000 times what is left"
