"""Pretrained once, adapted in every cell: the chain by the commands that DVC has for it, in one process."""

import contextlib
import copy
import itertools
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from report_helpers import part, text
from safetensors.torch import load_file, save_file
from workspace import Workspace, small_params

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch
from alchemist.core.settings.budget import TrainSettings
from alchemist.core.settings.model import model_settings
from alchemist.models import course, family
from alchemist.models.batch import Chance
from alchemist.models.encoded import CODEC, Encoded
from alchemist.models.family import Generator
from stages import evaluate

CELLS = [f"{arm}-flux_adapted-{seed}" for arm in ("full", "random-0.5") for seed in (0, 1)]
Weights = dict[str, torch.Tensor]


def adapting() -> dict[str, Any]:
    """A model that adapts, on two arms and seeds; nothing of another family."""
    params = small_params()
    params["pool"] = "emoji_neutral"
    params["pools"]["emoji_neutral"] = copy.deepcopy(params["pools"]["emoji"]) | {
        "pretraining": {"pairs": 60}
    }
    other = {
        "proxy": "flux_xs", "rater": "flux_xs", "raters": ["random"], "models": ["flux_adapted"],
    }  # fmt: skip
    params["grid"] |= {
        "oracles": [], "heuristics": [], "embeddings": [], "families": ["flux"], "selections": ["random"],
        "raters": [], "models": [], "seeds": [0, 1], "others": {"flux": other},
    }  # fmt: skip
    params["models"]["flux_xs"] |= {"heads": 1}
    adapts = {"weights": "pretrained", "lora": {"rank": 2}}
    params["models"]["flux_adapted"] = copy.deepcopy(params["models"]["flux_xs"]) | adapts
    params["scales"]["tiny"] |= {
        "pretrain": {"images": 90, "batch": 32, "warmup_images": 32},
        "train_of": {"flux_adapted": {"images": 64, "learning_rate": 0.02, "warmup_images": 0}},
    }
    params["scales"]["tiny"]["sample"]["flux"] = {"steps": 2}
    return params


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder in which every stage of the grid ran, and its commands."""
    space = Workspace(tmp_path_factory.mktemp("space"))
    space.write(adapting())
    return space.folder, space.stages_here()


def below(folder: Path) -> Path:
    """What the stage pretrain left."""
    return folder / "data/pretrained/flux_adapted"


def opened(folder: Path, settings: Any, seed: int = 0) -> Generator:
    chosen = family.load("flux")
    codec = chosen.codec(folder / "data/encoded/flux" / CODEC, torch.device("cpu"))
    return chosen.generator(settings, codec, seed)


def settings_of(folder: Path) -> Any:
    return model_settings(files.read_json(folder / "data/params.json")["models"]["flux_adapted"], "m")


def frozen(generator: Generator) -> Weights:
    """The weights that no step moves, under the names of the network alone."""
    return {
        name.replace(".base_layer", ""): value.detach().clone()
        for name, value in generator.named_parameters()
        if not value.requires_grad
    }


def same(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def test_one_network_is_trained_on_the_neutral_split_and_every_cell_adapts_it(
    made: tuple[Path, list[str]],
) -> None:
    folder, commands = made
    assert files.read_json(below(folder) / "run.json") == {"pairs": 60, "images": 96}  # whole batches
    assert len([command for command in commands if "stages.pretrain" in command]) == 1
    given = [shlex.split(command) for command in commands if "--start" in command]
    assert len(given) == 2 * len(CELLS)
    assert {words[words.index("--start") + 1] for words in given} == {"data/pretrained/flux_adapted"}
    digest = files.sha256(below(folder) / course.checkpoint(96))
    for name in CELLS:
        ran = files.read_json(folder / "data/models" / name / "run.json")
        assert ran["pretrained"] == {"pairs": 60, "images": 96, "sha256": digest}
        assert ran["points"][-1]["images"] == 64, "by the model's own budget"


def test_a_cell_writes_adapters_and_nothing_else(made: tuple[Path, list[str]]) -> None:
    folder, _ = made
    files.check_manifest(below(folder))
    network = load_file(below(folder) / course.checkpoint(96))
    assert not [name for name in network if "lora" in name]
    found = {}
    for name in CELLS:
        held = sorted((folder / "data/models" / name).glob("*.safetensors"))
        assert len(held) >= 2
        for path in held:
            tensors = load_file(path)
            assert all(key.startswith("transformer.") and ".lora_" in key for key in tensors)
            assert sum(t.numel() for t in tensors.values()) < 0.1 * sum(t.numel() for t in network.values())
        found[name] = load_file(held[-1])
    for a, b in itertools.combinations(CELLS, 2):
        assert not same(found[a], found[b]), (a, b)


def test_a_cell_begins_as_the_pretrained_network(made: tuple[Path, list[str]]) -> None:
    """Whatever its seed: the adapters change nothing before the first step."""
    folder, _ = made
    settings = settings_of(folder)
    data = Encoded(folder / "data/encoded/flux")
    whole = opened(folder, settings.whole())
    whole.load_weights(load_file(below(folder) / course.checkpoint(96)))
    batch, chance = data.batch(data.pool().numbers[:8]), Chance.run(0, 0, 8)
    begun, _ = course.begun(settings, below(folder))
    with torch.no_grad():
        expected = whole.losses(batch, chance)
        for seed in (0, 1):
            cell = opened(folder, begun, seed)
            torch.testing.assert_close(cell.losses(batch, chance), expected, rtol=1e-5, atol=1e-6)
            held = load_file(next((folder / f"data/models/full-flux_adapted-{seed}").glob("ema-*")))
            cell.load_weights(held)
            assert (cell.losses(batch, chance) - expected).abs().max() > 1e-4, "the adapters of a cell act"
            kept = frozen(cell)
            assert same(kept, {n: v for n, v in whole.state_dict().items() if n in kept})


@pytest.mark.parametrize("adapts", [True, False])
def test_a_run_that_was_killed_ends_with_the_same_bytes(
    made: tuple[Path, list[str]], tmp_path: Path, adapts: bool
) -> None:
    folder, _ = made
    data, settings = Encoded(folder / "data/encoded/flux"), settings_of(folder)
    size = course.begun(settings, below(folder))[0] if adapts else settings.whole()
    budget = TrainSettings(images=64, batch=16, warmup_images=16, checkpoints=())

    def trained(name: str, killed_at: int | None = None) -> dict[str, bytes]:
        generator = opened(folder, size)
        before = frozen(generator)
        rows = data.pool() if adapts else data.pretraining()
        one = course.Course(generator, data, rows, budget, 0, [32, 64])
        seen = 0

        def tick(images: int, words: str) -> None:
            nonlocal seen
            seen += images
            if killed_at is not None and seen > killed_at:
                raise KeyboardInterrupt

        with Scratch(tmp_path / name, "m" * 16, every_seconds=0) as state:
            one.train(state, tmp_path / f"out-{name}", {"images": 64}, tick)
        assert same(before, frozen(generator))
        return {path.name: path.read_bytes() for path in (tmp_path / f"out-{name}").iterdir()}

    with pytest.raises(KeyboardInterrupt):
        trained("again", killed_at=32)
    assert not (tmp_path / "out-again").exists()
    assert trained("again") == trained("once")


def test_adapters_of_another_network_are_not_measured(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, _ = made
    other = tmp_path / "other"
    shutil.copytree(below(folder), other)
    tensors = load_file(other / course.checkpoint(96))
    save_file({name: value + 1 for name, value in tensors.items()}, other / course.checkpoint(96))
    files.write_manifest(other)
    options = {
        "family_name": "flux", "cell": Path("data/models", CELLS[0]), "encoded": Path("data/encoded/flux"),
        "floors": Path("data/floors/flux"), "scale": "tiny", "out": tmp_path / "out",
        "time_out": tmp_path / "t",
    }  # fmt: skip
    with contextlib.chdir(folder):
        with pytest.raises(Refusal, match=r"adapted other weights than .*other holds"):
            evaluate.run(**options, start=other)
        with pytest.raises(Refusal, match="--start is not given; this model needs the folder"):
            evaluate.run(**options)
        course.leave_nothing(tmp_path / "nothing")
        with pytest.raises(Refusal, match=r"nothing holds no network, which this model adapts"):
            evaluate.run(**options, start=tmp_path / "nothing")
    assert not (tmp_path / "out").exists()


def test_the_page_says_what_an_adapted_model_was_trained_on_and_what_that_took(
    made: tuple[Path, list[str]],
) -> None:
    folder, _ = made
    page = (folder / "reports/index.html").read_text()
    assert "Cells of flux_adapted train adapters alone, on a network that was trained once, on 96" in text(
        page
    )
    cost = text(part(page, "cost"))
    took = files.read_json(folder / "data/timings/pretrain/flux_adapted.json")
    assert took["flops"] > 0
    assert took["train_seconds"] > 0
    assert "pretrain@flux_adapted" in cost
    assert "the training of the network that flux_adapted adapts" in cost
    scores = files.read_json(folder / "data/scores" / CELLS[0] / "figures.json")
    assert "settings" not in scores, "the page lists what was in force"
