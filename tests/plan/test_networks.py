"""Networks that measure: parameters as published, operations by a second count."""

import pytest

from alchemist.plan import networks


def vit(layers: int, width: int, places: int, patch: int) -> float:
    """Of a vision transformer: 2 N a place, two products of L x L a layer, and its patches."""
    products = layers * (2 * 12 * width**2 * places + 4 * places**2 * width)
    return products + 2 * 3 * patch**2 * width * (places - 1)


@pytest.mark.parametrize(
    ("name", "parameters", "gflop", "width"),
    [
        (
            "lite0",
            3_371_008,
            2 * 0.407 * (128 / 224) ** 2 - 2e-3,
            1280,
        ),  # 407 M products at 224 px, some for classes
        ("inception", 21_785_568, 2 * 5.71, 2048),  # of InceptionV3's 5.71 G at 299 px
        ("inception_clean", 21_785_568, 2 * 5.71, 2048),
        ("dinov2_vitl14", 304e6, vit(24, 1024, 257, 14) / 1e9, 1024),
        ("dinov2_vitb14", 86e6, vit(12, 768, 257, 14) / 1e9, 768),
        ("cmmd", 304_293_888, vit(24, 1024, 577, 14) / 1e9, 768),
    ],
)
def test_feature_networks_have_their_published_sizes(
    name: networks.Further, parameters: float, gflop: float, width: int
) -> None:
    found = networks.features(name, 128)
    assert found.parameters == pytest.approx(parameters, rel=0.005)
    assert found.weight_bytes == 4 * found.parameters
    assert found.flops == pytest.approx(gflop * 1e9, rel=0.06 if name == "lite0" else 0.01)
    assert found.width == width


def test_a_published_scorer_is_its_two_towers() -> None:
    """427,616,513 parameters of CLIP ViT-L/14 in all."""
    images, words = networks.scorer("ViT-L-14/openai", 64)
    assert images.parameters + words.parameters == 427_616_513
    assert images.flops == pytest.approx(vit(24, 1024, 257, 14), rel=0.01)
    assert words.flops == pytest.approx(12 * (2 * 12 * 768**2 * 77 + 4 * 77**2 * 768), rel=0.01)


def test_the_packaged_scorer_sees_images_of_its_settings() -> None:
    small, large = networks.scorer("lit", 64)[0], networks.scorer("lit", 128)[0]
    assert large.flops == pytest.approx(4 * small.flops, rel=0.01)
