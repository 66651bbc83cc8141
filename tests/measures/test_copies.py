"""Clusters of near copies by their rule, against a plain loop over all pairs; vectors of pictures."""

import faiss
import numpy as np
import pytest
import torch

from alchemist.core import devices, stateless
from alchemist.core.settings.copies import CopiesSettings
from alchemist.measures import copies, vectors
from alchemist.pools import captions as captions_of
from alchemist.pools.store import Row, read_index, write_pool

WIDTH = 16
SETTINGS = CopiesSettings(threshold=0.9, threshold_other=0.98)


def clustered(tmp_path, rows, captions, pixels=None, order=None, settings=SETTINGS):
    """Leaders of some vectors; without an order they come as they stand."""
    count = len(rows)
    np.save(tmp_path / "vectors.npy", np.asarray(rows).astype(np.float16))
    return copies.clusters(
        tmp_path / "vectors.npy",
        np.asarray(captions, dtype=np.uint64),
        np.zeros(count, dtype=np.uint64) if pixels is None else np.asarray(pixels, dtype=np.uint64),
        np.arange(count) if order is None else order,
        settings,
        lambda done: None,
    )


def at(*cosines):
    """Vectors in a plane with given cosines to the first axis, the angle on alternating sides."""
    out = np.zeros((len(cosines), WIDTH))
    out[:, 0] = cosines
    out[:, 1] = np.sqrt(1 - out[:, 0] ** 2)
    return out


def plainly(rows, captions, pixels, order, settings):
    """The definition, pair by pair."""
    unit = vectors.unit(np.asarray(rows).astype(np.float16)).astype(np.float64)
    leader, leaders, seen = np.arange(len(rows)), [], {}
    for row in order:
        if pixels[row] and pixels[row] in seen:
            leader[row] = leader[seen[pixels[row]]]
            continue
        seen[pixels[row]] = row
        near = []
        for other in leaders:
            cosine = float(unit[row] @ unit[other])
            least = settings.threshold if captions[row] == captions[other] else settings.threshold_other
            if least is not None and cosine >= least:
                near.append((cosine, other))
        if near:
            leader[row] = max(near, key=lambda found: found[0])[1]
        else:
            leaders.append(row)
    return leader


@pytest.fixture
def crowd():
    """400 vectors in 60 groups, at some distances, of seven captions, and 40 of equal pixels."""
    chance = stateless.generator("crowd of copies")
    rows = np.repeat(chance.normal(size=(60, WIDTH)), 7, axis=0)[:400]
    rows += chance.uniform(0, 0.4, (400, 1)) * chance.normal(size=(400, WIDTH))
    pixels = np.arange(1, 401)
    pixels[::10] = pixels[chance.integers(0, 400, 40)]
    return rows, chance.integers(0, 7, 400), pixels


@pytest.mark.parametrize("other", [0.98, None, 0.9])
def test_leaders_equal_a_plain_loop_over_all_pairs(tmp_path, crowd, other, monkeypatch):
    """In blocks of any size, and with one candidate of the index, so that the exact search has to help."""
    settings = CopiesSettings(threshold=0.9, threshold_other=other)
    order = stateless.generator("order").permutation(400)
    expected = plainly(*crowd, order, settings)
    assert 60 < (expected == np.arange(400)).sum() < 350
    assert clustered(tmp_path, *crowd, order, settings).tolist() == expected.tolist()
    monkeypatch.setattr(copies, "BLOCK", 7)
    assert clustered(tmp_path, *crowd, order, settings).tolist() == expected.tolist()
    monkeypatch.setattr(copies, "CANDIDATES", 1)
    assert clustered(tmp_path, *crowd, order, settings).tolist() == expected.tolist()


def test_the_order_of_rows_in_the_file_changes_nothing(tmp_path, crowd):
    order, turn = (stateless.generator(name).permutation(400) for name in ("order", "turn"))
    whole = clustered(tmp_path, *crowd, order)
    back = np.argsort(turn)  # row i of the whole is row back[i] of the turned
    turned = clustered(tmp_path, *(part[turn] for part in crowd), back[order])
    assert turn[turned].tolist() == whole[turn].tolist()


def test_threads_change_nothing(tmp_path, crowd):
    """Sums of products on the grid are exact, whoever adds them up."""
    grid = np.rint(vectors.unit(crowd[0]) * copies.GRID) / np.float32(copies.GRID)
    assert (grid @ grid.T == grid.astype(np.float64) @ grid.T.astype(np.float64)).all()
    one = clustered(tmp_path, *crowd)
    faiss.omp_set_num_threads(3)
    try:
        assert clustered(tmp_path, *crowd).tolist() == one.tolist()
    finally:
        faiss.omp_set_num_threads(1)


