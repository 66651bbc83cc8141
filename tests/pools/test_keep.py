"""Columns that are kept beside the pairs, whatever their format, and the origin that one of them may tell."""

import csv
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pool_helpers import encoded, picture, user_pool, write_pair, write_tar

from alchemist.core.refusal import Refusal
from alchemist.pools.origin import origins
from alchemist.pools.read import records, rows
from alchemist.pools.store import read_extra, read_index, write_pool

FACTS = [
    {"origin": "museum", "score": 5.31, "votes": 3, "safe": True, "tags": ["a"]},
    {"origin": "größe", "score": None, "votes": 10**400, "safe": False},
    {"score": float("nan")},
]


def kept(pool):
    return {row.id: dict(row.extra) for row in rows(pool, 1)}


def test_of_json_all_is_text_and_what_is_none_is_empty(tmp_path):
    wanted = [
        {"origin": "museum", "score": "5.31", "votes": "3", "safe": "true", "tags": ""},
        {"origin": "größe", "score": "", "votes": str(10**400), "safe": "false", "tags": ""},
        {"origin": "", "score": "", "votes": "", "safe": "", "tags": ""},
    ]
    keep = ["origin", "score", "votes", "safe", "tags"]
    tar = []
    for number, facts in enumerate(FACTS):
        tar += [(f"{number}.png", encoded(picture(number))), (f"{number}.txt", b"words")]
        tar += [(f"{number}.json", json.dumps(facts).encode())]
    tar += [("3.png", encoded(picture(3))), ("3.txt", b"words")]
    tar += [("4.png", encoded(picture(4))), ("4.txt", b"words"), ("4.json", b'["origin"]')]
    write_tar(tmp_path / "tars/a.tar", tar)
    found = kept(user_pool(tmp_path / "tars", "webdataset", keep=keep))
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
    with pytest.raises(
        Refusal, match=r"keep is 'sorce', which .*metadata.csv lacks; its columns are file_name"
    ):
        next(records(user_pool(tmp_path, keep=["sorce"])))


def table(path, images, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    count = len(images)
    cells = [encoded(picture(number)) for number in images]
    pq.write_table(pa.table({"image": cells, "caption": ["words"] * count, **columns}), path)


def test_of_parquet_numbers_are_numbers_and_text_text(tmp_path):
    category = pa.array(["museum", None]).dictionary_encode()
    table(tmp_path / "a.parquet", [0, 1], kind=category, votes=[3, None], safe=[True, False], note=[None] * 2)
    table(tmp_path / "b.parquet", [2], kind=["street"], votes=[2.5], safe=[True], note=["seen"])
    found = kept(user_pool(tmp_path, "parquet", keep=["kind", "votes", "safe", "note"]))
    assert found.pop("a.parquet:1") == pytest.approx(
        {"kind": "", "votes": math.nan, "safe": 0.0, "note": ""}, nan_ok=True
    )
    assert found == {
        "a.parquet:0": {"kind": "museum", "votes": 3.0, "safe": 1.0, "note": ""},
        "b.parquet:0": {"kind": "street", "votes": 2.5, "safe": 1.0, "note": "seen"},
    }
    assert isinstance(found["a.parquet:0"]["votes"], float)


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
        with pytest.raises(Refusal, match=told):
            next(records(user_pool(tmp_path, "parquet", keep=keep)))
    (tmp_path / "b.parquet").unlink()
    with pytest.raises(Refusal, match=r"keep holds 'tags', which is of type list.*; keep numbers or text"):
        next(records(user_pool(tmp_path, "parquet", keep=["tags"])))


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


def test_what_is_not_kept_leaves_the_card_as_it_was(tmp_path):
    for source in ("folder", "webdataset", "parquet", "huggingface", "laion"):
        assert "keep" not in user_pool(tmp_path, source).model_dump()
        assert user_pool(tmp_path, source, keep=["a"]).model_dump()["keep"] == ("a",)
