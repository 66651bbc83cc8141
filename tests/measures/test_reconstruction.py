"""Images through a codec and back: what is noted of them."""

import numpy as np
import pytest

from alchemist.measures.reconstruction import Reconstruction


def test_the_decibels_are_a_mean_over_all_images_that_passed_whatever_the_batches() -> None:
    images = np.full((5, 4, 4, 3), 100, np.uint8)
    errors = np.array([1, 5, 10, 20, 50], np.uint8)
    again = images + errors[:, None, None, None]
    expected = (20 * np.log10(255 / errors.astype(float))).mean()
    for size in (1, 2, 5):
        parts = iter([again[at : at + size] for at in range(0, 5, size)])
        through = Reconstruction(lambda _, parts=parts: next(parts))
        found = [through(images[at : at + size]) for at in range(0, 5, size)]
        assert (np.concatenate(found) == again).all()
        assert through.psnr == pytest.approx(expected)


def test_pixels_that_come_back_as_they_were_have_a_bound_and_no_infinity() -> None:
    through = Reconstruction(lambda images: images)
    through(np.zeros((2, 4, 4, 3), np.uint8))
    assert through.psnr == pytest.approx(78.13, abs=0.01)
