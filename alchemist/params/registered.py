"""A registered study by its block of `studies:`: what it sets for each run, and what decides of it."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from alchemist.core.leaves import leaves
from alchemist.core.refusal import Refusal
from alchemist.core.settings import legal
from alchemist.core.settings.study import StudySettings
from alchemist.core.shown import shown
from alchemist.params.inherit import inherited
from alchemist.params.sources import sources
from alchemist.params.whole import Params
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.table import LISTS

CLEARED = (
    "grid.embeddings", "grid.heuristics", "grid.oracles", "grid.raters",
    "grid.transfer.selections", "grid.transfer.ratios", "grid.transfer.models",
)  # fmt: skip


def check_study(params: Params, name: str) -> None:
    """Refuses a block whose names are of no block of params.yaml."""
    study, where = params.studies[name], f"studies.{name}"
    for key, names, known in (
        ("pools", study.pools, params.pools),
        ("carried_from", [study.carried_from] if study.carried_from else [], params.pools),
        (
            "seeds.shared_with",
            [study.seeds.shared_with] if study.seeds.shared_with else [],
            [other for other in params.studies if other != name],
        ),
        ("models", study.models, params.models),
        ("scale", [study.scale], params.scales),
        ("arms", study.arms, params.selections),
        ("further.selections", study.further.selections, params.selections),
    ):
        for one in names:
            legal.one_of(f"{where}.{key}", one, known)
    if study.seeds.shared_with and (
        own := set(study.seeds.all()) - set(params.studies[study.seeds.shared_with].seeds.all())
    ):
        raise Refusal(
            f"{where}.seeds.shared_with is {study.seeds.shared_with!r}, which has not the seed {min(own)}; "
            "a study that has all of them is legal."
        )
    for at, block in {"values": study.values, **{f"pools.{p}": b for p, b in study.pools.items()}}.items():
        for key, value in leaves(block):
            if _is_role(key):
                legal.one_of(f"{where}.{at}.{key}", value, params.models)
            is_list = key.split(".")[0] == "grid" and not key.startswith("grid.others.")
            if is_list or key.split(".")[0] in ("pool", "scale", "studies"):
                raise Refusal(
                    f"{where}.{at} has {key}, which the study sets by its own keys; any other key of "
                    "params.yaml is legal."
                )
    for claim in study.claims:
        asked = study.claim(claim)
        for key, one, known_arms in (
            ("arm", asked.arm, list(params.selections)),
            ("against", asked.against, [*params.selections, "full"]),
        ):
            legal.one_of(f"{where}.claims.{claim}.{key}", one, known_arms)
        legal.one_of(f"{where}.claims.{claim}.model", asked.model, study.models)
        for side in (asked.arm, asked.against):
            ratios = [ratio for name, ratio in study.arms_of() if name == side]
            if side != "full" and asked.ratio not in ratios:
                raise Refusal(
                    f"{where}.claims.{claim}.ratio is {shown(asked.ratio)}; of {side} legal is "
                    f"{', '.join(map(str, ratios))}."
                )


def values(
    params: Params, study: StudySettings, pool: str, seeds: Iterable[int], carries: bool = False
) -> list[str]:
    """KEY=VALUE of all that the study sets of params.yaml for these seeds on one pool.

    `carries`: the raters that are `carried` are trained there. A model of another family than the proxy's
    stands in the lists of its own, and so does a rater that the study names in `grid.others.FAMILY.raters`.
    """
    own = study.laid(pool)
    home = params.models[own.get("roles.proxy", params.roles.proxy)].family
    elsewhere = {f: own.get(f"grid.others.{f}.raters") or [] for f in params.grid.others}
    models: dict[str, list[str]] = {}
    for model in study.models:
        models.setdefault(params.models[model].family, []).append(model)
    lists: dict[str, list[str]] = {}
    for rater in _raters(params, study):
        if not any(rater in raters for raters in elsewhere.values()):
            lists.setdefault(f"grid.{LISTS[params.raters[rater].kind]}", []).append(rater)
    set_here: dict[str, Any] = {
        "pool": pool,
        "scale": study.scale,
        **{key: [] for key in CLEARED},
        **lists,
        "grid.families": [
            f
            for f in dict.fromkeys([home, *params.grid.others])
            if models.get(f) or elsewhere.get(f) or (f == home and "grid.raters" in lists)
        ],
        "grid.selections": study.selections(),
        "grid.ratios": list(study.ratios),
        "grid.models": models.get(home, []),
        "grid.seeds": list(seeds),
        "grid.ablation.selections": list(study.further.selections),
        "grid.ablation.ratios": list(study.further.ratios),
        **{f"grid.others.{f}.raters": [] for f in params.grid.others},
        **{f"grid.others.{f}.models": models.get(f, []) for f in params.grid.others},
        "statistics.primary": None,
        "statistics.secondary": [],
        **study.values,
        **study.pools.get(pool, {}),
        **({f"raters.{rater}.weights": None for rater in carried(params, study)} if carries else {}),
    }
    # A block of values would be no legal text for DVC, so each of its leaves is set.
    each = dict(leaf for key, part in set_here.items() for leaf in leaves(part, key))
    return [f"++{key}={json.dumps(value)}" for key, value in each.items()]


def carried(params: Params, study: StudySettings) -> dict[str, str]:
    """The raters that the study trains on the pool `carried_from`, each with the name of its weights."""
    if study.carried_from is None:
        return {}
    used = {name: params.raters[name] for name in _raters(params, study)}
    return {name: one.weights for name, one in used.items() if isinstance(one, MetaRater) and one.weights}


def _raters(params: Params, study: StudySettings) -> list[str]:
    """The raters of its selections, each once."""
    return list(dict.fromkeys(params.selections[name].rater for name in study.every()))


RULE = ("claims", "primary", "metric", "point", "margins", "confidence", "looks", "seeds")  # of a verdict


def decides(given: dict[str, Any], name: str) -> dict[str, Any]:
    """What decides of a study, by params.yaml as it stands, with all blocks whole.

    `rule` makes verdicts of figures; `run` makes the figures: `study`, what else its block says, and
    `blocks`, those that it names. Code decides too: of that the commit tells.
    """
    whole = inherited(given)
    block = StudySettings.model_validate_json(json.dumps(whole["studies"][name]))
    study = block.model_dump(mode="json") | {"margins": block.margins.named()}
    study["seeds"].pop("part")  # how many are run at once decides nothing
    if block.carried_from is None:  # as it was registered where there was no such key
        study.pop("carried_from")
    if block.seeds.shared_with is None:
        study["seeds"].pop("shared_with")
    used = block.every()
    raters = dict.fromkeys(whole["selections"][selection]["rater"] for selection in used)
    pools = sources(whole["pools"])
    laid = [item for pool in block.pools for item in block.laid(pool).items()]
    splits = [str(value) for key, value in laid if re.fullmatch(r"pools\.\w+\.splits\.\w+\.pool", key)]
    used_pools = dict.fromkeys([*block.pools, *([block.carried_from] if block.carried_from else []), *splits])
    return {
        "question": study.pop("question"),
        "rule": {key: study.pop(key) for key in RULE},
        "run": {
            "study": study,
            "blocks": {
                "pools": {pool: pools[pool] for pool in used_pools},
                "copies": {pool: whole["pools"][pool].get("copies", {}) for pool in used_pools},
                "scale": whole["scales"][block.scale],
                "models": {model: whole["models"][model] for model in block.models},
                "roles": {role: whole["models"][model] for role, model in _roles(whole, block).items()},
                "codecs": whole["codecs"],
                "selections": {selection: whole["selections"][selection] for selection in used},
                "raters": {rater: whole["raters"][rater] for rater in raters},
            },
        },
    }


def _is_role(key: str) -> bool:
    """Whether a key of params.yaml names the model of a role: of the main family, or of one beside it."""
    within = key.split(".")
    return within[0] == "roles" or (within[:2] == ["grid", "others"] and within[3:] in (["proxy"], ["rater"]))


def _roles(whole: Mapping[str, Any], study: StudySettings) -> dict[str, str]:
    """The model of each role as the study sets it; what it sets on one pool alone, by the pool's name too.

    Of a further family of which it sets anything, both roles.
    """
    found = dict(whole["roles"])
    for where, values in [("", study.values), *((f" on {pool}", own) for pool, own in study.pools.items())]:
        own = dict(leaves(values))
        families = {key.split(".")[2] for key in own if key.startswith("grid.others.")}
        others = {family: whole["grid"]["others"].get(family, {}) for family in families}
        for key, model in {**dict(leaves(others, "grid.others")), **own}.items():
            if _is_role(key):
                found[key.removeprefix("roles.") + where] = model
    return found


def study_of(found: dict[str, Any], rule: dict[str, Any] | None = None) -> StudySettings:
    """The block that `decides` gave back, or that with another rule."""
    whole = {"question": found["question"], **found["run"]["study"], **(rule or found["rule"])}
    return StudySettings.model_validate_json(json.dumps(whole))


_NOTHING = object()


def changed(before: Any, after: Any) -> list[str]:
    """What differs, a line a value: KEY: was OLD, is NEW.

    What one of both lacks is absent there; of what became a block, its keys are told.
    """
    old, new = dict(leaves(before)), dict(leaves(after))

    def told(found: dict[str, Any], key: str) -> str:
        if key in found:
            return shown(found[key])
        return "a block" if any(one.startswith(f"{key}.") for one in found) else "absent"

    return [
        f"{key}: was {told(old, key)}, is {told(new, key)}"
        for key in sorted({*old, *new})
        if old.get(key, _NOTHING) != new.get(key, _NOTHING)
    ]
