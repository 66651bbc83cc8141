"""Claims that the figures of the arms decide: C1 to C4, and C8 on transfer.

A judge takes the case, and gives the parts that its claim rests on and a few sentences of why.
"""

from alchemist.analysis.case import Case, compared, ratios_of
from alchemist.analysis.grid import FULL
from alchemist.analysis.parts import Part, beside, compare, lacks, told
from alchemist.analysis.roles import Roles, carried


def c1(case: Case) -> tuple[list[Part], str]:
    """Half of the data, selected, beats all of it."""
    ours = case.roles.alchemist
    if ours is None:
        return [], lacks("the paper's selection (Shift-Gsample on a meta-trained rating with a gate)")
    if 0.5 not in ratios_of(case, ours):
        return [], lacks(f"{ours} at 50 %")
    parts = [part for model in case.study.own() for part in compared(case, ours, FULL, 0.5, model)]
    return parts, told(parts, case.confidence)


def c2(case: Case) -> tuple[list[Part], str]:
    """Selected data beats a random subset, at every ratio and model."""
    ours, theirs = case.roles.alchemist, case.roles.random
    if ours is None or theirs is None or not ratios_of(case, ours, theirs):
        return [], lacks("the paper's selection and a random one of equal size")
    models = [*case.study.own(), *case.study.grid.transfer.models]
    parts = [
        part
        for ratio in ratios_of(case, ours, theirs)
        for model in models
        for part in compared(case, ours, theirs, ratio, model)
    ]
    return parts, told(parts, case.confidence)


def c3(case: Case) -> tuple[list[Part], str]:
    """Shift-Gsample, Gsample and Top-K in turn, at the lowest ratio that has all three."""
    ours, middle, last = case.roles.alchemist, case.roles.gsample, case.roles.topk
    if ours is None or middle is None or last is None or not ratios_of(case, ours, middle, last):
        return [], lacks("Shift-Gsample, Gsample and Top-K on one meta-trained rating at one ratio")
    ratio = ratios_of(case, ours, middle, last)[0]
    parts = compared(case, ours, middle, ratio, case.model) + compared(case, middle, last, ratio, case.model)
    if case.roles.random is not None:
        for name in (ours, middle, last):
            found = compared(case, name, case.roles.random, ratio, case.model)
            parts += [beside(part) for part in found]
    return parts, told(parts, case.confidence)


def c4(case: Case) -> tuple[list[Part], str]:
    """The group gate helps, all else equal."""
    ours, theirs = case.roles.alchemist, case.roles.no_group
    if ours is None or theirs is None or not ratios_of(case, ours, theirs):
        return [], lacks("the paper's selection with and without the Group MLP, all else equal")
    parts = [p for r in ratios_of(case, ours, theirs) for p in compared(case, ours, theirs, r, case.model)]
    return parts, told(parts, case.confidence)


def c8(case: Case) -> tuple[list[Part], str]:
    """Ratings transfer to further models and families, and to pools that their rater has not seen."""
    ours, theirs = case.roles.alchemist, case.roles.random
    if ours is None or theirs is None:
        return [], lacks("the paper's selection and a random one")
    parts = [
        part
        for model in case.study.grid.transfer.models
        for ratio in case.study.grid.transfer.ratios
        for part in compared(case, ours, theirs, ratio, model)
    ]
    across, within, notes = _between_families(case)
    parts += across
    names = carried(case.study, ours)
    moved: list[Part] = []
    anew: list[Part] = []
    between: list[Part] = []
    if case.elsewhere is not None:
        rows = case.elsewhere[case.elsewhere["selection"].isin([ours, *names])]
        others = set(case.study.grid.whole()) - set(case.study.own())
        rows = rows[~rows["model"].isin(others)]
        for pool, ratio, model in rows[["pool", "ratio", "model"]].drop_duplicates().itertuples(index=False):
            there = case.elsewhere[case.elsewhere["pool"] == pool]
            anew += compare(there, case.confidence, ours, theirs, ratio, model, pool)
            for name in names:
                moved += compare(there, case.confidence, name, theirs, ratio, model, pool)
                between += compare(there, case.confidence, name, ours, ratio, model, pool)
    parts += [*moved, *map(beside, [*within, *anew, *between])]
    if not parts:
        return [], lacks("further models on both subsets, or tables of another pool with two seeds")
    why = told(parts, case.confidence) + notes
    if moved:
        why += " On another pool decides a rating that was carried: its rater was trained elsewhere."
    if anew:
        why += (
            f" For {ours} on another pool the rater was trained anew: the method moves there, no rating "
            "does, so it stands beside."
        )
    return parts, why


def _between_families(case: Case) -> tuple[list[Part], list[Part], str]:
    """Each family's rating on the models of the others, then on its own where it is not the main one.

    With a sentence on what decides. Nothing where the grid is of one family.
    """
    grid, across, within, words = case.study.grid, list[Part](), list[Part](), list[str]()
    main = grid.family_of(grid.main)
    for family in grid.families:
        roles = Roles.of(case.study, family)
        if roles.alchemist is None or roles.random is None:
            continue
        for model in grid.whole():
            of = grid.family_of(model)
            if of == family == main:
                continue  # the method on its own family, which C2 is about
            found = [
                part
                for ratio in ratios_of(case, roles.alchemist, roles.random)
                for part in compared(case, roles.alchemist, roles.random, ratio, model)
            ]
            (within if of == family else across).extend(found)
            if found and of != family:
                words.append(f"ratings of the family {family} on the {of} model {model}")
    return across, within, f" Across families decide {' and '.join(words)}." if words else ""
