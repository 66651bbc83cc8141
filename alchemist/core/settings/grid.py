"""The blocks `roles` and `grid`: which models play which part, and which cells there are.

dvc.yaml reads every list of the grid by its name, so none has a default: [] stands where there is nothing.
A grid is of one family of models, and may have others beside it.
"""

from typing import Annotated, Any

from pydantic import Field, field_validator

from alchemist.core.settings import Settings

Ratio = Annotated[float, Field(gt=0, lt=1)]
RatioOrAll = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0)]


class RolesSettings(Settings):
    """Which models play which part in rating."""

    proxy: str = Field(description="a block of models, whose losses are the credits")
    rater: str = Field(description="a block of models, whose trunk the rater has")


class _Lists(Settings):
    """Lists whose every combination is a cell."""

    @field_validator("*")
    @classmethod
    def _distinct(cls, values: Any) -> Any:
        # DVC makes one cell of two equal names, without a word.
        if isinstance(values, tuple):
            twice = sorted({str(v) for v in values if [str(w) for w in values].count(str(v)) > 1})
            if twice:
                raise ValueError(
                    f"each name should stand there once, and {', '.join(twice)} stands there twice"
                )
        return values


class AblationSettings(_Lists):
    """Further selections at ratios of their own, for the models and seeds of the grid."""

    selections: tuple[str, ...] = Field(description="blocks of selections")
    ratios: tuple[RatioOrAll, ...] = Field(
        description="shares of the pool that they keep; 1.0 where all of them have a value `least`"
    )


class TransferSettings(_Lists):
    """Subsets of the grid on which further models are trained, for the seeds of the grid."""

    selections: tuple[str, ...] = Field(description="blocks of selections, which the grid has")
    ratios: tuple[RatioOrAll, ...] = Field(description="shares of the pool, which the grid has")
    models: tuple[str, ...] = Field(description="blocks of models, which the grid does not have")


class OtherSettings(_Lists):
    """`grid.others.FAMILY`: a family beside that of `roles` and `grid.models`.

    What rates by its proxy, and its models, which are trained on every subset of `grid.selections` x
    `grid.ratios` and on the full data, whatever family rated: from random or published weights, or as
    adapters on a network that the stage pretrain trains once, as the block of the model says.
    """

    proxy: str = Field(description="a block of models of this family, whose losses are the credits")
    rater: str = Field(description="a block of models of this family, whose trunk the rater has")
    raters: tuple[str, ...] = Field(description="blocks of raters, none of them in grid.raters")
    models: tuple[str, ...] = Field(description="blocks of models of this family")


class GridSettings(_Lists):
    """The cells: selections x ratios x models x seeds, and the full data for models x seeds.

    `seeds` are those of raters, samplers and training alike: the arms of one seed are a pair.
    """

    families: tuple[str, ...] = Field(
        min_length=1, description="families with a rater or a model in the grid: each is encoded once"
    )
    selections: tuple[str, ...] = Field(min_length=1, description="blocks of selections")
    raters: tuple[str, ...] = Field(description="blocks of raters that train a proxy, or draw, once a seed")
    embeddings: tuple[str, ...] = Field(description="blocks of raters on the features of fixed networks")
    heuristics: tuple[str, ...] = Field(description="blocks of raters on pixels alone")
    oracles: tuple[str, ...] = Field(description="blocks of raters that read planted truth")
    ratios: tuple[Ratio, ...] = Field(
        min_length=1, description="shares of the pool that a selection keeps; the full data has its own cells"
    )
    models: tuple[str, ...] = Field(description="blocks of models of the family of roles.proxy")
    seeds: tuple[Seed, ...] = Field(min_length=1, description="of raters, samplers and training alike")
    ablation: AblationSettings = Field(description="further selections at ratios of their own")
    transfer: TransferSettings = Field(description="further models on subsets of the grid")
    others: dict[str, OtherSettings] = Field(description="further families, by their names")

    def whole(self) -> list[str]:
        """Models that are trained on every subset of the grid and on the full data: the others' last."""
        return [*self.models, *(name for other in self.others.values() for name in other.models)]

    def runs(self) -> list[tuple[str, float, str]]:
        """Selection, ratio and model of every cell but those of the full data."""
        others = [name for name in self.whole() if name not in self.models]
        arms, ratios = self.arms(), sorted(self.ratios, reverse=True)
        out = [(name, ratio, model) for name, ratio in arms for model in self.models]
        out += [(name, ratio, model) for ratio in ratios for name in self.selections for model in others]
        moved = self.transfer
        return out + [(n, r, m) for n in moved.selections for r in moved.ratios for m in moved.models]

    def lacks(self, arm: str, against: str, ratio: float | None, model: str | None) -> str | None:
        """Which side of a comparison, `arm` or `against`, has no cell; None where both have."""
        for side, selection in (("arm", arm), ("against", against)):
            is_full = (side, selection) == ("against", "full") and model in self.whole()
            if not is_full and (selection, ratio, model) not in self.runs():
                return side
        return None

    @property
    def main(self) -> str:
        """The first of those models, for what is said of one."""
        return self.whole()[0]

    @property
    def home(self) -> str:
        """The family of `models` and `raters`; where both are empty, that of the main model."""
        return next((name for name in self.families if name not in self.others), self.families[0])

    def family_of(self, model: str) -> str:
        """The family of a model that a cell trains."""
        return next((name for name, other in self.others.items() if model in other.models), self.home)

    def rated_by(self, rater: str) -> str | None:
        """The family whose proxy a rater is trained with; None for one that trains none."""
        if rater in self.raters:
            return self.home
        return next((name for name, other in self.others.items() if rater in other.raters), None)

    def rated(self) -> list[str]:
        """Every rater that the grid names."""
        others = (name for other in self.others.values() for name in other.raters)
        return [*self.raters, *self.embeddings, *self.heuristics, *self.oracles, *others]

    def arms(self) -> list[tuple[str, float]]:
        """Selections x ratios with a subset of their own, ratios falling; those of the ablation last."""
        return [
            (name, ratio)
            for part in (self, self.ablation)
            for ratio in sorted(part.ratios, reverse=True)
            for name in part.selections
        ]

    def chosen(self) -> list[str]:
        """Every selection that a cell uses."""
        return list(dict.fromkeys([*self.selections, *self.ablation.selections]))
