"""What a process that computes sets first: how memory comes and goes, and that it has one thread.

It imports neither NumPy nor torch nor Arrow, since all of it must stand before they are loaded or the first
tensor is made.
"""

import contextlib
import ctypes
import mmap
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

# <malloc.h> of glibc
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_PAGE_OUT = 21  # MADV_PAGEOUT of Linux
# Of torch and what it is built on, and of NumPy.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def prepare() -> bool:
    """Sets them, for a process that will compute; says whether the allocator took its part.

    Called before NumPy, torch and Arrow are loaded, which read the environment then.
    """
    # Products of matrices, convolutions and means differ in their last digits by the number of threads that
    # share them, and a training by more and more. One, whatever a person has set: then weights, ratings and
    # figures are the same on any number of cores. More cores are for more processes.
    os.environ.update(dict.fromkeys(THREADS, "1"))
    # Arrow's own allocator takes memory in large steps: reading a table of 1 MiB added 10.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    return keep_memory()


def keep_memory() -> bool:
    """Makes glibc keep freed blocks for the next step; False, and nothing done, where there is no glibc.

    By default it gives large blocks back to the kernel and takes them again, a page fault for each 4 KiB:
    8,100 in a training step of `xs`, and 4 with these lines.
    """
    return _blocks(2**30, 2**31 - 1)


@contextlib.contextmanager
def sparing_memory() -> Iterator[None]:
    """Within it large blocks go back to the kernel as soon as they are freed, and afterwards are kept again.

    For what reads files of any size on threads: each thread would keep the memory of its largest one.
    """
    _blocks(2**21, 2**23)
    try:
        yield
    finally:
        keep_memory()


def peak() -> int:
    """Most bytes of the host's memory that this process, or one of its workers that ended, has held."""
    most = [resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, _own_peak()]
    return max(most) if sys.platform == "darwin" else max(most) * 1024  # Linux counts in KiB


def _own_peak() -> int:
    # Of this program alone: what getrusage says begins with what its parent held when it started this one.
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(text.partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def page_out(address: int, size: int) -> None:
    """Tells the kernel that some memory is not needed soon: pages of a mapped file leave the process.

    What is there is read again where it is asked for. Nothing happens where there is no such call.
    """
    first = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    length = address + size - first
    with contextlib.suppress(OSError, AttributeError):  # no such library, no such name
        if length > 0 and sys.platform == "linux":
            ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), _PAGE_OUT)


def _blocks(alone: int, spare: int) -> bool:
    """Blocks from `alone` bytes on are given back when freed, and of free memory all beyond `spare`."""
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return False
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, ValueError, OSError):  # no confstr, no such name, no such library
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, alone) and mallopt(_M_TRIM_THRESHOLD, spare))
