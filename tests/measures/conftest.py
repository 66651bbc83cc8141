import pytest
from scorer_helpers import SETTINGS, pairs

from alchemist.measures.scorers import fit_lit


@pytest.fixture(scope="session")
def held_out():
    return pairs("held out", 100)


@pytest.fixture(scope="session")
def scorer():
    return fit_lit(*pairs("scorer", 600), SETTINGS)
