"""Pixels to tokens, captions to text states. Every later stage but evaluation's references reads these."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from alchemist.core import files
from alchemist.models import encoded
from alchemist.models.star import tokenizer
from alchemist.models.star.tokenizer import to_float
from alchemist.models.text import caption_states
from alchemist.pools import store as pool_store
from alchemist.pools.store import read_index
from alchemist.settings.budget import EncodeSettings
from stages.common import block, stage

SPLITS = ("pool", "meta_val", "evaluation")


def run(
    pool: Annotated[Path, typer.Option(help="folder that stage prepare wrote")],
    tokenizer_folder: Annotated[Path, typer.Option("--tokenizer", help="folder that stage tokenizer wrote")],
    scale: Annotated[str, typer.Option(help="name of the scale in params.yaml")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    time_out: Annotated[Path, typer.Option(help="JSON to write the stage's seconds and FLOPs to")],
) -> dict[str, float]:
    """Encodes the usable pairs of the pool, the meta-validation and the evaluation splits."""
    settings = block(EncodeSettings, f"scales.{scale}.encode")
    files.check_manifest(pool)
    model = tokenizer.load(tokenizer_folder)
    index = read_index(pool)
    index = index[(index["status"] == "ok") & index["split"].isin(SPLITS)].reset_index(drop=True)
    tokens = np.empty((len(index), model.config.tokens), dtype=np.uint16)
    captions = ["", *sorted(set(index["caption"]) - {""})]
    number = {caption: i for i, caption in enumerate(captions)}
    rows = pd.DataFrame(
        {
            "id": index["id"],
            "split": index["split"],
            "text": index["caption"].map(number).astype("int64"),
        }
    )
    with FlopCounterMode(display=False) as counter:
        with tqdm(total=len(index), unit="img", desc="images") as bar:
            for start in range(0, len(index), settings.batch):
                pixels = pool_store.images(pool, index.iloc[start : start + settings.batch])
                coded = model.encode(to_float(torch.from_numpy(pixels)))
                tokens[start : start + len(pixels)] = coded.numpy()
                bar.update(len(pixels))
        with (
            files.whole_folder(out) as draft,
            tqdm(total=len(captions), unit="caption", desc="captions") as bar,
        ):
            states = caption_states(captions, settings.max_text_tokens, settings.batch, bar.update)
            encoded.write(
                draft,
                rows,
                tokens,
                states,
                tokenizer=files.sha256(tokenizer_folder / "weights.safetensors"),
                text_encoder="all-MiniLM-L6-v2",
            )
    print(f"wrote {out}: {len(rows)} pairs, {len(captions)} distinct captions")
    return {"flops": float(counter.get_total_flops())}


if __name__ == "__main__":
    stage(run)
