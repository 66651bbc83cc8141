"""The plan beside the run: what is counted on `meta` is what the stages of a tiny grid wrote down."""

import pytest
from stage_grid import MODEL, PROXY, SEED, TRUNK, Grid
from tiny import REPO

from alchemist.core import files
from alchemist.models.encoded import Encoded
from alchemist.plan.estimates import Estimates
from alchemist.plan.jobs import Job
from alchemist.plan.pairs import planned, prepared
from alchemist.plan.work import work


def estimates(grid: Grid) -> Estimates:
    return Estimates(grid.params, prepared(grid.folder / "data/pool"), REPO / "assets/codecs")


def job(script: str, **options: str) -> Job:
    return Job(f"{script}@x", script, {f"--{key}": value for key, value in options.items()}, "runs")


def first_pieces(grid: Grid) -> int:
    """Word pieces of the longest caption of a cell's first batch, on which it is billed."""
    data = Encoded(grid.folder / "data/encoded")
    numbers = data.pool().numbers[: grid.scale.train.batch]
    return int(data.batch(numbers).text.states.shape[1])


def test_a_cell_is_billed_as_it_was_planned(grid: Grid) -> None:
    ran = files.read_json(grid.train("full", subset=None) / "run.json")
    assert first_pieces(grid) == 8, "captions are cut at what the plan counts them with"
    [one] = work([job("train", model=MODEL, out=f"data/models/full-{MODEL}-0")], estimates(grid))
    assert one.flops == ran["train_flops"]
    assert one.images == ran["points"][-1]["images"]
    held = [path.stat().st_size for path in (grid.folder / "data/models/full").glob("ema-*")]
    assert one.disk == pytest.approx(sum(held), rel=0.02)


@pytest.mark.parametrize("rater", ["alchemist", "loss", "random"])
def test_a_rating_is_billed_as_it_was_planned(grid: Grid, rater: str) -> None:
    grid.rate(rater)
    bill = files.read_json(grid.folder / f"data/raters/{rater}/{SEED}/rating.json")
    of = estimates(grid)
    train, score, _ = of.rating(rater, PROXY, TRUNK)
    # A meta-trained rater is billed on real batches, some of whose captions are dropped or short.
    near = 0.02 if rater == "alchemist" else 0
    assert train == pytest.approx(bill["train_flops"], rel=near, abs=0)
    assert score * of.pairs.pool == bill["score_flops"]


def test_encoded_pairs_take_at_most_what_was_planned(grid: Grid) -> None:
    [one] = work([job("encode", family="star")], estimates(grid))
    data = Encoded(grid.folder / "data/encoded")
    assert one.images == len(data.rows)
    images = sum(path.stat().st_size for path in data.folder.glob("tokens-*.npy"))
    text = sum(path.stat().st_size for path in data.folder.glob("text-*.npy"))
    assert images + text <= one.disk + 2000  # headers
    assert one.disk - len(data.rows) * 8 * 384 * 2 == pytest.approx(images, rel=0.05)


def test_a_prepared_pool_leaves_out_what_was_rejected(grid: Grid) -> None:
    found, expected = prepared(grid.folder / "data/pool"), planned("emoji", grid.params.pools)
    assert found.pool == len(grid.index("pool"))
    assert found.pool <= expected.pool
