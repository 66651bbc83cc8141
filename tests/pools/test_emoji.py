import numpy as np
import pytest
from scipy import stats

from alchemist.core.refusal import Refusal
from alchemist.pools.emoji import COLOURS, KINDS, compose, concept_names
from alchemist.settings.pool import SharesSettings

SHARES = {
    "informative": 0.4, "plain": 0.15, "chaotic": 0.1, "mismatched": 0.1, "degraded": 0.1, "duplicate": 0.15,
}  # fmt: skip


def draw(count, kind=None, *, stream="pool", seed=0, concepts=12, resolution=32):
    shares = SHARES if kind is None else {kind: 1.0}
    return [compose(seed, stream, i, shares, concepts, resolution) for i in range(count)]


def nouns(caption):
    return set(caption.split(" on ", maxsplit=1)[0].split(" and "))


def spread(pair):
    return float(pair.image.astype(float).std())


def test_settings_name_the_kinds_in_their_order():
    assert tuple(SharesSettings.model_fields) == KINDS


def test_a_pair_is_a_function_of_its_place():
    forward = draw(30)
    backward = [compose(0, "pool", i, SHARES, 12, 32) for i in reversed(range(30))][::-1]
    for a, b in zip(forward, backward, strict=True):
        assert a.caption == b.caption
        assert (a.image == b.image).all()
    for other in (draw(30, seed=1), draw(30, stream="meta_val")):
        assert sum(a.caption == b.caption for a, b in zip(forward, other, strict=True)) < 10


@pytest.mark.parametrize("resolution", [16, 32, 64])
def test_every_kind_has_the_asked_shape(resolution):
    for kind in KINDS:
        for pair in draw(5, kind, resolution=resolution):
            assert pair.image.shape == (resolution, resolution, 3)
            assert pair.image.dtype == np.uint8
            assert pair.kind == kind
            assert pair.caption


def test_shares_are_as_planted():
    count = 1_500
    kinds = [pair.kind for pair in draw(count)]
    for kind, share in SHARES.items():
        low, high = stats.binom.interval(1 - 1e-4, count, share)
        assert low <= kinds.count(kind) <= high


def test_a_mismatched_caption_names_no_object_of_its_image():
    # The kind takes one draw whatever the shares, so the same place as informative is the same image.
    shown, mismatched = draw(200, "informative"), draw(200, "mismatched")
    both = 0
    for true, false in zip(shown, mismatched, strict=True):
        assert (true.image == false.image).all()
        assert not nouns(true.caption) & nouns(false.caption)
        both += len(nouns(true.caption) | nouns(false.caption)) > 2
    assert both > 20  # captions of two objects occur, where one alone could still be named


def test_mismatched_captions_exist_with_the_fewest_concepts():
    assert len(draw(20, "mismatched", concepts=3)) == 20


def test_informative_captions_name_known_objects_and_colours():
    objects = {f"{'an' if name[0] in 'aeiou' else 'a'} {name}" for name in concept_names(12)}
    for pair in draw(50, "informative"):
        assert nouns(pair.caption) <= objects
        assert any(colour in pair.caption.split(" on ")[1] for colour in COLOURS)


def test_duplicates_share_a_group_and_nearly_their_pixels():
    pairs = draw(120, "duplicate")
    groups = {pair.group for pair in pairs}
    assert len(groups) <= 40
    for group in groups:
        members = [pair for pair in pairs if pair.group == group]
        assert len({pair.caption for pair in members}) == 1
        inner = [pair.image[4:-4, 4:-4].astype(float).mean() for pair in members]
        assert max(inner) - min(inner) < 25
    assert not groups & {pair.group for pair in draw(120, "duplicate", stream="meta_val")}


def test_all_other_pairs_have_groups_of_their_own():
    groups = [pair.group for kind in KINDS if kind != "duplicate" for pair in draw(10, kind)]
    assert len(set(groups)) == 10  # one a position
    assert not any("copy" in group for group in groups)


def test_flaws_can_be_seen():
    plain, clean = draw(60, "plain"), draw(60, "informative")
    assert np.median([spread(p) for p in plain]) < np.median([spread(p) for p in clean]) / 2

    def edges(pair):
        return float(np.abs(np.diff(pair.image.astype(float), axis=1)).mean())

    assert np.mean([edges(p) for p in draw(60, "chaotic")]) > 1.5 * np.mean([edges(p) for p in clean])
    assert np.mean([edges(p) for p in draw(60, "degraded")]) < np.mean([edges(p) for p in clean])


def test_concepts_beyond_the_artwork_are_refused():
    assert len(set(concept_names(500))) == 500
    assert concept_names(10) == concept_names(500)[:10]
    with pytest.raises(Refusal, match="concepts is 100000; legal values are 1 to"):
        concept_names(100_000)
