"""Kind el2n: the norm of a pair's error early in a proxy's training."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from alchemist.core.settings.rater import Direction, SeededRater

if TYPE_CHECKING:
    from alchemist.models.family import Generator
    from alchemist.raters.proxy import Found, Plain


class El2nRater(SeededRater):
    """EL2N (Paul et al. 2021): the norm of softmax minus one-hot, a mean over early checkpoints."""

    kind: Literal["el2n"] = Field(description="what gives the rating")
    direction: Direction = 1
    checkpoints: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(0.25, 0.5, 1.0), min_length=1, description="shares of the proxy's run at which it is taken"
    )

    def passes(self) -> int:
        """One a checkpoint."""
        return len(self.checkpoints)


BLOCK = El2nRater


def rate(run: "Plain", settings: El2nRater) -> "Found":
    """The norm of each pair's error at early checkpoints, a mean over them (Paul et al. 2021)."""
    import numpy as np

    from alchemist.core import devices, files, world
    from alchemist.raters import proxy as plain
    from alchemist.raters import score

    # Refused before any training where the family defines no error.
    trial = run.proxy(run.seed)
    pairs, chance = plain.first(run, 2)
    trial.error_norms(pairs.to(devices.of(trial)), chance)
    last, spent, inside = plain.stop_at(run.budget, max(settings.checkpoints)), 0.0, 0.0
    end = plain.stop_at(run.budget, 1.0)

    def measure(seen: int, proxy: "Generator") -> None:
        # A stop beyond the last checkpoint only ends the run. Kept beside the state, so that a
        # resumed run has those of before.
        nonlocal spent, inside
        if seen <= last:
            elapsed = devices.clock(devices.of(proxy))
            norms = score.error_norms(proxy, run.data, run.rated, run.budget.score_batch, run.scored)
            path = run.scratch.folder / f"el2n-{seen:09d}.npy"
            if world.is_writer():
                with files.whole(path) as draft, draft.open("wb") as file:
                    np.save(file, norms)
                run.scratch.keep(path)
            took = elapsed()
            spent += took
            if seen < end:  # the log's last row is written before the run's last stop
                inside += took

    proxy, log, flops = plain.trained(run, run.pool, settings.checkpoints, measure)
    log[-1]["seconds"] -= inside
    world.wait()
    written = sorted(run.scratch.folder.glob("el2n-*.npy"))
    mean = np.mean([np.load(path) for path in written], axis=0)
    return plain.found(run, proxy, settings.direction * mean, log, flops, len(written), spent)
