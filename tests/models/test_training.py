"""The loop: stateless order and dropout, exact resumption, stated checkpoints."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY

from alchemist.core import stateless
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch, fingerprint
from alchemist.models import training
from alchemist.models.encoded import Encoded
from alchemist.models.star.generator import StarGenerator
from alchemist.models.star.tokenizer import Tokenizer
from alchemist.settings.budget import TrainSettings

SETTINGS = TrainSettings(
    images=160, batch=8, learning_rate=3e-3, weight_decay=0.05, clip=2.0, schedule="constant",
    warmup_images=16, ema_images=100.0, caption_dropout=0.2, checkpoints=(0.25,), precision="fp32",
)  # fmt: skip


def test_order_is_a_function_of_the_image_number_not_of_the_batch() -> None:
    rows = np.arange(100, 137)
    whole = training.rows_at(rows, 3, 0, 111)
    for size in (1, 5, 37):
        parts = [training.rows_at(rows, 3, first, size) for first in range(0, 111 - size + 1, size)]
        assert np.array_equal(np.concatenate(parts), whole[: len(parts) * size])
    for epoch in range(3):
        assert np.array_equal(np.sort(whole[37 * epoch : 37 * (epoch + 1)]), rows)
    assert not np.array_equal(whole[:37], whole[37:74])
    assert not np.array_equal(training.rows_at(rows, 4, 0, 37), whole[:37])


def test_dropout_is_a_function_of_the_image_number() -> None:
    whole = training.dropped_captions(0.3, 0, 0, 9000)
    assert np.array_equal(
        np.concatenate([training.dropped_captions(0.3, 0, i, 90) for i in range(0, 9000, 90)]), whole
    )
    assert whole.mean() == pytest.approx(0.3, abs=4 * (0.21 / 9000) ** 0.5)
    keep = training.drop_path(0.5, 3, 0, 0, 4000)
    assert keep is not None
    for block, rate in enumerate((0.0, 0.25, 0.5)):
        assert sorted(keep[:, block].unique().tolist()) == pytest.approx(
            sorted({0.0, 1 / (1 - rate)} if rate else {1.0})
        )
        assert float(keep[:, block].mean()) == pytest.approx(1.0, abs=0.05)
    assert training.drop_path(0.0, 3, 0, 0, 4) is None


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


def test_schedules() -> None:
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
    folder: Path, data: Encoded, codes: Tokenizer, kill_at: int | None = None
) -> tuple[dict, list, list]:
    generator = StarGenerator(TINY, codes, 0)
    stops, told = [40, 160], []

    def stop(seen: int, averaged: StarGenerator) -> None:
        told.append((seen, averaged.star.embed.weight.clone()))

    class KilledError(Exception):
        pass

    def tick(images: int, words: str) -> None:
        tick.seen += images  # type: ignore[attr-defined]
        if kill_at and tick.seen >= kill_at:  # type: ignore[attr-defined]
            raise KilledError

    tick.seen = 0  # type: ignore[attr-defined]
    rows = data.split("pool")[:37]
    log = []
    with Scratch(folder, "mark", every_seconds=0) as scratch, contextlib.suppress(KilledError):
        log = training.train(generator, data, rows, SETTINGS, 5, stops, scratch, stop, tick)
    return generator.state_dict(), told, log


def test_a_killed_run_ends_where_an_unbroken_one_does(
    tmp_path: Path, data: Encoded, codes: Tokenizer
) -> None:
    whole, stops, log = _run(tmp_path / "a", data, codes)
    assert [seen for seen, _ in stops] == [40, 160]
    _run(tmp_path / "b", data, codes, kill_at=40)
    resumed, later, later_log = _run(tmp_path / "b", data, codes)
    assert later[-1][0] == 160
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0, msg=name)
    torch.testing.assert_close(later[-1][1], stops[-1][1], rtol=0, atol=0)
    assert [row["images"] for row in later_log][-1] == [row["images"] for row in log][-1] == 160
    assert log[-1]["loss"] < log[0]["loss"]


def test_scratch_refuses_a_second_process_and_a_strangers_state(tmp_path: Path) -> None:
    with Scratch(tmp_path, "a" * 64) as first:
        first.save({"x": torch.ones(2)}, {"step": 3})
        with pytest.raises(Refusal, match="in use by another process"), Scratch(tmp_path, "a" * 64):
            pass
    with (
        Scratch(tmp_path, "a" * 16 + "b" * 48) as other,
        pytest.raises(Refusal, match="belongs to another run"),
    ):
        other.load()
    with Scratch(tmp_path, "a" * 64) as again:
        held = again.load()
        assert held is not None
        assert held[1] == {"step": 3}
        again.clear()
    assert fingerprint(a=1) != fingerprint(a=2)


def test_weights_are_functions_of_the_seed_alone(codes: Tokenizer) -> None:
    torch.manual_seed(1)
    first = StarGenerator(TINY, codes, 7).state_dict()
    torch.manual_seed(2)
    second = StarGenerator(TINY, codes, 7).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = StarGenerator(TINY, codes, 8).state_dict()
    assert not torch.equal(first["star.embed.weight"], other["star.embed.weight"])
    assert not any(name.startswith("_frozen") or "codebooks" in name for name in first)


def test_batches_do_not_depend_on_their_neighbours(data: Encoded) -> None:
    rows = np.array([3, 50, 7])
    whole = data.batch(rows, np.array([False, True, False]))
    for i, row in enumerate(rows):
        alone = data.batch(np.array([row]), np.array([i == 1]))
        length = int(alone.text.mask.sum())
        assert torch.equal(whole.tokens[i], alone.tokens[0])
        assert torch.equal(whole.text.states[i, :length], alone.text.states[0, :length])
        torch.testing.assert_close(whole.text.pooled[i], alone.text.pooled[0])
    null = data.null(1, 2)
    assert torch.equal(whole.text.states[1, :2], null.states[0])
    assert stateless.key("a", 1) != stateless.key("a", "1")
