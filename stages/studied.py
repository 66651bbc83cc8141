"""The grid in force with the selections and raters that it names, as more than one verb reads it."""

from alchemist.analysis.grid import Study
from alchemist.core.settings.given import block, section
from alchemist.core.settings.grid import GridSettings
from alchemist.pruning.samplers import selection_settings
from alchemist.raters.table import rater_settings


def study_in_force() -> Study:
    """Of data/params.json. Raises Refusal as `section` and the settings do."""
    grid = block(GridSettings, "grid")
    chosen = {n: selection_settings(section(f"selections.{n}"), f"selections.{n}") for n in grid.chosen()}
    using = dict.fromkeys([*(selection.rater for selection in chosen.values()), *grid.rated()])
    used = {name: rater_settings(section(f"raters.{name}"), f"raters.{name}") for name in using}
    return Study(grid, chosen, used)
