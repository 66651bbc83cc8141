"""Weights in parts: that they are, and that nothing but the rounding of sums tells it from whole ones."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed.fsdp  # once here, not in every process
from conftest import TINY as STAR
from flux_helpers import SIDE, stirred, write_pixels
from flux_helpers import TINY as FLUX
from gloo import together
from rater_helpers import weights_of
from safetensors.torch import load_file, save_file
from torch import Tensor

from alchemist.core import files, fsdp, world
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import STATE, Scratch
from alchemist.core.settings.budget import TrainSettings
from alchemist.families.flux.codec import PixelCodec
from alchemist.families.flux.generator import FluxGenerator
from alchemist.families.flux.settings import LoraSettings
from alchemist.families.star.generator import StarCodec, StarGenerator
from alchemist.models import training
from alchemist.models.course import Course, checkpoint
from alchemist.models.encoded import Encoded, PoolRows
from alchemist.models.family import Generator

# Chunks that do not divide a process's rows, and a clip that holds.
SETTINGS = TrainSettings(
    images=96, batch=16, learning_rate=3e-3, weight_decay=0.05, clip=0.1, warmup_images=16, ema_images=50.0,
    caption_dropout=0.2, checkpoints=(), precision="fp32", chunk=3,
)  # fmt: skip
KINDS = ("star", "flux", "checkpointed", "lora")


@pytest.fixture(scope="module")
def pixel_data(tmp_path_factory: pytest.TempPathFactory) -> Encoded:
    return write_pixels(tmp_path_factory.mktemp("pixels"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What adapters adapt."""
    path = tmp_path_factory.mktemp("base") / "ema-000000016.safetensors"
    save_file(stirred().weights(), path)
    return path


@pytest.fixture
def of_kind(
    request: pytest.FixtureRequest, data: Encoded, pixel_data: Encoded, codec: StarCodec, base: Path
) -> tuple[Encoded, Callable[[], Generator]]:
    """Pairs, and a new network for them."""
    if request.param == "star":
        return data, lambda: StarGenerator(STAR.model_copy(update={"drop_path": 0.3}), codec, 0)
    if request.param == "lora":
        size = FLUX.model_copy(update={"weights": str(base), "lora": LoraSettings(rank=3, target="all")})
        return pixel_data, lambda: FluxGenerator(size, PixelCodec(SIDE), 0)
    size = FLUX.model_copy(update={"gradient_checkpointing": request.param == "checkpointed"})
    return pixel_data, lambda: stirred(size)


class EndedError(Exception):
    """Raised in place of a kill."""


def trained(
    folder: Path, data: Encoded, model: Generator, in_parts: bool, until: int = 96
) -> tuple[Tensor | None, list[float], int]:
    """Averaged weights for who hears of them, losses, and the images of before; a run that ends at `until`."""
    found, seen = list[Tensor](), list[int]()

    def tick(images: int, words: str) -> None:
        seen.append(images)
        if sum(seen) > until:
            raise EndedError

    log: list[dict[str, float]] = []
    with Scratch(folder, "m", 0) as scratch:
        try:
            log = training.train(
                model, data, PoolRows(data.pool().numbers[:50]), SETTINGS, 3, [48, 96], scratch,
                lambda images, averaged: found.append(weights_of(averaged)), tick, in_parts=in_parts,
            )  # fmt: skip
        except EndedError:
            world.wait()
    return found[-1] if found else None, [row["loss"] for row in log], seen[0] if seen[0] != 16 else 0


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("of_kind", KINDS, indirect=True)
def test_targets_in_parts_are_those_of_one_process(
    tmp_path: Path, of_kind: tuple[Encoded, Callable[[], Generator]]
) -> None:
    data, made = of_kind
    alone, losses, _ = trained(tmp_path / "1", data, made(), in_parts=False)
    begun = weights_of(made())
    assert alone is not None
    assert apart(alone, begun) > 1e-3, "nothing was learnt"
    for count in (2, 4):
        found = together(count, tmp_path / str(count), lambda: trained(tmp_path / "s", data, made(), True))
        averaged = found[0][0]
        assert apart(averaged - begun, alone - begun) < 1e-3
        assert apart(averaged, alone) < 1e-5
        assert [weights for weights, _, _ in found[1:]] == [None] * (count - 1)  # the writer alone has them
        for _, told, _ in found:
            assert told == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize("of_kind", KINDS, indirect=True)
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_state_of_parts_goes_on_without_them_and_the_other_way_around(
    tmp_path: Path, of_kind: tuple[Encoded, Callable[[], Generator]], before: int, after: int
) -> None:
    data, made = of_kind
    alone, _, _ = trained(tmp_path / "whole", data, made(), in_parts=False)
    files_of = {}
    for name, count in (("one", 1), ("many", before)):
        together(count, tmp_path / name, lambda: trained(tmp_path / name, data, made(), count > 1, 48))  # noqa: B023
        files_of[name] = load_file(next((tmp_path / name).rglob(STATE)))
    assert {n: v.shape for n, v in files_of["many"].items()} == {n: v.shape for n, v in files_of["one"].items()}
    goes_on = lambda: trained(tmp_path / "many", data, made(), after > 1)  # noqa: E731
    averaged, _, images = together(after, tmp_path / "after", goes_on)[0]
    assert images == 48
    assert alone is not None
    assert apart(averaged, alone) < 1e-5


