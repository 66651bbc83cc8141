"""The blocks `roles` and `grid`: which models play which part, and which cells there are."""

from typing import Any

from pydantic import Field, field_validator

from alchemist.settings import Settings


class RolesSettings(Settings):
    """Which models play which part in rating."""

    proxy: str = Field(description="model whose losses are the credits")
    rater: str = Field(description="model whose trunk the rater has")


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

    @field_validator("ratios", check_fields=False)
    @classmethod
    def _shares(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < value < 1 for value in values):
            raise ValueError(
                "ratios should be larger than 0 and smaller than 1; the full data has its own cells"
            )
        return values


class AblationSettings(_Lists):
    """Further selections at ratios of their own, for the models and seeds of the grid."""

    selections: tuple[str, ...]
    ratios: tuple[float, ...]


class TransferSettings(_Lists):
    """Subsets of the grid on which further models are trained, for the seeds of the grid."""

    selections: tuple[str, ...]
    ratios: tuple[float, ...]
    models: tuple[str, ...]


class GridSettings(_Lists):
    """The cells: selections x ratios x models x seeds, and the full data for models x seeds.

    `seeds` are those of raters, samplers and training alike: the arms of one seed are a pair.
    """

    selections: tuple[str, ...] = Field(min_length=1)
    raters: tuple[str, ...] = Field(description="raters that train a proxy, or draw, once a seed")
    embeddings: tuple[str, ...] = Field(description="raters on the features of fixed networks")
    heuristics: tuple[str, ...] = Field(description="raters on pixels alone")
    oracles: tuple[str, ...] = Field(description="those that read planted truth")
    ratios: tuple[float, ...] = Field(min_length=1)
    models: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    ablation: AblationSettings
    transfer: TransferSettings

    @field_validator("seeds")
    @classmethod
    def _natural(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if not all(value >= 0 for value in values):
            raise ValueError("seeds should be whole numbers from 0")
        return values

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
