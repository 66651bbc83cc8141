from itertools import pairwise

import numpy as np
import pytest
from pool_helpers import emoji_pool
from scipy import stats

from alchemist.pools.emoji import KINDS, SharesSettings, compose, compose_images
from alchemist.pools.emoji_scene import COLOURS, concept_names
from alchemist.pools.read import expected, rows
from alchemist.pools.store import SPLITS, pixel_hash

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


# ---------------------------------------------------------------------- the pool


def test_emoji_rows_do_not_depend_on_the_number_of_processes():
    one, two = (list(rows(emoji_pool(), processes)) for processes in (1, 2))
    assert len(one) == len(two) == expected(emoji_pool()) == 1070
    for a, b in zip(one, two, strict=True):
        assert (a.id, a.caption, a.split, a.group, a.kind) == (b.id, b.caption, b.split, b.group, b.kind)
        assert (a.image == b.image).all()


@pytest.fixture(scope="module")
def emoji_rows():
    return list(rows(emoji_pool(), 1))


def test_emoji_splits_share_neither_ids_nor_groups_nor_pixels(emoji_rows):
    for facts in ([r.group for r in emoji_rows], [pixel_hash(r.image) for r in emoji_rows]):
        split_of = {}
        for fact, row in zip(facts, emoji_rows, strict=True):
            assert split_of.setdefault(fact, row.split) == row.split
    assert len({r.id for r in emoji_rows}) == len(emoji_rows)


def test_emoji_pairs_whose_pixels_another_split_holds_are_composed_again():
    shares = {kind: float(kind == "plain") for kind in emoji_pool().shares.model_dump()}
    pool = emoji_pool(shares=shares, pairs=500)
    found = list(rows(pool, 1))
    again = set()
    for row in found:
        if row.split in ("pool", "meta_val"):
            place = int(row.id.rpartition("-")[2])
            first = compose(pool.seed, row.split, place, shares, pool.concepts, pool.resolution)
            if row.group != first.group:
                again.add(row.split)
    assert again == {"meta_val"}  # blank images repeat often
    assert {row.kind for row in found if row.split == "meta_val"} == {"plain"}
    pixels = {split: {pixel_hash(r.image) for r in found if r.split == split} for split in SPLITS}
    assert not pixels["pool"] & pixels["meta_val"]


def test_emoji_splits_have_their_sizes_and_kinds(emoji_rows):
    ids = {split: [r.id for r in emoji_rows if r.split == split] for split in SPLITS}
    for split, count in {"pool": 700, "meta_val": 300, "evaluation": 40, "scorer": 30}.items():
        assert ids[split] == [f"{split}-{i:07d}" for i in range(count)]
    assert {r.kind for r in emoji_rows if r.split in ("evaluation", "scorer")} == {"informative"}
    plain = sum(r.kind == "plain" for r in emoji_rows if r.split == "meta_val")
    assert 55 <= plain <= 125  # 90 on average, sd 7.9: redrawn collisions keep the kind
    clean = rows(emoji_pool(meta_validation={"pairs": 20, "source": "clean"}, pairs=20), 1)
    assert {r.kind for r in clean if r.split == "meta_val"} == {"informative"}


def test_a_longer_pool_begins_with_the_shorter_one(emoji_rows):
    shorter = [r for r in rows(emoji_pool(pairs=50), 1) if r.split == "pool"]
    for a, b in pairwise(zip(shorter, emoji_rows, strict=False)):
        assert a[0].id == a[1].id
        assert (b[0].image == b[1].image).all()


def test_composed_images_are_those_of_their_stream():
    shares = {"informative": 0.8, "plain": 0.2}
    one, two = (compose_images(emoji_pool(), "fit", shares, 300, n) for n in (1, 2))
    assert one.shape == (300, 16, 16, 3)
    assert (one == two).all()
    assert (one[7] == compose(0, "fit", 7, shares, 6, 16).image).all()
    with pytest.raises(ValueError, match="a split of the pool"):
        compose_images(emoji_pool(), "evaluation", shares, 1, 1)


def test_shares_that_were_rounded_are_composed():
    shares = emoji_pool().shares.model_dump()
    rounded = emoji_pool(shares={**shares, "plain": 0.3 + 9e-7}, pairs=5)
    assert len(list(rows(rounded, 1))) == 375
