import hashlib
import json
import math
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pool_helpers import encoded, outcomes, picture, user_pool, write_tar
from published import IMG2DATASET

from alchemist.core.refusal import Refusal
from alchemist.pools import base
from alchemist.pools.read import ADAPTERS, expected, records, rows

SUCCESS, DOWNLOAD, RESIZE = "success", "failed_to_download", "failed_to_resize"
SCHEMA = pa.schema(
    [("similarity", pa.float64()), ("LICENSE", pa.string()), ("tags", pa.list_(pa.string())), *IMG2DATASET]
)


def sha(number):
    return hashlib.sha256(f"original {number}".encode()).hexdigest()


def url(number):
    return f"https://images.example.org/{number}.jpg?w=300"


def hashed(number):
    return "url-" + hashlib.sha256(url(number).encode()).hexdigest()


def row(number, key, status=SUCCESS, **changes):
    """A row of the parquet file, and the JSON of the pair."""
    fine = status == SUCCESS
    return {
        "url": url(number), "caption": f"words {number}", "key": key, "status": status,
        "error_message": None if fine else "HTTP Error 404", "sha256": sha(number) if fine else None,
        "LICENSE": "?", "similarity": 0.3 if fine else None, "width": 20 if fine else None, "tags": None,
        **changes,
    }  # fmt: skip


def image(number):
    return encoded(picture(number), "JPEG")


def write_shard(folder, shard, facts, members=None, schema=SCHEMA):
    """A tar of the successful rows as img2dataset writes it, and the parquet file of all."""
    if members is None:
        members = []
        for number, fact in facts:
            if fact["status"] == SUCCESS:
                key = fact["key"]
                members += [
                    (f"{key}.jpg", image(number)),
                    (f"{key}.json", json.dumps(fact, indent=4).encode()),
                    (f"{key}.txt", fact["caption"].encode()),
                ]
    write_tar(folder / f"{shard:05d}.tar", members)
    table = pa.Table.from_pylist([fact for _, fact in facts], schema=schema)
    pq.write_table(table, folder / f"{shard:05d}.parquet")
    (folder / f"{shard:05d}_stats.json").write_text("{}")


def facts(start, statuses, shard=0):
    return [(start + i, row(start + i, f"{shard:05d}{i:04d}", status)) for i, status in enumerate(statuses)]


@pytest.fixture
def folder(tmp_path):
    write_shard(tmp_path / "laion", 0, facts(0, [SUCCESS, DOWNLOAD, SUCCESS, RESIZE]))
    write_shard(tmp_path / "laion", 1, facts(4, [DOWNLOAD, SUCCESS], 1))
    return tmp_path / "laion"


def test_ids_are_of_the_picture_and_failed_downloads_have_a_row_each(folder):
    found = outcomes(user_pool(folder, "laion"))
    assert found == {
        sha(0): "", sha(2): "", hashed(1): base.DOWNLOAD_FAILED, hashed(3): base.RESIZE_FAILED,
        sha(5): "", hashed(4): base.DOWNLOAD_FAILED,
    }  # fmt: skip
    assert len(found) == expected(user_pool(folder, "laion")) == 6  # the counts add up
    captions = {record.id: record.caption for record in records(user_pool(folder, "laion"))}
    assert [captions[sha(number)] for number in (0, 2, 5)] == ["words 0", "words 2", "words 5"]


def test_the_pool_downloaded_again_in_another_order_has_the_same_ids_splits_and_captions(folder, tmp_path):
    again = tmp_path / "again"
    write_shard(again, 7, [(n, row(n, f"0000700{i}")) for i, n in enumerate([5, 2, 0])])
    first, second = (
        {r.id: (r.split, r.caption, r.group) for r in rows(user_pool(path, "laion"), 1) if not r.reason}
        for path in (folder, again)
    )
    assert first == second
    assert set(first) == {sha(0), sha(2), sha(5)}


def test_without_hashes_ids_are_of_the_url(folder):
    found = outcomes(user_pool(folder, "laion", columns={"sha256": None}))
    assert {name for name, reason in found.items() if not reason} == {hashed(0), hashed(2), hashed(5)}


