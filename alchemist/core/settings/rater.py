"""What every block of `raters:` holds: what gives the pairs of the pool a rating; higher is kept first.

Each kind adds its own in its file of `alchemist/raters/kinds/`. Which of the classes below it extends says
which list of `grid:` names it and which stage rates by it.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from alchemist.core.settings import Settings


def _whole(value: Any) -> Any:
    if not isinstance(value, int) or isinstance(value, bool):  # true and 1.0 are equal to 1
        raise ValueError("it should be 1 or -1")
    return value


Direction = Annotated[
    Literal[1, -1],
    BeforeValidator(_whole),
    Field(description="1: the larger the measure the better; -1: the smaller the better"),
]


class RaterSettings(Settings):
    """A block of `raters:`; `kind` says which class it is of."""

    named_in: ClassVar[str]  # the list of `grid:`
    kind: str = Field(description="what gives the rating")


class SeededRater(RaterSettings):
    """A rater that trains a proxy, or draws, once a seed: stage rate."""

    named_in: ClassVar[str] = "raters"

    def passes(self) -> int:
        """How often the pool is scored, for the progress bar."""
        return 1

    def proxies(self) -> int:
        """How many proxies are trained plainly, for the plan."""
        return 1


class EmbeddingRater(RaterSettings):
    """A measure by fixed networks: stage embedding."""

    named_in: ClassVar[str] = "embeddings"
    of_all: ClassVar[bool] = False  # whether the ratings are of the features of all pairs at once
    direction: Direction = 1


class HeuristicRater(RaterSettings):
    """A measure of the pixels alone: stage heuristic."""

    named_in: ClassVar[str] = "heuristics"
    direction: Direction = 1


class IndexRater(RaterSettings):
    """A figure of what the pool's index says of the pairs, without their pictures: stage heuristic."""

    named_in: ClassVar[str] = "heuristics"
    columns: ClassVar[tuple[str, ...]]  # of the index
    seed: int = Field(
        default=0, ge=0, description="of the order of equal pairs, which all seeds of the grid share"
    )


class OracleRater(RaterSettings):
    """Planted truth, where a pool has it: stage oracle."""

    named_in: ClassVar[str] = "oracles"


def seeded(settings: RaterSettings) -> bool:
    """Whether the ratings differ with the seed of the grid, so that every seed has a table of its own."""
    return isinstance(settings, SeededRater)


def table_name(rater: str, settings: RaterSettings, seed: int) -> str:
    """Where a rater's table lies in the folder of ratings: RATER/SEED.parquet, or RATER/all.parquet."""
    return f"{rater}/{seed if seeded(settings) else 'all'}.parquet"