def test_a_chain_is_not_a_cluster(tmp_path):
    """Eleven vectors, each 0.97 from the next: a member is near its leader, not only near some member."""
    angles = np.arange(11) * np.arccos(0.97)
    rows = np.zeros((11, WIDTH))
    rows[:, 0], rows[:, 1] = np.cos(angles), np.sin(angles)
    # At 0.9 a step and no further: 1 joins 0, 2 leads, 3 joins 2 and so on.
    assert clustered(tmp_path, rows, [5] * 11).tolist() == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10]


def test_the_nearest_leader_is_joined_and_not_the_first(tmp_path):
    rows = at(1, 0.85, 0.94)
    # 0.94 from the first, some 0.975 from the second, which itself leads.
    assert clustered(tmp_path, rows, [1, 1, 1]).tolist() == [0, 1, 1]


def test_other_captions_need_the_stricter_cosine(tmp_path):
    assert clustered(tmp_path, at(1, 0.97), [1, 2]).tolist() == [0, 1]
    assert clustered(tmp_path, at(1, 0.97), [1, 1]).tolist() == [0, 0]
    assert clustered(tmp_path, at(1, 0.985), [1, 2]).tolist() == [0, 0]
    never = CopiesSettings(threshold=0.9, threshold_other=None)
    assert clustered(tmp_path, at(1, 1), [1, 2], settings=never).tolist() == [0, 1]
    assert clustered(tmp_path, at(1, 1), [1, 2], [9, 9], settings=never).tolist() == [0, 0]


def test_equal_pixels_are_one_whatever_their_captions_and_vectors(tmp_path):
    """Under the first of the order; rows without pixels are not equal to each other."""
    rows = np.eye(6, WIDTH)
    found = clustered(tmp_path, rows, range(6), [7, 0, 7, 0, 8, 7], np.array([5, 4, 3, 2, 1, 0]))
    assert found.tolist() == [5, 1, 5, 3, 4, 5]


def test_a_flood_of_one_blank_picture_is_one_cluster(tmp_path, monkeypatch):
    """100,000 of equal pixels are one row to compare; 3,000 that nearly are, a cluster."""
    asked = []
    within = copies._within
    monkeypatch.setattr(copies, "_within", lambda *given: (asked.append(len(given[2])), within(*given)))
    count = 100_000
    rows = np.zeros((count, 4))
    rows[:, 0] = 1
    assert set(clustered(tmp_path, rows, np.arange(count), np.full(count, 3))) == {0}
    assert asked == [1]
    rows = np.tile(at(1), (3000, 1)) + 0.001 * stateless.generator("flood").normal(size=(3000, WIDTH))
    assert set(clustered(tmp_path, rows, np.arange(3000), np.arange(1, 3001))) == {0}


def test_a_caption_of_its_own_is_found_behind_a_crowd_of_others(tmp_path):
    """Where no other caption counts, 50 nearer leaders of other captions hide the one that does."""
    never = CopiesSettings(threshold=0.9, threshold_other=None)
    rows = np.concatenate([at(0.95), np.tile(at(1), (50, 1)), at(1)])
    found = clustered(tmp_path, rows, [1, *range(100, 150), 1], settings=never)
    assert found.tolist() == [*range(51), 0]


def test_zeros_and_single_rows(tmp_path):
    assert clustered(tmp_path, np.zeros((3, WIDTH)), [1, 1, 1]).tolist() == [0, 1, 2]
    assert clustered(tmp_path, np.ones((1, WIDTH)), [1]).tolist() == [0]


def test_cells_find_nearly_all_copies(tmp_path, monkeypatch):
    """Some 60 cells of the index instead of one: 2,000 directions, and a copy of each near .97."""
    monkeypatch.setattr(copies, "EXACT", 100)
    chance = stateless.generator("cells")
    once = vectors.unit(chance.normal(size=(2000, WIDTH)))
    again = once + 0.06 * chance.normal(size=once.shape)
    found = clustered(tmp_path, np.concatenate([once, again]), np.tile(np.arange(2000), 2))
    assert found[:2000].tolist() == list(range(2000))
    assert (found[2000:] == np.arange(2000)).mean() > 0.98


# --- captions ---


@pytest.mark.parametrize(
    ("caption", "one"),
    [
        ("  A  red\tApple. ", "a red apple"),
        ("“Straße”", "strasse"),
        ("ﬁne", "fine"),
        ("rock 'n' roll!", "rock 'n' roll"),
        ("x + y", "x + y"),
        ("...", ""),
        ("C++ 😀", "c++ 😀"),
    ],
)
def test_captions_are_one_but_for_case_space_and_punctuation(caption, one):
    assert captions_of.normalised(caption) == one


