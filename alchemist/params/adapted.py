"""What must fit together where cells adapt a network that the stage pretrain trains once."""

from alchemist.core.refusal import Refusal
from alchemist.core.settings.pool import UserPool
from alchemist.params.families import models_named
from alchemist.params.whole import Params
from alchemist.pools.emoji import EmojiPool


def check_adapted(params: Params) -> None:
    """Models that adapt stand in their list, and are pretrained on something. Raises Refusal if not."""
    for key, name, _ in [("roles.proxy", params.roles.proxy, None), *models_named(params)]:
        listed = key.endswith(".adapted")
        if params.models[name].adapts and not listed:
            raise Refusal(
                f"{key} holds {name}, whose weights are pretrained here; such a model stands in the list "
                "adapted of its family in grid.others."
            )
        if listed and not params.models[name].adapts:
            raise Refusal(
                f"{key} holds {name}, which adapts nothing; models.{name} should have weights: pretrained, "
                "and the adapters that are trained."
            )
    if not params.grid.adapted():
        return
    first, where = params.grid.adapted()[0], f"scales.{params.scale}.pretrain"
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