def test_one_host_and_path_is_a_group_whatever_the_query(tmp_path):
    others = [
        row(0, "0", url="https://a.example.org/x.jpg?w=1"), row(1, "1", url="http://A.example.org/x.jpg?w=2"),
        row(2, "2", url="https://b.example.org/x.jpg"), row(3, "3", url="https://a.example.org/y.jpg"),
        row(4, "4", url="http://[broken"), row(5, "5", url="http://[broken?"),
    ]  # fmt: skip
    write_shard(tmp_path, 0, list(enumerate(others)))
    groups = [pair.group for pair in ADAPTERS["laion"].read(user_pool(tmp_path, "laion"))]
    assert groups[0] == groups[1]
    assert len(set(groups)) == 5
    assert groups[0].startswith("a.example.org/")


def test_pictures_that_look_alike_are_a_group_where_that_is_asked(tmp_path):
    small = picture(0, (40, 40)).resize((120, 120), Image.Resampling.BICUBIC)
    alike = [encoded(small, "JPEG", quality=95), encoded(small, "JPEG", quality=60), image(3), b"x"]
    members = []
    for i, content in enumerate(alike):
        members += [(f"{i}.jpg", content), (f"{i}.txt", b"words")]
    write_shard(tmp_path, 0, [(i, row(i, str(i))) for i in range(4)], members)
    by_url, by_look = (
        [pair.group for pair in ADAPTERS["laion"].read(user_pool(tmp_path, "laion", group=group))]
        for group in ("url", "perceptual")
    )
    assert len(set(by_url)) == 4
    assert by_look[0] == by_look[1] != by_look[2]
    assert len(by_look[0]) == 16
    assert by_look[3] == by_url[3]


def test_columns_are_kept_and_named_by_config(tmp_path):
    names = {"url": "URL", "caption": "recaption", "sha256": "SHA", "LICENSE": "LICENSE"}
    table = pa.schema([pa.field(names.get(field.name, field.name), field.type) for field in SCHEMA])
    given = [(i, {names.get(k, k): v for k, v in fact.items()}) for i, fact in facts(0, [SUCCESS, DOWNLOAD])]
    members = [("000000000.jpg", image(0)), ("000000000.txt", b"the page's own words")]
    write_shard(tmp_path, 0, given, members, table)
    columns = {"url": "URL", "caption": "recaption", "sha256": "SHA"}
    kept = ["similarity", "LICENSE", "width", "recaption", "width"]
    pool = user_pool(tmp_path, "laion", columns=columns, keep=kept)
    found = list(rows(pool, 1))
    assert [(r.id, r.caption) for r in found] == [(sha(0), "words 0"), (hashed(1), "")]
    assert found[0].extra == {"similarity": 0.3, "LICENSE": "?", "width": 20.0, "recaption": "words 0"}
    assert found[1].extra == {}


def test_a_shard_that_lost_its_parquet_file_is_told_and_read_by_its_json(folder):
    (folder / "00001.parquet").unlink()
    found = outcomes(user_pool(folder, "laion"))
    assert found["00001.parquet"] == base.MISSING_FILE
    assert found[sha(5)] == ""
    (folder / "00001.parquet").write_bytes(b"x")
    found = outcomes(user_pool(folder, "laion", keep=["similarity", "LICENSE"]))
    assert found["00001.parquet"] == base.UNREADABLE_FILE
    assert found[sha(5)] == ""
    extra = {r.id: r.extra for r in rows(user_pool(folder, "laion", keep=["similarity", "LICENSE"]), 1)}
    assert extra[sha(5)] == extra[sha(0)] == {"similarity": 0.3, "LICENSE": "?"}


def test_every_row_has_an_outcome(tmp_path):
    members = [
        ("0.jpg", image(0)), ("0.txt", b""),
        ("1.jpg", b"x"), ("1.txt", b"words"),
        ("2.txt", b"words"),
        ("stray.jpg", image(3)), ("stray.txt", b"words"),
        ("json.jpg", image(4)), ("json.txt", b"words"), ("json.json", json.dumps(row(4, "json")).encode()),
        ("5.jpg", image(5)), ("5.txt", b"words"),
        ("6.jpg", image(6)), ("6.txt", b"\xff"),
    ]  # fmt: skip
    given = [
        (0, row(0, "0")), (1, row(1, "1")), (2, row(2, "2")), (5, row(5, "5", sha256=None, url=None)),
        (6, row(6, "6")), (7, row(7, "7")), (8, row(8, "8", "in progress")), (9, row(9, "9", DOWNLOAD)),
        (9, row(9, "10", DOWNLOAD)), (10, row(10, None, DOWNLOAD)), (11, row(11, "9", DOWNLOAD)),
    ]  # fmt: skip
    write_shard(tmp_path, 0, given, members)
    assert outcomes(user_pool(tmp_path, "laion")) == {
        sha(0): base.EMPTY_CAPTION, sha(1): base.UNREADABLE_IMAGE, sha(2): base.MISSING_IMAGE,
        "00000/stray": base.UNREADABLE_METADATA, sha(4): "", "00000/5": base.UNREADABLE_METADATA,
        sha(6): base.UNREADABLE_CAPTION, sha(7): base.MISSING_IMAGE, hashed(8): base.UNREADABLE_METADATA,
        hashed(9): base.DOWNLOAD_FAILED, hashed(9) + "#2": base.DOWNLOAD_FAILED,
        hashed(10): base.DOWNLOAD_FAILED, hashed(11): base.DOWNLOAD_FAILED,
    }  # fmt: skip


