"""The giants of torture/memory.py that are written in no time: the stage prepare in a process of its own."""

import sys

import pytest

from torture import memory

QUICK = ("a caption of 1.5 GB, an image file of 3 GB", "tars: sparse members of 3 GB, headers of 8 GiB")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's high-water mark is Linux's")
@pytest.mark.parametrize("name", QUICK)
def test_prepare_stays_within_its_memory(tmp_path, name):
    found = memory.row(tmp_path / "case", name)
    assert found["holds"], found["figure"]
