"""How the folder of STAR's codec comes about: a tokenizer of the repo, one fitted to the pool, or VAR's."""

import math
import shutil
from pathlib import Path

import torch

from alchemist.core import files
from alchemist.core.fingerprint import fingerprint
from alchemist.families.star import checkpoint, published, tokenizer, tokenizer_fit
from alchemist.families.star.generator import StarCodec
from alchemist.families.star.perceptual import Perceptual
from alchemist.families.star.settings import TokenizerSettings
from alchemist.families.star.tokenizer import TokenizerConfig
from alchemist.models import pixels
from alchemist.models.family import CodecSource

RATE = 80  # images/s of a fit of 32 px on one core of an AMD EPYC, perceptual loss and all: 70 to 90


def make_codec(settings: TokenizerSettings, source: CodecSource, folder: Path) -> str:
    """Copies the fitted tokenizer into a folder, fits one there, or converts the published one; tells which.

    Raises Refusal where the tokenizer works at another resolution than the pool, the pool has fewer images
    than a batch of the fit, or the published weights cannot be had.
    """
    if settings.kind == published.KIND:
        checkpoint.write(settings.weights, source.resolution, folder, source.pool, "codecs.star.weights")
        return f"the published tokenizer of {settings.weights}"
    if settings.refit:
        return _fit(settings, source, folder)
    settings.check("codecs.star", source.resolution, source.assets)
    asset = source.assets / settings.asset
    shutil.copytree(asset, folder, dirs_exist_ok=True)
    return f"the tokenizer {asset}"


def _fit(settings: TokenizerSettings, source: CodecSource, folder: Path) -> str:
    fit = settings.fit
    images = source.fresh("tokenizer", fit.pairs, fit.seed)
    budget = settings.fitted_on(len(images))
    assert budget is not None
    scales = tokenizer.scales_for(source.resolution)
    config = TokenizerConfig(source.resolution, scales, codes=fit.codes, width=fit.width)
    mark = fingerprint(
        script=files.sha256(Path(__file__)),
        fit=fit.model_dump(),
        device=str(source.device),
        pool=source.digest,
        torch=torch.__version__,
    )
    minutes = math.ceil(budget / RATE / 60)
    source.tell(
        f"fitting a tokenizer to {len(images):,} images, {budget:,} seen with repeats "
        f"(codecs.star.fit.images): about {minutes} min on one CPU core"
    )
    state = source.state(mark)
    distance = Perceptual().to(source.device) if fit.perceptual else None
    steps = tokenizer_fit.fit(config, fit, images, distance, state, source.device)
    for seen, loss, fitted in steps:
        source.tick(seen, budget, f"loss {loss:.4f}, state in {state.folder}")
    measured = source.held_out()
    psnr, told = None, "a tokenizer; no image is held out to measure it on"
    if len(measured):
        psnr = float(pixels.psnr(measured, StarCodec(fitted).reconstruct(measured)).mean())
        told = f"a tokenizer with a PSNR of {psnr:.2f} dB on {len(measured)} held-out images"
    used = {**fit.model_dump(), "images": budget, "pairs": len(images)}
    tokenizer.save(fitted, folder, fit=used, psnr=psnr, torch=torch.__version__)
    return told
