"""The allocators, told to keep memory that is freed, or to give it back.

By itself glibc's malloc gives large blocks back to the kernel when they are freed, and the next ones are faulted in
page by page: as much time as resizing takes, and a fifth of that of reading an image. Small ones stay with it: after a
file of a million small objects that is as much memory as what was made of them.
"""

import ctypes
from functools import cache

import pyarrow as pa

MMAP_THRESHOLD, TRIM_THRESHOLD = 32 * 2**20, 256 * 2**20
"""Bytes: smaller blocks are not given back one by one; free memory on top is, beyond so much."""
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": str(MMAP_THRESHOLD), "MALLOC_TRIM_THRESHOLD_": str(TRIM_THRESHOLD)}
"""The same, for processes to be started."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's malloc.h."""


@cache
def keep_memory() -> None:
    """Set it for this process, once; nothing happens where malloc is another one's."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD)
        libc.mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD)


def give_back() -> None:
    """Give what is free back to the kernel; Arrow's allocators do, and malloc if it is glibc's."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
