"""What must fit together in a grid of one family of models, or of several."""

from alchemist.core.refusal import Refusal
from alchemist.core.settings import legal
from alchemist.core.settings.grid import GridSettings
from alchemist.core.settings.model import families
from alchemist.core.shown import shown
from alchemist.params.whole import Params
from alchemist.raters.table import LISTS


def models_named(params: Params) -> list[tuple[str, str, str | None]]:
    """Key, name and family of every model that the roles and the grid name; None: that of roles.proxy."""
    grid = params.grid
    uses: list[tuple[str, str, str | None]] = [("roles.rater", params.roles.rater, None)]
    uses += [("grid.models", name, None) for name in grid.models]
    uses += [("grid.transfer.models", name, None) for name in grid.transfer.models]
    for family, other in grid.others.items():
        where = f"grid.others.{family}"
        uses += [(f"{where}.proxy", other.proxy, family), (f"{where}.rater", other.rater, family)]
        uses += [(f"{where}.models", name, family) for name in other.models]
    return uses


def rater_lists(grid: GridSettings) -> dict[str, tuple[str, ...]]:
    """The lists that name raters, by their keys; the last part of a key is what kinds are named there."""
    lists = {f"grid.{key}": getattr(grid, key) for key in dict.fromkeys(LISTS.values())}
    return lists | {f"grid.others.{family}.raters": other.raters for family, other in grid.others.items()}


def check_families(params: Params) -> None:
    """Models and raters stand in the lists of their families. Raises Refusal with the first mistake."""
    grid, first = params.grid, params.roles.proxy
    for name in grid.families:
        if name not in families():
            raise Refusal(legal.wrong_value("grid.families", name, families()))
    for name in grid.others:
        if name not in families():
            raise Refusal(legal.wrong_key(f"grid.others.{name}", name, families()))
    own = params.models[first].family
    for key, name, family in models_named(params):
        if (found := params.models[name].family) != (family or own):
            of = f"grid.others.{family}" if family else f"roles.proxy ({first})"
            raise Refusal(
                f"{key} holds {name} of the family {found}; {of} is of the family {family or own}, and a "
                "list has models of one family."
            )
    if own in grid.others:
        raise Refusal(
            f"grid.others has {own}, which is the family of roles.proxy ({first}); leave it out there."
        )
    lists = rater_lists(grid)
    for family, other in grid.others.items():
        for name in other.raters:
            keys = [key for key, names in lists.items() if name in names]
            if len(keys) > 1:
                raise Refusal(
                    f"{keys[-1]} holds {name}, which is in {keys[0]} already; a rating of another family is "
                    f"a block of its own, as {name}_{family}: {{base: {name}}}."
                )
    if not grid.whole():
        raise Refusal("grid.models is []; it should hold a block of models, or else a list of grid.others.")
    _in_use(params, own)


def _in_use(params: Params, own: str) -> None:
    """What is in use is in grid.families, and the other way round; it has a codec, and its models a law."""
    grid = params.grid
    models = {own: [*grid.models, *grid.transfer.models]}
    models |= {family: list(other.models) for family, other in grid.others.items()}
    raters = {own: grid.raters} | {family: other.raters for family, other in grid.others.items()}
    for family, names in models.items():
        used = [*names, *raters[family]]
        if used and family not in grid.families:
            raise Refusal(
                f"grid.families is {shown(grid.families)}; it should hold {family} too, because the "
                f"grid has {used[0]} of that family."
            )
        if names and family not in params.scales[params.scale].sample:
            raise Refusal(
                f"scales.{params.scale}.sample.{family} is missing; models of the family {family} need it."
            )
    for family in grid.families:
        if not models.get(family) and not raters.get(family):
            raise Refusal(
                f"grid.families holds {family}, of which the grid has no rater and no model; leave it out."
            )
        if family not in params.codecs:
            raise Refusal(
                f"codecs.{family} is missing; the family {family}, which grid.families has, needs it."
            )
