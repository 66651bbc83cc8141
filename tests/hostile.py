"""Every kind of bad pair that a crawl of the web holds, each with the outcome that it should have.

`FORMATS` has, by name, the format of the pool and a function that writes pairs into an empty folder and gives
the reason by id that is expected, "" for a usable pair. Ordinary pairs stand between the bad ones.
"""

import io
import json
import os
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pool_helpers import encoded, picture, png_header

from alchemist.pools import base


@dataclass(frozen=True)
class Sample:
    """A pair: its name, the bytes of its image and of its caption, None where there is none."""

    name: str
    image: bytes | None
    caption: bytes | None = b"words"
    reason: str = ""
    suffix: str = "png"


def ordinary(count: int) -> list[Sample]:
    """Pairs without a fault."""
    return [
        Sample(f"good-{i:03d}", encoded(picture(1000 + i)), f"a caption {i}".encode()) for i in range(count)
    ]


def samples() -> list[Sample]:
    """One of each kind that any format can hold."""
    return [*_images(), *_captions()]


def _images() -> Iterator[Sample]:
    unreadable, large = base.UNREADABLE_IMAGE, base.TOO_LARGE
    noise = picture(1, (40, 40))
    for kind, suffix in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("GIF", "gif"), ("TIFF", "tif")):
        whole = encoded(noise, kind)
        yield Sample(f"truncated-{suffix}", whole[: len(whole) // 2], reason=unreadable, suffix=suffix)
        yield Sample(f"header-{suffix}", whole[:12], reason=unreadable, suffix=suffix)
    yield Sample("zero-bytes", b"", reason=unreadable)
    yield Sample("no-image", None, reason=base.MISSING_IMAGE)
    yield Sample("wrong-suffix", encoded(picture(2)), suffix="jpg")
    yield Sample("page", b"<!doctype html><title>404</title>" * 40, reason=unreadable, suffix="jpg")
    yield Sample("svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", reason=unreadable)
    yield Sample("postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", reason=unreadable)
    yield Sample("bomb-png", png_header(60_000, 60_000), reason=large)
    yield Sample("bomb-jpg", _claims(encoded(noise, "JPEG"), 65_500), reason=large, suffix="jpg")
    yield Sample(
        "bomb-gif", b"GIF89a\xff\xff\xff\xff" + encoded(noise, "GIF")[10:], reason=large, suffix="gif"
    )
    yield Sample("bomb-webp", _webp(12_000), reason=large, suffix="webp")
    yield Sample("bomb-tiles", _tiled_tiff(60_000), reason=large, suffix="tif")
    yield Sample("metadata-png", _text_chunk(8_000_000), reason="")
    yield Sample("cmyk", encoded(noise.convert("CMYK"), "JPEG"), suffix="jpg")
    yield Sample("palette", encoded(noise.quantize(16)))
    yield Sample("palette-alpha", encoded(noise.quantize(16), transparency=3))
    yield Sample("alpha", encoded(noise.convert("RGBA")))
    yield Sample("grey-alpha", encoded(noise.convert("LA")))
    yield Sample("one-bit", encoded(noise.convert("1")))
    grey = np.asarray(noise.convert("L"))
    yield Sample("16-bit", encoded(Image.fromarray(grey.astype(np.uint16) * 257)))
    yield Sample(
        "32-bit", encoded(Image.fromarray(grey.astype(np.int32)), "TIFF"), reason=unreadable, suffix="tif"
    )
    yield Sample(
        "float", encoded(Image.fromarray(grey.astype(np.float32)), "TIFF"), reason=unreadable, suffix="tif"
    )
    moves = {"save_all": True, "append_images": [picture(3, (40, 40))]}
    for kind, suffix in (("GIF", "gif"), ("WEBP", "webp"), ("PNG", "png"), ("TIFF", "tif")):
        yield Sample(f"animated-{suffix}", encoded(noise, kind, **moves), reason=base.ANIMATED, suffix=suffix)
    exif = Image.Exif()
    exif[0x0112] = 6
    yield Sample("turned", encoded(noise, "JPEG", exif=exif), suffix="jpg")
    yield Sample(
        "exif-broken",
        encoded(noise, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\1" * 400),
        suffix="jpg",
    )
    yield Sample("exif-repeats", encoded(noise, "JPEG", exif=_repeats()), suffix="jpg")
    yield Sample("profile-broken", encoded(noise, icc_profile=b"\xff" * 2000))
    yield Sample("thin", encoded(Image.new("RGB", (1, 10_000))))
    yield Sample("flat", encoded(Image.new("L", (10_000, 1))))
    yield Sample("dot", encoded(Image.new("RGB", (1, 1))))


def _captions() -> Iterator[Sample]:
    def words(name: str, caption: bytes | None, reason: str = "") -> Sample:
        return Sample(name, encoded(picture(zlib.crc32(name.encode()) % 10_000 + 5000)), caption, reason)

    unreadable = base.UNREADABLE_CAPTION
    yield words("no-caption", None, base.MISSING_CAPTION)
    yield words("empty", b"", base.EMPTY_CAPTION)
    yield words("blank", " \n\t\u3000".encode(), base.EMPTY_CAPTION)
    yield words("longest", b"x" * base.LONGEST)
    yield words("longest-wide", "\U0001f600".encode() * base.LONGEST)
    yield words("too-long", b"x" * (base.LONGEST + 1), base.LONG_CAPTION)
    yield words("far-too-long", "ü".encode() * 350_000, base.LONG_CAPTION)
    yield words("nul", b"before\0after")
    yield words("controls", bytes(range(1, 32)) + b"\x7f words \xc2\x85 \xe2\x80\xa8")
    yield words("latin-1", "größe".encode("latin-1"), unreadable)
    yield words("utf-16", "words".encode("utf-16"), unreadable)
    yield words("half-a-pair", b"\xed\xa0\x80", unreadable)
    yield words("cut", b"gr\xc3", unreadable)
    yield words("overlong", b"\xc0\xaf", unreadable)
    yield words("bidi", "\u202eevil\u202c \u2066words\u2069".encode())
    yield words("html", b"</td><script>alert(1)</script><img src=x onerror=alert(1)>")
    yield words("template", b"{{ 7 * 7 }} {% raw %} ${HOME} %s %(a)s")
    yield words("quotes", b'"a", \'b\', "" \\ \r\n "c')
    yield words("marks", ("e" + "\u0301" * 5000).encode())


def _claims(jpeg: bytes, side: int) -> bytes:
    """A JPEG whose frame claims a size."""
    place = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:place] + struct.pack(">HH", side, side) + jpeg[place + 4 :]


def _webp(side: int) -> bytes:
    """A lossless WebP of a dot whose header claims a size."""
    content = bytearray(encoded(Image.new("RGB", (1, 1)), "WEBP", lossless=True))
    place = content.index(b"VP8L") + 9
    rest = int.from_bytes(content[place : place + 4], "little") >> 28 << 28
    content[place : place + 4] = (rest | (side - 1) << 14 | (side - 1)).to_bytes(4, "little")
    return bytes(content)


def _tiled_tiff(side: int) -> bytes:
    """A TIFF of 16 x 16 pixels in one compressed tile of `side` squared."""
    tags = [
        (256, 3, 16), (257, 3, 16), (258, 3, 8), (259, 3, 5), (262, 3, 1), (277, 3, 1),
        (322, 4, side), (323, 4, side), (324, 4, 8), (325, 4, 100),
    ]  # fmt: skip
    entries = b"".join(
        struct.pack("<HHIHH", tag, kind, 1, value, 0)
        if kind == 3
        else struct.pack("<HHII", tag, kind, 1, value)
        for tag, kind, value in tags
    )
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + bytes(100)


def _text_chunk(size: int) -> bytes:
    """A PNG with a chunk that no decoder needs."""
    whole = encoded(picture(4))
    body = b"prVt" + bytes(size)
    chunk = struct.pack(">I", size) + body + struct.pack(">I", zlib.crc32(body))
    return whole[:33] + chunk + whole[33:]


def _repeats() -> bytes:
    """EXIF of 4,000 entries, each of which says that it is the whole block."""
    entries = b"".join(struct.pack(">HHII", number, 7, 48_000, 8) for number in range(4000))
    return b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 4000) + entries + bytes(4)


# ---------------------------------------------------------------------- the formats


def folder(root: Path, pairs: list[Sample]) -> dict[str, str]:
    """Images with sidecars; links that lead out, a pipe, a folder with an image's name."""
    for pair in pairs:
        if pair.image is not None:
            (root / f"{pair.name}.{pair.suffix}").write_bytes(pair.image)
        if pair.caption is not None:
            (root / f"{pair.name}.txt").write_bytes(pair.caption)
    good = encoded(picture(7))
    (root / "folder.png").mkdir()
    os.mkfifo(root / "pipe.png")
    (root / "nowhere.png").symlink_to("gone.png")
    for name in ("linked", "password"):
        (root / f"{name}.png").write_bytes(good)
    (root / "linked.png").unlink()
    (root / "linked.png").symlink_to("/etc/hostname")
    (root / "linked.txt").write_text("words")
    (root / "password.txt").symlink_to("/etc/passwd")
    (root / "good-000.jpg").write_bytes(encoded(picture(8), "JPEG"))
    # Of two images of one name the one that comes first by its suffix has the id.
    again = {"good-000#2": base.DUPLICATE_ID}
    return _reasons(pairs) | again | {"linked": base.OUTSIDE, "password": base.OUTSIDE}


def table(root: Path, pairs: list[Sample]) -> dict[str, str]:
    """Images with a metadata.csv, where no caption is an empty one."""
    rows = [b"file_name,caption"]
    wanted = {}
    for number, pair in enumerate(pairs, 2):
        name = f"{pair.name}.{pair.suffix}"
        if pair.image is not None:
            (root / name).write_bytes(pair.image)
        rows.append(name.encode() + b',"' + (pair.caption or b"").replace(b'"', b'""') + b'"')
        missing = pair.reason == base.MISSING_CAPTION
        wanted[pair.name] = base.EMPTY_CAPTION if missing else pair.reason
    rows += [
        b"../secret.png,words",
        b"/etc/hostname,words",
        b"short",
        b",words",
        b"x" * 5_000_000,
        b'gone.png,"words',
        b"last.png,words",
    ]
    (root / "metadata.csv").write_bytes(b"\n".join(rows))
    last = len(pairs) + 2
    told = (base.OUTSIDE, base.OUTSIDE, None, base.MISSING_IMAGE) + (base.UNREADABLE_METADATA,) * 2
    wanted |= {f"metadata.csv:{last + i}": reason for i, reason in enumerate(told) if reason}
    return wanted | {"short": base.MISSING_IMAGE, "last": base.MISSING_IMAGE}


def lines(root: Path, pairs: list[Sample]) -> dict[str, str]:
    """Images with a metadata.jsonl."""
    rows = []
    for pair in pairs:
        name = f"{pair.name}.{pair.suffix}"
        if pair.image is not None:
            (root / name).write_bytes(pair.image)
        value = {"file_name": name}
        if pair.caption is not None:
            value["caption"] = pair.caption.decode("utf-8", "surrogateescape")
        rows.append(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape"))
    rows += [
        b'{"file_name": "a/../../b.png"}',
        b"[" * 50_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b"\xff",
        b"null",
    ]
    (root / "metadata.jsonl").write_bytes(b"\n".join(rows))
    last = len(pairs) + 1
    wanted = {f"metadata.jsonl:{last + i}": base.UNREADABLE_METADATA for i in range(1, 5)}
    return _reasons(pairs) | wanted | {f"metadata.jsonl:{last}": base.OUTSIDE}


def webdataset(root: Path, pairs: list[Sample]) -> dict[str, str]:
    """A tar of the pairs with links, devices and names that lead out; others that break off, claim or lie."""
    wanted = {f"a/{name}": reason for name, reason in _reasons(pairs).items()}
    with tarfile.open(root / "a.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for pair in pairs:
            for suffix, content in ((pair.suffix, pair.image), ("txt", pair.caption)):
                if content is not None:
                    _add(tar, f"{pair.name}.{suffix}", content)
        for name in ("../../escape", "/absolute-of-a-tar/x", "a/../../b"):
            _add(tar, f"{name}.png", encoded(picture(8)))
            _add(tar, f"{name}.txt", b"words")
            wanted[f"a/{name}"] = ""
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)):
            link = tarfile.TarInfo(f"link{number}.png")
            link.type, link.linkname = kind, "/etc/passwd"
            tar.addfile(link)
            _add(tar, f"link{number}.txt", b"words")
            wanted[f"a/link{number}"] = base.MISSING_IMAGE
        _add(tar, "good-000.png", encoded(picture(9)))
        _add(tar, "good-000.txt", b"words")
        wanted["a/good-000#2"] = base.DUPLICATE_ID
        _add(tar, "json.png", encoded(picture(10)))
        _add(tar, "json.json", b'{"caption": "' + b"x" * 3_000_000 + b'"}')
        wanted["a/json"] = base.UNREADABLE_CAPTION
        _add(tar, "sparse.txt", b"words")
        tar.addfile(_sparse("sparse.png"))
        wanted["a/sparse"] = base.SPARSE
    whole = (root / "a.tar").read_bytes()
    names = list(wanted)[:3]
    with tarfile.open(root / "b.tar", "w") as tar:
        for name in ("one", "two"):
            _add(tar, f"{name}.png", encoded(picture(11)))
            _add(tar, f"{name}.txt", b"words")
        end = tar.offset
    (root / "b.tar").write_bytes((root / "b.tar").read_bytes()[:end] + whole[:700])
    wanted |= {
        "b/one": "",
        "b/two": "",
        "b.tar": base.TRUNCATED_TAR,
        f"b/{names[0][2:]}": base.MISSING_CAPTION,
    }
    for name, head in (
        ("c", _header("x.png", tarfile.REGTYPE)),
        ("d", _header("x", tarfile.GNUTYPE_LONGNAME)),
    ):
        (root / f"{name}.tar").write_bytes(head)
        wanted[f"{name}.tar"] = base.TRUNCATED_TAR
    wanted["c/x"] = base.MISSING_CAPTION
    (root / "e.tar").write_bytes(_header("x", tarfile.XHDTYPE))
    (root / "f.tar").write_bytes(b"")
    (root / "g.tar").write_bytes(_header("x", tarfile.GNUTYPE_LONGNAME, 1) * 3000)
    return wanted | dict.fromkeys(("e.tar", "f.tar", "g.tar"), base.TRUNCATED_TAR)


def parquet(root: Path, pairs: list[Sample]) -> dict[str, str]:
    """A table with a column of ids; null cells, and files that break off or are none."""
    wanted = {"good-000#2": base.DUPLICATE_ID, "null": base.MISSING_CAPTION}
    extra = [Sample("good-000", encoded(picture(12))), Sample("null", None, None)]
    rows = [*pairs, *extra]
    image = pa.array([pair.image for pair in rows], pa.binary())
    _write(root / "a.parquet", rows, image)
    return wanted | _reasons(pairs) | _broken(root)


def structs(root: Path, pairs: list[Sample]) -> dict[str, str]:
    """As `parquet`, of structs: some null, some of a null, with a path that is no UTF-8 beside."""
    cells = [{"bytes": pair.image, "path": f"{pair.name}.png"} for pair in pairs]
    nulls = [Sample("null-struct", None), Sample("null-bytes", None)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    image = pa.array([*cells, None, {"bytes": None, "path": None}], kind)
    _write(root / "a.parquet", [*pairs, *nulls], image)
    return _reasons(pairs) | {pair.name: base.MISSING_IMAGE for pair in nulls} | _broken(root)


def mjhq30k(root: Path, pairs: list[Sample]) -> dict[str, str]:
    """The set's layout, where every image is named as a JPEG."""
    (root / "all").mkdir()
    entries = {}
    for pair in pairs:
        if pair.image is not None:
            (root / f"all/{pair.name}.jpg").write_bytes(pair.image)
        entries[pair.name] = {"category": "all"}
        if pair.caption is not None:
            entries[pair.name]["prompt"] = pair.caption.decode("utf-8", "surrogateescape")
    odd = {
        "x" * 4000: {"category": "all", "prompt": "words"},
        "up": {"category": "..", "prompt": "words"},
        "no": 3,
    }
    text = json.dumps(entries | odd, ensure_ascii=False)
    (root / "meta_data.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    wanted = {"x" * 4000: base.MISSING_IMAGE, "up": base.OUTSIDE, "no": base.UNREADABLE_METADATA}
    return _reasons(pairs) | wanted


def laion(root: Path, pairs: list[Sample]) -> dict[str, str]:
    """A tar with its table, in which downloads failed, too; a second tar has none."""
    rows = []
    with tarfile.open(root / "0.tar", "w") as tar:
        for number, pair in enumerate(pairs):
            for suffix, content in ((pair.suffix, pair.image), ("txt", pair.caption)):
                if content is not None:
                    _add(tar, f"{number:05d}.{suffix}", content)
            rows.append(
                {"key": f"{number:05d}", "status": "success", "url": "http://[x", "sha256": pair.name}
            )
    for number, status in enumerate(("failed_to_download", "failed_to_resize", "?", None)):
        rows.append(
            {
                "key": f"f{number}",
                "status": status,
                "url": f"http://x.y/{number}",
                "sha256": f"failed{number}",
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), root / "0.parquet")
    with tarfile.open(root / "1.tar", "w") as tar:
        _add(tar, "a.png", encoded(picture(13)))
        _add(tar, "a.json", json.dumps({"caption": "words", "sha256": "lone"}).encode())
    told = (base.DOWNLOAD_FAILED, base.RESIZE_FAILED, base.UNREADABLE_METADATA, base.UNREADABLE_METADATA)
    wanted = {f"failed{number}": reason for number, reason in enumerate(told)}
    return _reasons(pairs) | wanted | {"1.parquet": base.MISSING_FILE, "lone": ""}


def _broken(root: Path) -> dict[str, str]:
    (root / "b.parquet").write_bytes((root / "a.parquet").read_bytes()[:-100])
    (root / "c.parquet").write_bytes(b"PAR1" + bytes(100) + b"\xff\xff\xff\x7fPAR1")
    (root / "d.parquet").write_bytes(b"")
    return dict.fromkeys(("b.parquet", "c.parquet", "d.parquet"), base.UNREADABLE_FILE)


def _write(path: Path, rows: list[Sample], image: pa.Array) -> None:
    captions = [pair.caption for pair in rows]
    # What parquet calls text need not be UTF-8.
    text = pa.array(captions, pa.binary()).view(pa.string())
    names = [pair.name for pair in rows]
    pq.write_table(pa.table({"image": image, "caption": text, "id": names}), path, row_group_size=20)


def _reasons(pairs: list[Sample]) -> dict[str, str]:
    return {pair.name: pair.reason for pair in pairs}


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _sparse(name: str) -> tarfile.TarInfo:
    """A GNU-sparse member that claims 3 GB and has none."""
    info = tarfile.TarInfo(name)
    info.type = tarfile.GNUTYPE_SPARSE
    return info


def _header(name: str, kind: bytes, size: int = 8 << 30) -> bytes:
    """A header that claims a size, with nothing behind it."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


FORMATS: dict[str, tuple[str, Callable[[Path, list[Sample]], dict[str, str]]]] = {
    "folder": ("folder", folder),
    "csv": ("folder", table),
    "jsonl": ("folder", lines),
    "webdataset": ("webdataset", webdataset),
    "parquet": ("parquet", parquet),
    "structs": ("parquet", structs),
    "mjhq30k": ("mjhq30k", mjhq30k),
    "laion": ("laion", laion),
}


def write(root: Path, name: str, good: int) -> tuple[str, dict[str, str]]:
    """Writes all samples and ordinary pairs between them; gives the format and the expected reasons."""
    root.mkdir(parents=True)
    bad, fine = samples(), ordinary(good)
    mixed = [fine[0]]
    for number in range(max(len(bad), good - 1)):
        mixed += [*bad[number : number + 1], *fine[number + 1 : number + 2]]
    source, writer = FORMATS[name]
    return source, writer(root, mixed)
