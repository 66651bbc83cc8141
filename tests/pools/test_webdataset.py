import io
import tarfile
import tracemalloc

import pytest
from pool_helpers import encoded, members, outcomes, picture, user_pool, write_tar

from alchemist.pools import base
from alchemist.pools.read import expected, records


@pytest.fixture
def tars(tmp_path):
    root = tmp_path / "tars"
    write_tar(
        root / "a/00000.tar",
        [
            ("text.jpg", encoded(picture(0), "JPEG")),
            ("text.txt", b"words"),
            ("text.json", b'{"caption": "ignored beside txt"}'),
            ("json.webp", encoded(picture(1), "WEBP")),
            ("json.json", b'{"caption": " a caption ", "text": "second choice"}'),
            ("deep/er.v1/named.JPEG", encoded(picture(2), "JPEG")),
            ("deep/er.v1/named.json", b'{"text": "text alone"}'),
            ("wordless.png", encoded(picture(3))),
            ("wordless.json", b'{"url": "x"}'),
            ("badjson.png", encoded(picture(4))),
            ("badjson.json", b"{"),
            ("imageless.txt", b"words"),
            ("broken.png", b"x"),
            ("broken.txt", b"words"),
            ("blank.png", encoded(picture(5))),
            ("blank.txt", b" "),
            ("text.png", encoded(picture(6))),
            ("text.txt", b"the key comes again, later"),
            ("next.png", encoded(picture(7))),
            ("next.txt", b"words"),
            ("next.png", encoded(picture(8))),
            ("next.txt", b"the key comes again, at once"),
            ("other.avif", b"not read"),
            ("other.txt", b"words"),
        ],
    )
    return root


def test_webdataset_gives_every_pair_an_outcome(tars):
    pool = user_pool(tars, "webdataset")
    assert outcomes(pool) == {
        "a/00000/text": "",
        "a/00000/json": "",
        "a/00000/deep/er.v1/named": "",
        "a/00000/wordless": base.MISSING_CAPTION,
        "a/00000/badjson": base.UNREADABLE_CAPTION,
        "a/00000/imageless": base.MISSING_IMAGE,
        "a/00000/broken": base.UNREADABLE_IMAGE,
        "a/00000/blank": base.EMPTY_CAPTION,
        "a/00000/text#2": base.DUPLICATE_ID,
        "a/00000/next": "",
        "a/00000/next#2": base.DUPLICATE_ID,
        "a/00000/other": base.OTHER_SUFFIX,
    }
    captions = {r.id.split("/")[-1]: r.caption for r in records(pool)}
    assert (captions["text"], captions["json"], captions["named"]) == ("words", "a caption", "text alone")


def test_one_tar_and_folders_of_tars(tmp_path):
    write_tar(tmp_path / "b.tar", members(0, 2))
    write_tar(tmp_path / "a.tar", members(2, 2))
    assert list(outcomes(user_pool(tmp_path / "b.tar", "webdataset"))) == ["b/0000", "b/0001"]
    found = list(outcomes(user_pool(tmp_path, "webdataset")))
    assert found == ["a/0002", "a/0003", "b/0000", "b/0001"]
    assert expected(user_pool(tmp_path, "webdataset")) is None


def test_a_tar_that_breaks_off_anywhere_keeps_what_was_read(tmp_path):
    write_tar(tmp_path / "whole.tar", members(0, 3))
    content = (tmp_path / "whole.tar").read_bytes()
    assert set(outcomes(user_pool(tmp_path, "webdataset")).values()) == {""}
    (tmp_path / "whole.tar").unlink()
    end = content.rstrip(b"\0")
    end = -(-len(end) // 512) * 512  # behind the last member, where the closing zeros begin
    previous = 0
    for length in [*range(0, end, 300), end]:
        (tmp_path / "cut.tar").write_bytes(content[:length])
        found = outcomes(user_pool(tmp_path / "cut.tar", "webdataset"))
        assert found["cut.tar"] == base.TRUNCATED_TAR
        usable = sum(not reason for reason in found.values())
        assert previous <= usable <= 3
        previous = usable
    assert previous == 3


def test_a_broken_header_in_the_middle_is_told(tmp_path):
    write_tar(tmp_path / "a.tar", members(0, 3))
    content = bytearray((tmp_path / "a.tar").read_bytes())
    place = content.index(b"0001.png")
    content[place : place + 512] = b"x" * 512
    (tmp_path / "a.tar").write_bytes(content)
    assert outcomes(user_pool(tmp_path, "webdataset")) == {"a/0000": "", "a.tar": base.TRUNCATED_TAR}


def test_what_is_no_tar_spoils_no_other(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"no tar" * 500)
    (tmp_path / "b.tar").write_bytes(b"")
    write_tar(tmp_path / "c.tar", members(0, 1))
    found = outcomes(user_pool(tmp_path, "webdataset"))
    assert found == {"a.tar": base.TRUNCATED_TAR, "b.tar": base.TRUNCATED_TAR, "c/0000": ""}


def test_headers_are_read_within_a_bound_and_end_where_they_make_no_sense(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(3):
            info = tarfile.TarInfo(f"{'n' * 300}{number}.png")
            info.pax_headers = {"comment": "x" * (100_000 if number < 2 else 300_000)}
            content = encoded(picture(number))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    tracemalloc.start()
    found = outcomes(user_pool(tmp_path, "webdataset"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    wanted = {f"a/{'n' * 300}{number}": base.MISSING_CAPTION for number in range(2)}
    assert found == wanted | {"a.tar": base.TRUNCATED_TAR}
    assert peak < 2 * 2**20


def test_a_size_below_zero_does_not_begin_again(tmp_path):
    write_tar(tmp_path / "a.tar", members(0, 2))
    content = bytearray((tmp_path / "a.tar").read_bytes())
    place = content.index(b"0001.png")
    content[place + 124 : place + 136] = b"\xff" * 11 + b"\x00"
    content[place + 148 : place + 156] = (
        b"%06o\0 " % tarfile.calc_chksums(bytes(content[place : place + 512]))[0]
    )
    (tmp_path / "a.tar").write_bytes(content)
    found = outcomes(user_pool(tmp_path, "webdataset"))
    assert found["a/0000"] == ""
    assert found["a.tar"] == base.TRUNCATED_TAR
    assert len(found) <= 3


def test_a_long_key_is_an_id_with_a_hash_at_its_end(tmp_path):
    long = "n" * 5000
    write_tar(tmp_path / "a.tar", [(f"{long}{end}.png", encoded(picture(7))) for end in "ab"])
    found = list(outcomes(user_pool(tmp_path, "webdataset")))
    assert len(found) == 2
    assert all(len(name) == 4096 + 33 and name.startswith("a/nnn") for name in found)
