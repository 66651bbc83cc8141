"""How generators are measured: names of the figures, and values that cannot be."""

import pytest

from alchemist.core.refusal import Refusal
from alchemist.core.settings import parse
from alchemist.core.settings.evaluation import EvaluateSettings, ScorerSettings

EVALUATE = {
    "images": 100, "batch": 50, "seed": 0, "features": "lite0",
    "feature_size": 64, "clip": "lit", "kid_subsets": 10, "kid_subset_size": 50, "grid": 8,
}  # fmt: skip


def test_figures_carry_the_name_of_their_network():
    here = parse(EvaluateSettings, EVALUATE, "scales.tiny.evaluate")
    paper = parse(EvaluateSettings, {**EVALUATE, "features": "inception", "clip": "ViT-L-14/openai"}, "x")
    assert (here.fd_name, here.kid_name, here.clip_name) == ("fd_lite0", "kid_lite0", "clip_lit")
    assert (paper.fd_name, paper.kid_name) == ("fid_pytorch", "kid_pytorch")
    assert paper.clip_name == "clip_vit_l_14_openai"
    clean = parse(EvaluateSettings, {"features": "inception_clean", "further": ["inception", "cmmd"]}, "x")
    assert clean.names == {
        "fd": "fid_clean", "kid": "kid_clean", "clip": "clip_lit",
        "fid_pytorch": "fid_pytorch", "kid_pytorch": "kid_pytorch", "cmmd": "cmmd",
    }  # fmt: skip
    assert clean.networks == ("inception_clean", "inception", "cmmd")
    assert parse(EvaluateSettings, {"features": "dinov2_vitl14"}, "x").fd_name == "fd_dinov2_vitl14"


@pytest.mark.parametrize(
    ("key", "value"),
    [("clip", "ViT-L-14"), ("clip", "a/b/c"), ("features", "fid"),
     ("features", "cmmd"), ("further", ["lite0"]), ("further", ["cmmd", "cmmd"]), ("further", "cmmd"),
     ("further", ["dino"]), ("weights", {"lite0": "x"}), ("weights", {"cmmd": ""}), ("references", "own"),
     ("kid_subset_size", 1), ("grid", 0), ("images", 3), ("most_images", 3)],
)  # fmt: skip
def test_illegal_values_are_refused(key, value):
    with pytest.raises(Refusal, match=r"scales\.tiny\.evaluate"):
        parse(EvaluateSettings, {**EVALUATE, key: value}, "scales.tiny.evaluate")


def test_all_pairs_may_be_prompts_where_the_references_are_all() -> None:
    half = parse(EvaluateSettings, {}, "x")
    whole = parse(EvaluateSettings, {"references": "all"}, "x")
    assert (half.most(2001), whole.most(2001)) == (1000, 2001)


def test_a_value_that_is_left_out_is_the_scale_tinys():
    assert parse(ScorerSettings, {"image_size": 32}, "scales.tiny.scorer") == ScorerSettings(image_size=32)
    assert parse(EvaluateSettings, {"images": 500}, "scales.tiny.evaluate").kid_subset_size == 500


def test_sizes_that_are_left_open_fit_the_evaluation_split() -> None:
    here = parse(EvaluateSettings, {}, "x")

    def fitted(settings: EvaluateSettings, pairs: int) -> tuple[int | None, int, int]:
        found = settings.fitted(pairs)
        return found.images, found.kid_subset_size, found.grid

    assert fitted(here, 3000) == (1000, 500, 32)
    assert fitted(here, 2000) == (1000, 500, 32)
    assert fitted(here, 1383) == (691, 345, 32)
    assert fitted(here, 40) == (20, 10, 20)
    assert fitted(parse(EvaluateSettings, {"references": "all"}, "x"), 640) == (640, 320, 32)
    assert fitted(parse(EvaluateSettings, {"most_images": 256}, "x"), 1006) == (256, 128, 32)
    told = parse(EvaluateSettings, {"images": 600, "kid_subset_size": 600}, "x")
    assert told.fitted(1200) == told  # what a person says stands, or is refused
    # The largest number of prompts that a refusal names is legal whatever else is left as it is.
    assert fitted(parse(EvaluateSettings, {"images": 60}, "x"), 120) == (60, 30, 32)
    assert fitted(parse(EvaluateSettings, {"images": 4}, "x"), 8) == (4, 2, 4)


def test_an_evaluation_split_that_is_too_small_is_refused_with_the_largest_legal_value() -> None:
    here, told = parse(EvaluateSettings, {}, "x"), parse(EvaluateSettings, {"images": 1000}, "x")
    assert here.fitted(8).images == 4
    with pytest.raises(Refusal, match=r"x\.images is null, and the evaluation split has 7 pairs; at least 8"):
        here.fitted(7, "x")
    with pytest.raises(Refusal, match=r"x\.images is 1000; .* has 1383 pairs, so at most 691 is legal"):
        told.fitted(1383, "x")
    whole = parse(EvaluateSettings, {"images": 1000, "references": "all"}, "x")
    with pytest.raises(Refusal, match="at most 999 is legal"):
        whole.fitted(999, "x")
    assert whole.fitted(1000).images == 1000
