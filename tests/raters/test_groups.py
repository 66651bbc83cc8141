"""Groups of a pool's pairs: which pair is of which, whatever the order of rows, and those of a step."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import TINY, write_encoded
from rater_helpers import BUDGET, run_of
from threadpoolctl import threadpool_limits

from alchemist.core import stateless
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch
from alchemist.core.settings.groups import GroupsSettings
from alchemist.families.star.generator import StarCodec, StarGenerator
from alchemist.families.star.tokenizer import Tokenizer
from alchemist.models.encoded import Encoded
from alchemist.raters.groups import Groups, found_centroids, of_captions, of_pool, of_rated
from alchemist.raters.kinds import loss, loss_within
from alchemist.raters.kinds.loss_within import LossWithinRater

COUNT = 200
WAYS = ("caption_length", "source", "embedding")
SIZES = (70, 50, 30, 9, 1)  # pairs of the split pool by source


def rows_of(rng: np.random.Generator) -> pd.DataFrame:
    """160 pairs of the pool and 40 of meta_val, of which 5 are lent."""
    origin = np.repeat([f"part-{i}" for i in range(5)], SIZES)
    return pd.DataFrame(
        {
            "id": [f"pair-{i:03d}" for i in range(COUNT)],
            "split": ["pool"] * 160 + ["meta_val"] * 40,
            "text": rng.integers(1, 40, COUNT),
            "lent": [False] * 195 + [True] * 5,
            "cluster": 0,
            "origin": [*rng.permutation(origin), *["part-0"] * 39, "elsewhere"],
        }
    )


def write(folder: Path, codes: Tokenizer, order: np.ndarray | None = None, origin: bool = True) -> Encoded:
    """The pairs in an order; lengths of captions are from 2 to 9 word pieces, their states in four heaps."""
    rng = stateless.generator("groups data")
    rows = rows_of(rng)
    heaps = 5 * rng.normal(size=(4, 384))
    states = [(heaps[i % 4] + rng.normal(size=(2 + i % 8, 384))).astype(np.float16) for i in range(40)]
    tokens = rng.integers(0, codes.config.codes, (COUNT, codes.config.tokens)).astype(np.uint16)
    order = np.arange(COUNT) if order is None else order
    folder.mkdir(parents=True)
    rows = rows if origin else rows.drop(columns="origin")
    return write_encoded(folder, rows.iloc[order].reset_index(drop=True), tokens[order], states)


def grouped(data: Encoded, codec: StarCodec, batch: int = 8, **values: object) -> Groups:
    run = run_of(
        data, lambda seed: StarGenerator(TINY, codec, seed), budget=BUDGET.model_copy(update={"batch": batch})
    )
    return of_pool(run, GroupsSettings.model_validate({"a_step": 2, "count": 4, **values}), "raters.x.groups")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, codes: Tokenizer) -> Encoded:
    return write(tmp_path_factory.mktemp("groups") / "data", codes)


def named(groups: Groups, data: Encoded) -> dict[str, int]:
    return dict(zip(data.rows["id"], groups.labels.tolist(), strict=True))


@pytest.mark.parametrize("by", WAYS)
def test_a_pairs_group_is_no_matter_of_the_order_of_rows(
    tmp_path: Path, stored: Encoded, codes: Tokenizer, codec: StarCodec, by: str
) -> None:
    turned = write(tmp_path / "data", codes, stateless.generator("turned").permutation(COUNT))
    first, other = grouped(stored, codec, by=by), grouped(turned, codec, by=by)
    assert named(first, stored) == named(other, turned)
    assert first.names == other.names
    rated = set(stored.rated().numbers.tolist())
    assert all((label >= 0) == (number in rated) for number, label in enumerate(first.labels))
    assert sum(first.sizes()) == 160
    assert min(first.sizes()) >= 2
    for step in (0, 7):
        ids = [data.rows["id"].iloc[g.numbers_at(3, step, 8)].tolist()
               for g, data in ((first, stored), (other, turned))]  # fmt: skip
        assert ids[0] == ids[1]


def test_lengths_lie_in_bins_of_like_many_pairs(stored: Encoded, codec: StarCodec) -> None:
    groups = grouped(stored, codec, by="caption_length")
    lengths = stored.lengths(stored.rows["text"].to_numpy())
    ends = [(lengths[one.numbers].min(), lengths[one.numbers].max()) for one in groups.rows]
    assert all(last < first for (_, last), (first, _) in pairwise(ends))
    assert max(groups.sizes()) < 2 * 160 / 4 + 20
    many = grouped(stored, codec, by="caption_length", count=1000)
    assert len(many.rows) == len(set(lengths[:160].tolist())) == 8, "equal lengths are in one"


def test_the_largest_sources_stand_alone_and_all_others_together(stored: Encoded, codec: StarCodec) -> None:
    groups = grouped(stored, codec, by="source", count=4)
    origin = stored.rows["origin"].astype(str).to_numpy()
    assert groups.names == ["part-0", "part-1", "part-2", "the rest"]
    assert groups.sizes().tolist() == [70, 50, 30, 10]
    for number in stored.rated().numbers:
        place = ["part-0", "part-1", "part-2"].index(origin[number]) if origin[number] < "part-3" and \
            origin[number] != "elsewhere" else 3  # fmt: skip
        assert groups.labels[number] == place
    # One pair alone has no variance, so that it is with the smallest of the others.
    every = grouped(stored, codec, by="source", count=16)
    assert every.names == ["part-0", "part-1", "part-2", "part-3"]
    assert every.sizes().tolist() == [70, 50, 30, 10]


def test_heaps_of_caption_states_are_groups(stored: Encoded, codec: StarCodec) -> None:
    groups = grouped(stored, codec, by="embedding", count=4)
    heap = stored.rows["text"].to_numpy() % 4
    pairs = {(int(heap[n]), int(groups.labels[n])) for n in stored.rated().numbers}
    assert len(pairs) == len(groups.rows) == 4


def test_centroids_do_not_depend_on_the_count_of_threads() -> None:
    vectors, found = stateless.generator("vectors").normal(size=(4096, 16)), []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(found_centroids(vectors, 16))
    assert np.array_equal(*found)


@pytest.mark.parametrize("by", ["caption_length", "embedding"])
def test_the_rule_tells_a_captions_group_elsewhere(stored: Encoded, codec: StarCodec, by: str) -> None:
    groups = grouped(stored, codec, by=by)
    numbers = stored.rated().numbers
    found = of_captions(stored.batch(numbers).text, by, groups.rule)
    assert np.array_equal(found, groups.labels[numbers])


def test_a_step_has_different_groups_drawn_by_their_sizes(stored: Encoded, codec: StarCodec) -> None:
    groups = grouped(stored, codec, by="source")
    drawn = [groups.at(0, step)[0].tolist() for step in range(5000)]  # more than a block
    assert all(len(set(one)) == 2 for one in drawn)
    share = Counter(one[0] for one in drawn)  # the first of a race wins by its rate
    for group, size in enumerate(groups.sizes()):
        assert share[group] / 5000 == pytest.approx(size / 160, abs=0.025)
    again = grouped(stored, codec, by="source")
    assert [again.at(0, step)[0].tolist() for step in (4999, 3, 4500)] == [drawn[4999], drawn[3], drawn[4500]]
    assert [again.at(1, step)[0].tolist() for step in range(50)] != drawn[:50]


def test_a_step_takes_equal_parts_and_each_pair_of_a_group_once_an_epoch(
    stored: Encoded, codec: StarCodec
) -> None:
    groups = grouped(stored, codec, by="source")
    seen: dict[int, list[int]] = {group: [] for group in range(4)}
    turns: Counter[int] = Counter()
    for step in range(400):
        numbers = groups.numbers_at(5, step, 8)
        for group, turn, part in zip(*groups.at(5, step), numbers.reshape(2, 4), strict=True):
            assert set(groups.labels[part]) == {group}
            assert turn == turns[group]
            turns[group] += 1
            seen[int(group)] += part.tolist()
    for group, rows in enumerate(groups.rows):
        for start in range(0, len(seen[group]) - len(rows), len(rows)):
            assert sorted(seen[group][start : start + len(rows)]) == sorted(rows.numbers.tolist())
    later = grouped(stored, codec, by="source")
    assert np.array_equal(later.numbers_at(5, 399, 8), groups.numbers_at(5, 399, 8)), (
        "whatever was drawn before"
    )


def test_a_group_is_known_by_a_draw_of_its_own_pairs(stored: Encoded, codec: StarCodec) -> None:
    groups = grouped(stored, codec, by="source")
    members = groups.members(0, 20)
    assert [len(one) for one in members] == [20, 20, 20, 10]
    assert all(set(groups.labels[one]) == {group} for group, one in enumerate(members))
    assert not np.array_equal(groups.members(1, 20)[0], members[0])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"by": "source", "a_step": 8, "batch": 16}, r"a_step is 8, and by source the pool has 4 groups of 2 "
         r"pairs or more; 2 to 4 is legal\."),
        ({"a_step": 3}, r"a_step is 3, and rate\.batch 8 has no so many equal parts of 2 pairs or more"),
        ({"a_step": 8}, r"a_step is 8, and rate\.batch 8 has no so many"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(
    stored: Encoded, codec: StarCodec, values: dict[str, object], words: str
) -> None:
    with pytest.raises(Refusal, match=words):
        grouped(stored, codec, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("by", WAYS)
def test_a_ranking_within_groups_ranks_the_pool_and_lent_pairs_apart(
    stored: Encoded, codec: StarCodec, by: str, tmp_path: Path
) -> None:
    """By the groups that are asked for, by the loss, and so that each has its share of the split pool."""
    settings = LossWithinRater.model_validate({"kind": "loss_within", "groups": {"by": by, "count": 3}})
    with Scratch(tmp_path, "m" * 16) as scratch:
        run = run_of(stored, lambda seed: StarGenerator(TINY, codec, seed), scratch)
        losses = loss.rate(run, loss.LossRater(kind="loss")).rating
        rating = loss_within.rate(run, settings).rating
        labels, names, _ = of_rated(run, settings.groups, "raters.x.groups")
    assert len(run.rated) > len(run.pool)
    for group in range(len(names)):
        of = np.flatnonzero(labels[: len(run.pool)] == group)
        assert np.argsort(rating[of]).tolist() == np.argsort(losses[of]).tolist()
        assert rating[of].mean() == pytest.approx(50)


def test_a_ranking_within_one_group_is_refused(tmp_path: Path, codes: Tokenizer, codec: StarCodec) -> None:
    data = write(
        tmp_path / "data",
        codes,
        np.flatnonzero(rows_of(stateless.generator("groups data"))["origin"] == "part-0"),
    )
    run = run_of(data, lambda seed: StarGenerator(TINY, codec, seed))
    settings = LossWithinRater.model_validate({"kind": "loss_within", "groups": {"by": "source"}})
    with pytest.raises(Refusal, match=r"raters.x.groups.by is source, and by it all pairs are of one group"):
        loss_within.rate(run, settings)


def test_a_pool_without_sources_is_told(tmp_path: Path, codes: Tokenizer, codec: StarCodec) -> None:
    data = write(tmp_path / "data", codes, origin=False)
    with pytest.raises(Refusal, match="by is source, and the pairs of this pool have no column origin"):
        grouped(data, codec, by="source")
