"""Fits the tiny tokenizer: reconstruction loss, exponential-average codebooks, revival of dead codes."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from alchemist.core import devices, stateless
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch
from alchemist.core.state import all_finite, load_optimiser, optimiser_tensors, over, under
from alchemist.families.star.settings import FitSettings
from alchemist.families.star.tokenizer import Tokenizer, TokenizerConfig
from alchemist.models.pixels import to_float

WARMUP_STEPS = 100  # steps without quantisation, before k-means starts the codebooks
MEMORY = 0.99  # of the codebooks' running counts and sums, a step
REVIVE_EVERY = 100


def reconstruction_loss(painted: Tensor, images: Tensor) -> Tensor:
    """MSE + 0.5 L1 + 0.25 L1 of the horizontal and vertical differences."""
    error = painted - images
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.square().mean() + 0.5 * error.abs().mean() + 0.25 * edges


class Codebooks:
    """Exponential averages of the vectors that each code stands for (van den Oord et al. 2017, A.1)."""

    def __init__(self, model: Tokenizer) -> None:
        self.model = model
        self.counts = torch.ones(model.codebooks.shape[:2], device=model.codebooks.device)
        self.sums = model.codebooks.clone()

    def start(self, features: Tensor, rng: torch.Generator) -> None:
        """k-means from random members, scale by scale, on (N, grid^2, channels) features."""
        total = torch.zeros_like(features)
        for k in range(len(self.model.config.scales)):
            vectors = (self.model.next_input(k, features - total)).flatten(0, 1)
            pick = torch.randint(len(vectors), (self.model.config.codes,), generator=rng).to(vectors.device)
            self.model.codebooks[k] = vectors[pick]
            sample = vectors[torch.randperm(len(vectors), generator=rng)[:30_000].to(vectors.device)]
            for _ in range(8):
                sums, counts = self._tally(k, sample, self.model.nearest(k, sample))
                seen = counts > 0
                self.model.codebooks[k][seen] = sums[seen] / counts[seen, None]
            index = self.model.nearest(k, self.model.next_input(k, features - total))
            total = total + self.model.codes_of(k, index)
        self.counts.fill_(1)
        self.sums.copy_(self.model.codebooks)

    def _tally(self, k: int, vectors: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        sums = torch.zeros_like(self.model.codebooks[k]).index_add_(0, index, vectors)
        ones = torch.ones(len(index), device=index.device)
        counts = torch.zeros_like(sums[:, 0]).index_add_(0, index, ones)
        return sums, counts

    @torch.no_grad()
    def update(self, features: Tensor, maps: list[Tensor], revive: bool, rng: torch.Generator) -> None:
        """One step of the averages; codes hardly used are moved onto members of this batch."""
        total = torch.zeros_like(features)
        for k, index in enumerate(maps):
            vectors = (self.model.next_input(k, features - total)).flatten(0, 1)
            total = total + self.model.codes_of(k, index)
            sums, counts = self._tally(k, vectors, index.flatten())
            self.counts[k].mul_(MEMORY).add_(counts, alpha=1 - MEMORY)
            self.sums[k].mul_(MEMORY).add_(sums, alpha=1 - MEMORY)
            fair = len(vectors) / self.model.config.codes
            if revive:
                dead = (self.counts[k] < 0.03 * fair).nonzero().flatten()
                dead = dead[: len(vectors) // 4]
                pick = torch.randperm(len(vectors), generator=rng)[: len(dead)].to(vectors.device)
                self.counts[k][dead] = 0.3 * fair
                self.sums[k][dead] = vectors[pick] * 0.3 * fair
            self.model.codebooks[k] = self.sums[k] / self.counts[k].clamp_min(1e-5)[:, None]


def fit(
    config: TokenizerConfig,
    fit_config: FitSettings,
    images: NDArray[np.uint8],
    perceptual: Callable[[Tensor, Tensor], Tensor] | None,
    scratch: Scratch,
    device: torch.device,
) -> Iterator[tuple[int, float, Tokenizer]]:
    """Fits on (N, R, R, 3) uint8 images; yields (images seen, loss, model) every 100 steps.

    The rate falls to zero along a cosine, so the last weights need no averaging; averaged ones
    would not match the codebooks, which follow the encoder's drift in scale. All randomness is a
    function of (seed, step), so that a killed fit goes on where it was. Raises Refusal where a loss, a
    gradient or a weight is not finite, before a state or a model with it is kept.
    """
    torch.manual_seed(fit_config.seed)
    model = Tokenizer(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    books = Codebooks(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=fit_config.learning_rate, weight_decay=1e-4)
    first = 0
    if saved := scratch.load():
        first = saved[1]["step"]
        model.load_state_dict(under(saved[0], "model"))
        books.counts, books.sums = (saved[0][name].to(device) for name in ("counts", "sums"))
        load_optimiser(optimiser, saved[0], "adam")
    steps = fit_config.seen(len(images)) // fit_config.batch
    per_epoch = len(images) // fit_config.batch
    order = stateless.epoch_order(fit_config.seed, first // per_epoch, len(images))
    recent: list[Tensor] = []  # loss and norm of the gradient of each step since they were looked at
    for step in range(first, steps):
        rng = torch.Generator().manual_seed(stateless.key("codes", fit_config.seed, step))
        if step % per_epoch == 0:
            order = stateless.epoch_order(fit_config.seed, step // per_epoch, len(images))
        start = step % per_epoch * fit_config.batch
        batch = to_float(devices.put(images[order[start : start + fit_config.batch]], device))
        flips = stateless.uniforms(fit_config.seed, step, np.arange(fit_config.batch)) < 0.5
        batch = torch.where(devices.put(flips, device)[:, None, None, None], batch.flip(-1), batch)
        batch = batch.to(memory_format=torch.channels_last)
        rate = 0.5 * (1 + math.cos(math.pi * step / steps)) * min(1.0, (step + 1) / 100)
        for group in optimiser.param_groups:
            group["lr"] = fit_config.learning_rate * rate
        if step == WARMUP_STEPS:
            picks = devices.put(images[order[:4096]], device)
            with torch.no_grad():
                books.start(torch.cat([model.features(to_float(p)) for p in picks.split(256)]), rng)
        with devices.autocast("auto", device):
            features = model.features(batch)
            total, commit = features, torch.zeros((), device=device)
            if step >= WARMUP_STEPS:
                with torch.no_grad(), torch.autocast(device.type, enabled=False):
                    maps, coded = model.quantise(features.detach())
                total = features + (coded - features).detach()
                commit = F.mse_loss(features, coded)
            painted = model.paint(total)
            seen = perceptual(painted, batch) if perceptual is not None else torch.zeros((), device=device)
        loss = reconstruction_loss(painted, batch) + 0.25 * commit + fit_config.perceptual * seen
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        recent.append(torch.stack([loss.detach(), norm]))
        if step >= WARMUP_STEPS:
            books.update(features.detach(), maps, step % REVIVE_EVERY == 0 and step < 0.8 * steps, rng)
        tells = step % 100 == 99 or step == steps - 1
        saves = scratch.due() and step < steps - 1  # of a fit that is done nothing would be left to give
        if saves or tells:
            state = {
                **over(model.state_dict(), "model"),
                "counts": books.counts,
                "sums": books.sums,
                **optimiser_tensors(optimiser, "adam"),
            }
            _check_finite(recent, state, step + 1, fit_config)
            recent.clear()
        if saves:
            scratch.save(state, {"step": step + 1})
        if tells:
            yield (step + 1) * fit_config.batch, float(loss.detach()), model


def _check_finite(recent: list[Tensor], state: dict[str, Tensor], done: int, settings: FitSettings) -> None:
    """Loss and norm of the steps until `done`, and what they left; a fit knows its images by number alone."""
    held = torch.isfinite(torch.stack(recent)).all(dim=1)
    if held.all() and all_finite(state.values()):
        return
    step = done - len(recent) + int(held.int().argmin()) + 1 if not held.all() else done
    images = f"images {(step - 1) * settings.batch + 1} to {step * settings.batch}"
    raise Refusal(
        f"the fit of the tokenizer is not finite at step {step} ({images}); codecs.star.fit.learning_rate is "
        f"{settings.learning_rate}, try a smaller one."
    )