def test_hashes_are_equal_where_normalised_captions_are(monkeypatch):
    monkeypatch.setattr(captions_of, "_PIECE", 2)
    found = captions_of.hashes(["A dog", "a  dog!", "a dig", "", "a dog"])
    assert found[0] == found[1] == found[4]
    assert len(set(found.tolist())) == 3
    assert found.dtype == np.uint64


# --- vectors of pictures ---


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """60 pictures, the second 30 of them the first a little brighter."""
    folder = tmp_path_factory.mktemp("copies")
    chance = stateless.generator("copies pool")
    first = chance.integers(20, 220, (30, 4, 4, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    pictures = [*first, *(first + 10)]
    rows = [Row(f"id-{i}", f"{i % 30}", "pool", f"g{i}", image, "", None) for i, image in enumerate(pictures)]
    write_pool(folder, rows, 32, 50, {})
    return folder


def test_vectors_are_of_one_picture_each_and_copies_lie_together(pool, tmp_path):
    index, ticks = read_index(pool), []
    settings = CopiesSettings(feature_size=32)
    copies.embed(pool, index, settings, torch.device("cpu"), tmp_path / "a.npy", ticks.append)
    assert sum(ticks) == 60
    found = np.load(tmp_path / "a.npy")
    assert found.dtype == np.float16
    assert found.shape == (60, copies.WIDTH)
    assert np.linalg.norm(found.astype(np.float64), axis=1) == pytest.approx(1, abs=1e-3)
    cosine = found.astype(np.float64) @ found.astype(np.float64).T
    assert np.diag(cosine[:30, 30:]).min() > 0.95
    assert np.abs(cosine[:30, :30][~np.eye(30, dtype=bool)]).max() < 0.9
    copies.embed(pool, index[::-1], settings, torch.device("cpu"), tmp_path / "b.npy", ticks.append)
    assert np.load(tmp_path / "b.npy")[::-1].astype(np.float64) == pytest.approx(
        found.astype(np.float64), abs=0.01
    )
    again = CopiesSettings(feature_size=32, seed=1)
    copies.embed(pool, index, again, torch.device("cpu"), tmp_path / "c.npy", ticks.append)
    assert np.abs(np.load(tmp_path / "c.npy") - found).max() > 0.1


def test_pictures_of_one_colour_are_copies_of_that_colour_alone(tmp_path):
    colours = [(0, 0, 0), (230, 20, 20), (120, 0, 0), (20, 20, 230), (255, 255, 255), (128, 128, 128)]
    plain = [np.full((32, 32, 3), colour, dtype=np.uint8) for colour in colours]
    noise = stateless.generator("flat").integers(-2, 3, (len(colours), 32, 32, 3))
    pictures = [*plain, *np.clip(np.stack(plain) + noise, 0, 255).astype(np.uint8)]
    rows = [Row(f"id-{i}", f"{i}", "pool", f"g{i}", image, "", None) for i, image in enumerate(pictures)]
    write_pool(tmp_path, rows, 32, 50, {})
    settings = CopiesSettings(feature_size=32)
    copies.embed(
        tmp_path, read_index(tmp_path), settings, torch.device("cpu"), tmp_path / "v.npy", lambda done: None
    )
    found = np.load(tmp_path / "v.npy").astype(np.float64)
    cosine = found @ found.T
    count = len(colours)
    # Of white the features are nothing. In float32, without AVX-512, those of its noisy copy point anywhere.
    told = 5 if devices.fast_dtype(torch.device("cpu")) == torch.bfloat16 else 4
    assert np.diag(cosine[:told, count:]).min() > settings.threshold
    assert cosine[:count, :count][~np.eye(count, dtype=bool)].max() < settings.threshold_other - 0.02


def test_the_projection_keeps_cosines():
    turn = copies._projection(1472, 0)
    assert turn.T @ turn == pytest.approx(np.eye(copies.WIDTH), abs=1e-5)
    chance = stateless.generator("projection")
    a = vectors.unit(chance.normal(size=(500, 1472)))
    b = vectors.unit(0.95 * a + (1 - 0.95**2) ** 0.5 * vectors.unit(chance.normal(size=a.shape)))
    kept = (vectors.unit(a @ turn) * vectors.unit(b @ turn)).sum(axis=1) - (a * b).sum(axis=1)
    assert abs(kept.mean()) < 0.002
    assert kept.std() == pytest.approx((1 - 0.95**2) / copies.WIDTH**0.5, rel=0.2)
