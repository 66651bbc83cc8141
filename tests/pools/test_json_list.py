import json
import tracemalloc

import pytest

from alchemist.core.refusal import Refusal
from alchemist.pools import json_list

ITEMS = [{"a": "ü\n]", "b": [1, {"c": None}]}, 12, "x, y", [], -3.5e2, 0]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("indent", [None, 1])
def test_items_are_those_of_the_list_wherever_it_is_cut(tmp_path, monkeypatch, chunk, indent):
    monkeypatch.setattr(json_list, "CHUNK", chunk)
    for value in (ITEMS, [], [[]], [7]):
        (tmp_path / "a.json").write_text("\ufeff" + json.dumps(value, indent=indent) + "\n", "utf-8")
        assert list(json_list.items(tmp_path / "a.json")) == value


@pytest.mark.parametrize(
    "content",
    [
        "", "{}", "null", "[1, 2", "[1,, 2]", "[1 2]", "[1, 2,]", "[1] [2]", '["a', '[{"a": }]', "[1}",
        "[" * 100_000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("chunk", [1, 1000])
def test_what_is_no_list_is_refused_with_its_path(tmp_path, monkeypatch, content, chunk):
    monkeypatch.setattr(json_list, "CHUNK", chunk)
    (tmp_path / "a.json").write_text(content if chunk > 1 else content[:50])
    with pytest.raises(Refusal, match=r"a\.json is not a list in JSON") as told:
        list(json_list.items(tmp_path / "a.json"))
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400


def test_bytes_that_are_not_utf8_spoil_no_other_item(tmp_path):
    (tmp_path / "a.json").write_bytes(b'["\xff", "a"]')
    assert list(json_list.items(tmp_path / "a.json")) == ["\udcff", "a"]


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_members_are_those_of_the_object_wherever_it_is_cut(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(json_list, "CHUNK", chunk)
    for value in ({"a": [1, {"b": "}"}], "": 12, "ü": {}}, {}):
        (tmp_path / "a.json").write_text("\ufeff" + json.dumps(value, indent=1) + "\n", "utf-8")
        assert list(json_list.members(tmp_path / "a.json")) == list(value.items())
    for content in ("[]", '{"a" 1}', '{"a": 1', "{1: 2}", '{"a": 1,}', '{"a": 1} 2', '{"a": 1} {'):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(Refusal, match=r"a\.json is not an object in JSON"):
            list(json_list.members(tmp_path / "a.json"))


def test_an_item_that_does_not_end_is_not_read_to_the_end_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(json_list, "LONGEST", 100)
    monkeypatch.setattr(json_list, "CHUNK", 10)
    (tmp_path / "a.json").write_text('["' + "x" * 90 + '", "' + "y" * 5000 + '"]')
    found = json_list.items(tmp_path / "a.json")
    assert next(found) == "x" * 90
    with pytest.raises(Refusal, match="Unterminated string"):
        next(found)


def test_a_long_list_is_not_whole_in_memory(tmp_path):
    with (tmp_path / "a.json").open("w") as file:
        file.write(
            "[" + ", ".join(json.dumps({"prompt": "x" * 1000, "number": i}) for i in range(20_000)) + "]"
        )
    tracemalloc.start()
    assert sum(item["number"] for item in json_list.items(tmp_path / "a.json")) == 20_000 * 19_999 // 2
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20  # of 20 MiB
