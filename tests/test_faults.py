"""The list of faults stays true: each text stands once where the list says, and its tests exist."""

import pytest
from faults import FAULTS, REPO, Fault


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_planted(fault: Fault) -> None:
    assert (REPO / fault.file).read_text().count(fault.old) == 1
    assert fault.old != fault.new
    assert (REPO / fault.tests).exists()


def test_names_are_unique() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
