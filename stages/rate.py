"""Ratings of every pair by one rater and seed: meta-trained, read off a plain proxy, or random."""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from alchemist.core import devices, files, stateless
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch, fingerprint
from alchemist.models import family
from alchemist.models.encoded import CODEC, Encoded
from alchemist.models.training import forward_flops
from alchemist.raters import bill, meta, meta_bill, proxy, score
from alchemist.raters.network import Group, Rater
from alchemist.settings.budget import RateSettings
from alchemist.settings.device import device_setting
from alchemist.settings.model import model_settings
from alchemist.settings.rater import LISTS, MetaRater, RandomRater, rater_settings
from stages.common import block, section, stage


def run(
    rater: Annotated[str, typer.Option(help="name of the rater in params.yaml")],
    seed: Annotated[int, typer.Option(help="of weights, order and dropout", min=0)],
    family_name: Annotated[str, typer.Option("--family", help="model family")],
    proxy_name: Annotated[str, typer.Option("--proxy", help="model that plays the proxy")],
    trunk: Annotated[str, typer.Option(help="model whose trunk the rater has")],
    encoded: Annotated[Path, typer.Option(help="folder that stage encode wrote")],
    assets: Annotated[Path, typer.Option(help="folder of raters that were trained elsewhere")],
    scale: Annotated[str, typer.Option(help="name of the scale in params.yaml")],
    out: Annotated[Path, typer.Option(help="table to write")],
    log_out: Annotated[Path, typer.Option(help="folder to write the training log and the weights into")],
    time_out: Annotated[Path, typer.Option(help="JSON to write what the rating took to")],
    scratch: Annotated[Path, typer.Option(help="folder for the state of a run in progress")],
) -> dict[str, Any]:
    """Rates the pool. Killed, it goes on when the same command runs again."""
    settings = rater_settings(section(f"raters.{rater}"), f"raters.{rater}")
    budget = block(RateSettings, f"scales.{scale}.rate")
    sizes = (
        model_settings(section(f"models.{proxy_name}"), f"models.{proxy_name}", family_name),
        model_settings(section(f"models.{trunk}"), f"models.{trunk}", family_name),
    )
    device = devices.chosen(device_setting(section("device")))
    data = Encoded(encoded)
    pool = data.pool()
    ids = data.rows["id"].iloc[pool.numbers]
    chosen = family.load(family_name)
    images = chosen.codec(encoded / CODEC, device)
    mark = fingerprint(
        script=files.sha256(Path(__file__)),
        rater=settings.model_dump(),
        seed=seed,
        budget=budget.model_dump(),
        sizes=[size.model_dump() for size in sizes],
        data=files.sha256(encoded / files.MANIFEST),
        device=str(device),
        torch=torch.__version__,
    )

    def new_proxy(of: int = seed) -> family.Generator:
        return chosen.generator(sizes[0], images, of).to(device)

    def new_rater(of: int = seed) -> Rater:
        return Rater(chosen.trunk(sizes[1], images, of), of).to(device)

    elapsed, counting, scoring = devices.clock(device), 0.0, 0.0
    with (
        Scratch(scratch, mark) as state,
        tqdm(total=budget.images, unit="img", desc=f"{rater}, seed {seed}", mininterval=1, delay=1e-9) as bar,
        tqdm(
            total=len(pool) * proxy.passes(settings), unit="img", desc="score", mininterval=1, delay=1e-9
        ) as scored,
        files.whole_folder(log_out) as drafts,
    ):

        def tick(count: int, words: str) -> None:
            bar.set_postfix_str(words, refresh=False)
            bar.update(count)

        print(f"{rater}, seed {seed}: {len(ids)} pairs; state in {state.folder}")
        facts: dict[str, Any]
        if isinstance(settings, MetaRater):
            network = new_rater()
            if settings.weights is None:
                begun = elapsed()
                flops = meta_bill.train_flops(
                    lambda: (new_proxy(0), new_rater(0)), data, settings, budget, state
                )
                counting = elapsed() - begun
                log = meta.meta_train(
                    new_proxy(), network, data, pool, data.validation(), settings, seed, budget, state, tick
                )
                facts = {"log": log, "train_flops": flops}
            else:
                source = assets / settings.weights / f"{seed}.safetensors"
                carry(network, source, f"raters.{rater}.weights")
                facts = {"log": [], "train_flops": 0.0, "carried_from": str(source)}
            save_file(network.state_dict(), drafts / "rater.safetensors")
            members = score.group_members(pool, budget.reference_group, seed)
            features = score.pooled_features(network, data, members, budget.score_batch)
            begun = elapsed()
            group = Group.of(network, features)
            ratings = score.rate_pool(network, data, pool, group, settings, budget.score_batch, scored.update)
            pairs = data.batch(pool.numbers[: budget.score_batch]).to(device)
            scoring = elapsed() - begun
            facts |= {
                "score_flops": forward_flops(network.features, pairs) * len(pool),
                "reference_ids": data.rows["id"].iloc[members].tolist(),
                "reference_sha256": score.digest(features),
                "weights_sha256": files.sha256(drafts / "rater.safetensors"),
            }
        elif type(settings) in proxy.RULES:
            plain = proxy.Plain(
                new_proxy, data, pool, data.validation(), seed, budget, state, tick, scored.update
            )
            found = proxy.RULES[type(settings)](plain, settings)
            ratings, scoring = found.rating, found.score_seconds
            facts = {"log": found.log, "train_flops": found.train_flops, "score_flops": found.score_flops}
        elif isinstance(settings, RandomRater):
            ratings = stateless.id_uniforms(list(ids), "random", seed)
            facts = {"log": [], "train_flops": 0.0, "score_flops": 0.0}
        else:
            raise Refusal(
                f"raters.{rater}.kind is {settings.kind!r}, which this stage does not rate; name it in "
                f"grid.{LISTS[settings.kind]}."
            )
        bill.write_table(out, ids.to_numpy(), ratings)
        # Counting operations is no part of what a rating costs.
        logged = [row.pop("seconds") for row in facts["log"]]
        seconds = bill.clocked(elapsed() - counting, scoring, logged[-1] if logged else 0.0)
        facts |= {"rater": rater, "seed": seed, "kind": settings.kind, "pairs": len(ids)}
        files.write_json(drafts / "rating.json", facts)
        state.clear()
    print(f"wrote {out} and {log_out}")
    return {
        "seconds": seconds,
        "score_seconds": scoring,
        "hardware": devices.hardware(device),
        "peak_bytes": devices.peak_memory(device),
    }


def carry(network: Rater, source: Path, key: str) -> None:
    """Gives a rater the weights of one that was trained elsewhere."""
    if not source.is_file():
        raise Refusal(f"{key} names {source}, which is missing; put a data/raters/…/rater.safetensors there.")
    try:
        network.load_state_dict(load_file(source))
    except (RuntimeError, SafetensorError) as error:
        words = str(error).splitlines()[-1].strip()
        raise Refusal(
            f"{key} names {source}, which does not fit: {words} A rater of the same trunk is legal."
        ) from None


if __name__ == "__main__":
    stage(run)
