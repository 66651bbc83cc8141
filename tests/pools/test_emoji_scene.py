import numpy as np
import pytest
from PIL import Image

from alchemist.core.refusal import Refusal
from alchemist.core.stateless import generator
from alchemist.pools.emoji_scene import chaotic, concept_names, near_copy, objects, plain, scene


def test_concepts_beyond_the_artwork_are_refused():
    assert len(set(concept_names(500))) == 500
    assert concept_names(10) == concept_names(500)[:10]
    with pytest.raises(Refusal, match="concepts is 100000; legal values are 1 to"):
        concept_names(100_000)


def test_a_scene_is_a_function_of_its_generator():
    names = concept_names(12)
    for draw in (scene, plain, chaotic):
        (one, words), (two, again) = (draw(generator("scene", 3), names, 32) for _ in range(2))
        assert words == again
        assert (np.asarray(one) == np.asarray(two)).all()


def test_objects_of_a_caption():
    assert objects("a fox and an owl on a red background") == {"a fox", "an owl"}
    assert objects("a fox on a background from red to blue on the left") == {"a fox"}


def test_a_near_copy_is_moved_by_at_most_a_pixel():
    square = np.zeros((32, 32, 3), np.uint8)
    square[8:24, 8:24] = 255
    moves = set()
    for number in range(60):
        copied = np.asarray(near_copy(generator("copy", number), Image.fromarray(square)))
        assert copied.shape == square.shape
        rows, columns = np.nonzero(copied[..., 0] > 127)
        moves.add((rows.min() - 8, columns.min() - 8))
        assert (rows.max() - rows.min(), columns.max() - columns.min()) == (15, 15)
    assert moves == {(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
