"""SemDeDup by its definition, the aesthetic predictor without its weights, and their stage."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from huggingface_hub import constants
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from alchemist.core import files, stateless
from alchemist.core.refusal import Refusal
from alchemist.core.settings.evaluation import ScorerSettings
from alchemist.core.weights import find_file
from alchemist.measures import clip_score, features, scorers, vectors
from alchemist.pools import store
from alchemist.pools.store import Row, read_index, write_pool
from alchemist.raters import aesthetic, dedup
from alchemist.raters.dedup import balance, novelty
from stages import embedding

REPO = Path(__file__).parents[2]


def stored(folder, vectors):
    path = folder / "vectors.npy"
    np.save(path, np.asarray(vectors, dtype=np.float16))
    return path


def unit(path):
    vectors = np.load(path).astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def names(count):
    return [f"id-{i}" for i in range(count)]


def unlent(ids):
    return pd.DataFrame({"id": ids, "lent": False})


@pytest.fixture
def cloud():
    """300 vectors about three directions, so that cosines spread over (0, 1)."""
    rng = stateless.generator("cloud")
    return np.repeat(np.eye(3, 20), 100, axis=0) + 0.25 * rng.normal(size=(300, 20))


@pytest.mark.parametrize("keep", ["hard", "random"])
def test_the_best_of_the_ratings_are_what_semdedup_keeps(tmp_path, cloud, keep):
    """In one cluster, by the definition, at every eps."""
    path = stored(tmp_path, cloud)
    rating = novelty(path, unlent(names(300)), 1, keep, 5)
    vectors = unit(path)
    if keep == "hard":
        centre = vectors.mean(axis=0)
        # k-means approaches the mean; the farthest one is farthest from both.
        assert rating[np.argmin(vectors @ centre)] == 1
    cosine = vectors @ vectors.T
    kept_first = np.flatnonzero(rating == 1)
    assert 1 <= len(kept_first) < 30
    for eps in np.quantile(rating, [0.1, 0.4, 0.8]):
        kept = np.flatnonzero(rating >= eps)
        # Of two near copies one at least goes: nothing that is kept is within eps of a kept one.
        among = cosine[np.ix_(kept, kept)] - 2 * np.eye(len(kept))
        assert among.max() <= 1 - eps + 1e-5
        # What goes has a near copy in the cluster.
        gone = np.flatnonzero(rating < eps)
        assert len(gone) > 0
        assert ((cosine[gone] - 2 * np.eye(300)[gone]).max(axis=1) > 1 - eps - 1e-5).all()


def test_ratings_equal_a_plain_loop_over_the_order(tmp_path, cloud):
    """By the seeded order, which is known without k-means; and across blocks of any size."""
    path = stored(tmp_path, cloud)
    order = np.argsort(stateless.id_uniforms(names(300), "semdedup", 8))
    cosine = unit(path) @ unit(path).T
    expected = np.ones(300)
    for place, row in enumerate(order[1:], 1):
        expected[row] = 1 - max(0.0, cosine[row, order[:place]].max())
    assert novelty(path, unlent(names(300)), 1, "random", 8) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("keep", ["hard", "random"])
def test_blocks_and_the_order_of_the_file_change_nothing(tmp_path, cloud, keep, monkeypatch):
    whole = novelty(stored(tmp_path, cloud), unlent(names(300)), 4, keep, 0)
    turn = stateless.generator("turn").permutation(300)
    turned = novelty(stored(tmp_path, cloud[turn]), unlent([names(300)[i] for i in turn]), 4, keep, 0)
    assert turned.tolist() == whole[turn].tolist()
    one = novelty(stored(tmp_path, cloud), unlent(names(300)), 1, keep, 0)
    monkeypatch.setattr(dedup, "BLOCK", 37)
    monkeypatch.setattr(dedup, "PASSES", 1)
    blocked = novelty(stored(tmp_path, cloud), unlent(names(300)), 1, keep, 0)
    if keep == "random":
        assert blocked == pytest.approx(one, abs=2e-6)
    else:
        # k-means itself goes by blocks, so the centre moves a little, and the order near it.
        assert blocked[np.argmax(one)] == 1
        assert np.corrcoef(blocked, one)[0, 1] > 0.9


@pytest.mark.parametrize("keep", ["hard", "random"])
def test_of_every_group_of_copies_one_is_kept(tmp_path, keep):
    """50 directions, four copies each, of other lengths: 50 ratings well above zero, 150 of zero."""
    rng = stateless.generator("copies")
    once = rng.normal(size=(50, 64))
    vectors = np.concatenate([once * 2.0**power for power in range(4)])
    rating = novelty(stored(tmp_path, vectors), unlent(names(200)), None, keep, 1)
    assert (rating.reshape(4, 50) > 0.1).sum(axis=0).tolist() == [1] * 50
    assert np.sort(rating)[:150].max() == 0
    other = novelty(stored(tmp_path, vectors), unlent(names(200)), None, keep, 2)
    assert (other.reshape(4, 50) > 0.1).sum(axis=0).tolist() == [1] * 50
    # Which copy it is, the seed decides.
    assert ((rating > 0.1) != (other > 0.1)).sum() > 30


def test_hard_keeps_the_farthest_from_the_centroid(tmp_path):
    """A pair of near copies beside a crowd: the outer one is kept at 1, the crowd's are duplicates."""
    angles = np.radians([0, 0.1, -0.1, 0.2, -0.2, 0, 8, 4])
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1)
    rating = novelty(stored(tmp_path, vectors), unlent(names(8)), 1, "hard", 0)
    assert np.argmax(rating) == 6
    assert rating[6] == 1
    assert rating[7] == pytest.approx(1 - np.cos(np.radians(4)), abs=2e-4)


