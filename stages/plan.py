"""What the params in force would run and cost, before anything runs; changes nothing."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from alchemist.core import files
from alchemist.params.sources import passed_on
from alchemist.plan import cost
from alchemist.plan.estimates import Estimates
from alchemist.plan.jobs import groups
from alchemist.plan.missing import missing
from alchemist.plan.pairs import planned, prepared
from alchemist.plan.returns import returns
from alchemist.plan.table import Plan, lines
from alchemist.plan.work import work
from stages import stage
from stages.overlay import laid_over
from stages.pipeline_state import jobs

ROOT, POOL, ASSETS = Path(), Path("data/pool"), Path("assets")


def run(
    changes: Annotated[
        list[str] | None, typer.Option("-S", "--set-param", help="KEY=VALUE laid over params.yaml")
    ] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="file to write the plan to as well")] = None,
) -> None:
    """Tells what is done, what would run and why, what that takes, and what is missing for it."""
    text, given, params = laid_over(ROOT, changes or [])
    found = jobs(ROOT, text, passed_on(given))
    ready = any(job.script == "copies" and job.state == "done" for job in found)
    pairs = prepared(POOL) if ready and POOL.is_dir() else planned(params.pool, params.pools)
    estimates = Estimates(params, pairs, ASSETS / "codecs")
    taken = work(found, estimates)
    plan = Plan(
        f"pool {params.pool}: {pairs.pool:,} pairs, {pairs.meta_val:,} for meta-validation, "
        f"{pairs.evaluation:,} for evaluation, {pairs.scorer:,} for the scorer, "
        f"{f'{pairs.pretraining:,} for pretraining, ' if pairs.pretraining else ''}{pairs.source}; "
        f"scale {params.scale}",
        pairs, params.plan.card, groups(found), taken, returns(estimates), missing(params, taken, ASSETS),
    )  # fmt: skip
    typer.echo("\n".join(lines(plan)))
    if json_out is not None:
        files.write_json(json_out, as_json(plan))


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan with hours and money beside the FLOPs."""
    told = asdict(plan) | {"card": plan.card.model_dump()}
    for one in told["work"]:
        if one["flops"] is not None:
            one |= {
                "hours": cost.hours(one["flops"], plan.card),
                "money": cost.money(one["flops"], plan.card),
            }
    return told


if __name__ == "__main__":
    stage(run)
