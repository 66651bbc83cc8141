"""What is not here yet: data, weights, licences to accept, memory. Nothing is asked of a hub."""

from pathlib import Path
from typing import cast

from alchemist.core import hub
from alchemist.core import weights as published
from alchemist.core.settings import Settings
from alchemist.core.settings.evaluation import LIT
from alchemist.core.settings.model import classes
from alchemist.core.settings.plan import CardSettings
from alchemist.core.settings.pool import UserPool
from alchemist.core.settings.text import of_family
from alchemist.models.outline import needs
from alchemist.params.whole import Params
from alchemist.plan.work import Work
from alchemist.pools.terms import TERMS
from alchemist.raters.kinds.meta import MetaRater

GIB = 2**30


def missing(params: Params, work: list[Work], assets: Path) -> list[str]:
    """A sentence for each; `assets` is the folder of what the repo holds."""
    return [
        *_data(params),
        *_weights(params, assets),
        *_downloads(params),
        *_memory(work, params.plan.card),
    ]


def _data(params: Params) -> list[str]:
    """Of the pool in force and of those that are splits of it."""
    pool, found = params.pools[params.pool], list[str]()
    others = pool.splits.others().values() if isinstance(pool, UserPool) else ()
    for name in dict.fromkeys([params.pool, *others]):
        block, where = params.pools[name], f"pools.{name}"
        if isinstance(block, UserPool) and not Path(block.path).exists():
            found.append(f"{where}.path is {block.path!r}, which does not exist.")
            if block.format in TERMS:
                found.append(f"{where} is of the format {block.format}: {TERMS[block.format]}")
    return found


def _weights(params: Params, assets: Path) -> list[str]:
    """Of the codecs, text encoders, models and carried raters in use."""
    scale, grid, roles = params.scales[params.scale], params.grid, params.roles
    used = [*grid.whole(), *grid.transfer.models, *([roles.proxy] if grid.raters else [])]
    used += [other.proxy for other in grid.others.values() if other.raters]
    blocks: dict[str, tuple[str, Settings]] = {
        f"models.{name}": (params.models[name].family, params.models[name]) for name in used
    }
    found = []
    for family in grid.families:
        blocks[f"codecs.{family}"] = family, params.codecs[family]
        text = of_family(scale.encode.text, family)
        for weights, file in text.needs():
            found += _absent(f"scales.{params.scale}.encode.text.{family}", weights, file, _terms(family))
    for where, (family, block) in blocks.items():
        for weights, file in needs(family, block):
            found += _absent(where, weights, file, _terms(family))
    for name in grid.raters:
        rater = params.raters[name]
        if isinstance(rater, MetaRater) and rater.weights is not None:
            for seed in grid.seeds:
                path = assets / "raters" / rater.weights / str(seed)
                if not path.is_dir():
                    found.append(f"raters.{name}.weights names {path}, which is missing.")
    return found


def _terms(family: str) -> dict[str, str]:
    """What to accept before a family's published weights may be used, by a part of their name."""
    return cast(dict[str, str], classes(family).LICENCES)


def _absent(where: str, weights: str, file: str, terms: dict[str, str]) -> list[str]:
    """That a file of published weights is not here, and the licence that they have."""
    if published.here(weights, file) is not None:
        return []
    what = f"{where}.weights is {weights!r}"
    if hub.is_name(weights):
        what += f", a repository of the hub whose {file} is not in the cache of this machine"
    else:
        what += ", which does not exist"
    said = next((words for name, words in terms.items() if name in weights), "")
    return [f"{what}{'; ' + said if said else ''}."]


def _downloads(params: Params) -> list[str]:
    """Files that the networks of the evaluation want, and what is fetched when they first run."""
    settings, where = params.scales[params.scale].evaluate, f"scales.{params.scale}.evaluate"
    asked = {"inception" if name.startswith("inception") else name for name in settings.networks} - {"lite0"}
    found = []
    for name in sorted(asked | ({"clip"} if settings.clip != LIT else set())):
        weights = getattr(settings.weights, name)
        if weights is not None and Path(weights).expanduser().exists():
            continue
        if weights is None or hub.is_name(weights):
            of = "those of its release" if weights is None else repr(weights)
            found.append(f"{where}.weights.{name}: {of} are downloaded unless they were before.")
        else:
            found.append(f"{where}.weights.{name} is {weights!r}, which does not exist.")
    return found


def _memory(work: list[Work], card: CardSettings) -> list[str]:
    """Work that does not fit the card, and what of its settings would."""
    found = []
    for one in work:
        if one.memory is None or one.fit is None or one.memory <= card.memory_gib * GIB:
            continue
        now = "null" if one.fit.value is None else one.fit.value
        advice = f"at most {one.fit.most} fits" if one.fit.most else "no value fits: it wants a larger card"
        found.append(
            f"{one.what} takes about {one.memory / GIB:.1f} GiB at its peak; {card.name} has "
            f"{card.memory_gib:g} GiB. {one.fit.key} is {now}; {advice}."
        )
    return found
