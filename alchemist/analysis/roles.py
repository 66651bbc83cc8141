"""Which selection of a grid plays which part, found by the settings of rater and sampler, never by name.

The one rule of it, for the report and for the claims: whatever speaks of the paper's method, of the random
subset or of a control asks `Roles.of`, so that two places cannot mean two arms by one word.
"""

from dataclasses import dataclass

from alchemist.analysis.grid import Study
from alchemist.core.settings.rater import RaterSettings
from alchemist.core.settings.selection import SelectionSettings
from alchemist.raters.kinds.loss import LossRater
from alchemist.raters.kinds.meta import MetaRater


@dataclass(frozen=True)
class Roles:
    """Selections of the grid by what they are; None where the grid has none.

    All of one family's ratings, or of raters without a proxy: an arm on the rating of one family and its
    control on that of another would be no pair.
    """

    alchemist: str | None  # the paper's: meta, trained here, credit penalty, a group gate, Shift-Gsample
    no_group: str | None  # the same without the gate
    gsample: str | None  # the same rater, other samplers
    topk: str | None
    loss: str | None  # low loss first, the sampler of alchemist
    random: str | None
    nearest: str | None  # alchemist where the main grid has it, or else as near to it as that grid has

    @classmethod
    def of(cls, study: Study, family: str | None = None) -> "Roles":
        """The part that every selection plays whose rater has a proxy of a family; None: the main model's.

        Of several that fit, the gate as in the paper (`group: product`) comes first, then samplers
        without values of their own, then the order of the grid.
        """
        family = study.grid.family_of(study.grid.main) if family is None else family
        chosen = {
            name: study.selections[name]
            for name in study.grid.chosen()
            if study.rated_by(name) in (None, family)
        }
        raters = {name: study.raters[selection.rater] for name, selection in chosen.items()}
        far = {
            name: distance
            for name, selection in chosen.items()
            if (distance := _distance(selection, raters[name])) is not None
        }
        # `min` takes the first of equals, so that the order of the grid is the last word.
        nearest = min((n for n in study.grid.selections if n in far), key=lambda n: far[n], default=None)
        papers = [name for name, distance in far.items() if distance[:2] == (False, False)]
        ours = min(papers, key=lambda n: far[n], default=None)
        main = [name for name in study.grid.selections if name in chosen]
        random = next((name for name in main if _draws(chosen[name], raters[name])), None)
        if ours is None:
            return cls(None, None, None, None, None, random, nearest)

        def same_sampler(name: str) -> bool:
            return _sampler(chosen[name]) == _sampler(chosen[ours])

        def other_sampler(sampler: str) -> str | None:
            found = [n for n, s in chosen.items() if s.sampler == sampler and s.rater == chosen[ours].rater]
            return next(iter([n for n in found if chosen[n].plain()] or found), None)

        def ungrouped(rater: RaterSettings) -> bool:
            # `baseline` moves the gate alone, so it may differ where there is none.
            gate = {"group", "groups", "rating_mode", "baseline"}
            alike = rater.model_dump(exclude=gate) == raters[ours].model_dump(exclude=gate)
            return isinstance(rater, MetaRater) and rater.group == "none" and alike

        def low_loss(rater: RaterSettings) -> bool:
            return isinstance(rater, LossRater) and rater.direction == -1

        return cls(
            alchemist=ours,
            no_group=next((n for n in chosen if ungrouped(raters[n]) and same_sampler(n)), None),
            gsample=other_sampler("gsample"),
            topk=other_sampler("topk"),
            loss=next((n for n in chosen if low_loss(raters[n]) and same_sampler(n)), None),
            random=random,
            nearest=nearest,
        )


def carried(study: Study, ours: str) -> list[str]:
    """Selections as `ours` in all but that the rater was trained elsewhere (`weights`).

    They are looked for among all selections of the study, which may know more than its grid names.
    """
    same = study.raters[study.selections[ours].rater].model_dump(exclude={"weights"})
    out = []
    for name, selection in study.selections.items():
        rater = study.raters.get(selection.rater)
        if not isinstance(rater, MetaRater) or rater.weights is None:
            continue
        alike = rater.model_dump(exclude={"weights"}) == same
        if alike and _sampler(selection) == _sampler(study.selections[ours]):
            out.append(name)
    return out


def _distance(selection: SelectionSettings, rater: RaterSettings) -> tuple[bool, bool, bool, bool] | None:
    """What parts a selection from the paper's, the gravest first; None where no rater was meta-trained.

    It is the paper's where the first two do not part it: the other roles have its rater, or one like it.
    """
    if not isinstance(rater, MetaRater):
        return None
    return (
        selection.sampler != "shift_gsample",
        rater.weights is not None or rater.credit != "penalty" or rater.group in ("none", "within"),
        rater.group != "product",
        not selection.plain(),
    )


def _draws(selection: SelectionSettings, rater: RaterSettings) -> bool:
    """Whether a selection draws at random."""
    return selection.sampler == "random" or rater.kind == "random"


def _sampler(selection: SelectionSettings) -> tuple[object, ...]:
    return selection.sampler, selection.own()
