"""Sets of icons: which names become drawings, what they look like, and why the others do not."""

import io

import numpy as np
import pytest
from PIL import Image
from pools.icon_packages import archive, faces, set_of, tools

from alchemist.core.refusal import Refusal
from alchemist.pools.icons import (
    AGAIN,
    CLEAN,
    HIDDEN,
    LOST,
    OTHER_KIND,
    SETS,
    TURNED,
    VARIANT,
    Drawing,
    curated,
    drawings,
    ordered,
    painted,
)


def found(name, content):
    return {one.id: one for one in drawings(set_of(name, content), content)}


def pixels(drawing, side=16):
    png = painted(drawing, side)
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB"))


def test_every_name_is_a_drawing_or_has_its_reason():
    reasons = {one.id.removeprefix("faces/"): one.reason for one in found("faces", faces()).values()}
    assert reasons == {
        **dict.fromkeys(["red-half", "wide-logo", "currency", "broken"], ""),
        **dict.fromkeys(["half", "other-half", "same-half"], ""),
        **dict.fromkeys(["gone", "gone-too"], HIDDEN),
        **dict.fromkeys(["of-none", "round", "round-too"], LOST),
        "upside-down": TURNED,
    }  # fmt: skip


def test_a_caption_is_the_name_in_words_and_a_category_that_of_its_set_or_of_its_drawing():
    faces_found = found("faces", faces())
    assert faces_found["faces/red-half"].caption == "red half"
    categories = {name: faces_found[f"faces/{name}"].category for name in ("red-half", "half", "other-half")}
    assert categories == {"red-half": "Halves", "half": "Signs", "other-half": "Halves"}
    assert faces_found["faces/wide-logo"].category == "faces"
    assert found("tools", tools())["tools/saw"].category == "tools"


def test_a_drawing_is_whole_on_white_and_mirrored_where_its_name_says_so():
    names = found("faces", faces())
    red, white, black = (255, 0, 0), (255, 255, 255), (0, 0, 0)
    half = pixels(names["faces/red-half"])
    assert (half[:, :8] == red).all()
    assert (half[:, 8:] == white).all()
    assert (pixels(names["faces/other-half"]) == half[:, ::-1]).all()
    assert (pixels(names["faces/same-half"]) == half).all()
    wide = pixels(names["faces/wide-logo"])
    assert (wide[4:12] == black).all(), "fitted into the square, in its middle"
    assert (wide[:4] == white).all()
    assert (wide[12:] == white).all()
    assert (pixels(names["faces/currency"]) == black).all()
    # The set's own size holds where the drawing states none: of 8 units the path fills all.
    assert (pixels(found("tools", tools())["tools/saw"]) == red).all()
    assert pixels(names["faces/red-half"], 64).shape == (64, 64, 3)
    assert painted(names["faces/broken"], 16) is None


def test_a_clean_set_has_each_thing_once():
    things, tone = "Objects", "waving hand dark skin tone"
    kinds = {
        "a saw": (things, "A", ""), "of none": (things, "", LOST), "flag": ("Flags", "B", ""),
        "a logo": ("Extras Openmoji", "C", ""), "second saw": (things, "A", AGAIN), tone: (things, "D", ""),
        "man facing right": (things, "E", ""), "waving hand": (things, "F", ""),
        "a flag again": (things, "B", ""),
    }  # fmt: skip
    some = [
        Drawing(name, name, category, svg, reason if reason == LOST else "")
        for name, (category, svg, reason) in kinds.items()
    ]
    assert {one.id: one.reason for one in curated(some)} == {
        "a saw": "", "of none": LOST, "flag": OTHER_KIND, "a logo": OTHER_KIND, "second saw": AGAIN,
        tone: VARIANT, "man facing right": VARIANT, "waving hand": "", "a flag again": "",
    }  # fmt: skip


def test_the_orders_hold_the_same_and_depend_on_no_other_order():
    some = [*found("faces", faces()).values(), *found("tools", tools()).values()]
    ids = [one.id for one in ordered(some, shuffled=False)]
    assert ids == sorted(ids)
    mixed = [one.id for one in ordered(some, shuffled=True)]
    assert sorted(mixed) == ids != mixed
    assert mixed == [one.id for one in ordered(some[::-1], shuffled=True)]


@pytest.mark.parametrize(
    "content",
    [b"no archive", archive({"prefix": "x"}), archive([]), archive({"icons": {"a": {}}})],
)
def test_another_layout_is_refused(content):
    with pytest.raises(Refusal, match=r"^@x/some 1\.0\.0 is not laid out as Iconify lays icons out\.$"):
        drawings(set_of("some", content), content)


def test_every_set_states_whose_it_is_under_which_licence_and_which_bytes_are_meant():
    every = (*SETS, *CLEAN)
    assert len({one.name for one in every}) == len(every), "the clean set is none of the pool's"
    legal = {"Apache-2.0", "MIT", "CC-BY-4.0", "CC-BY-3.0", "CC0-1.0", "CC-BY-SA-4.0"}
    for one in every:
        assert one.title
        assert one.author
        assert one.licence in legal
        assert len(one.package.integrity) == len("sha512-") + 88
