"""FLOPs of a run that trains a rater, counted on trial networks, against those of its parts."""

from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from rater_helpers import BUDGET, SETTINGS, new_rater, of_credit, run_of

from alchemist.core.scratch import Scratch
from alchemist.families.star.generator import StarCodec, StarGenerator
from alchemist.models.encoded import Encoded
from alchemist.models.family import Generator
from alchemist.models.training import forward_flops
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.meta_bill import train_flops
from alchemist.raters.network import Rater


class Bench:
    """Counts on the tiny store."""

    def __init__(self, folder: Path, data: Encoded, codec: StarCodec) -> None:
        self.folder, self.data, self.codec = folder, data, codec
        self.known: dict[tuple[str, int], float] = {}

    def proxy(self, seed: int = 0) -> Generator:
        return StarGenerator(TINY, self.codec, seed)

    def network(self, seed: int = 0) -> Rater:
        return new_rater(self.codec, seed=seed)

    def counted(self, settings: MetaRater, images: int = 160) -> float:
        """Worked out once for each question."""
        budget, asked = BUDGET.model_copy(update={"images": images}), (settings.model_dump_json(), images)
        if asked not in self.known:
            with Scratch(self.folder, "mark") as scratch:
                run = run_of(self.data, self.proxy, scratch, 3, budget)
                self.known[asked] = train_flops(run, settings, self.network)
        return self.known[asked]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, data: Encoded, codec: StarCodec) -> Bench:
    return Bench(tmp_path_factory.mktemp("bill"), data, codec)


def test_a_run_of_eq_9_costs_both_batches_and_the_rater(bench: Bench) -> None:
    """Forward and backward of the proxy on both batches, at u = 1 forward alone on one, and of the rater."""
    proxy, rater = bench.proxy(), bench.network()
    pairs = bench.data.batch(bench.data.pool().numbers[:8])
    own, of_rater = (forward_flops(of, pairs, training=True) for of in (proxy.losses, rater.features))
    # The last backward pass stops at the input; captions of the batches differ in length.
    for upper, passes in ((0.7, 3 + 3), (1.0, 3 + 1)):
        settings = SETTINGS.model_copy(update={"upper_weight": upper, "upper_decay": 0.0})
        assert bench.counted(settings) == pytest.approx(160 * (passes * own + 3 * of_rater), rel=0.12)


@pytest.mark.parametrize("credit", ["penalty", "reference"])  # with a warm-up and without
def test_cost_grows_with_the_images_and_leaves_no_state(bench: Bench, credit: str) -> None:
    settings = of_credit(credit)
    one, three = bench.counted(settings), bench.counted(settings, 480)
    assert one > 0
    assert three == pytest.approx(3 * one, rel=0.05)
    assert not list(bench.folder.glob("*/state.safetensors"))


def test_credits_cost_in_the_order_of_their_passes(bench: Bench) -> None:
    costs = {credit: bench.counted(of_credit(credit)) for credit in ("penalty", "alignment")}
    costs["unrolled"] = bench.counted(of_credit("unrolled", unroll_steps=2))
    assert costs["penalty"] < costs["alignment"]
    assert costs["penalty"] < costs["unrolled"]
    assert np.isfinite(list(costs.values())).all()


@pytest.mark.parametrize("credit", ["penalty", "reference"])
def test_a_warm_up_by_eq_4_costs_plain_steps(bench: Bench, credit: str) -> None:
    plain = 3 * forward_flops(
        bench.proxy().losses, bench.data.batch(bench.data.pool().numbers[:8]), training=True
    )
    without, half = (bench.counted(of_credit(credit, reference_warmup=share)) for share in (0.0, 0.5))
    assert half == pytest.approx(0.5 * without + 0.5 * 160 * plain, rel=1e-9)
