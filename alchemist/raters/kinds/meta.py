"""Kind meta: a network trained with gradient signals from a proxy, which is Alchemist."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from alchemist.core.refusal import Refusal
from alchemist.core.settings.groups import GroupsSettings
from alchemist.core.settings.rater import SeededRater

if TYPE_CHECKING:
    from alchemist.raters.network import Rater
    from alchemist.raters.proxy import Found
    from alchemist.raters.run import Run

CARD = "card.json"  # in the folder of a trained one, see `alchemist.raters.shipped`
# What steers a rater's training alone: beside weights that were trained elsewhere it changes nothing.
TRAINING = (
    "credit", "reference_warmup", "unroll_steps", "baseline", "upper_weight", "upper_decay", "epochs"
)  # fmt: skip


class MetaRater(SeededRater):
    """A network trained with gradient signals from a proxy (Alchemist)."""

    kind: Literal["meta"] = Field(description="what gives the rating")
    credit: Literal["penalty", "reference", "alignment", "unrolled"] = Field(
        default="penalty",
        description="penalty: eq. 9; reference: eq. 6; alignment: exact one step; unrolled: exact K steps",
    )
    reference_warmup: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="share of the run in which eq. 4 trains the proxy alone, plainly, on pairs of the pool; "
        "null for none, as published; credit reference wants a number",
    )
    unroll_steps: int | None = Field(
        default=None, ge=1, le=16, description="of credit unrolled alone: inner steps K of one window"
    )
    group: Literal["product", "temperature", "none", "double_softmax", "compared", "within"] = Field(
        default="product",
        description="product: gate times softmax, as in the paper; temperature: the gate scales the logits; "
        "double_softmax: as published, a softmax over gate times softmax of sigmoids; compared: a softmax "
        "over a step's groups times one within each, of groups that are properties of the pairs; within: "
        "the same without a gate, by which what the gate does is told from what such batches do",
    )
    # Left out of a dump where there is none, so that a rater without it has the card that it always had.
    groups: GroupsSettings | None = Field(
        default=None,
        exclude_if=lambda held: held is None,
        description="of groups compared and within alone: which pairs are a group",
    )
    rating_mode: Literal["reference_group", "batch"] = Field(
        default="reference_group",
        description="reference_group: beside a fixed group of the pool; batch: as published, beside the "
        "pairs that happen to share the batch",
    )
    baseline: Literal["none", "validation"] = Field(
        default="none",
        description="taken off every credit; it moves the gate of group product alone. none is eq. 9 to the "
        "letter, under which that gate falls to zero; validation, the loss of that split, is of credit "
        "penalty alone",
    )
    bound: float | None = Field(
        default=2.0,
        gt=0,
        description="largest size of a centred logit in a batch; null for none, as double_softmax asks",
    )
    upper_weight: float = Field(
        default=1.0, gt=0, le=1, description="weight of the validation loss at the start"
    )
    upper_decay: float = Field(
        default=0.03, ge=0, le=1, description="taken off it at the start of each later epoch"
    )
    epochs: int = Field(
        default=10, ge=1, description="equal parts of the run, between which the weight falls"
    )
    least_validation: int = Field(
        default=100,
        ge=1,
        description="pairs that the meta-validation split should have; fewer are refused (docs/own_pairs.md)",
    )
    weights: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="null: trained here; or a folder in assets/raters, with a folder a seed, of raters that "
        "were trained elsewhere and rate this pool as they are",
    )

    def proxies(self) -> int:
        """None: the proxy is trained beside the rater."""
        return 0

    # A value that the credit would ignore is refused, so that none is silently without effect.
    @field_validator("reference_warmup", "unroll_steps")
    @classmethod
    def _of_the_credit(cls, value: float | None, info: ValidationInfo) -> float | None:
        uses = {"reference_warmup": "reference", "unroll_steps": "unrolled"}[str(info.field_name)]
        credit = info.data.get("credit", uses)
        if value is not None and uses == "unrolled" and credit != "unrolled":
            raise ValueError("it should be null, because only credit unrolled uses it")
        if value is None and info.data.get("credit") == uses:
            raise ValueError(f"it should be a number, because credit {uses} uses it")
        return value

    @model_validator(mode="after")
    def _together(self) -> "MetaRater":
        if (self.group == "double_softmax") != (self.rating_mode == "batch"):
            raise ValueError("group double_softmax and rating_mode batch go together, as published")
        if self.group == "double_softmax" and self.bound is not None:
            raise ValueError("bound should be null under group double_softmax, whose logits pass a sigmoid")
        grouped = self.group in ("compared", "within")
        if grouped and self.groups is None:
            raise ValueError(
                f"groups should be a block, because group {self.group} uses it; {{}} has its defaults"
            )
        if not grouped and self.groups is not None:
            raise ValueError("groups should be null, because only groups compared and within use it")
        if self.credit != "penalty" and self.baseline != "none":
            raise ValueError(
                "baseline should be none, because the validation loss is one of credit penalty alone"
            )
        return self


BLOCK = MetaRater


def rate(run: "Run", settings: MetaRater) -> "Found":
    """Ratings by a network that is trained here, or carried over; its weights are kept beside them."""
    import numpy as np

    from alchemist.core import files
    from alchemist.models.training import forward_flops
    from alchemist.raters import groups, meta, meta_bill, score, shipped
    from alchemist.raters.compared import Compared
    from alchemist.raters.network import Group
    from alchemist.raters.proxy import Found

    if settings.groups is not None:
        run = replace(run, groups=groups.of_pool(run, settings.groups, f"raters.{run.name}.groups"))
    data, pool, budget = run.data, run.pool, run.budget
    network, log, flops, counting = run.network(run.seed), list[dict[str, float]](), 0.0, 0.0
    facts: dict[str, Any] = {"initial_sha256": shipped.digest(network.state_dict())}
    if settings.weights is None:
        begun = run.elapsed()
        flops = meta_bill.train_flops(run, settings, run.network)
        counting = run.elapsed() - begun
        log = meta.meta_train(run, settings, network)
    else:
        source = run.assets / settings.weights / str(run.seed)
        facts = _carry(run, network, source, f"raters.{run.name}.weights", settings.group)
    group: Group | Compared
    if run.groups is None:
        members = score.group_members(pool, budget.reference_group, run.seed)
        features = score.pooled_features(network, data, members, budget.score_batch)
        begun, further = run.elapsed(), 0
        group = Group.of(network, features)
    else:
        known = run.groups.members(run.seed, budget.reference_group)
        members, begun, further = np.concatenate(known), run.elapsed(), sum(map(len, known))
        features = score.pooled_features(network, data, members, budget.score_batch)
        counts, gated = [len(one) for one in known], settings.group == "compared"
        group = Compared.of(network, features, counts, run.groups, settings.bound, gated)
        facts["groups"] = group.facts(run.groups)
    rating = score.rate_pool(
        network, data, run.rated, group, settings, budget.score_batch, run.scored, run.groups
    )
    pairs = data.batch(pool.numbers[: budget.score_batch]).to(run.device)
    seconds = run.elapsed() - begun
    shipped.save_rater(run.drafts, network, group, run.groups)
    score_flops = forward_flops(network.features, pairs, training=False) * (len(run.rated) + further)
    facts |= {
        "reference_ids": data.rows["id"].iloc[members].tolist(),
        "reference_sha256": score.digest(features),
        "weights_sha256": files.sha256(run.drafts / shipped.WEIGHTS),
    }
    return Found(rating, log, flops, score_flops, seconds, facts, counting)


def _carry(run: "Run", network: "Rater", source: Path, key: str, group: str) -> dict[str, Any]:
    """Gives a rater the weights of one that was trained elsewhere; what is told of it."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from alchemist.core import files
    from alchemist.raters import shipped

    if not source.is_dir():
        raise Refusal(f"{key} names {source}, which is missing; put a copy of data/raters/RATER/SEED there.")
    card = shipped.card(source, files.ASSET_REMEDY)
    for what, own, here in (
        ("codec", card.codec, run.data.manifest["codec"]),
        ("text encoder", card.text_sha256, run.data.manifest["text_sha256"]),
    ):
        if own != here:
            raise Refusal(
                f"{key} names {source}, which reads what the {what} {own[:12]} gives, and here it is "
                f"{here[:12]}; a rater that was trained beside the same one is legal."
            )
    trained = card.rater.get("group")
    if trained != group and {"compared", "within"} & {trained, group}:  # whose batches are of groups
        raise Refusal(f"{key} names {source}, trained under group {trained}, and here it is {group}; "
                      f"group {trained} is legal.")  # fmt: skip
    try:
        network.load_state_dict(load_file(source / shipped.WEIGHTS))
    except (RuntimeError, SafetensorError) as error:
        words = str(error).splitlines()[-1].strip()
        raise Refusal(
            f"{key} names {source}, which does not fit: {words} A rater of the same trunk is legal."
        ) from None
    return {"carried_from": str(source), "initial_sha256": card.initial_sha256}
