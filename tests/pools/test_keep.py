"""Columns that are kept beside the pairs, whatever their format, and the origin that one of them may tell."""

import csv
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pool_helpers import NO_SPLITS, encoded, picture, user_pool, write_pair, write_tar

from alchemist.core.refusal import Refusal
from alchemist.pools.origin import origins
from alchemist.pools.read import expected, records, rows
from alchemist.pools.store import read_extra, read_index, write_pool

FACTS = [
    {"origin": "museum", "score": 5.31, "votes": 3, "safe": True, "tags": ["a"]},
    {"origin": "größe\ud800", "score": None, "votes": 10**400, "safe": False, "tags": "x" * 100_001},
    {"score": float("nan")},
]


def kept(pool):
    return {row.id: dict(row.extra) for row in rows(pool, 1)}


def test_of_json_all_is_text_and_what_is_none_is_empty(tmp_path):
    wanted = [
        {"origin": "museum", "score": "5.31", "votes": "3", "safe": "true", "tags": ""},
        {
            "origin": r"größe\ud800",
            "score": "",
            "votes": str(10**400),
            "safe": "false",
            "tags": "x" * 100_000,
        },
        {"origin": "", "score": "", "votes": "", "safe": "", "tags": ""},
    ]
    keep = ["origin", "score", "votes", "safe", "tags"]
    tar = []
    for number, facts in enumerate(FACTS):
        tar += [(f"{number}.png", encoded(picture(number))), (f"{number}.txt", b"words")]
        tar += [(f"{number}.json", json.dumps(facts).encode())]
    tar += [("3.png", encoded(picture(3))), ("3.txt", b"words")]
    tar += [("4.png", encoded(picture(4))), ("4.txt", b"words"), ("4.json", b'["origin"]')]
    tar += [("5.png", b"x"), ("5.json", b'{"text": "words", "origin": "rejected"}')]
    tar += [("6.json", b'{"text": "words", "origin": "without an image"}')]
    tar += [("5.png", encoded(picture(4))), ("5.json", b'{"text": "words", "origin": "a repeat"}')]
    write_tar(tmp_path / "tars/a.tar", tar)
    found = kept(user_pool(tmp_path / "tars", "webdataset", keep=keep))
    rejected = {name: found.pop(name)["origin"] for name in ("a/5", "a/5#2", "a/6")}
    assert rejected == {"a/5": "rejected", "a/5#2": "a repeat", "a/6": "without an image"}
    assert found == {f"a/{i}": wanted[min(i, 2)] for i in range(5)}
    assert not any(kept(user_pool(tmp_path / "tars", "webdataset")).values())

    root = tmp_path / "images"
    lines = []
    for number, facts in enumerate(FACTS):
        write_pair(root, str(number), None, number)
        lines.append(json.dumps({"file_name": f"{number}.png", "caption": "words", **facts}))
    write_pair(root, "3", "words", 3)  # no file lists it
    (root / "metadata.jsonl").write_text("\n".join(lines))
    assert kept(user_pool(root, keep=keep)) == {str(i): wanted[min(i, 2)] for i in range(4)}


def test_of_csv_all_is_text_and_a_file_that_lacks_a_column_is_refused(tmp_path):
    write_pair(tmp_path, "a", None, 0)
    with pytest.raises(Refusal, match=r"keep is \['origin'\], and .* no metadata.csv and no metadata.jsonl"):
        next(records(user_pool(tmp_path, keep=["origin"])))
    with (tmp_path / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["file_name", "text", "origin", "score"], ["a.png", "words", "here", "5.31"], ["b.png", "words"]]
        )
    assert kept(user_pool(tmp_path, keep=["score", "origin"])) == {
        "a": {"score": "5.31", "origin": "here"},
        "b": {"score": "", "origin": ""},  # rejected, and told all the same
    }
    outside = tmp_path.parent / f"{tmp_path.name}.png"
    outside.write_bytes(encoded(picture(1)))
    (tmp_path / "c.png").symlink_to(outside)
    with (tmp_path / "metadata.csv").open("a") as file:
        file.write("c.png,words,there,1\n")
    assert kept(user_pool(tmp_path, keep=["origin"]))["c"] == {"origin": "there"}
    for work in (expected, lambda pool: next(records(pool))):  # the first is before any pool that is a split
        with pytest.raises(
            Refusal, match=r"keep is 'sorce', which .*csv lacks; its columns are file_name, text"
        ):
            work(user_pool(tmp_path, keep=["score", "sorce"]))
    (tmp_path / "metadata.csv").write_text("file_name,text,origin,origin\na.png,words,here,there\n")
    with pytest.raises(Refusal, match=r"keep is 'origin', which .*metadata.csv has more than once"):
        expected(user_pool(tmp_path, keep=["origin"]))
    assert kept(user_pool(tmp_path))["a"] == {}


