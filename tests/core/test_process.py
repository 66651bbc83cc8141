"""What is set before torch is loaded, seen in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from alchemist.core import process

# Minor page faults of ten blocks of 32 MiB, made and dropped one after another, after the first two.
FAULTS = """
import resource, numpy
from alchemist.core import process
print(process.prepare() if {prepared} else False)
def touch():
    numpy.ones(2**22)
touch(), touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def told(code: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_freed_blocks_are_kept_for_the_next_step() -> None:
    taken, faults = told(FAULTS.format(prepared=True))
    if taken == "False":
        pytest.skip("no glibc here")
    assert int(faults) < 100
    assert int(told(FAULTS.format(prepared=False))[1]) > 10 * 32 * 2**20 / 2**21, (
        "else there is nothing to keep"
    )


def test_where_memory_is_sparse_freed_blocks_go_and_afterwards_stay_again() -> None:
    spared = FAULTS.replace("touch(), touch()", "with process.sparing_memory():\n    pass\ntouch(), touch()")
    taken, faults = told(spared.format(prepared=True))
    if taken == "False":
        pytest.skip("no glibc here")
    assert int(faults) < 100
    within = FAULTS.replace(
        "touch(), touch()", "held = process.sparing_memory()\nheld.__enter__()\ntouch(), touch()"
    )
    assert int(told(within.format(prepared=True))[1]) > 10 * 32 * 2**20 / 2**21


def test_what_leaves_memory_is_read_again(tmp_path: Path) -> None:
    content = np.arange(1 << 20, dtype=np.uint32)
    content.tofile(tmp_path / "a.bin")
    mapped = np.memmap(tmp_path / "a.bin", np.uint32, "r")
    own = content.copy()
    for array in (mapped, own):
        assert (array == content).all()
        process.page_out(array.ctypes.data + 100, array.nbytes - 100)
        assert (array == content).all()
    process.page_out(own.ctypes.data, 10)


def test_another_libc_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: None)
    assert not process.keep_memory()
    monkeypatch.delattr(os, "confstr")
    assert not process.keep_memory()


def test_a_stage_computes_with_one_thread_whatever_a_person_has_set() -> None:
    """Most products and convolutions have other last digits on two."""
    code = "import stages.train, torch, faiss; print(torch.get_num_threads(), faiss.omp_get_max_threads())"
    assert told(code, **dict.fromkeys(process.THREADS, "3")) == ["1", "1"]


def test_arrow_takes_the_systems_allocator_in_every_stage() -> None:
    for stage in ("check", "prune"):
        code = f"import stages.{stage}; import pyarrow; print(pyarrow.default_memory_pool().backend_name)"
        assert told(code) == ["system"]