def test_pairs_of_two_clusters_are_not_compared(tmp_path):
    """Two tight directions under two clusters: one of each has 1, whatever their cosine (here 0.8)."""
    a, b = np.array([1.0, 0.0]), np.array([0.8, 0.6])
    rng = stateless.generator("two")
    vectors = np.concatenate([np.tile(a, (40, 1)), np.tile(b, (40, 1))]) + 0.01 * rng.normal(size=(80, 2))
    rating = novelty(stored(tmp_path, vectors), unlent(names(80)), 2, "hard", 0)
    assert sorted(np.flatnonzero(rating == 1) // 40) == [0, 1]
    assert np.sort(rating)[:78].max() < 0.01


@pytest.mark.parametrize("vectors", [np.ones((1, 5)), np.ones((2, 5)), np.zeros((3, 4))])
def test_few_or_empty_vectors(tmp_path, vectors):
    rating = novelty(stored(tmp_path, vectors), unlent(names(len(vectors))), None, "hard", 0)
    assert np.isfinite(rating).all()
    assert rating.max() == 1
    assert (rating == 0).sum() == (len(vectors) - 1 if vectors.any() else 0)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """60 pairs of 32 px, every sixth a copy of the one before it but for a pixel; five of another split."""
    folder = tmp_path_factory.mktemp("pool")
    rng = stateless.generator("dedup pool")
    rows, image = [], np.zeros((32, 32, 3), dtype=np.uint8)
    for i in range(60):
        if i % 6 == 5:
            image = image.copy()
            image[0, 0] ^= 1
        else:
            image = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
        split = "scorer" if i >= 55 else "pool"
        rows.append(Row(f"id-{i}", f"a picture of {i % 7}", split, f"g{i}", image, "", None))
    write_pool(folder, rows, 32, 50, {})
    return folder


def test_features_are_streamed_into_a_file(pool, tmp_path):
    rows = read_index(pool)
    by = features.extractor("lite0", 64)
    ticks = []
    vectors.write(
        pool, rows, partial(features.extract, by=by, batch=25), 25, tmp_path / "out.npy", ticks.append
    )
    assert ticks == [25, 25, 10]
    found = np.load(tmp_path / "out.npy")
    assert found.dtype == np.float16
    expected = features.extract(store.images(pool, rows), by, 60)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert found.astype(np.float32) == pytest.approx(expected, abs=1e-3)


# --- the aesthetic predictor ---


def test_the_predictor_is_five_linear_layers_and_reads_its_file(tmp_path):
    """Without activations it is one affine map of the embedding; the file may hold a network beside it."""
    predictor = aesthetic.Predictor()
    shapes = {name: tuple(value.shape) for name, value in predictor.state_dict().items()}
    assert [shapes[f"layers.{i}.weight"] for i in (0, 2, 4, 6, 7)] == [
        (1024, 768), (128, 1024), (64, 128), (16, 64), (1, 16),
    ]  # fmt: skip
    other = {"vision_model.embeddings.class_embedding": torch.ones(1024)}
    save_file({**predictor.state_dict(), **other}, tmp_path / "model.safetensors")
    read = aesthetic.read_predictor(find_file(str(tmp_path), "key", "model.safetensors"))
    assert not read.training
    x = torch.nn.functional.normalize(torch.randn(9, 768, generator=torch.Generator().manual_seed(0)), dim=1)
    figures = read(x)
    assert figures.shape == (9,)
    state = {name: value.double() for name, value in read.state_dict().items()}
    weight, bias = torch.eye(768, dtype=torch.float64), torch.zeros(768, dtype=torch.float64)
    for i in (0, 2, 4, 6, 7):
        w, b = state[f"layers.{i}.weight"], state[f"layers.{i}.bias"]
        weight, bias = w @ weight, w @ bias + b
    assert figures.tolist() == pytest.approx((x.double() @ weight.T + bias)[:, 0].tolist(), abs=1e-5)


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """As HF_HUB_OFFLINE=1 with an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


def test_out_of_reach_the_predictor_is_one_sentence(offline):
    with pytest.raises(Refusal, match=r"^raters\.pretty\.kind is aesthetic.*colourfulness") as told:
        aesthetic.load("pretty")
    assert "\n" not in str(told.value)
    assert aesthetic.REPOSITORY in str(told.value)


def test_the_best_of_a_balanced_rating_are_an_equal_share_of_every_cluster(tmp_path):
    """Three clusters of 150, 100 and 12: the least is kept whole, and the two others share what is left."""
    cluster = np.repeat([0, 1, 2], [150, 100, 12])
    vectors = np.eye(3, 20)[cluster] + 0.02 * stateless.generator("near").normal(size=(262, 20))
    rating = balance(stored(tmp_path, vectors), unlent(names(262)), 3, 0)
    for count, expected in ((30, [10, 10, 10]), (112, [50, 50, 12]), (252, [140, 100, 12])):
        kept = np.argsort(-rating, kind="stable")[:count]
        assert np.abs(np.bincount(cluster[kept], minlength=3) - expected).max() <= 1
    assert sorted(-rating[cluster == 1]) == list(range(100))


def test_a_balanced_rating_does_not_depend_on_the_order_of_the_pairs(tmp_path, cloud):
    ids = np.array(names(300))
    first = balance(stored(tmp_path, cloud), unlent(list(ids)), 3, 5)
    order = np.random.default_rng(0).permutation(300)
    again = balance(stored(tmp_path, cloud[order]), unlent(list(ids[order])), 3, 5)
    assert (again == first[order]).all()
    assert (balance(stored(tmp_path, cloud), unlent(list(ids)), 3, 6) != first).any(), (
        "the seed draws the order"
    )


# --- the stage ---

RATERS = {
    "match": {"kind": "clip_score", "direction": 1},
    "mismatch": {"kind": "clip_score", "direction": -1},
    "dedup": {"kind": "semdedup", "direction": 1, "clusters": None, "keep": "hard", "seed": 0},
    "even": {"kind": "cluster_balance", "clusters": 5},
    "crowd": {"kind": "cluster_balance", "clusters": 500},
    "many": {"kind": "semdedup", "direction": 1, "clusters": 500, "keep": "hard", "seed": 0},
    "pretty": {"kind": "aesthetic", "direction": 1},
    "sharp": {"kind": "clarity", "direction": 1},
}


@pytest.fixture(scope="module")
def space(tmp_path_factory, pool):
    """A folder with params.yaml and a scorer that was hardly trained."""
    folder = tmp_path_factory.mktemp("space")
    params = yaml.safe_load((REPO / "params.yaml").read_text())
    evaluate = params["scales"]["tiny"]["evaluate"] | {"feature_size": 64, "batch": 20}
    given = {"device": "cpu", "raters": RATERS, "scales": {"tiny": {"evaluate": evaluate}}}
    files.write_json(folder / "data/params.json", files.sealed(given))
    index = read_index(pool)
    settings = ScorerSettings(image_size=32, embed_dim=8, steps=2, batch=16, learning_rate=1e-3, seed=0)
    (folder / "scorer").mkdir()
    scorers.save_lit(
        scorers.fit_lit([store.images(pool, index)], list(index["caption"]), settings),
        folder / "scorer",
    )
    files.write_manifest(folder / "scorer")
    return folder


@pytest.fixture
def stage(space, pool, monkeypatch):
    monkeypatch.chdir(space)

    def run(rater):
        out, log = Path(f"{rater}.parquet"), Path(f"log-{rater}")
        spent = embedding.run(rater, pool, Path("scorer"), "tiny", out, log, Path("time.json"))
        assert spent["score_seconds"] > 0

    return run


def facts_of(space, rater, kind):
    facts = json.loads((space / f"log-{rater}" / "rating.json").read_text())
    assert (facts["rater"], facts["kind"], facts["pairs"]) == (rater, kind, 55)
    assert facts["train_flops"] == 0
    assert facts["log"] == []
    assert list(files.check_manifest(space / f"log-{rater}")["files"]) == ["rating.json"]
    return facts


def test_the_stage_writes_cosines_of_image_and_caption(space, pool, stage):
    stage("mismatch")
    index = read_index(pool)
    rows = index[index["split"] == "pool"].sort_values("id")
    table = pd.read_parquet(space / "mismatch.parquet")
    assert table["id"].tolist() == rows["id"].tolist()
    judge = scorers.load_lit(space / "scorer")
    images, words = store.images(pool, rows), list(rows["caption"])
    with FlopCounterMode(display=False) as counter:
        clip_score.score(judge, images[:20], words[:20], 20)
    judge.embedded.clear()
    cosine = clip_score.score(judge, images, words, 55) / 100
    assert np.abs(cosine).max() <= 1
    assert table["rating"].to_numpy() == pytest.approx(-cosine, abs=1e-3)
    expected = round(counter.get_total_flops() / 20 * 55)
    assert facts_of(space, "mismatch", "clip_score")["score_flops"] == expected > 0


def test_the_stage_rates_copies_last(space, pool, stage):
    stage("dedup")
    table = pd.read_parquet(space / "dedup.parquet").set_index("id").loc[names(55)].reset_index()
    rating = table["rating"].to_numpy()
    pairs = np.arange(5, 55, 6)  # a copy, after its original
    assert table["id"].iloc[pairs].tolist() == [f"id-{i}" for i in pairs]
    lower = np.minimum(rating[pairs], rating[pairs - 1])
    others = np.delete(rating, [*pairs, *(pairs - 1)])
    assert lower.max() < others.min()
    assert facts_of(space, "dedup", "semdedup")["score_flops"] > 0


def test_the_stage_rates_by_places_within_clusters(space, pool, stage):
    stage("even")
    rating = pd.read_parquet(space / "even.parquet")["rating"]
    places = (-rating).value_counts().sort_index()
    assert places.index[0] == 0
    assert places.iloc[0] == 5  # a first of every cluster
    assert (places.diff().dropna() <= 0).all()
    assert facts_of(space, "even", "cluster_balance")["score_flops"] > 0


@pytest.mark.parametrize(
    ("rater", "words"),
    [
        ("crowd", "raters.crowd.clusters is 500; the pool has 55 usable pairs"),
        ("many", "raters.many.clusters is 500; the pool has 55 usable pairs"),
        ("sharp", "raters.sharp.kind is 'clarity'; legal values in grid.embeddings are clip_score"),
        ("pretty", "raters.pretty.kind is aesthetic"),
    ],
)
def test_the_stage_refuses_in_one_sentence(space, stage, offline, rater, words):
    with pytest.raises(Refusal) as told:
        stage(rater)
    assert words in str(told.value)
    assert "\n" not in str(told.value)
    assert not (space / f"log-{rater}").exists()
    assert not (space / f"{rater}.parquet").exists()


def test_a_feature_that_is_no_number_is_told_with_its_id(pool, tmp_path):
    rows = read_index(pool).iloc[:20]

    def by(images):
        found = np.ones((len(images), 3))
        found[-1] = np.nan
        return found

    words = f"features of 1 of 7 pairs is not finite: '{rows['id'].iloc[6]}'; the network's"
    with pytest.raises(Refusal, match=words):
        vectors.write(pool, rows, by, 7, tmp_path / "x.npy", lambda n: None)
