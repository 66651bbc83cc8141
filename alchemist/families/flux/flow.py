"""Rectified flow: points between image and noise, and what is drawn (Liu et al. 2023, Esser et al. 2024)."""

import numpy as np
import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from alchemist.core import stateless
from alchemist.families.flux.settings import FluxLaw, FluxSettings
from alchemist.models.batch import Chance

Floats = NDArray[np.float32]


def noise(chance: Chance, draws: int, shape: tuple[int, ...]) -> Floats:
    """Gaussian noise (draws, B, *shape), a function of (seed, position, draw)."""
    out = np.empty((draws, len(chance), *shape), dtype=np.float32)
    for row, position in enumerate(chance.positions.tolist()):
        rng = stateless.generator("noise", chance.seed, position)
        out[:, row] = rng.standard_normal((draws, *shape), dtype=np.float32)
    return out


def sigmas(settings: FluxSettings, chance: Chance) -> Floats:
    """Shares of noise (draws, B) in (0, 1).

    In training one a pair, from `density`, a function of (seed, position // `sigma_block`). Else
    `scored_sigmas`: the middles of as many strata of equal chance, the same for every pair, so that losses
    are compared at equal sigmas. A draw of its own for each pair would sort pairs by their sigma.
    """
    if chance.training:
        blocks = chance.positions // settings.sigma_block
        share = stateless.uniforms(stateless.key("sigma", chance.seed), blocks)[None]
    else:
        middles = (np.arange(settings.scored_sigmas) + 0.5) / settings.scored_sigmas
        share = np.broadcast_to(middles[:, None], (settings.scored_sigmas, len(chance)))
    if settings.density == "logit_normal":
        share = expit(settings.density_mean + settings.density_sd * ndtri(share))
    moved = settings.shift * share / (1 + (settings.shift - 1) * share)
    return np.asarray(moved, dtype=np.float32)


def steps(law: FluxLaw, tokens: int) -> FlowMatchEulerDiscreteScheduler:
    """The scheduler of a trajectory of `law.steps` from sigma 1 to 0, its sigmas on the host."""
    even = np.linspace(1, 1 / law.steps, law.steps)
    if law.shift == "dynamic":
        scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
        scheduler.set_timesteps(sigmas=even, mu=calculate_shift(tokens))
    else:
        scheduler = FlowMatchEulerDiscreteScheduler(shift=law.shift)
        scheduler.set_timesteps(sigmas=even)
    scheduler.set_begin_index(0)
    return scheduler


def calculate_shift(tokens: int) -> float:
    """mu of FLUX.1-dev: 0.5 at 256 tokens, 1.15 at 4,096, linear in their number."""
    return 0.5 + (1.15 - 0.5) * (tokens - 256) / (4096 - 256)


def error_weights(settings: FluxSettings, sigma: torch.Tensor) -> torch.Tensor:
    """The weight of the squared error at each sigma, of its shape."""
    if settings.weighting == "none":
        return torch.ones_like(sigma)
    from diffusers.training_utils import compute_loss_weighting_for_sd3

    return compute_loss_weighting_for_sd3(settings.weighting, sigma)
