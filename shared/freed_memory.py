"""What the GNU C library does with freed memory: kept for what comes next, or given back to the system; others go their way."""

import ctypes

KEPT_BYTES = 64 * 2**20
"""Freed memory at the end of a thread's heap is kept up to here: a plan needs about half of it."""
MAPPED_BYTES = 32 * 2**20
"""What is larger has a mapping of its own, given back at once; the most that the library allows."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of malloc.h."""
_LIBRARY = ctypes.CDLL(None)


def keep_freed_memory() -> None:
    """Keep up to KEPT_BYTES per thread from now on. Else, as the heap happens to lie, plans give megabytes back and get them
    again page by page: 2,400 pages a plan of `dense` were seen, an eighth of its time."""
    if hasattr(_LIBRARY, "mallopt"):
        _LIBRARY.mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
        _LIBRARY.mallopt(_MMAP_THRESHOLD, MAPPED_BYTES)


def give_back_freed_memory() -> None:
    """Give all of it back now."""
    if hasattr(_LIBRARY, "malloc_trim"):
        _LIBRARY.malloc_trim(0)
