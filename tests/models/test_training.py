"""The loop: stateless order and dropout, exact resumption, stated checkpoints."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch
from broken import Broken
from conftest import CPU, TINY

from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch
from alchemist.core.settings import parse
from alchemist.core.settings.budget import TrainSettings
from alchemist.core.state import all_finite
from alchemist.families.flux.codec import PixelCodec
from alchemist.families.flux.generator import FluxGenerator
from alchemist.families.flux.settings import FluxSettings
from alchemist.families.star.generator import StarCodec, StarGenerator
from alchemist.models import training
from alchemist.models.batch import Chance
from alchemist.models.course import Course
from alchemist.models.encoded import Encoded, PoolRows, ValidationRows
from alchemist.models.losses import Watched

SETTINGS = TrainSettings(
    images=160, batch=8, learning_rate=3e-3, weight_decay=0.05, clip=2.0, schedule="constant",
    warmup_images=16, ema_images=100.0, caption_dropout=0.2, checkpoints=(0.25,), precision="fp32",
)  # fmt: skip


def test_order_is_a_function_of_the_image_number_not_of_the_batch() -> None:
    rows = PoolRows(np.arange(100, 137))
    whole = training.numbers_at(rows, 3, 0, 111)
    for size in (1, 5, 37):
        parts = [training.numbers_at(rows, 3, first, size) for first in range(0, 111 - size + 1, size)]
        assert np.array_equal(np.concatenate(parts), whole[: len(parts) * size])
    for epoch in range(3):
        assert np.array_equal(np.sort(whole[37 * epoch : 37 * (epoch + 1)]), rows.numbers)
    assert not np.array_equal(whole[:37], whole[37:74])
    assert not np.array_equal(training.numbers_at(rows, 4, 0, 37), whole[:37])


def test_dropout_is_a_function_of_the_image_number() -> None:
    whole = training.dropped_captions(0.3, 0, 0, 9000)
    assert np.array_equal(
        np.concatenate([training.dropped_captions(0.3, 0, i, 90) for i in range(0, 9000, 90)]), whole
    )
    assert whole.mean() == pytest.approx(0.3, abs=4 * (0.21 / 9000) ** 0.5)


def test_points_serve_both_comparisons() -> None:
    settings = SETTINGS.model_copy(update={"images": 1000, "batch": 32, "checkpoints": (0.5,)})
    full = training.points(settings, 1.0)
    assert [(p.images, p.names) for p in full] == [
        (512, ("curve",)),
        (1024, ("equal_epochs", "equal_images")),
    ]
    half = training.points(settings, 0.5)
    assert [(p.images, p.names) for p in half] == [(512, ("equal_epochs",)), (1024, ("equal_images",))]
    fifth = training.points(settings, 0.2)
    assert [(p.images, p.names) for p in fifth] == [
        (224, ("equal_epochs",)), (512, ("curve",)), (1024, ("equal_images",))
    ]  # fmt: skip
    twice = settings.model_copy(update={"checkpoints": (0.49, 0.5)})  # of which both round to one batch
    assert training.points(twice, 1.0) == full


def test_the_rate_warms_up_and_then_stays_or_falls() -> None:
    rates = [training.learning_rate(SETTINGS, seen) for seen in (0, 8, 16, 152)]
    assert rates == pytest.approx([1.5e-3, 3e-3, 3e-3, 3e-3])
    linear = SETTINGS.model_copy(update={"schedule": "linear"})
    assert training.learning_rate(linear, 16 + 72) == pytest.approx(1.5e-3)
    assert training.learning_rate(linear, 160) == pytest.approx(3e-5)


def test_average_has_the_stated_half_life() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    average = training.Average(model, 100.0)
    model.weight.data.fill_(1.0)
    for step in range(10):
        average.update(model, 1_000_000 + step, 10)
    assert float(average.model.weight.detach()) == pytest.approx(0.5)


def _run(
    folder: Path, data: Encoded, codec: StarCodec, kill_at: int | None = None
) -> tuple[dict, list, list]:
    generator = StarGenerator(TINY, codec, 0)
    stops, told = [40, 96], []

    def stop(seen: int, averaged: StarGenerator) -> None:
        told.append((seen, averaged.star.embed.weight.clone()))

    class KilledError(Exception):
        pass

    def tick(images: int, words: str) -> None:
        tick.seen += images  # type: ignore[attr-defined]
        if kill_at and tick.seen >= kill_at:  # type: ignore[attr-defined]
            raise KilledError

    tick.seen = 0  # type: ignore[attr-defined]
    rows = PoolRows(data.pool().numbers[:37])
    log = []
    with Scratch(folder, "mark", every_seconds=0) as scratch, contextlib.suppress(KilledError):
        log = training.train(generator, data, rows, SETTINGS, 5, stops, scratch, stop, tick)
    return generator.state_dict(), told, log


def test_a_killed_run_ends_where_an_unbroken_one_does(
    tmp_path: Path, data: Encoded, codec: StarCodec
) -> None:
    whole, stops, log = _run(tmp_path / "a", data, codec)
    assert [seen for seen, _ in stops] == [40, 96]
    _run(tmp_path / "b", data, codec, kill_at=40)
    _run(tmp_path / "b", data, codec, kill_at=56)  # of its own: between two rows of the log
    resumed, later, later_log = _run(tmp_path / "b", data, codec)
    assert later[-1][0] == 96
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0, msg=name)
    torch.testing.assert_close(later[-1][1], stops[-1][1], rtol=0, atol=0)
    assert log[-1]["images"] == 96
    assert [row | {"seconds": 0} for row in later_log] == [row | {"seconds": 0} for row in log]
    assert log[-1]["loss"] < log[0]["loss"]


def test_a_stop_gets_the_averaged_weights_and_not_the_raw_ones(
    tmp_path: Path, data: Encoded, codec: StarCodec
) -> None:
    """Against the average's own formula on the raw weights after each step."""
    generator = StarGenerator(TINY, codec, 0)
    settings = SETTINGS.model_copy(update={"images": 80})
    wanted = {name: value.clone() for name, value in generator.state_dict().items()}
    told = []

    def stop(seen: int, averaged: StarGenerator) -> None:
        keep = 0.5 ** (settings.batch / min(settings.ema_images, seen / 10))
        for name, raw in generator.state_dict().items():
            wanted[name] = keep * wanted[name] + (1 - keep) * raw
        found = averaged.state_dict()
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6, msg=name)
        name = "star.embed.weight"
        told.append(float((found[name] - generator.state_dict()[name]).norm()))

    rows, stops = data.pool(), list(range(8, 81, 8))
    with Scratch(tmp_path, "mark") as scratch:
        training.train(generator, data, rows, settings, 5, stops, scratch, stop, lambda images, words: None)
    assert len(told) == 10
    assert told[-1] > 1e-3, "the average should lie elsewhere than the weights"