def table(path, images, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    count = len(images)
    cells = [encoded(picture(number)) for number in images]
    pq.write_table(pa.table({"image": cells, "caption": ["words"] * count, **columns}), path)


def test_of_parquet_numbers_are_numbers_and_text_text(tmp_path):
    category = pa.array(["museum", None]).dictionary_encode()
    table(tmp_path / "a.parquet", [0, 1], kind=category, votes=[3, None], safe=[True, False], note=[None] * 2)
    street = pa.array(["street"], pa.large_string())
    table(
        tmp_path / "b.parquet",
        [2],
        kind=street,
        votes=[2.5],
        safe=[True],
        note=pa.array(["seen"], pa.string_view()),
    )
    found = kept(user_pool(tmp_path, "parquet", keep=["kind", "votes", "safe", "note"]))
    assert found.pop("a.parquet:1") == pytest.approx(
        {"kind": "", "votes": math.nan, "safe": 0.0, "note": ""}, nan_ok=True
    )
    assert found == {
        "a.parquet:0": {"kind": "museum", "votes": 3.0, "safe": 1.0, "note": ""},
        "b.parquet:0": {"kind": "street", "votes": 2.5, "safe": 1.0, "note": "seen"},
    }
    assert isinstance(found["a.parquet:0"]["votes"], float)


def test_an_origin_is_text_whatever_a_table_holds(tmp_path):
    """Two sources of whole numbers that are one as doubles stay two, and "7" is what a JSON's 7 is."""
    near = [2**60 + 1, 2**60 + 2]
    table(tmp_path / "a.parquet", [0, 1, 2], origin=pa.array([*near, None]), other=pa.array([*near, None]))
    table(tmp_path / "b.parquet", [3], origin=["museum"], other=[7])
    table(tmp_path / "c.parquet", [4], origin=[7], other=[7])
    table(tmp_path / "d.parquet", [5, 6], origin=[7.0, None], other=[7, 7])  # as pandas writes [7, None]
    found = kept(user_pool(tmp_path, "parquet", keep=["origin", "other"]))
    assert [one["origin"] for one in found.values()] == [*map(str, near), "", "museum", "7", "7", ""]
    assert len({one["other"] for one in found.values() if one["other"] > 7}) == 1


def test_of_parquet_what_does_not_fit_is_refused_before_any_pair(tmp_path):
    table(tmp_path / "a.parquet", [0], kind=["museum"], tags=[["x"]])
    table(tmp_path / "b.parquet", [1], kind=[7])
    for keep, told in (
        (["sort"], r"keep is 'sort', which .*a\.parquet lacks; its columns are image, caption, kind, tags"),
        (
            ["kind"],
            r"keep holds 'kind', which is of type int64 in .*b\.parquet and of another in files before",
        ),
    ):
        for work in (expected, lambda pool: next(records(pool))):
            with pytest.raises(Refusal, match=told):
                work(user_pool(tmp_path, "parquet", keep=keep))
    (tmp_path / "b.parquet").unlink()
    with pytest.raises(Refusal, match=r"keep holds 'tags', which is of type list.*; keep numbers or text"):
        next(records(user_pool(tmp_path, "parquet", keep=["tags"])))


def test_a_column_that_is_there_twice_is_refused_where_it_is_asked_for(tmp_path):
    table(tmp_path / "a.parquet", [0], origin=["museum"], score=[1.0])
    once = pq.read_table(tmp_path / "a.parquet")
    pq.write_table(once.rename_columns(["image", "caption", "origin", "origin"]), tmp_path / "a.parquet")
    assert kept(user_pool(tmp_path, "parquet")) == {"a.parquet:0": {}}
    with pytest.raises(
        Refusal, match=r"keep is 'origin', which .* has more than once; its columns are image"
    ):
        expected(user_pool(tmp_path, "parquet", keep=["origin"]))


def test_a_column_that_no_pair_has_is_refused(tmp_path):
    write_tar(
        tmp_path / "a.tar", [("0.png", encoded(picture(0))), ("0.json", b'{"text": "x", "origin": "y"}')]
    )
    assert len(list(records(user_pool(tmp_path, "webdataset", keep=["origin"])))) == 1
    with pytest.raises(Refusal, match=r"keep holds 'orgin', which no pair of .* has"):
        list(records(user_pool(tmp_path, "webdataset", keep=["origin", "orgin"])))
    write_pair(tmp_path, "b", None, 0)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "b.png", "text": "x", "origin": "y"}')
    with pytest.raises(Refusal, match=r"keep holds 'orgin', which no pair of .* has"):
        list(records(user_pool(tmp_path, keep=["orgin"])))
    for source in ("folder", "webdataset", "parquet"):
        with pytest.raises(Refusal, match=r"pools\.mine\.keep"):
            user_pool(tmp_path, source, keep=[""])


