import pytest
from pool_helpers import NO_SPLITS, emoji_pool, user_pool
from pydantic import ValidationError

from alchemist.core.refusal import Refusal
from alchemist.pools.emoji import EmojiPool
from alchemist.pools.parquet import ParquetPool


def test_settings_pick_their_class():
    assert isinstance(emoji_pool(), EmojiPool)
    assert isinstance(user_pool("x", "parquet"), ParquetPool)


@pytest.mark.parametrize(
    ("make", "changes", "words"),
    [
        (
            emoji_pool,
            {"format": "zip"},
            "format is 'zip'; legal values are emoji, folder, webdataset, parquet",
        ),
        (emoji_pool, {"format": ["emoji"]}, "legal values are emoji"),
        (emoji_pool, {"resolution": 30}, "pools.emoji.resolution is 30"),
        (emoji_pool, {"resolution": 132}, "pools.emoji.resolution is 132"),
        (emoji_pool, {"concepts": 2}, "pools.emoji.concepts is 2"),
        (emoji_pool, {"typo": 1}, "pools.emoji.typo is not a known key"),
        (emoji_pool, {"evaluation": {"pairs": 0}}, "pools.emoji.evaluation.pairs is 0"),
        (user_pool, {"licence": "  "}, "pools.mine.licence is '  '"),
        (user_pool, {"splits": {**NO_SPLITS, "scorer": 1.0}}, "pools.mine.splits.scorer is 1.0"),
        (
            user_pool,
            {"splits": {"meta_validation": 0.5, "evaluation": 0.3, "scorer": 0.2}},
            "sum to less than 1",
        ),
        (user_pool, {"source": "parquet", "columns": None}, "keys image, caption, id"),
        (user_pool, {"columns": {"image": "a"}}, "pools.mine.columns is not a known key; legal keys are"),
        (user_pool, {"source": "webdataset", "group": "parent"}, "pools.mine.group is not a known key"),
    ],
)
def test_mistakes_are_told_in_a_sentence(make, changes, words):
    arguments = () if make is emoji_pool else ("x",)
    with pytest.raises(Refusal, match=words) as told:
        make(*arguments, **changes)
    assert "\n" not in str(told.value)
    assert not isinstance(told.value, ValidationError)


def test_shares_that_do_not_sum_to_one_are_refused_with_their_sum():
    shares = emoji_pool().shares.model_dump()
    with pytest.raises(Refusal, match=r"pools.emoji.shares .* should sum to 1, and they sum to 0.9"):
        emoji_pool(shares={**shares, "plain": 0.2})