def test_a_tar_that_breaks_off_leaves_its_other_rows_without_an_image(folder):
    content = (folder / "00000.tar").read_bytes()
    (folder / "00000.tar").write_bytes(content[: content.index(b"000000002.jpg") + 600])
    found = outcomes(user_pool(folder, "laion"))
    assert found["00000.tar"] == base.TRUNCATED_TAR
    assert (found[sha(0)], found[sha(5)]) == ("", "")
    assert found[sha(2)] == base.MISSING_CAPTION  # its picture is cut, and its text is gone
    assert Counter(found.values())[base.DOWNLOAD_FAILED] == 2


def test_a_missing_score_is_no_number(tmp_path):
    write_shard(tmp_path, 0, [(0, row(0, "0", similarity=None))])
    (found,) = rows(user_pool(tmp_path, "laion", keep=["similarity"]), 1)
    assert math.isnan(found.extra["similarity"])


def test_layouts_that_do_not_fit_are_refused(folder, tmp_path):
    for changes, told in (
        (
            {"columns": {"url": "URL"}},
            r"columns.url is 'URL', which .*00000\.parquet lacks.*caption, url, key",
        ),
        ({"columns": {"sha256": "md5"}}, r"columns.sha256 is 'md5', which .* lacks"),
        ({"keep": ["aesthetic"]}, r"keep is 'aesthetic', which .* lacks"),
        ({"keep": ["tags"]}, r"keep holds 'tags', which is of type list.*; keep numbers or text"),
        ({"keep": ["width", "id"]}, r"pools.mine.keep is .*id should not be among them"),
    ):
        with pytest.raises(Refusal, match=told):
            next(records(user_pool(folder, "laion", **changes)))
    write_shard(folder, 2, [(6, row(6, "6"))])
    table = pq.read_table(folder / "00002.parquet")
    words = table.drop_columns("similarity").append_column("similarity", pa.array(["high"]))
    pq.write_table(words, folder / "00002.parquet")
    with pytest.raises(
        Refusal, match=r"keep holds 'similarity', which is of type .* in .*00002\.parquet and of"
    ):
        next(records(user_pool(folder, "laion", keep=["similarity"])))
    alone = tmp_path / "alone"
    write_tar(alone / "a.tar", [("0.jpg", image(0)), ("0.txt", b"words")])
    with pytest.raises(Refusal, match=r"holds no tar with a parquet file beside it.* webdataset"):
        next(records(user_pool(alone, "laion")))
    (alone / "a.tar").unlink()
    with pytest.raises(Refusal, match=r"holds no file with the suffix \.tar"):
        next(records(user_pool(alone, "laion")))


def test_a_shard_of_which_nothing_was_downloaded_spoils_no_other(folder):
    write_shard(folder, 2, facts(6, [DOWNLOAD] * 3, 2))
    write_shard(folder, 3, [])
    (folder / "00004.tar").write_bytes(b"")
    found = outcomes(user_pool(folder, "laion"))
    assert len(found) == 6 + 3 + 2
    assert (found["00004.tar"], found["00004.parquet"]) == (base.TRUNCATED_TAR, base.MISSING_FILE)


def test_a_table_that_takes_too_much_is_told_and_its_pairs_are_read_by_their_json(folder, tmp_path):
    facts = [(number, row(number, f"{number:09d}", LICENSE="x" * 30_000)) for number in range(8)]
    write_shard(tmp_path / "large", 7, facts)
    found = outcomes(user_pool(tmp_path / "large", "laion", keep=["LICENSE"], largest=1))
    assert found.pop("00007.parquet") == base.HEAVY_ROWS
    assert found == {sha(number): "" for number in range(8)}
    assert len(outcomes(user_pool(tmp_path / "large", "laion", keep=["LICENSE"]))) == 8
