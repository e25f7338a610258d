"""glibc's malloc, told to keep the memory that image work takes and gives back all the time.

By itself it gives large blocks back to the kernel when they are freed, and the next ones are faulted in page by page:
as much time as resizing takes, and a fifth of that of reading an image.
"""

import ctypes
from functools import cache

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
