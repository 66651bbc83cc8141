"""The image tokenizer: the fitted one that the repo holds, or with `refit: true` a new one."""

import os
import shutil
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from tqdm import tqdm

from alchemist.core import devices, files, stateless
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch, fingerprint
from alchemist.families.star import tokenizer, tokenizer_fit
from alchemist.families.star.generator import StarCodec
from alchemist.families.star.perceptual import Perceptual
from alchemist.families.star.settings import TokenizerSettings
from alchemist.families.star.tokenizer import TokenizerConfig
from alchemist.pools import store
from alchemist.pools.emoji import EmojiPool, compose_images
from alchemist.pools.read import pool_settings
from alchemist.settings.device import device_setting
from alchemist.settings.given import block, section
from alchemist.settings.pool import PoolSettings
from stages import stage

# The fit sees mostly clean compositions, as published tokenizers do; never those of the pool.
FIT_SHARES = {"informative": 0.8, "plain": 0.07, "chaotic": 0.06, "degraded": 0.07}


def _images(settings: PoolSettings, pool: Path, count: int, seed: int) -> NDArray[np.uint8]:
    """Fresh compositions for a composed pool, the pool's own images for a person's pool."""
    if isinstance(settings, EmojiPool):
        return compose_images(settings, "tokenizer", FIT_SHARES, count, os.cpu_count() or 1)
    usable = store.usable(store.read_index(pool), "pool")
    chosen = np.argsort(stateless.id_uniforms(usable["id"], "fit", seed))[:count]
    return store.images(pool, usable.iloc[chosen])


def run(
    pool_name: Annotated[str, typer.Option(help="name of the pool in params.yaml")],
    pool: Annotated[Path, typer.Option(help="folder that stage prepare wrote")],
    asset: Annotated[Path, typer.Option(help="folder of the fitted tokenizer that the repo holds")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    scratch: Annotated[Path, typer.Option(help="folder for the state of a fit in progress")],
    time_out: Annotated[Path, typer.Option(help="JSON to write the stage's seconds to")],
) -> None:
    """Copies the fitted tokenizer, or fits one."""
    settings = block(TokenizerSettings, "tokenizer")
    source = pool_settings(section(f"pools.{pool_name}"), f"pools.{pool_name}")
    if not settings.refit:
        fitted = tokenizer.load(asset)
        if fitted.config.resolution != source.resolution:
            raise Refusal(
                f"pools.{pool_name}.resolution is {source.resolution}; the tokenizer {asset} works at "
                f"{fitted.config.resolution} pixels: use that, or set tokenizer.refit to true."
            )
        with files.whole_folder(out) as draft:
            shutil.copytree(asset, draft, dirs_exist_ok=True)
        print(f"wrote {out} from {asset}")
        return
    fit = settings.fit
    images = _images(source, pool, fit.pairs, fit.seed)
    if len(images) < fit.batch:
        raise Refusal(f"tokenizer.fit.batch is {fit.batch}; the pool has {len(images)} images to fit on.")
    scales = tokenizer.scales_for(source.resolution)
    config = TokenizerConfig(source.resolution, scales, codes=fit.codes, width=fit.width)
    device = devices.chosen(device_setting(section("device")))
    mark = fingerprint(
        script=files.sha256(Path(__file__)),
        fit=fit.model_dump(),
        device=str(device),
        pool=files.sha256(pool / files.MANIFEST),
        torch=torch.__version__,
    )
    with Scratch(scratch, mark) as state:
        print(f"fits on {len(images)} images; state in {state.folder}")
        with tqdm(total=fit.images, unit="img", desc="fit tokenizer", mininterval=2) as bar:
            distance = Perceptual().to(device) if fit.perceptual else None
            for seen, loss, fitted in tokenizer_fit.fit(config, fit, images, distance, state, device):
                bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
                bar.update(seen - bar.n)
        state.clear()
    measured = store.images(pool, store.usable(store.read_index(pool), "evaluation"))
    psnr = tokenizer_fit.psnr(measured, StarCodec(fitted).reconstruct(measured))
    with files.whole_folder(out) as draft:
        tokenizer.save(fitted, draft, fit=fit.model_dump(), psnr=psnr, torch=torch.__version__)
    print(f"wrote {out}: PSNR {psnr:.2f} dB on {len(measured)} held-out images")


if __name__ == "__main__":
    stage(run)
