"""How many pairs the splits hold: counted where the pool was prepared, or else expected."""

from dataclasses import dataclass
from pathlib import Path

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.settings.pool import PoolSettings, UserPool
from alchemist.pools import emoji
from alchemist.pools.emoji import EmojiPool
from alchemist.pools.read import expected
from alchemist.pools.row import SPLITS
from alchemist.pools.store import CARD, check, lent


@dataclass(frozen=True)
class Pairs:
    """Of each split, and in words where the numbers are from."""

    pool: int
    meta_val: int
    evaluation: int
    scorer: int
    source: str
    pretraining: int = 0
    clean: int = 0
    lent: int = 0  # a person's own pairs in other splits than pool
    lent_scorer: int = 0  # those of the scorer's

    @property
    def rated(self) -> int:
        """Those that every rater rates."""
        return self.pool + self.lent

    @property
    def measured(self) -> int:
        """Those that generators are measured on."""
        return self.evaluation + self.clean

    @property
    def encoded(self) -> int:
        """Those that the stage encode reads."""
        read = self.pool + self.meta_val + self.evaluation + self.pretraining + self.clean
        return read + self.lent_scorer

    @property
    def total(self) -> int:
        """All of them."""
        return self.encoded - self.lent_scorer + self.scorer


def prepared(folder: Path) -> Pairs:
    """Usable pairs of a pool that the stage prepare wrote, by its card."""
    check(folder, tables_alone=True)
    card = files.read_json(folder / CARD)
    own = lent(folder)
    return Pairs(
        **{split: card["counts"].get(split, {}).get("ok", 0) for split in SPLITS},
        source="as prepared",
        lent=sum(own.values()),
        lent_scorer=own.get("scorer", 0),
    )


def planned(name: str, pools: dict[str, PoolSettings]) -> Pairs:
    """Pairs of a pool that was not prepared: what its format expects, or what its block states.

    Raises Refusal where neither says.
    """
    pool = pools[name]
    if isinstance(pool, EmojiPool):
        return Pairs(**emoji.counts(pool), source="as its settings say")
    assert isinstance(pool, UserPool)  # there are no others in the table
    total, source = _count(name, pool)
    total = round(pool.sample * total)
    held = {split: round(share * total) for split, share in pool.splits.shares().items()}
    own, scorer = sum(held.values()), held.get("scorer", 0)
    for split, other in pool.splits.others().items():  # a split that is another pool
        block = pools[other]
        assert isinstance(block, UserPool)  # stage check refuses all else
        held[split] = _count(other, block)[0]
    return Pairs(total - own, **held, source=source, lent=own, lent_scorer=scorer)


def _count(name: str, pool: UserPool) -> tuple[int, str]:
    """All pairs of a pool of files, and where the number is from."""
    there = Path(pool.path).exists()
    if there and (count := expected(pool)) is not None:
        return count, f"counted in {pool.path}"
    if pool.pairs is None:
        why = "whose pairs only reading would count" if there else "which does not exist"
        raise Refusal(
            f"pools.{name}.path is {pool.path!r}, {why}; a plan needs pools.{name}.pairs, their number."
        )
    why = "only reading would count them" if there else "the pool is not there"
    return pool.pairs, f"of {pool.pairs:,} as stated ({why})"
