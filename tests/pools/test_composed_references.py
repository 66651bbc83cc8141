"""What generators are measured by on a composed pool: clean pairs, or its mixture with clean ones beside."""

import json
from collections import Counter

import pandas as pd
import pytest
from pool_helpers import emoji_pool

from alchemist.core.settings.evaluation import EvaluateSettings
from alchemist.measures.references import sides
from alchemist.pools.emoji import KINDS
from alchemist.pools.read import expected, rows
from alchemist.pools.store import read_index, write_pool

MIXED = {"pairs": 600, "source": "mixture"}
SMALL = {"pairs": 60, "meta_validation": {"pairs": 20}, "scorer": {"pairs": 5}}


def written(pool, folder):
    folder.mkdir()
    write_pool(folder, rows(pool, 1, "mine"), 16, 64, {"settings": pool.model_dump()})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def mixed():
    return list(rows(emoji_pool(**SMALL, evaluation=MIXED, clean={"pairs": 50}), 1))


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    pool = emoji_pool(**SMALL | {"pairs": 600}, evaluation=MIXED, clean={"pairs": 50})
    folder = tmp_path_factory.mktemp("mixed") / "pool"
    written(pool, folder)
    found = read_index(folder)
    kinds = pd.read_parquet(folder / "truth.parquet").set_index("id")["kind"]
    return found.assign(kind=kinds[found["id"]].to_numpy())


def test_such_an_evaluation_has_the_shares_of_the_pool_and_the_clean_split_none_of_its_flaws(mixed):
    kinds = {
        split: Counter(row.kind for row in mixed if row.split == split) for split in ("evaluation", "clean")
    }
    assert kinds["clean"] == {"informative": 50}
    for kind, share in emoji_pool().shares.model_dump().items():
        assert abs(kinds["evaluation"][kind] - 600 * share) < 4.5 * (600 * share * (1 - share)) ** 0.5, kind
    assert len(mixed) == expected(emoji_pool(**SMALL, evaluation=MIXED, clean={"pairs": 50})) == 735


def test_no_pair_of_the_splits_before_changes_with_it(mixed):
    before = list(rows(emoji_pool(**SMALL, evaluation={"pairs": 600}), 1))
    for split in ("pool", "meta_val", "scorer"):
        one, two = (
            [(r.id, r.pixels, r.caption) for r in found if r.split == split] for found in (before, mixed)
        )
        assert one == two
    assert {row.kind for row in before if row.split == "evaluation"} == {"informative"}


def test_a_pool_that_asks_for_neither_has_the_files_that_it_always_had(tmp_path):
    asked = {"evaluation": {"pairs": 40, "source": "clean"}, "clean": {"pairs": 0}}
    found = written(emoji_pool(pairs=20, **asked), tmp_path / "a")
    assert found == written(emoji_pool(pairs=20), tmp_path / "b")
    settings = json.loads(found["card.json"])["settings"]
    assert (settings["evaluation"], "clean" in settings) == ({"pairs": 40}, False)


def test_planted_copies_are_one_cluster_where_measuring_asks_and_nowhere_else(index):
    held = index[index["split"] == "evaluation"]
    copies = held[held["kind"] == "duplicate"]
    assert 1 < copies["cluster"].nunique() < len(copies)
    assert (copies.groupby("cluster")["group"].nunique() == 1).all()
    assert copies["cluster"].nunique() == copies["group"].nunique()
    others = index.drop(copies.index)
    assert others["cluster"].is_unique
    assert not set(others["cluster"]) & set(copies["cluster"])
    assert others["group"].duplicated().any(), "the pool has copies too, which no rater is told of"


def test_the_views_are_as_drawn_copies_once_and_clean(index):
    settings = EvaluateSettings(images=None, decides="clean", kid_subset_size=4)
    prompts, references = sides(index[index["split"].isin(("evaluation", "clean"))], settings)
    both = pd.concat([prompts, references])
    assert set(both[both["clean"]]["kind"]) == {"informative"}
    assert set(both[both["as_is"]]["kind"]) == set(KINDS)
    once = both[both["once"]]
    assert once["cluster"].is_unique
    assert len(once) == both[both["as_is"]]["cluster"].nunique() < both["as_is"].sum()
