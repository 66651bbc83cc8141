"""Sizes, sampling law and tokenizer fit of the family STAR."""

from typing import Any

import pytest

from alchemist.core.refusal import Refusal
from alchemist.core.settings import parse
from alchemist.families.star.settings import FitSettings, StarLaw, StarSettings

SIZE = {"family": "star", "depth": 2, "width": 96, "heads": 3, "drop_path": 0.01, "activation": "relu"}
FIT = {
    "images": 6400, "pairs": 64, "batch": 32, "learning_rate": 2e-3, "perceptual": 0.0, "codes": 64,
    "width": 32, "seed": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("width", 130, r"width should be heads \(3\) times a multiple of 4"),
        ("width", 90, "times a multiple of 4"),
        ("depth", 0, "models.s.depth is 0"),
        (
            "drop_path",
            1.0,
            "models.s.drop_path is 1.0; it should be a finite number, at least 0 and less than 1",
        ),
        ("activation", "silu", "models.s.activation is 'silu'; it should be gelu or relu"),
        ("layers", 3, "models.s.layers is not a known key; legal keys are family, depth,"),
    ],
)
def test_a_size_that_cannot_be_is_refused(key: str, value: Any, words: str) -> None:
    assert parse(StarSettings, SIZE, "models.s").depth == 2
    with pytest.raises(Refusal, match=words):
        parse(StarSettings, {**SIZE, key: value}, "models.s")


@pytest.mark.parametrize(
    ("key", "value"), [("top_p", 0.0), ("top_p", 1.5), ("guidance", -1.0), ("top_k", -1)]
)
def test_a_law_that_cannot_be_is_refused(key: str, value: float) -> None:
    good = {"guidance": 2.0, "top_p": 0.9}
    assert parse(StarLaw, good, "scales.tiny.sample.star") == StarLaw(guidance=2.0, top_p=0.9)
    with pytest.raises(Refusal, match=rf"scales\.tiny\.sample\.star\.{key} is {value}"):
        parse(StarLaw, {**good, key: value}, "scales.tiny.sample.star")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": 640}, "images should be at least 200 batches of 32"),
        ({"batch": 100, "images": 64_000}, r"pairs should be at least batch \(100\)"),
        ({"codes": 70_000}, "at least 2 and at most 65536"),
        ({"width": 36}, "multiple of 8"),
    ],
)
def test_a_fit_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    assert parse(FitSettings, FIT, "tokenizer.fit").codes == 64
    with pytest.raises(Refusal, match=words):
        parse(FitSettings, {**FIT, **changes}, "tokenizer.fit")


def test_a_fit_sees_as_many_images_as_the_pool_has_thirty_times_over() -> None:
    free = FitSettings()
    assert free.seen(3749) == 112_470
    assert free.seen(60_000) == free.seen(20_000) == 500_000, "what was fitted so far was fitted by it"
    assert free.seen(70) == 200 * free.batch, "codes start after 100 steps"
    assert FitSettings(images=100_000).seen(70) == FitSettings(images=100_000).seen(60_000) == 100_000
