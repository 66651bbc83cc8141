import csv
import json
import os
import tracemalloc

import pytest
from pool_helpers import encoded, outcomes, picture, png_header, user_pool, write_pair

from alchemist.core.refusal import Refusal
from alchemist.pools import base
from alchemist.pools.read import expected, records, rows


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    write_pair(root, "good", "  a cafe\u0301\n", 0)
    write_pair(root, "sub/deep/good", "another", 1, ".jpg")
    write_pair(root, "größe 日本", "unicode", 2, ".webp")
    write_pair(root, "UPPER", "upper", 3)
    (root / "UPPER.png").rename(root / "UPPER.PNG")
    write_pair(root, "twice", "one stem, two images", 4)
    write_pair(root, "twice", None, 5, ".jpg")
    write_pair(root, "captionless", None, 6)
    write_pair(root, "blank", " \n\t", 7)
    write_pair(root, "copy", "a caf\u00e9", 0)
    write_pair(root, "copy other caption", "other words", 0)
    write_pair(root, "latin", None, 8)
    (root / "latin.txt").write_bytes("größe".encode("latin-1"))
    (root / "imageless.txt").write_text("words")
    (root / "corrupt.png").write_bytes(b"not an image")
    (root / "corrupt.txt").write_text("words")
    (root / "cut.jpg").write_bytes(encoded(picture(9, (64, 64)), "JPEG")[:600])
    (root / "cut.txt").write_text("words")
    (root / "moves.gif").write_bytes(encoded(picture(1), "GIF", save_all=True, append_images=[picture(2)]))
    (root / "moves.txt").write_text("words")
    (root / "huge.png").write_bytes(png_header(20_000, 20_000))
    (root / "huge.txt").write_text("words")
    (root / ".hidden.png").write_bytes(b"")
    (root / "notes.md").write_text("not a pair")
    (root / "a folder.png").mkdir()
    return root


def test_folder_gives_every_pair_an_outcome(folder):
    assert outcomes(user_pool(folder)) == {
        "sub/deep/good": "",
        "größe 日本": "",
        "UPPER": "",
        "twice": "",
        "twice#2": base.DUPLICATE_ID,
        "captionless": base.MISSING_CAPTION,
        "blank": base.EMPTY_CAPTION,
        "copy": "",
        "copy other caption": "",
        "good": "",  # repeats "copy", which is no matter of what each is
        "latin": base.UNREADABLE_CAPTION,
        "imageless": base.MISSING_IMAGE,
        "corrupt": base.UNREADABLE_IMAGE,
        "cut": base.UNREADABLE_IMAGE,
        "moves": base.ANIMATED,
        "huge": base.TOO_LARGE,
    }


def test_a_broken_pair_changes_no_other(folder):
    before = {r.id: (r.caption, r.pixels, r.group) for r in records(user_pool(folder)) if not r.reason}
    for name in ("corrupt", "cut", "huge", "moves"):
        for path in folder.glob(name + ".*"):
            path.unlink()
    after = {r.id: (r.caption, r.pixels, r.group) for r in records(user_pool(folder)) if not r.reason}
    assert list(before) == list(after)
    assert before == after


def test_captions_are_stripped_and_composed(folder):
    captions = {r.id: r.caption for r in records(user_pool(folder))}
    assert captions["good"] == "a caf\u00e9"
    assert captions["blank"] == captions["captionless"] == captions["latin"] == ""


def test_parent_folder_as_group(tmp_path):
    for number, name in enumerate(["a/1", "a/2", "b/1", "3"]):
        write_pair(tmp_path, name, name, number)
    groups = {r.id: r.group for r in records(user_pool(tmp_path, group="parent"))}
    assert groups == {"a/1": "a", "a/2": "a", "b/1": "b", "3": "."}
    assert all(r.group == r.id for r in records(user_pool(tmp_path)))


def test_names_that_are_not_utf8(tmp_path):
    write_pair(tmp_path, "good", "words", 0)
    try:
        (tmp_path / "gr\udcf6sse.png").write_bytes(encoded(picture(1)))
        (tmp_path / "gr\udcf6sse.txt").write_text("words")
    except OSError:
        pytest.skip("the file system takes only UTF-8")
    found = outcomes(user_pool(tmp_path))
    assert found == {"good": "", "gr\\udcf6sse": ""}
    assert all(name.encode() for name in found)