def test_a_run_trains_on_its_rows_alone(
    tmp_path: Path, data: Encoded, codec: StarCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    plain = Encoded.batch
    monkeypatch.setattr(Encoded, "batch", lambda self, n, *rest: seen.extend(n) or plain(self, n, *rest))
    rows = PoolRows(data.pool().numbers[10:47])
    with Scratch(tmp_path, "mark") as scratch:
        training.train(
            StarGenerator(TINY, codec, 0), data, rows, SETTINGS, 5, [160], scratch,
            lambda images, averaged: None, lambda images, words: None,
        )  # fmt: skip
    assert seen == training.numbers_at(rows, 5, 0, 160).tolist()
    assert set(seen) == set(rows.numbers.tolist())


def test_a_step_descends_the_mean_loss_of_its_batch(data: Encoded, codec: StarCodec) -> None:
    """Under the chance it is given; with the gradient clipped to the stated norm."""
    generator = StarGenerator(TINY.model_copy(update={"drop_path": 0.3}), codec, 0)
    batch, chance = data.batch(np.arange(8)), Chance.run(2, 16, 8, training=True)
    wanted = float(generator.losses(batch, chance).mean().detach())
    sgd = torch.optim.SGD(generator.parameters(), 1.0)
    before = torch.cat([p.detach().flatten() for p in generator.parameters()])
    done = training.step(generator, sgd, batch, chance, SETTINGS.model_copy(update={"clip": 0.01}), CPU)
    loss = done.loss
    assert not loss.requires_grad
    assert float(loss) == pytest.approx(wanted, abs=1e-6)
    moved = torch.cat([p.detach().flatten() for p in generator.parameters()]) - before
    assert float(moved.norm()) == pytest.approx(0.01, rel=1e-3)
    assert float(generator.losses(batch, chance).mean().detach()) < wanted


def test_a_compiled_network_goes_on_from_the_state_of_a_plain_one() -> None:
    """Compiling renames nothing, and the averaged copy is a plain network."""
    plain_size = parse(FluxSettings, {"family": "flux", "double_blocks": 1, "single_blocks": 1, "heads": 2,
                                      "head_width": 32, "rope": [8, 12, 12]}, "models.x")  # fmt: skip
    plain = FluxGenerator(plain_size, PixelCodec(16), 0)
    compiled = FluxGenerator(plain_size.model_copy(update={"compile": True}), PixelCodec(16), 1)
    assert compiled.network.transformer_blocks[0]._compiled_call_impl is not None
    training.put_back(compiled, training.moved(plain))
    for name, value in compiled.weights().items():
        assert torch.equal(value, plain.weights()[name])
    assert training.copied(compiled).network.transformer_blocks[0]._compiled_call_impl is None


def test_weight_decay_acts_where_the_network_wants_it(codec: StarCodec) -> None:
    generator = StarGenerator(TINY, codec, 0)
    adam = training.optimiser(generator, generator, 1e-3, 0.05)
    decayed, plain = ({id(p) for p in group["params"]} for group in adam.param_groups)
    assert [group["weight_decay"] for group in adam.param_groups] == [0.05, 0.0]
    for name, parameter in generator.named_parameters():
        assert (id(parameter) in decayed) == generator.decays(name, parameter) != (id(parameter) in plain)
    assert id(generator.star.level) in plain
    assert id(generator.star.embed.weight) in decayed


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("at", [0, 19, 47, 159])  # the last of them with no step after it
def test_what_is_no_number_ends_the_run_with_the_step_and_the_ids(
    tmp_path: Path, data: Encoded, codec: StarCodec, at: int, gradient: bool
) -> None:
    generator, kept = Broken(TINY, codec, 0), list[int]()
    generator.at, generator.gradient = at, gradient
    with Scratch(tmp_path, "mark", every_seconds=0 if at == 47 else 1e9) as scratch:
        with pytest.raises(Refusal) as refused:
            training.train(
                generator, data, data.pool(), SETTINGS, 5, [80, 160], scratch,
                lambda images, averaged: kept.append(images), lambda images, words: None,
            )  # fmt: skip
        saved = scratch.load()
    step, told = at // 8 + 1, str(refused.value)
    ids = data.rows["id"].iloc[training.numbers_at(data.pool(), 5, 8 * step - 8, 8)].tolist()
    if gradient:
        named = ", ".join(f"'{one}'" for one in ids[:5])
        start = f"the gradient of step {step} (images {8 * step - 7} to {8 * step}) is not finite; its pairs"
        assert told == f"{start} are {named} and 3 more; train.learning_rate is 0.003, try a smaller one."
    else:
        start = f"the loss of step {step} (images {8 * step - 7} to {8 * step}) is not finite for "
        assert told == f"{start}'{ids[at % 8]}'; train.learning_rate is 0.003, try a smaller one."
    assert kept == [images for images in (80, 160) if images <= at], (
        "weights before it are kept, and none after"
    )
    if saved is not None:
        assert saved[1]["images"] <= at
        assert all_finite(saved[0].values())


def test_weights_that_are_no_numbers_are_kept_nowhere(
    tmp_path: Path, data: Encoded, codec: StarCodec
) -> None:
    """By a rate beyond all measure at the last step, after which no loss tells of it."""
    settings = SETTINGS.model_copy(update={"learning_rate": 1e308, "warmup_images": 0})
    with (
        Scratch(tmp_path, "mark") as scratch,
        pytest.raises(
            Refusal, match=r"weights are not finite after 8 images; train\.learning_rate is 1e\+308"
        ),
    ):
        training.train(
            StarGenerator(TINY, codec, 0), data, data.pool(), settings, 5, [8], scratch,
            lambda images, averaged: pytest.fail("kept"), lambda images, words: None,
        )  # fmt: skip


def test_a_course_that_was_killed_leaves_the_bytes_of_an_unbroken_one(
    tmp_path: Path, data: Encoded, codec: StarCodec
) -> None:
    """Weights, log, and the losses of a checkpoint that was written before the kill."""

    class KilledError(Exception):
        pass

    def run(name: str, ends: int = 0) -> Path:
        seen = list[int]()

        def tick(images: int, words: str) -> None:
            seen.append(images)
            if ends and sum(seen) > ends:
                raise KilledError

        rows = data.pool()
        watched = Watched.of(data, PoolRows(rows.numbers[:20]), ValidationRows(rows.numbers[20:30]), 4)
        assert (len(watched.train), len(watched.validation)) == (10, 10)
        one = Course(StarGenerator(TINY, codec, 0), data, rows, SETTINGS, 5, [40, 80], watched=watched)
        points = [{"images": 40, "names": ["curve"]}, {"images": 80, "names": ["equal_images"]}]
        with Scratch(tmp_path / name, "mark", every_seconds=0) as state:
            one.train(state, tmp_path / f"{name}-out", {"points": points}, tick)
        return tmp_path / f"{name}-out"

    whole = run("a")
    with pytest.raises(KilledError):
        run("b", ends=40)
    again = run("b")
    held = {path.name: path.read_bytes() for path in whole.iterdir()}
    assert held == {path.name: path.read_bytes() for path in again.iterdir()}
    assert [path.name for path in whole.glob("losses-*")] == []


@pytest.mark.parametrize("batch", [1, 3])
def test_watched_losses_do_not_depend_on_the_batch_nor_on_the_order_of_the_subset(
    data: Encoded, codec: StarCodec, batch: int
) -> None:
    numbers = data.pool().numbers
    held, model = ValidationRows(numbers[20:30]), StarGenerator(TINY, codec, 0)
    whole = Watched.of(data, PoolRows(numbers[:20]), held, 10)
    other = Watched.of(data, PoolRows(numbers[:20][::-1]), held, batch)
    assert np.array_equal(whole.train, other.train)
    assert whole.losses(model, data) == pytest.approx(other.losses(model, data), rel=1e-6)
    nothing = Watched.of(data, PoolRows(numbers[:20]), ValidationRows(numbers[:0]), 10)
    assert nothing.losses(model, data).keys() == {"train_loss"}


def test_flops_are_those_of_one_pair_whatever_the_batch(data: Encoded, codec: StarCodec) -> None:
    generator = StarGenerator(TINY, codec, 0)
    one, four = (
        training.forward_flops(generator.losses, data.batch(np.full(count, 3)), training=True)
        for count in (1, 4)
    )
    assert one == four > 2 * sum(p.numel() for n, p in generator.named_parameters() if "qkv" in n)


def test_the_bill_does_not_depend_on_the_chunk(data: Encoded, codec: StarCodec) -> None:
    bills = [
        Course(
            StarGenerator(TINY, codec, 0), data, data.pool(),
            SETTINGS.model_copy(update={"chunk": chunk}), 0, [160],
        ).flops()
        for chunk in (None, 1, 3)
    ]  # fmt: skip
    assert bills[0] == pytest.approx(bills[1], rel=1e-9) == pytest.approx(bills[2], rel=1e-9)


@pytest.mark.parametrize(("pairs", "batch"), [(1, 8), (3, 8), (37, 1)])
def test_few_pairs_and_batches_of_one_are_trained_on_as_many_images(
    tmp_path: Path, data: Encoded, codec: StarCodec, pairs: int, batch: int
) -> None:
    rows = PoolRows(data.pool().numbers[:pairs])
    settings = SETTINGS.model_copy(update={"batch": batch, "warmup_images": 0})
    with Scratch(tmp_path, "mark") as scratch:
        log = training.train(
            StarGenerator(TINY, codec, 0), data, rows, settings, 5, [24], scratch,
            lambda images, averaged: None, lambda images, words: None,
        )  # fmt: skip
    assert (log[-1]["images"], log[-1]["epochs"]) == (24, 24 / pairs)
    counts = np.unique(training.numbers_at(rows, 5, 0, 24 - 24 % pairs), return_counts=True)[1]
    assert set(counts) <= {24 // pairs}, "every pair as often as any other"


def test_no_pairs_are_refused(data: Encoded) -> None:
    with pytest.raises(Refusal, match="there are no pairs to train on; a split or a subset of one at least"):
        training.numbers_at(PoolRows(data.pool().numbers[:0]), 0, 0, 8)
