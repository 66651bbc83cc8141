"""Several processes: what each passes, what all know, and that one more or less changes rounding alone."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CPU, TINY
from flux_helpers import stirred, write_pixels
from gloo import FORK, together
from gloo import start as begin
from rater_helpers import BUDGET, CREDITS, new_rater, of_credit, run_of, step_of, weights_of
from torch import Tensor

from alchemist.core import world
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch
from alchemist.core.settings.budget import TrainSettings
from alchemist.core.settings.groups import GroupsSettings
from alchemist.families.flux.codec import PixelCodec
from alchemist.families.star.generator import StarCodec, StarGenerator
from alchemist.models import training
from alchemist.models.encoded import Encoded, PoolRows
from alchemist.models.family import Generator
from alchemist.raters import meta, meta_bill, score
from alchemist.raters.compared import Compared
from alchemist.raters.groups import of_pool
from alchemist.raters.network import Group
from alchemist.raters.steps import Outcome, meta_window, start

COUNTS = (2, 4)
SETTINGS = TrainSettings(
    images=32, batch=8, learning_rate=3e-3, weight_decay=0.05, clip=2.0, warmup_images=16, ema_images=50.0,
    caption_dropout=0.2, checkpoints=(), precision="fp32",
)  # fmt: skip


@pytest.fixture(scope="module")
def pixel_data(tmp_path_factory: pytest.TempPathFactory) -> Encoded:
    return write_pixels(tmp_path_factory.mktemp("pixels"))


def test_rows_are_shared_without_a_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (1, 2, 3, 4, 7):
        monkeypatch.setattr(world, "count", lambda count=count: count)
        for total in (0, 1, 5, 8, 100):
            for of in (1, 3):
                rows: list[int] = []
                for rank in range(count):
                    monkeypatch.setattr(world, "rank", lambda rank=rank: rank)
                    own = world.mine(total, of)
                    assert own.start % of == 0 or own.start == total
                    rows += range(total)[own]
                assert rows == list(range(total))


def test_values_are_joined_in_order_and_sums_are_of_all(tmp_path: Path) -> None:
    whole = torch.arange(20.0).reshape(10, 2)

    def work() -> tuple[Tensor, Tensor, Tensor]:
        first, second = torch.full((3,), float(world.rank() + 1)), torch.full((2, 2), 10.0)
        world.sum_([first, second])
        return world.joined(whole[world.mine(10, 3)], 10, 3), first, second

    for found, first, second in together(3, tmp_path, work):
        assert torch.equal(found, whole)
        assert first.tolist() == [6.0] * 3
        assert second.tolist() == [[30.0] * 2] * 2


@pytest.mark.parametrize("credit", CREDITS)
def test_a_step_of_the_rater_is_that_of_one_process(
    tmp_path: Path, data: Encoded, codec: StarCodec, credit: str
) -> None:
    """Gradients of rater and proxy, losses and credits of a third window, when all have moments."""
    steps = {"unroll_steps": 2} if credit == "unrolled" else {}
    settings = of_credit(credit, group="product", upper_weight=0.7, **steps)
    width = settings.unroll_steps or 1

    state = start(StarGenerator(TINY, codec, 0), new_rater(codec), settings, BUDGET)

    def window(number: int) -> list[Outcome]:
        firsts = [(number * width + t) % 4 * 4 for t in range(width)]
        steps = [step_of(data, 0.7, first, training=True) for first in firsts]
        return meta_window(state, steps, settings, BUDGET)

    def work() -> dict[str, Tensor]:
        outcomes = window(2)
        grads = {
            name: torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
            for name, network in (("rater", state.rater), ("proxy", state.proxy))
        }
        last = outcomes[-1]
        return {**grads, "credit": last.credit, "train": last.train, "validation": last.validation}

    window(0)
    window(1)  # which all have behind them: they are forked of this process, with its weights
    shared = [(count, found) for count in COUNTS for found in together(count, tmp_path / str(count), work)]
    alone = work()
    assert float(alone["rater"].norm()) > 1e-6
    # Eq. 6 takes one loss off another that is nearly the same: without AVX-512 1.5e-5 of it is rounding.
    within = 1e-4 if credit == "reference" else 1e-6
    for count, found in shared:
        for name, expected in alone.items():
            gap = float((found[name] - expected).norm() / expected.norm())
            assert gap < within, (name, count, gap)


@pytest.mark.parametrize(("credit", "count"), [("penalty", 4), *((one, 2) for one in CREDITS[1:])])
def test_ratings_of_a_whole_run_do_not_depend_on_the_count(
    tmp_path: Path, data: Encoded, codec: StarCodec, credit: str, count: int
) -> None:
    """Steps of each credit by either count are asked for above."""
    more = {"group": "product", "baseline": "validation"} if credit == "penalty" else {"group": "none"}
    settings = of_credit(credit, upper_weight=0.9, **more)  # as params.yaml has them
    alone = rated(tmp_path / "state", data, codec, settings)
    each = together(count, tmp_path / str(count), lambda: rated(tmp_path / "state", data, codec, settings))
    assert all(np.array_equal(one, each[0]) for one in each)
    # Of the spread: how far rounding grows over a run differs by credit and by make of processor.
    assert np.abs(each[0] - alone).max() < 1e-3 * alone.std()
    assert np.abs(np.log(each[0] / alone)).max() < 1e-3 * np.log(alone).std()  # small ones too
    assert np.array_equal(np.argsort(each[0]), np.argsort(alone))


def test_ratings_of_compared_groups_do_not_depend_on_the_count(
    tmp_path: Path, data: Encoded, codec: StarCodec
) -> None:
    asked = GroupsSettings(by="embedding", count=5, a_step=2)
    settings = of_credit("penalty", group="compared", groups=asked, upper_weight=0.9)

    def ratings() -> Any:
        rater, budget = new_rater(codec), BUDGET.model_copy(update={"images": 64})
        with Scratch(tmp_path / "state", "m") as scratch:
            run = run_of(data, lambda seed: StarGenerator(TINY, codec, seed), scratch, budget=budget)
            run = replace(run, groups=of_pool(run, asked, "raters.x.groups"))
            meta.meta_train(run, settings, rater)
            scratch.clear()
        members = run.groups.members(0, 15)
        seen = score.pooled_features(rater.eval(), data, np.concatenate(members), 7)
        beside = Compared.of(rater, seen, [len(one) for one in members], run.groups, 2.0)
        return score.rate_pool(rater, data, run.rated, beside, settings, 7, lambda n: None, run.groups)

    (alone,) = together(1, tmp_path / "1", ratings)
    for found in together(4, tmp_path / "4", ratings):  # a group's two pairs are with one of them
        # Rounding shows in the logarithm, and may turn two that are all but equal.
        assert np.abs(np.log(found / alone)).max() < 1e-3 * np.log(alone).std()
        assert np.abs(found.argsort().argsort() - alone.argsort().argsort()).max() <= 1


def quiet(images: int, words: str) -> None:
    """Says nothing."""


def rated(
    folder: Path, data: Encoded, codec: StarCodec, settings: Any, every: float = 1e9,
    images: int = 64, tick: Callable[[int, str], object] = quiet,
) -> Any:  # fmt: skip
    """Ratings of all rated pairs after a whole run."""
    rater, budget = new_rater(codec), BUDGET.model_copy(update={"images": images})
    with Scratch(folder, "m", every) as scratch:
        run = run_of(
            data, lambda seed: StarGenerator(TINY, codec, seed), scratch, budget=budget, trained=tick
        )
        meta.meta_train(run, settings, rater)
        scratch.clear()
    rater.eval()
    members = score.group_members(data.pool(), 15, 0)
    group = Group.of(rater, score.pooled_features(rater, data, members, 7))
    return score.rate_pool(rater, data, data.rated(), group, settings, 7, lambda n: None)


Trained = Callable[[], Generator]


def target(
    folder: Path, data: Encoded, made: Trained, every: float = 1e9, tick: Callable[[int, str], object] = print
) -> Tensor:
    """Averaged weights of a target after 32 images."""
    found: list[Tensor] = []
    with Scratch(folder, "m", every) as scratch:
        training.train(
            made(), data, PoolRows(data.pool().numbers[:50]), SETTINGS, 3, [32], scratch,
            lambda images, model: found.append(weights_of(model)), tick,
        )  # fmt: skip
        scratch.clear()
    return found[-1]


@pytest.mark.parametrize("kind", ["star", "flux"])
def test_targets_of_both_families_do_not_depend_on_the_count(
    tmp_path: Path, data: Encoded, codec: StarCodec, pixel_data: Encoded, kind: str
) -> None:
    of = data if kind == "star" else pixel_data
    made: Trained = lambda: StarGenerator(TINY, codec, 0) if kind == "star" else stirred(codec=PixelCodec(8))  # noqa: E731
    found = {
        count: together(count, tmp_path / str(count), lambda: target(tmp_path / "s", of, made, tick=quiet))
        for count in (1, *COUNTS)
    }
    for count in COUNTS:
        assert all(torch.equal(one, found[count][0]) for one in found[count])
        gap = float((found[count][0] - found[1][0]).norm() / found[1][0].norm())
        assert gap < 1e-5


class KilledError(Exception):
    """Raised in place of a kill."""


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 4), (4, 1)])
def test_a_run_goes_on_under_another_count(
    tmp_path: Path, data: Encoded, codec: StarCodec, before: int, after: int
) -> None:
    made: Trained = lambda: StarGenerator(TINY, codec, 0)  # noqa: E731
    whole = target(tmp_path / "whole", data, made, tick=quiet)

    def killed() -> None:
        seen: list[int] = []

        def tick(images: int, words: str) -> None:
            seen.append(images)
            if sum(seen) == 24:
                raise KilledError

        with pytest.raises(KilledError):
            target(tmp_path / "s", data, made, 0, tick)
        world.wait()

    together(before, tmp_path / "before", killed)
    seen: list[int] = []

    def resumed() -> tuple[Tensor, int]:
        seen.clear()
        return target(tmp_path / "s", data, made, 0, lambda n, words: seen.append(n)), seen[0]

    for weights, first in together(after, tmp_path / "after", resumed):
        assert first == 16  # the state that stood when the third step was told
        assert float((weights - whole).norm() / whole.norm()) < 1e-5


def test_one_of_them_is_killed_and_the_same_again_leaves_equal_bytes(
    tmp_path: Path, data: Encoded, codec: StarCodec
) -> None:
    settings, seen = of_credit("penalty"), list[int]()

    def run(name: str, tick: Callable[[int, str], object] = quiet) -> Any:
        return rated(tmp_path / name, data, codec, settings, 0, 48, tick)

    def dies(images: int, words: str) -> None:
        """The second of them, at its third step: the first has saved two states by then."""
        seen.append(images)
        if world.rank() == 1 and len(seen) == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    whole = together(2, tmp_path / "whole", lambda: run("a"))[0]
    both = begin(2, tmp_path / "killed", lambda: run("b", dies))
    for process in both:
        process.join(60)
    assert both[1].exitcode == -signal.SIGKILL
    assert both[0].exitcode == 1  # it does not wait for ever
    assert (tmp_path / "b/m/state.safetensors").is_file()
    again = together(2, tmp_path / "again", lambda: run("b"))
    assert all(np.array_equal(one, whole) for one in again)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path, data: Encoded, codec: StarCodec) -> None:
    def work() -> str:
        with pytest.raises(Refusal) as refused:
            target(tmp_path / "s", data, lambda: StarGenerator(TINY, codec, 0))
        return str(refused.value)

    told = (
        "train.batch is 8, which 3 processes cannot share evenly; legal counts of processes are 1, 2, 4, 8."
    )
    assert together(3, tmp_path / "3", work) == [told] * 3


def test_states_that_are_not_one_for_all_are_refused_by_all(tmp_path: Path) -> None:
    """As on machines with a disk of their own each, where one would wait for ever for another's step."""

    def work() -> str:
        folder = tmp_path / str(world.rank() // 2)  # two folders, of which one has a state
        with Scratch(folder, "m", 0) as scratch:
            if world.rank() == 0:
                scratch.save({"x": torch.zeros(2)}, {})
            world.wait()
            with pytest.raises(Refusal) as refused:
                scratch.load()
        return str(refused.value)

    (tmp_path / "1/m").mkdir(parents=True)
    for told in together(3, tmp_path / "3", work):
        assert "the processes see different states at" in told

    def elsewhere() -> str:
        try:
            with Scratch(tmp_path / f"own-{world.rank()}", "m"):
                return ""
        except Refusal as error:
            return str(error)

    first, second = together(2, tmp_path / "2", elsewhere)
    assert first == ""
    assert "own-1/m is not there for process 1: the processes have to share the disk" in second


def test_flops_of_a_rater_are_those_that_all_processes_spend(
    tmp_path: Path, data: Encoded, codec: StarCodec
) -> None:
    """Each counts what it passes itself, so that what all compute of gathered values counts for each."""
    settings = of_credit("penalty", upper_weight=0.9)

    def work() -> float:
        scratch = Scratch(tmp_path / "s", "m")
        run = run_of(data, lambda seed: StarGenerator(TINY, codec, seed), scratch, budget=BUDGET)
        return meta_bill.train_flops(run, settings, lambda seed: new_rater(codec))

    (one,) = together(1, tmp_path, work)
    assert one > 1e6
    for found in together(2, tmp_path / "2", work):
        assert one <= found < 1.15 * one


def test_others_that_do_not_come_are_told(tmp_path: Path) -> None:
    """In a process of its own, since Accelerate remembers what it tried."""

    def joins() -> None:
        os.environ |= {"RANK": "x", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
        try:
            world.join(CPU)
        except Refusal as error:
            (tmp_path / "told").write_text(str(error))
        os._exit(0)

    process = FORK.Process(target=joins)
    process.start()
    process.join(60)
    assert "the 2 processes of the launcher do not meet" in (tmp_path / "told").read_text()
