"""Memory and images/s of a target on several processes, its weights in parts (FSDP2) or whole.

    python -m benchmarks.parts [MODEL] [BATCH] [STEPS] [COUNT …]

Each row is a run of its own under `accelerate launch` with docs/fsdp2.yaml; one of whole weights says so by
`ACCELERATE_USE_FSDP=false`. Pairs are random tokens and captions. Per process: bytes of weights, gradients,
moments and average between steps; most resident memory in the steps, and what of it came after the libraries
were loaded. Compare figures of one run.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alchemist.core import fsdp, process, stateless, world
from alchemist.core.settings import parse
from alchemist.core.settings.budget import TrainSettings
from alchemist.families.star.generator import StarGenerator
from alchemist.models.batch import Batch, Chance, Text
from alchemist.models.training import Average, optimiser, step
from benchmarks import given
from benchmarks.material import codec, size

CPU, WORDS = torch.device("cpu"), 12
LAUNCH = ["accelerate", "launch", "--config_file", "docs/fsdp2.yaml", "--num_processes"]


def resident(key: str) -> int:
    """Of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def batch_of(count: int, first: int, width: int) -> Batch:
    """Random pairs."""
    config, rng = codec().tokenizer.config, stateless.generator("parts", first)
    tokens = torch.from_numpy(rng.integers(0, config.codes, (count, config.tokens)))
    states = torch.from_numpy(rng.normal(size=(count, WORDS, width)).astype(np.float32))
    return Batch({"tokens": tokens}, Text(states, torch.ones(count, WORDS, dtype=torch.bool), states.mean(1)))


def work(model: str, batch: int, steps: int, out: Path) -> None:
    """One process of a run; writes what it took."""
    world.join(CPU)
    in_parts, settings = fsdp.asked(), size(model)
    generator = StarGenerator(settings, codec(), 0)
    batch_of(1, 0, settings.text_width)
    before = resident("VmRSS") - sum(p.numel() for p in generator.parameters()) * 4
    bare = fsdp.shard(generator, generator.blocks(), "losses") if in_parts else None
    budget = parse(TrainSettings, given.params()["scales"]["tiny"]["train"], "train")
    average = Average(generator, budget.ema_images, bare)
    adam = optimiser(generator, generator, budget.learning_rate, budget.weight_decay)

    def turn(number: int) -> None:
        pairs = batch_of(batch, number, settings.text_width)
        chance = Chance.run(0, number * batch, batch, training=True)
        step(generator, adam, pairs, chance, budget, CPU)
        average.update(generator, (number + 1) * batch, batch)

    turn(0)  # buffers, moments and plans
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    world.wait()
    start = time.perf_counter()
    for number in range(1, steps + 1):
        turn(number)
    world.wait()
    seconds, peak = time.perf_counter() - start, resident("VmHWM")
    held: list[Tensor] = [*generator.parameters(), *average.model.parameters()]
    held += [p.grad for p in generator.parameters() if p.grad is not None]
    held += [part for state in adam.state.values() for part in state.values()]
    took = {
        "parameters": sum(p.numel() for p in generator.parameters()),
        "held": sum(fsdp.own(part).numel() * 4 for part in held),
        "peak": peak,
        "grown": peak - before,
        "rate": batch * steps / seconds,
    }
    (out / f"{world.rank()}.json").write_text(json.dumps(took))


def run(count: int, in_parts: bool, model: str, batch: int, steps: int) -> dict[str, float]:
    """The largest figures of all its processes."""
    with tempfile.TemporaryDirectory() as folder:
        told = [sys.executable, "-m", "benchmarks.parts", "work", model, str(batch), str(steps), folder]
        # Of the launcher's variables one is changed back, so that all rows are launched alike.
        whole = [] if in_parts else ["env", "ACCELERATE_USE_FSDP=false"]
        command = [*LAUNCH, str(count), "--no_python", *whole, *told]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        each = [json.loads(path.read_text()) for path in Path(folder).glob("*.json")]
    assert len(each) == count
    return {key: max(one[key] for one in each) for key in each[0]}


def main(model: str = "star_40m", batch: str = "16", steps: str = "6", *counts: str) -> None:
    """The table."""
    print("| processes | weights | held MiB | peak MiB | grown MiB | images/s |\n|---|---|---|---|---|---|")
    for count in map(int, counts or ("1", "2", "4")):
        for in_parts in (False, True) if count > 1 else (False,):
            row = run(count, in_parts, model, int(batch), int(steps))
            held, peak, grown = (round(row[key] / 2**20) for key in ("held", "peak", "grown"))
            what = "in parts" if in_parts else "whole"
            print(f"| {count} | {what} | {held} | {peak} | {grown} | {row['rate']:.2f} |", flush=True)
    print(f"{model}: {row['parameters'] / 1e6:.1f} M parameters, batches of {batch}")


if __name__ == "__main__":
    process.prepare()
    if sys.argv[1:2] == ["work"]:
        work(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
    else:
        main(*sys.argv[1:])
