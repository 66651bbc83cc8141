import pytest
from scorer_helpers import SETTINGS, pairs

from alchemist.measures.scorers import fit_lit


@pytest.fixture(scope="session")
def held_out():
    return pairs("held out", 100)


@pytest.fixture(scope="session")
def scorer():
    images, captions = pairs("scorer", 600)
    return fit_lit([images[:333], images[333:]], captions, SETTINGS)
