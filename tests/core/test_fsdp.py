"""Weights in parts: that they are, and that nothing but the rounding of sums tells it from whole ones."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._dynamo  # noqa: F401  which FSDP loads; once here, not in every process
import torch.distributed.fsdp  # noqa: F401
from conftest import CPU
from conftest import TINY as STAR
from flux_helpers import SIDE, stirred, write_pixels
from flux_helpers import TINY as FLUX
from gloo import together
from rater_helpers import weights_of
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from alchemist.core import files, fsdp, world
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import STATE, Scratch
from alchemist.core.settings.budget import TrainSettings
from alchemist.families.flux.codec import PixelCodec
from alchemist.families.flux.generator import FluxGenerator
from alchemist.families.flux.settings import LoraSettings
from alchemist.families.star.generator import StarCodec, StarGenerator
from alchemist.models import training
from alchemist.models.course import RUN, Course, checkpoint
from alchemist.models.encoded import Encoded, PoolRows
from alchemist.models.family import Generator
from alchemist.models.losses import Watched

# Chunks that do not divide a process's rows, and a clip that holds.
SETTINGS = TrainSettings(
    images=32, batch=8, learning_rate=3e-3, weight_decay=0.05, clip=0.1, warmup_images=16, ema_images=25.0,
    caption_dropout=0.2, checkpoints=(), precision="fp32", chunk=3,
)  # fmt: skip
Kind = tuple[Encoded, Callable[[], Generator]]


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
def kind(
    request: pytest.FixtureRequest, data: Encoded, pixel_data: Encoded, codec: StarCodec, base: Path
) -> Kind:
    """Pairs, and a new network for them."""
    if request.param == "star":
        return data, lambda: StarGenerator(STAR.model_copy(update={"drop_path": 0.3}), codec, 0)
    if request.param == "lora":
        size = FLUX.model_copy(update={"weights": str(base), "lora": LoraSettings(rank=3, target="all")})
        return pixel_data, lambda: FluxGenerator(size, PixelCodec(SIDE), 0)
    return pixel_data, lambda: stirred(FLUX.model_copy(update={"gradient_checkpointing": True}))


@dataclass(frozen=True)
class Run:
    """What a process knows of a run: averaged weights if it heard, losses, images of the first tick."""

    averaged: Tensor | None
    losses: list[float]
    first: int


class EndedError(Exception):
    """Raised in place of a kill."""


def trained(folder: Path, kind: Kind, in_parts: bool, ends: bool = False) -> Run:
    """A run of 32 images, or one that `ends` after the state of 16."""
    found, seen = list[Tensor](), list[int]()

    def tick(images: int, words: str) -> None:
        seen.append(images)
        if ends and sum(seen) == 24:
            raise EndedError

    log: list[dict[str, float]] = []
    with Scratch(folder, "m") as scratch, contextlib.suppress(EndedError):
        log = training.train(
            kind[1](), kind[0], PoolRows(kind[0].pool().numbers[:50]), SETTINGS, 3, [16, 32], scratch,
            lambda images, averaged: found.append(weights_of(averaged)), tick, in_parts=in_parts,
        )  # fmt: skip
    world.wait()
    return Run(found[-1] if found else None, [row["loss"] for row in log], seen[0])


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("kind", ["star", "flux", "lora"], indirect=True)
def test_in_parts_or_whole_a_run_is_the_same_from_its_start_and_from_a_state_of_either(
    tmp_path: Path, kind: Kind
) -> None:
    begun = weights_of(kind[1]())
    alone = trained(tmp_path / "alone", kind, in_parts=False)
    trained(tmp_path / "of-one", kind, in_parts=False, ends=True)

    def work() -> tuple[Run, Run]:
        trained(tmp_path / "of-two", kind, in_parts=True, ends=True)
        return trained(tmp_path / "two", kind, True), trained(tmp_path / "of-one", kind, True)

    shapes = {n: v.shape for n, v in load_file(next((tmp_path / "of-one").rglob(STATE))).items()}
    (whole, goes_on), *others = together(2, tmp_path / "2", work)
    assert {n: v.shape for n, v in load_file(next((tmp_path / "of-two").rglob(STATE))).items()} == shapes
    back = trained(tmp_path / "of-two", kind, in_parts=False)
    assert [goes_on.first, back.first] == [16, 16]
    assert apart(alone.averaged, begun) > 1e-3, "nothing was learnt"
    for run in (whole, goes_on, back):
        assert apart(run.averaged, alone.averaged) < 1e-5
        assert apart(run.averaged - begun, alone.averaged - begun) < 1e-3
        assert run.losses == pytest.approx(alone.losses, rel=1e-5)
    for pair in others:  # the writer alone has whole weights, all know the losses
        assert [run.averaged for run in pair] == [None, None]
        assert [run.losses for run in pair] == [whole.losses, goes_on.losses]


@pytest.mark.parametrize("kind", ["star"], indirect=True)
def test_four_processes_have_a_quarter_each_of_all_that_grows_with_the_weights(
    tmp_path: Path, kind: Kind
) -> None:
    data, made = kind
    alone = trained(tmp_path / "alone", kind, in_parts=False)
    total = sum(p.numel() for p in made().parameters())

    def stepped(model: Generator) -> tuple[torch.optim.AdamW, Tensor]:
        """Optimiser and gradient, with its norm before it was clipped in front, of a step."""
        adam = training.optimiser(model, model, 1e-3, 0.0)
        chance = training.Chance.run(0, 0, 8, training=True)
        done = training.step(model, adam, data.batch(np.arange(8)), chance, SETTINGS, CPU)
        parts = [fsdp.joined(p.grad).flatten() for p in model.parameters() if p.grad is not None]
        return adam, torch.cat([done.norm[None], *parts])

    def work() -> tuple[Run, Tensor, list[int]]:
        model = made()
        bare = fsdp.shard(model, model.blocks(), "losses")
        assert all(p.is_meta for p in bare.parameters())
        average = training.Average(model, 50.0, bare)
        there: list[int] = []
        model.blocks()[-1].register_forward_hook(
            lambda *_: there.append(sum(fsdp.own(p).numel() for p in model.parameters()))
        )
        adam, gradient = stepped(model)
        average.update(model, 8, 8)
        moments = [part for state in adam.state.values() for part in state.values() if part.ndim]
        kept = (model.parameters(), [p.grad for p in model.parameters()], average.model.parameters(), moments)
        sizes = [sum(fsdp.own(part).numel() for part in parts) for parts in kept]
        return trained(tmp_path / "four", kind, in_parts=True), gradient, [*sizes, max(there)]

    found = together(4, tmp_path / "4", work)
    assert apart(found[0][0].averaged, alone.averaged) < 1e-5
    _, gradient = stepped(made())
    assert all(apart(one, gradient) < 1e-5 for _, one, _ in found)
    each = torch.tensor([sizes for _, _, sizes in found])
    assert each[:, :4].sum(0).tolist() == [total, total, total, 2 * total]
    assert (each[:, :3] < 1.05 * total / 4).all()
    assert (each[:, 4] < 0.75 * total).all()  # as the second block runs, the first has let go of its weights


def test_a_course_takes_it_from_the_launcher(
    tmp_path: Path, pixel_data: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a state after every step, which the writer alone finds due."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    points = [{"images": images, "names": ["curve"]} for images in (16, 24)]

    def work() -> bool:
        rows = pixel_data.pool()
        watched = Watched(rows.numbers[:5], rows.numbers[5:12], batch=3)
        course = Course(model := stirred(), pixel_data, rows, SETTINGS, 3, [16, 24], watched=watched)
        out = tmp_path / f"out-{world.count()}"
        with Scratch(tmp_path / "s", "m", 0) as scratch:
            course.train(scratch, out, {"points": points}, lambda images, words: None)
        return fsdp.is_part(next(model.parameters()))

    assert together(2, tmp_path / "2", work) == [True, True]
    assert work() is False  # one process has nobody to share with
    files.check_manifest(tmp_path / "out-2")
    for images in (16, 24):
        of_two, of_one = (load_file(tmp_path / f"out-{n}" / checkpoint(images)) for n in (2, 1))
        assert of_two.keys() == of_one.keys()
        for name, value in of_one.items():
            torch.testing.assert_close(of_two[name], value, rtol=0, atol=1e-5)
    ran = [files.read_json(tmp_path / f"out-{n}" / RUN)["points"] for n in (2, 1)]
    for two, one in zip(*ran, strict=True):
        assert (two["images"], two["names"]) == (one["images"], one["names"])
        for name in ("train_loss", "validation_loss"):
            assert two[name] == pytest.approx(one[name], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FSDP_VERSION", "1", "fsdp_version of Accelerate's configuration is 1; legal is 2, "),
        ("FSDP_VERSION", None, "fsdp_version of Accelerate's configuration is 1; legal is 2, "),
        ("FSDP_OFFLOAD_PARAMS", "True", "fsdp_offload_params of Accelerate's configuration is true; legal"),
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


def test_weights_that_are_not_finite_in_one_part_are_told_by_all(tmp_path: Path, pixel_data: Encoded) -> None:
    def spoil(adam: torch.optim.Optimizer, *_: object) -> None:
        if world.rank() == 1:
            with torch.no_grad():
                fsdp.own(adam.param_groups[0]["params"][0]).fill_(torch.nan)

    def work() -> str:
        register_optimizer_step_post_hook(spoil)
        with Scratch(tmp_path / "s", "m") as scratch, pytest.raises(Refusal) as refused:
            training.train(
                stirred(), pixel_data, pixel_data.pool(), SETTINGS, 3, [8], scratch, lambda *_: None,
                lambda images, words: None, in_parts=True,
            )  # fmt: skip
        return str(refused.value)

    said = "the weights are not finite after 8 images; train.learning_rate is 0.003, try a smaller one."
    assert together(2, tmp_path / "2", work) == [said, said]
