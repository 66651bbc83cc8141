import json
import math

import pytest
from pool_helpers import encoded, outcomes, picture, user_pool
from published import compared

from alchemist.core.refusal import Refusal
from alchemist.pools import base
from alchemist.pools.base import digest
from alchemist.pools.read import records, rows


def short(prompt):
    return digest(prompt.encode()).hex()[:8]


LIST = [
    compared("a cat", "a", "b", 0.9),
    compared("a cat", "a", "c", 0.7),
    compared(" a cat ", "c", "a"),  # the same prompt, and the other way round
    compared("a dog", "d", "b", 0.5),  # an image with a second prompt
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for number, name in enumerate("abcd"):
        (tmp_path / f"images/{name}.jpg").write_bytes(encoded(picture(number), "JPEG"))
    write(tmp_path, LIST)
    return tmp_path


def write(folder, items, name="all.json"):
    (folder / name).write_text(json.dumps(items, indent=1))


def test_an_image_with_a_prompt_is_one_record_however_often_it_is_compared(folder):
    found = {row.id: row for row in rows(user_pool(folder, "hpdv3"), 1)}
    cat, dog = short("a cat"), short("a dog")
    assert list(found) == [
        f"images/a/{cat}", f"images/b/{cat}", f"images/c/{cat}", f"images/d/{dog}", f"images/b/{dog}",
    ]  # fmt: skip
    assert [row.extra["repeats"] for row in found.values()] == [3, 1, 2, 1, 1]
    assert sum(row.extra["repeats"] for row in found.values()) == 2 * len(LIST)
    assert [row.extra["model"] for row in found.values()] == [f"model of {name}" for name in "abcdb"]
    assert [(row.labels["wins"], row.labels["losses"]) for row in found.values()] == [
        (2, 1), (0, 1), (1, 1), (1, 0), (0, 1),
    ]  # fmt: skip
    confidence = [row.labels["confidence"] for row in found.values()]
    assert confidence == pytest.approx([0.8, 0.9, 0.7, 0.5, 0.5])
    assert not any(row.reason for row in found.values())
    assert {row.caption for row in found.values()} == {"a cat", "a dog"}


def test_a_pair_without_a_confidence_leaves_none(folder):
    write(folder, [compared("a cat", "a", "b"), compared("a cat", "a", "c", True)])
    assert all(math.isnan(row.labels["confidence"]) for row in rows(user_pool(folder, "hpdv3"), 1))


def test_ids_do_not_depend_on_the_order_of_the_list(folder):
    before = {row.id: row.labels for row in rows(user_pool(folder, "hpdv3"), 1)}
    write(folder, LIST[::-1], "train.json")
    after = {row.id: row.labels for row in rows(user_pool(folder, "hpdv3", file="train.json"), 1)}
    assert list(before) != list(after)
    assert before == after


def test_all_images_of_a_prompt_share_a_split(folder):
    for number in range(40):
        for name in ("x", "y"):
            path = folder / f"images/{name}{number}.jpg"
            path.write_bytes(encoded(picture(100 + 2 * number + (name == "y")), "JPEG"))
    write(folder, [compared(f"prompt {i}", f"x{i}", f"y{i}") for i in range(40)])
    splits = {"meta_validation": 0.3, "evaluation": 0.3, "scorer": 0.0}
    found = list(rows(user_pool(folder, "hpdv3", splits=splits), 1))
    of = {}
    for row in found:
        of.setdefault(row.caption, set()).add(row.split)
    assert len(of) == 40
    assert all(len(splits) == 1 for splits in of.values())
    assert len({row.split for row in found}) == 3


def test_every_record_has_an_outcome(folder):
    (folder / "images/d.jpg").write_bytes(b"x")
    write(
        folder,
        [
            *LIST,
            {"prompt": "a cat"},
            "words",
            compared(" ", "a", "b"),
            compared("a bird", "gone", "a", path2="../secret.jpg"),
            compared("a bird", "a", "b", path1="", path2="images", model1=7),
            compared("half \ud800", "a", "a"),
        ],
    )
    cat, dog, none, bird = (short(prompt) for prompt in ("a cat", "a dog", "", "a bird"))
    half = short("half \\ud800")
    assert outcomes(user_pool(folder, "hpdv3")) == {
        f"images/a/{cat}": "", f"images/b/{cat}": "", f"images/c/{cat}": "",
        f"images/d/{dog}": base.UNREADABLE_IMAGE, f"images/b/{dog}": "",
        "all.json:4": base.UNREADABLE_METADATA, "all.json:5": base.UNREADABLE_METADATA,
        f"images/a/{none}": base.EMPTY_CAPTION, f"images/b/{none}": base.EMPTY_CAPTION,
        f"images/gone/{bird}": base.MISSING_IMAGE, f"../secret/{bird}": base.OUTSIDE,
        f"/{bird}": base.MISSING_IMAGE, f"images/{bird}": base.MISSING_IMAGE,
        f"images/a/{half}": base.UNREADABLE_CAPTION,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is not a list in JSON"),
        ('{"prompt": "x"}', "is not a list in JSON"),
        ('[{"prompt": "x", "path1": "a", "path2": "b"}', "is not a list in JSON"),
        ("[]", "is an empty list"),
        ('[{"caption": "x", "image": "a"}]', "does not begin with a pair .* prompt, path1, path2"),
    ],
)
def test_a_list_of_another_layout_is_refused_before_a_record_comes(folder, content, told):
    (folder / "all.json").write_text(content)
    with pytest.raises(Refusal, match=told):
        next(records(user_pool(folder, "hpdv3")))


def test_paths_that_lead_nowhere_are_refused(folder):
    with pytest.raises(Refusal, match=r"file is 'none.json', which .* does not hold"):
        next(records(user_pool(folder, "hpdv3", file="none.json")))
    with pytest.raises(Refusal, match=r"nowhere.* does not exist"):
        next(records(user_pool(folder / "nowhere", "hpdv3")))


def test_a_path_that_no_file_can_have_and_a_prompt_that_is_no_text_spoil_no_other(folder):
    more = [
        compared("a fox", "x" * 5000, "a"),
        compared("gr\udcf6", "a", "b"),
        compared("x" * 200_000, "a", "b"),
    ]
    text = json.dumps(LIST + more, ensure_ascii=False)
    (folder / "all.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    reasons = [record.reason for record in records(user_pool(folder, "hpdv3"))]
    assert reasons == ["", "", "", "", "", base.MISSING_IMAGE, "", *[base.UNREADABLE_CAPTION] * 2,
                       *[base.LONG_CAPTION] * 2]  # fmt: skip
