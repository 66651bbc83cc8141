import json

import published
import pytest
from pool_helpers import encoded, outcomes, picture, user_pool

from alchemist.core.refusal import Refusal
from alchemist.pools import base
from alchemist.pools.read import expected, records, rows


@pytest.fixture
def folder(tmp_path):
    """The layout of the hub's two files, unpacked."""
    published.mjhq30k(tmp_path)
    return tmp_path


def change(folder, **entries):
    path = folder / "meta_data.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def test_ids_prompts_and_categories_are_those_of_the_set(folder):
    found = list(rows(user_pool(folder, "mjhq30k"), 1))
    assert [row.id for row in found] == ["00a1", "00b2", "00c3", "00d4"]
    assert [row.caption for row in found] == [f"a picture of {row.id} --ar 1:1" for row in found]
    assert [row.extra for row in found] == [{"category": c} for c in ("animals", "animals", "food", "food")]
    assert not any(row.reason or row.labels for row in found)
    assert expected(user_pool(folder, "mjhq30k")) == 4


def test_the_categories_may_lie_in_a_folder_of_their_own(folder):
    (folder / "mjhq30k_imgs").mkdir()
    for name in ("animals", "food"):
        (folder / name).rename(folder / "mjhq30k_imgs" / name)
    with pytest.raises(Refusal, match=r"images is '\.', and .* unpack mjhq30k_imgs.zip there"):
        next(records(user_pool(folder, "mjhq30k")))
    assert set(outcomes(user_pool(folder, "mjhq30k", images="mjhq30k_imgs")).values()) == {""}


def test_every_entry_has_an_outcome(folder):
    (folder / "food/00d4.jpg").write_bytes(b"x")
    (folder / "secret.jpg").write_bytes(encoded(picture(9), "JPEG"))
    change(
        folder,
        gone={"category": "food", "prompt": "words"},
        wordless={"category": "food"},
        up={"category": "..", "prompt": "words"},
        bare="words",
        nowhere={"prompt": "words"},
        **{
            "../secret": {"category": "food", "prompt": "words"},
            "\ud800": {"category": "food", "prompt": "x"},
        },
    )
    found = outcomes(user_pool(folder, "mjhq30k"))
    assert found == {
        "00a1": "", "00b2": "", "00c3": "", "00d4": base.UNREADABLE_IMAGE, "gone": base.MISSING_IMAGE,
        "wordless": base.MISSING_IMAGE, "up": base.OUTSIDE, "bare": base.UNREADABLE_METADATA,
        "nowhere": base.UNREADABLE_METADATA, "../secret": base.OUTSIDE, "\\ud800": base.MISSING_IMAGE,
    }  # fmt: skip
    (folder / "food/wordless.jpg").write_bytes(encoded(picture(8), "JPEG"))
    assert outcomes(user_pool(folder, "mjhq30k"))["wordless"] == base.MISSING_CAPTION


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"a": 1}', '{"a": {"prompt": "x"}}'])
def test_a_file_that_is_not_that_of_the_set_is_refused(folder, content):
    (folder / "meta_data.json").write_text(content)
    with pytest.raises(Refusal, match=r"meta_data\.json is not a JSON object of ids"):
        next(records(user_pool(folder, "mjhq30k")))


def test_a_folder_without_the_file_is_refused(folder):
    (folder / "meta_data.json").unlink()
    with pytest.raises(Refusal, match=r"which holds no meta_data\.json"):
        next(records(user_pool(folder, "mjhq30k")))
    with pytest.raises(Refusal, match="nowhere"):
        next(records(user_pool(folder / "nowhere", "mjhq30k")))


def test_names_that_no_file_can_have_are_missing_images(folder):
    change(
        folder,
        **{"x" * 5000: {"category": "food", "prompt": "words"}, "nul\0": {"category": "food", "prompt": "w"}},
    )
    change(folder, long={"category": "c" * 5000, "prompt": "words"})
    found = outcomes(user_pool(folder, "mjhq30k"))
    assert list(found.values()) == [""] * 4 + [base.MISSING_IMAGE] * 3