METADATA = [
    {"file_name": "one.png", "caption": "first"},
    {"file_name": "./sub/two.png", "caption": "second", "id": "named"},
    {"file_name": "one.png", "caption": "again"},
    {"file_name": "sub/three.png", "caption": "third", "id": "named"},
    {"file_name": "gone.png", "caption": "words"},
    {"file_name": "../secret.png", "caption": "words"},
    {"file_name": "sub/../../secret.png", "caption": "words"},
    {"file_name": "sub\\..\\..\\secret.png", "caption": "words"},
    {"file_name": "/etc/hostname", "caption": "words"},
    {"file_name": "", "caption": "words"},
    {"file_name": "sub", "caption": "a folder"},
    {"file_name": "four.png", "caption": ""},
    {"file_name": "five.png"},
]


OUTCOMES = {
    "one": "",
    "named": "",
    "one#2": base.DUPLICATE_ID,
    "named#2": base.DUPLICATE_ID,
    "gone": base.MISSING_IMAGE,
    "{file}:{6}": base.OUTSIDE,
    "{file}:{7}": base.OUTSIDE,
    "{file}:{8}": base.OUTSIDE,
    "{file}:{9}": base.OUTSIDE,
    "{file}:{10}": base.MISSING_IMAGE,
    "sub": base.MISSING_IMAGE,
    "four": base.EMPTY_CAPTION,
    "five": base.MISSING_CAPTION,
    "unlisted": base.MISSING_CAPTION,
    "sidecar": "",
}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_metadata(tmp_path, kind):
    root = tmp_path / "images"
    for number, name in enumerate(["one", "sub/two", "sub/three", "four", "five", "unlisted"]):
        write_pair(root, name, None, number)
    write_pair(root, "sidecar", "its own words", 50)
    write_pair(tmp_path, "secret", None, 51)
    wanted = {}
    for name, reason in OUTCOMES.items():
        if name.startswith("{"):
            number = int(name.split("{")[2].rstrip("}")) + (kind == "csv")  # below the header
            wanted[f"metadata.{kind}:{number}"] = reason
        else:
            wanted[name] = reason
    if kind == "csv":
        with (root / "metadata.csv").open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, ["file_name", "caption", "id"], restval="")
            writer.writeheader()
            writer.writerows(METADATA)
        wanted["five"] = base.EMPTY_CAPTION  # CSV cannot tell the two apart
    else:
        lines = [json.dumps(row) for row in METADATA]
        extra = ["", "{not json", "[1]", '{"file_name": "\\ud800.png", "caption": "x"}']
        extra += [
            '{"file_name": "one.png", "id": "half", "caption": "\\ud800"}',
            '{"file_name": "a\\u0000.png"}',
        ]
        (root / "metadata.jsonl").write_text("\n".join(lines + extra))
        first = len(lines) + 1
        wanted[f"metadata.jsonl:{first + 1}"] = base.UNREADABLE_METADATA
        wanted[f"metadata.jsonl:{first + 2}"] = base.UNREADABLE_METADATA
        wanted["\\ud800"] = base.MISSING_IMAGE
        wanted["half"] = base.UNREADABLE_CAPTION
        wanted["a\x00"] = base.MISSING_IMAGE
    assert outcomes(user_pool(root)) == wanted


