"""A small copy of this repo, run once undisturbed: what attacks start from, and what they compare with."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from alchemist.core import files, stateless

HERE = Path(__file__).resolve().parents[1]
KEPT = shutil.ignore_patterns(
    "__pycache__", "data", "datasets", ".git", ".dvc", ".venv", ".scratch", ".*_cache", "dvc.lock"
)
PAIRS = 720
SAVING = ("train", "rate", "pretrain", "copies", "codec")  # scripts that save a state as they go
START = 3.0  # seconds until a stage has loaded its libraries
EVERY = 0.3  # seconds between states, so that runs of seconds have some
SPLITS = "{meta_validation: 0.2, evaluation: 0.15, scorer: 0.15, pretraining: 0.2}"
# Every kind of stage and every way to train, each some seconds long.
VALUES = (
    f"++pools.mine={{format: folder, path: my-pairs, resolution: 32, splits: {SPLITS}}}",
    "++pools.mine.copies.drop=never",
    "pool=mine",
    "roles={proxy: xs, rater: xs}",
    "grid.families=[star,flux]",
    "grid.selections=[random,alchemist]",
    "grid.raters=[random,alchemist,reference,unrolled,loss,el2n,reference_loss,best]",
    "grid.embeddings=[clip_score,semdedup]",
    "grid.heuristics=[clarity,copies]",
    "grid.seeds=[0]",
    "grid.others.flux.models=[flux_adapted]",
    "statistics.primary=null",
    "statistics.secondary=[]",
    "codecs.star.refit=true",
    "++codecs.star.fit.images=1600",
    "++codecs.star.fit.batch=8",
    "++codecs.star.fit.pairs=200",
    "scales.tiny.rate.images=480",
    "scales.tiny.rate.batch=16",
    "++scales.tiny.rate.reference_group=32",
    "scales.tiny.train.images=960",
    "scales.tiny.pretrain.images=960",
    "scales.tiny.pretrain.batch=16",
    "scales.tiny.evaluate.images=32",
    "++scales.tiny.evaluate.kid_subset_size=16",
    "++scales.tiny.evaluate.kid_subsets=4",
    "scales.tiny.sample.flux.steps=4",
)


class Repo:
    """A copy in a folder of its own. `stages`: what dvc.lock says of each by its name, command and outs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ, "PYTHONPATH": str(folder), "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }  # fmt: skip

    @property
    def stages(self) -> dict[str, Any]:
        """By name, in the order in which they ran."""
        found: dict[str, Any] = yaml.safe_load((self.folder / "dvc.lock").read_text(encoding="utf-8"))[
            "stages"
        ]
        return found

    @property
    def seconds(self) -> dict[str, float]:
        """What each stage took undisturbed or so, with the start of its Python."""
        found: dict[str, float] = files.read_json(self.folder / "seconds.json")
        return found

    def call(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command in the copy, to its end."""
        return subprocess.run(
            words, cwd=self.folder, env=self.environment | environment, capture_output=True, text=True,
            check=False, errors="replace",
        )  # fmt: skip

    def command(self, name: str, *more: str) -> list[str]:
        """What dvc runs of a stage, saving its state often."""
        words = self.stages[name]["cmd"].split()
        script = words[2].removeprefix("stages.")
        return [sys.executable, *words[1:], *(("--every", str(EVERY)) if script in SAVING else ()), *more]

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """A command in a process group of its own."""
        return subprocess.Popen(
            words, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip

    def outs(self, name: str) -> list[Path]:
        """What a stage writes."""
        return [self.folder / out["path"] for out in self.stages[name]["outs"]]

    def remove(self, name: str) -> None:
        """A stage's outs, as dvc does before it runs the stage."""
        for path in self.outs(name):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def bytes_of(self, name: str) -> dict[str, str]:
        """Hashes of a stage's files but for what it took, by path."""
        found = {}
        for out in self.outs(name):
            for path in sorted(out.rglob("*")) if out.is_dir() else [out]:
                relative = path.relative_to(self.folder).as_posix()
                if path.is_file() and not relative.startswith("data/timings/"):
                    found[relative] = files.sha256(path)
        return found

    @contextlib.contextmanager
    def timings_kept(self, name: str) -> Iterator[None]:
        """What a stage took before stands again afterwards: the report tells it."""
        timings = {path: path.read_bytes() for path in self.outs(name) if "timings" in path.parts}
        yield
        for path, content in timings.items():
            path.write_bytes(content)

    def left(self) -> list[str]:
        """Drafts and states that lie about."""
        drafts = [*self.folder.glob("data/**/.*.part"), *self.folder.glob("reports/.*.part")]
        return [str(path.relative_to(self.folder)) for path in [*drafts, *self.folder.glob(".scratch/*/*")]]


def made(folder: Path) -> Repo:
    """The copy, its grid run once, stage by stage; as it was where it is there already."""
    repo = Repo(folder)
    if (folder / "seconds.json").is_file():
        return repo
    shutil.rmtree(folder, ignore_errors=True)  # which did not come to its end
    shutil.copytree(HERE, folder, ignore=KEPT)
    _draw(folder / "my-pairs")
    options = [word for value in VALUES for word in ("-S", value)]
    for words in (("stages.overlay", *options), ("dvc", "init", "--no-scm", "--quiet"), ("dvc", "repro")):
        done = repo.call(sys.executable, "-m", *words)
        if done.returncode:
            raise RuntimeError(f"{words[:2]}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
    files.write_json(folder / "seconds.json", {name: START + _took(repo.outs(name)) for name in repo.stages})
    return repo


def _took(outs: list[Path]) -> float:
    """Seconds of a stage's own work; a second where it does not tell them."""
    told = [path for path in outs if "timings" in path.parts]
    return float(files.read_json(told[0])["seconds"]) if told else 1.0


def copied(repo: Repo, folder: Path) -> Repo:
    """Another with all that lies in the first."""
    shutil.rmtree(folder, ignore_errors=True)  # left by an attack that was stopped
    shutil.copytree(repo.folder, folder)
    return Repo(folder)


def row(promise: str, case: str, figure: str, holds: bool) -> dict[str, Any]:
    """What came of one case."""
    return {"promise": promise, "case": case, "figure": figure, "holds": holds}


def flip(path: Path, at: int, bit: int = 0) -> None:
    """Turns a bit of a file round."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.chmod(0o644)  # objects of the cache are read-only
    path.write_bytes(content)


def end(process: "subprocess.Popen[str]", how: signal.Signals) -> str:
    """Signals a process group; what it had said when it was gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, how)
    said, _ = process.communicate()
    return said


def _draw(folder: Path) -> None:
    """Pairs in a folder: blots of colour of 40 subjects, every sixth a near copy of the one before."""
    folder.mkdir()
    before = np.zeros((48, 48, 3), np.uint8)
    for i in range(PAIRS):
        coarse = stateless.generator("blot", i).integers(0, 256, (6, 6, 3)).astype(np.uint8)
        pixels = np.asarray(Image.fromarray(coarse).resize((48, 48), Image.Resampling.BICUBIC))
        if i % 6 == 5:
            pixels = np.clip(before.astype(int) + 2, 0, 255).astype(np.uint8)
        Image.fromarray(before := pixels).save(folder / f"{i:04d}.png")
        (folder / f"{i:04d}.txt").write_text(f"a blot of make {i % 40}, number {i // 6}", encoding="utf-8")