@pytest.mark.parametrize("of_kind", ["star", "flux"], indirect=True)
def test_every_process_has_its_part_of_all_that_grows_with_the_weights(
    tmp_path: Path, of_kind: tuple[Encoded, Callable[[], Generator]]
) -> None:
    data, made = of_kind
    total = sum(p.numel() for p in made().parameters())

    def work() -> list[int]:
        model = made()
        bare = fsdp.shard(model, model.blocks(), "losses")
        average = training.Average(model, 50.0, bare)
        adam = training.optimiser(model, model, 1e-3, 0.0)
        batch = data.batch(data.pool().numbers[:16])
        sizes = []

        def watch(*_: object) -> None:  # while the last block runs
            sizes.append(sum(fsdp.own(p).numel() for p in model.parameters()))

        model.blocks()[-1].register_forward_hook(watch)
        training.step(model, adam, batch, training.Chance.run(0, 0, 16, True), SETTINGS, torch.device("cpu"))
        average.update(model, 16, 16)
        moments = [part for state in adam.state.values() for part in state.values() if part.ndim]
        kept = (model.parameters(), [p.grad for p in model.parameters()], average.model.parameters(), moments)
        return [*(sum(fsdp.own(part).numel() for part in parts) for parts in kept), max(sizes)]

    for count in (2, 4):
        each = torch.tensor(together(count, tmp_path / str(count), work))
        assert each[:, :4].sum(0).tolist() == [total, total, total, 2 * total]
        assert (each[:, :3] < 1.1 * total / count + 200).all()  # rows of a matrix are whole
        assert (each[:, 4] < 0.9 * total).all()  # the other blocks have let go of theirs


def test_a_course_takes_it_from_the_launcher(
    tmp_path: Path, pixel_data: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")

    def work() -> bool:
        course = Course(model := stirred(), pixel_data, pixel_data.pool(), SETTINGS, 3, [48, 96])
        with Scratch(tmp_path / "s", "m") as scratch:
            course.train(scratch, tmp_path / f"out-{world.count()}", {"images": 96}, lambda images, words: None)
        return fsdp.is_part(next(model.parameters()))

    assert together(2, tmp_path / "2", work) == [True, True]
    assert work() is False  # one process has nobody to share with
    for images in (48, 96):
        of_two, of_one = (load_file(tmp_path / f"out-{n}" / checkpoint(images)) for n in (2, 1))
        assert of_two.keys() == of_one.keys()
        for name, value in of_one.items():
            torch.testing.assert_close(of_two[name], value, rtol=0, atol=1e-5)
    files.check_manifest(tmp_path / "out-2")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FSDP_VERSION", "1", "fsdp_version of Accelerate's configuration is 1; legal is 2, "),
        ("FSDP_VERSION", None, "fsdp_version of Accelerate's configuration is 1; legal is 2, "),
        ("FSDP_OFFLOAD_PARAMS", "True", "fsdp_offload_params of Accelerate's configuration is true; legal is false"),
        ("FSDP_RESHARD_AFTER_FORWARD", "FULL_SHARD", "is full_shard; legal is true or false"),
        ("FSDP_ACTIVATION_CHECKPOINTING", "true", "is true; legal is false"),
    ],
)  # fmt: skip
def test_what_is_not_fsdp2_is_refused(
    name: str, value: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world, "count", lambda: 2)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    assert fsdp.asked()
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(Refusal, match=said):
        fsdp.asked()


def test_weights_that_are_not_finite_in_one_part_are_told_by_all(
    tmp_path: Path, pixel_data: Encoded
) -> None:
    def work() -> str:
        def spoil(images: int, words: str) -> None:
            if world.rank() == 1:
                with torch.no_grad():
                    fsdp.own(next(model.parameters())).fill_(torch.nan)

        model = stirred()
        with Scratch(tmp_path / "s", "m", 0) as scratch, pytest.raises(Refusal) as refused:
            training.train(
                model, pixel_data, pixel_data.pool(), SETTINGS, 3, [96], scratch, lambda *_: None, spoil,
                in_parts=True,
            )  # fmt: skip
        return str(refused.value)

    said = together(2, tmp_path / "2", work)
    assert said[0] == said[1]
    assert "finite" in said[0]
