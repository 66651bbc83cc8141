"""The blocks `studies.NAME`: what a study says before its run, so that nobody can say it afterwards."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from alchemist.core.leaves import leaves
from alchemist.core.settings import Settings
from alchemist.core.settings.contrast import Metric
from alchemist.core.settings.grid import AblationSettings

Point = Literal["equal_epochs", "equal_images", "best", "equal_cost"]
Margin = Annotated[float, Field(gt=0)] | None  # null: no verdict is read in it

FURTHER: Any = Field(default=None, description="the figure of that name, of evaluate.further")


class SeedsSettings(Settings):
    """Seeds of a study: `count` in a row, none of which may have served to choose anything."""

    first: int = Field(ge=0, description="the first of them")
    count: int = Field(ge=2, description="how many there are in the end")
    part: int = Field(default=4, ge=1, description="how many are run at once, whose figures are then kept")
    shared_with: str | None = Field(
        default=None,
        description="a study that has them too, whose cells or ratings it may take; it chose nothing here",
    )

    def all(self) -> tuple[int, ...]:
        """Every seed."""
        return tuple(range(self.first, self.first + self.count))

    def parts(self) -> list[tuple[int, ...]]:
        """The seeds of each part."""
        every = self.all()
        return [every[at : at + self.part] for at in range(0, len(every), self.part)]


class MarginsSettings(Settings):
    """Differences below which two arms count as equal, in the figure's unit, by metric.

    Verdicts are read in the metrics that have one, and all but the one that decides stand beside.
    """

    fd: Margin = Field(default=None, description="Fréchet distance, of the network evaluate.features")
    fd_coded: Margin = Field(default=None, description="the same, references through the image codec")
    kid: Margin = Field(default=None, description="kernel distance")
    clip: Margin = Field(default=None, description="CLIP-Score")
    nll: Margin = Field(default=None, description="loss of held-out pairs, of families with a likelihood")
    fd_lite0: Margin = FURTHER
    kid_lite0: Margin = FURTHER
    fid_pytorch: Margin = FURTHER
    kid_pytorch: Margin = FURTHER
    fid_clean: Margin = FURTHER
    kid_clean: Margin = FURTHER
    fd_dinov2_vitl14: Margin = FURTHER
    kid_dinov2_vitl14: Margin = FURTHER
    fd_dinov2_vitb14: Margin = FURTHER
    kid_dinov2_vitb14: Margin = FURTHER
    cmmd: Margin = FURTHER

    def named(self) -> dict[str, float]:
        """Those that there are, by metric."""
        return {name: margin for name, margin in self if margin is not None}


class ClaimSettings(Settings):
    """One claim: that `arm` is better than `against`."""

    says: str = Field(min_length=1, description="the claim in one sentence")
    arm: str = Field(min_length=1, description="a selection")
    against: str = Field(min_length=1, description="another selection at the same ratio, or full")
    ratio: float | None = Field(
        default=None, gt=0, le=1, description="share of the pool; null: the first of the study's ratios"
    )
    model: str | None = Field(default=None, description="null: the first of the study's models")
    metric: Metric | None = Field(default=None, description="that decides; null: that of the study")
    point: Point | None = Field(default=None, description="that decides; null: that of the study")


class StudySettings(Settings):
    """A registered study: question, arms, budget, seeds, and the rule by which it ends.

    A claim is verified where the interval of its difference lies on its side of zero, falsified where the
    difference is shown to be less than the margin on that side, or on the other side, else inconclusive
    (`alchemist.analysis.outcomes`). The primary claim stands alone, the others share Holm's correction.
    """

    question: str = Field(min_length=1, description="what it asks, in a sentence")
    pools: dict[str, dict[str, Any]] = Field(
        min_length=1, description="blocks of pools, each with the values set for it alone, by dotted keys"
    )
    values: dict[str, Any] = Field(default={}, description="values set for all of it, by dotted keys")
    scale: str = Field(description="a block of scales: its budget")
    models: tuple[str, ...] = Field(min_length=1, description="blocks of models")
    ratios: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        min_length=1, description="retention ratios"
    )
    arms: tuple[str, ...] = Field(
        default=(), description="selections at all ratios beside those that the claims name"
    )
    further: AblationSettings = Field(
        default=AblationSettings(selections=(), ratios=()),
        description="further selections at ratios of their own, as the ablation of a grid",
    )
    carried_from: str | None = Field(
        default=None,
        description="a block of pools, on which raters with weights are trained first, by each seed; null: "
        "assets/raters has them",
    )
    seeds: SeedsSettings = Field(description="fresh ones")
    looks: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        min_length=1,
        description="at how many seeds verdicts are read, rising; the last is all of them, and the errors "
        "allowed are divided evenly among the looks",
    )
    metric: Metric = Field(description="the figure that decides")
    point: Point = Field(
        description="the checkpoint that decides; equal_cost: of each arm the last measured one until which "
        "rating and training take no more operations than training on everything"
    )
    margins: MarginsSettings = Field(description="by metric: below which difference two arms count as equal")
    confidence: float = Field(
        default=0.95, gt=0.5, lt=1, description="of the intervals, before Holm and looks"
    )
    primary: str = Field(min_length=1, description="the claim that stands alone")
    claims: dict[str, ClaimSettings] = Field(min_length=1, description="claims by their names")

    @field_validator("looks")
    @classmethod
    def _rising(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("each should be larger than the one before")
        return value

    @model_validator(mode="after")
    def _together(self) -> "StudySettings":
        if self.looks[-1] != self.seeds.count:
            raise ValueError("the last of looks should be seeds.count")
        if self.primary not in self.claims:
            raise ValueError(f"primary should be one of claims, as {next(iter(self.claims))}")
        for name, claim in self.claims.items():
            if (metric := claim.metric or self.metric) not in self.margins.named():
                raise ValueError(f"margins should have {metric}, which decides claims.{name}")
            if claim.arm == claim.against:
                raise ValueError(f"claims.{name}.against should be another arm than {claim.arm}")
        return self

    def claim(self, name: str) -> ClaimSettings:
        """A claim with the study's ratio, model, metric and point where it names none."""
        own = self.claims[name]
        return own.model_copy(
            update={
                "ratio": own.ratio or self.ratios[0],
                "model": own.model or self.models[0],
                "metric": own.metric or self.metric,
                "point": own.point or self.point,
            }
        )

    def laid(self, pool: str) -> dict[str, Any]:
        """Every value that it sets on a pool, by its whole dotted key."""
        return dict(leaves(self.values)) | dict(leaves(self.pools.get(pool, {})))

    def is_at(self, point: Point) -> bool:
        """Whether a claim is decided there."""
        return any(self.claim(name).point == point for name in self.claims)

    def selections(self) -> list[str]:
        """Every selection at the study's ratios, those of the claims first; without the full data.

        A selection of `further` has them too where a claim at one of them or `arms` names it.
        """
        asked = [self.claim(name) for name in self.claims]
        named = [side for one in asked if one.ratio in self.ratios for side in (one.arm, one.against)]
        return [name for name in dict.fromkeys([*named, *self.arms]) if name != "full"]

    def every(self) -> list[str]:
        """Every selection at any ratio, those of the study's ratios first; without the full data."""
        return list(dict.fromkeys([*self.selections(), *self.further.selections]))

    def arms_of(self) -> list[tuple[str, float]]:
        """Every selection with every ratio that it has."""
        out = [(name, ratio) for name in self.selections() for ratio in self.ratios]
        return out + [(name, ratio) for name in self.further.selections for ratio in self.further.ratios]
