import pytest
from pool_helpers import user_pool

from alchemist.core.refusal import Refusal
from alchemist.pools.base import (
    DUPLICATE_ID,
    EMPTY_CAPTION,
    MISSING_CAPTION,
    UNREADABLE_CAPTION,
    Found,
    clean_caption,
    files_of,
    id_text,
    parse_json,
    text,
    unique,
    walk,
)
from alchemist.pools.seen import Seen


@pytest.mark.parametrize(
    ("written", "cleaned", "reason"),
    [
        ("  a cafe\u0301\n", "a caf\u00e9", ""),
        ("two  words", "two  words", ""),
        (None, "", MISSING_CAPTION),
        ("", "", EMPTY_CAPTION),
        (" \n\t", "", EMPTY_CAPTION),
        ("half \ud800", "", UNREADABLE_CAPTION),
    ],
)
def test_a_caption_is_cleaned_or_has_a_reason(written, cleaned, reason):
    assert clean_caption(written) == (cleaned, reason)


def test_the_first_pair_of_an_id_has_it_and_repeats_are_rejected():
    pairs = [Found(name, name, b"x", group="p") for name in ("a", "b", "a", "a#2", "a")]
    pairs[0] = Found("a", None, None, "broken")  # has its id all the same
    found = list(unique(pairs, Seen()))
    assert [pair.id for pair in found] == ["a", "b", "a#2", "a#2#2", "a#3"]
    assert [pair.reason for pair in found] == ["broken", "", DUPLICATE_ID, DUPLICATE_ID, DUPLICATE_ID]
    assert found[1] == pairs[1]
    assert all(pair.image is None and pair.group == "p" for pair in found[2:])


@pytest.mark.parametrize("value", [None, float("nan"), True, [1], {"a": 1}, ""])
def test_what_is_no_id(value):
    assert id_text(value) == ""


def test_ids_and_names_are_valid_unicode():
    assert (id_text(7), id_text(0), id_text("gr\u00f6sse")) == ("7", "0", "gr\u00f6sse")
    assert id_text("\ud800") == text("\ud800") == "\\ud800"
    assert text("gr\udcf6sse").encode() == b"gr\\udcf6sse"


def test_json_that_is_none():
    assert parse_json(b"\xef\xbb\xbf{}") == {}
    for value in (b"{", b"\xff", b"[" * 100_000):
        assert parse_json(value) is None


def test_files_come_in_one_order_without_hidden_ones(tmp_path):
    for name in ("b/2.tar", "b/1.TAR", "a/x/1.tar", "c.tar", ".h.tar", ".hidden/1.tar", "notes.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.tar").mkdir()
    walked = [path.relative_to(tmp_path).as_posix() for path in walk(tmp_path)]
    assert walked == ["c.tar", "notes.md", "a/x/1.tar", "b/1.TAR", "b/2.tar"]
    names = [name for name, _ in files_of(user_pool(tmp_path, "webdataset"), ".tar")]
    assert names == ["c.tar", "a/x/1.tar", "b/1.TAR", "b/2.tar"]
    with pytest.raises(Refusal, match=r"holds no file with the suffix \.parquet"):
        files_of(user_pool(tmp_path, "parquet"), ".parquet")
