"""What must fit together where cells adapt a network that the stage pretrain trains once."""

import re

from alchemist.core.refusal import Refusal
from alchemist.core.settings.pool import UserPool
from alchemist.params.families import models_named
from alchemist.params.whole import Params
from alchemist.pools.emoji import EmojiPool


def check_adapted(params: Params) -> None:
    """Models that adapt are those of other families, and pretrained on something. Raises Refusal if not."""
    uses = [("roles.proxy", params.roles.proxy, None), *models_named(params)]
    adapted = [(key, name) for key, name, _ in uses if params.models[name].adapts]
    for key, name in adapted:
        if not re.fullmatch(r"grid\.others\.\w+\.models", key):
            raise Refusal(
                f"{key} holds {name}, whose weights are pretrained here; such a model stands in the list "
                "models of its family in grid.others."
            )
    if not adapted:
        return
    first, where = adapted[0][1], f"scales.{params.scale}.pretrain"
    budget = params.scales[params.scale].pretrain
    if budget is None:
        raise Refusal(f"{where} is missing; the grid adapts {first}, and its network is trained by that.")
    pool, key = params.pools[params.pool], f"pools.{params.pool}"
    if isinstance(pool, EmojiPool):
        pairs, key, should = pool.pretraining.pairs, f"{key}.pretraining.pairs", "at least {batch}"
    else:
        assert isinstance(pool, UserPool)  # there are no others in the table
        key, should = f"{key}.splits.pretraining", "a share or {{pool: NAME}}"
        pairs = budget.batch if pool.splits.pretraining != 0 else 0  # how many is known once it was read
    if pairs == 0:
        raise Refusal(
            f"{key} is 0, and the grid adapts {first}, whose network is trained on that split; it should be "
            f"{should.format(batch=budget.batch)}."
        )
    if pairs < budget.batch:
        raise Refusal(f"{where}.batch is {budget.batch}; at most {key} ({pairs}) is legal.")