@pytest.mark.parametrize("source", ["folder", "webdataset", "parquet", "huggingface"])
def test_the_pairs_own_id_is_none_of_them(tmp_path, source):
    with pytest.raises(Refusal, match=r"pools\.mine\.keep is .*'id'.*; id should not be among them"):
        user_pool(tmp_path, source, keep=["origin", "id"])


def test_an_origin_that_is_kept_goes_before_the_file_or_folder(tmp_path):
    root = tmp_path / "images"
    for number, name in enumerate(["listed", "silent", "sub/alone"]):
        write_pair(root, name, "words", number)
    lines = [{"file_name": "listed.png", "caption": "words", "origin": "museum"}]
    lines += [{"file_name": "silent.png", "caption": "words"}]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    pool = user_pool(root, keep=["origin"])
    out = tmp_path / "pool"
    out.mkdir()
    write_pool(out, rows(pool, 1, "mine"), 16, 64, {}, roots={"mine": root})
    index = read_index(out)
    assert dict(zip(index["id"], origins(out)(index), strict=True)) == {
        "listed": "museum", "silent": ".", "sub/alone": "sub",
    }  # fmt: skip
    assert dict(read_extra(out).set_index("id")["origin"]) == {
        "listed": "museum",
        "silent": "",
        "sub/alone": "",
    }


def test_two_sources_keep_columns_of_their_own(tmp_path):
    write_tar(
        tmp_path / "tars/a.tar",
        [("0.png", encoded(picture(0))), ("0.json", b'{"text": "x", "origin": "museum"}')],
    )
    table(tmp_path / "tables/b.parquet", [1], origin=["street"], votes=[3])
    other = user_pool(tmp_path / "tables", "parquet", keep=["votes", "origin"])
    pool = user_pool(
        tmp_path / "tars",
        "webdataset",
        keep=["origin"],
        splits={**NO_SPLITS, "evaluation": {"pool": "other"}},
    )
    out, places = tmp_path / "pool", {"mine": tmp_path / "tars", "other": tmp_path / "tables"}
    out.mkdir()
    write_pool(out, rows(pool, 1, "mine", {"other": other}), 16, 64, {}, roots=places)
    index = read_index(out)
    found = dict(zip(index["id"], origins(out)(index), strict=True))
    assert found == {"other:b.parquet:0": "street", "a/0": "museum"}
    beside = read_extra(out).set_index("id")
    assert beside.loc["other:b.parquet:0", "votes"] == 3.0
    assert math.isnan(beside.loc["a/0", "votes"])


def test_what_is_not_kept_leaves_the_card_as_it_was(tmp_path):
    for source in ("folder", "webdataset", "parquet", "huggingface", "laion"):
        assert "keep" not in user_pool(tmp_path, source).model_dump()
        assert user_pool(tmp_path, source, keep=["a"]).model_dump()["keep"] == ("a",)