def test_a_caption_stands_under_caption_or_else_under_text(tmp_path):
    for number, name in enumerate(["lines", "both", "half", "sub/table", "sub/short", "sub/long"]):
        write_pair(tmp_path, name, None, number)
    rows = [
        {"file_name": "lines.png", "text": "of imagefolder"},
        {"file_name": "both.png", "text": "not it", "caption": "its caption"},
        {"file_name": "half.png", "text": "not it", "caption": None},
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    rows = [
        "file_name,text,caption",
        "table.png,,of a table",
        "short.png,not it",
        "long.png,not it,its own,4",
    ]
    (tmp_path / "sub/metadata.csv").write_text("\n".join(rows))
    assert {record.id: (record.caption, record.reason) for record in records(user_pool(tmp_path))} == {
        "lines": ("of imagefolder", ""),
        "both": ("its caption", ""),
        "half": ("", base.MISSING_CAPTION),
        "sub/table": ("of a table", ""),
        "sub/short": ("", base.MISSING_CAPTION),
        "sub/long": ("its own", ""),
    }


def test_metadata_in_a_subfolder_is_relative_to_it(tmp_path):
    write_pair(tmp_path, "sub/one", None, 0)
    (tmp_path / "sub/metadata.csv").write_text("file_name,caption\none.png,words\n")
    assert outcomes(user_pool(tmp_path)) == {"sub/one": ""}


def test_what_is_wrong_in_metadata_loses_its_own_line(tmp_path):
    rows = [f"{i:03d}.png,words {i}".encode() for i in range(400)]
    for i in (0, 99, 100, 101, 200, 300, 301, 399):
        write_pair(tmp_path, f"{i:03d}", None, i)
    rows[100] = b"100.png,gr\xf6\xdfe"  # Latin-1
    rows[200] = b"200.png," + b"x" * 131_073  # longer than Python's reader of CSV takes by default
    rows[300] = b'300.png,"a quote that is never closed'
    (tmp_path / "metadata.csv").write_bytes(b"file_name,caption\n" + b"\r\n".join(rows))
    found = outcomes(user_pool(tmp_path))
    wanted = {f"{i:03d}": base.MISSING_IMAGE for i in range(400)}
    wanted |= dict.fromkeys(("000", "099", "101", "301", "399"), "")
    wanted |= {"100": base.UNREADABLE_CAPTION, "200": base.LONG_CAPTION}
    wanted |= {"300": base.MISSING_CAPTION, "metadata.csv:302": base.UNREADABLE_METADATA}
    assert found == wanted


def test_a_line_of_jsonl_in_latin_1_loses_its_caption_alone(tmp_path):
    for i in range(3):
        write_pair(tmp_path, f"{i}", None, i)
    lines = [f'{{"file_name": "{i}.png", "caption": "words"}}'.encode() for i in range(3)]
    lines[1] = lines[1].replace(b"words", b"gr\xf6\xdfe")
    (tmp_path / "metadata.jsonl").write_bytes(
        b"\n".join([*lines, b'{"caption": "' + b"x" * 2_000_000 + b'"}'])
    )
    assert outcomes(user_pool(tmp_path)) == {
        "0": "", "1": base.UNREADABLE_CAPTION, "2": "", "metadata.jsonl:4": base.UNREADABLE_METADATA,
    }  # fmt: skip


def test_links_to_outside_are_read_where_that_is_said_alone(tmp_path):
    root, away = tmp_path / "images", tmp_path / "away"
    for number, name in enumerate(["plain", "words", "inner"]):
        write_pair(root, name, "words", number)
    write_pair(away, "secret", "a secret", 8)
    write_pair(away, "sub/other", "another", 9)
    (root / "words.txt").unlink()
    (root / "words.txt").symlink_to(away / "secret.txt")
    (root / "picture.png").symlink_to(away / "secret.png")
    (root / "picture.txt").write_text("words")
    (root / "inner2.png").symlink_to("inner.png")
    (root / "inner2.txt").symlink_to(root / "inner.txt")
    (root / "sub").symlink_to(away / "sub")
    (root / "loop.png").symlink_to("loop.png")
    (root / "metadata.jsonl").write_text('{"file_name": "sub/other.png", "caption": "words"}')
    (root / "more").mkdir()
    (away / "metadata.csv").write_text("file_name,caption\nx.png,words\n")
    (root / "more/metadata.csv").symlink_to(away / "metadata.csv")
    found = outcomes(user_pool(root))
    assert found == {
        "plain": "", "inner": "", "inner2": "", "words": base.OUTSIDE, "picture": base.OUTSIDE,
        "sub/other": base.OUTSIDE, "more/metadata.csv": base.OUTSIDE,
    }  # fmt: skip
    assert not any(record.caption == "a secret" for record in records(user_pool(root)))
    found = outcomes(user_pool(root, links=True))
    assert found.pop("more/x") == base.MISSING_IMAGE
    assert set(found.values()) == {""}
    assert len(found) == 6
    (tmp_path / "link").symlink_to(root)  # of the pool's own path: what lies in it is inside
    assert outcomes(user_pool(tmp_path / "link"))["plain"] == ""


def test_of_a_sidecar_no_more_is_read_than_a_caption_may_have(tmp_path):
    for name in ("long", "most", "large"):
        write_pair(tmp_path, name, None, len(name))
    (tmp_path / "most.txt").write_text("ü" * base.LONGEST + "\n", "utf-8")
    (tmp_path / "long.txt").write_text("\ufeff" + "😀" * (base.LONGEST + 1), "utf-8")
    (tmp_path / "large.txt").write_text("x")
    os.truncate(tmp_path / "large.txt", 3 << 30)
    tracemalloc.start()
    found = outcomes(user_pool(tmp_path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == {"most": "", "long": base.LONG_CAPTION, "large": base.LONG_CAPTION}
    assert peak < 20 * 2**20


def test_metadata_without_its_columns_is_refused(tmp_path):
    write_pair(tmp_path, "one", None, 0)
    for columns in ("image,text", "file_name,words"):
        (tmp_path / "metadata.csv").write_text(f"{columns}\none.png,words\n")
        told = f"has the columns {columns.replace(',', ', ')}; it needs file_name and caption"
        with pytest.raises(Refusal, match=told):
            outcomes(user_pool(tmp_path))


def test_the_expected_number_is_that_of_images(folder):
    assert (
        expected(user_pool(folder)) == 15
    )  # "UPPER.PNG" and both of "twice" too, hidden files and folders not


def test_a_folder_of_nothing_but_links_is_told_which_key_reads_them(tmp_path):
    write_pair(tmp_path / "away", "one", "words", 1)
    (tmp_path / "images").mkdir()
    for suffix in (".png", ".txt"):
        (tmp_path / "images" / f"one{suffix}").symlink_to(tmp_path / "away" / f"one{suffix}")
    with pytest.raises(
        Refusal, match=r"1 x path outside the folder\): pools\.mine\.links is false, and a file"
    ):
        list(rows(user_pool(tmp_path / "images"), 1, "mine"))


def test_a_whole_path_counts_where_it_leads_below_its_metadata_file(tmp_path):
    write_pair(tmp_path / "images/sub", "one", None, 1)
    write_pair(tmp_path / "away", "two", None, 2)
    names = [tmp_path / "images/sub/one.png", tmp_path / "away/two.png", tmp_path / "images/../away/two.png"]
    lines = [json.dumps({"file_name": str(name), "caption": "words"}) for name in names]
    (tmp_path / "images/metadata.jsonl").write_text("\n".join(lines))
    found = outcomes(user_pool(tmp_path / "images", links=True))
    assert found.pop("sub/one") == ""
    assert set(found.values()) == {base.OUTSIDE}
    assert len(found) == 2
    (tmp_path / "images/metadata.jsonl").write_text(lines[1])
    with pytest.raises(Refusal) as refused:  # and links, which are read, are not blamed
        list(rows(user_pool(tmp_path / "images", links=True), 1, "mine"))
    assert "a file_name is a path from its metadata file's folder on" in str(refused.value)
    assert "links" not in str(refused.value)


def test_images_of_other_suffixes_are_told_once_each(tmp_path):
    for name in ("words.avif", "alone.HEIC", "listed.svg", "both.avif"):
        (tmp_path / name).write_bytes(b"not read")
    for name in ("words", "both", "imageless"):
        (tmp_path / f"{name}.txt").write_text("words")
    write_pair(tmp_path, "both", None, 1)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "listed.svg", "caption": "words"}')
    (tmp_path / "notes.md").write_text("not a pair")
    assert outcomes(user_pool(tmp_path)) == {
        "words": base.OTHER_SUFFIX, "alone": base.OTHER_SUFFIX, "both": "", "imageless": base.MISSING_IMAGE,
        "listed": base.UNREADABLE_IMAGE,  # by its bytes, as all that metadata list
    }  # fmt: skip


@pytest.mark.parametrize("way", ["{}", "{}/../images", "link"])
def test_whole_paths_lead_below_by_links_and_detours_too(tmp_path, way):
    write_pair(tmp_path / "images", "one", None, 1)
    (tmp_path / "link").symlink_to(tmp_path / "images")
    name = tmp_path / "images/one.png"
    (tmp_path / "images/metadata.jsonl").write_text(json.dumps({"file_name": str(name), "caption": "words"}))
    assert outcomes(user_pool(tmp_path / way.format("images"))) == {"one": ""}


def test_a_pool_without_captions_is_told_where_they_are_read(tmp_path):
    write_pair(tmp_path, "one", None, 1)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "one.png", "prompt": "words"}')
    with pytest.raises(Refusal, match=r"1 x missing caption\): .* stands under caption or text of metadata"):
        list(rows(user_pool(tmp_path), 1, "mine"))
