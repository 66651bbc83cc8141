"""Is the image codec good enough for the pictures: by the share of the spread that it loses."""

import pytest

from alchemist.analysis.codec_verdict import ENOUGH, lost, verdict

EMOJI = {"fd_lite0": 34.45, "fd_reconstruction": 88.2, "fd_spread": 387.2, "psnr_reconstruction": 27.2}
ICONS = {"fd_lite0": 101.4, "fd_reconstruction": 356.2, "fd_spread": 599.9, "psnr_reconstruction": 19.3}


def test_what_is_lost_is_the_excess_over_real_images_as_a_share_of_the_spread() -> None:
    assert lost(EMOJI, "fd_lite0") == pytest.approx((88.2 - 34.45) / 387.2)
    assert lost(ICONS, "fd_lite0") == pytest.approx((356.2 - 101.4) / 599.9)
    # Features of another scale: all three distances grow alike.
    assert lost({k: 7 * v for k, v in ICONS.items()}, "fd_lite0") == pytest.approx(lost(ICONS, "fd_lite0"))
    pixels = EMOJI | {"fd_reconstruction": EMOJI["fd_lite0"]}
    assert lost(pixels, "fd_lite0") == 0
    assert lost(EMOJI | {"fd_reconstruction": 34.0}, "fd_lite0") == 0, "chance makes it no gain"


def test_the_verdict_names_the_figures_and_a_remedy_only_where_one_is_wanted() -> None:
    lost = "of their features' spread is lost, up to 25 % is enough"
    assert verdict(EMOJI, "fd_lite0", "fit it") == (
        f"The image codec is good enough for these pictures (14 % {lost}; PSNR 27.2 dB)."
    )
    assert verdict(ICONS, "fd_lite0", "fit it") == (
        f"The image codec limits every figure on these pictures (42 % {lost}; PSNR 19.3 dB): fit it."
    )


def test_the_bound_is_the_last_good_share() -> None:
    at = {"fd": 0.0, "fd_reconstruction": ENOUGH, "fd_spread": 1.0}
    assert "good enough" in verdict(at, "fd", "fit it")
    assert "limits" in verdict(at | {"fd_reconstruction": 1.001 * ENOUGH}, "fd", "fit it")


@pytest.mark.parametrize("gone", ["fd_lite0", "fd_reconstruction", "fd_spread"])
def test_without_one_of_the_distances_there_is_no_verdict(gone: str) -> None:
    assert lost({k: v for k, v in ICONS.items() if k != gone}, "fd_lite0") is None
    assert verdict({k: v for k, v in ICONS.items() if k != gone}, "fd_lite0", "fit it") == ""
