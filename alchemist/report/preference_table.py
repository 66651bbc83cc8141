"""The page's table on human preferences: the AUC of each rating for preferred above rejected images."""

import numpy as np

from alchemist.analysis.preferences import preference_auc
from alchemist.analysis.results import Stat
from alchemist.core.settings.rater import seeded
from alchemist.report.elements import Table
from alchemist.report.material import Material
from alchemist.report.words import told


def preference_table(material: Material) -> Table | None:
    """A row a rater, over all prompts and within a prompt; None for a pool whose images nobody compared."""
    labels = material.labels
    if labels is None or not {"wins", "losses"} <= set(labels):
        return None
    groups = material.index.set_index("id")["group"]
    found = preference_auc(material.ratings, labels.set_index("id"), groups)
    rows = []
    for rater, by_seed in found.items():
        values = np.array(list(by_seed.values()))  # seeds x 2
        if not seeded(material.study.raters[rater]):
            values = values[:1]
        rows.append([rater, *(told(Stat.of(column), 3) for column in values.T)])
    return Table(["rater", "over all prompts", "within a prompt"], rows)
