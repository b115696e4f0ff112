"""Training in one thread, whose results do not depend on the number of cores, and in memory that is
kept.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

# of glibc's mallopt: what is free at the end of the heap and given back, what is mapped by itself
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# the largest values that it takes
MOST_FREE, LARGEST_ON_HEAP = (1 << 31) - 1, 1 << 25


def keep_freed_memory() -> None:
    """For the rest of this process, which is to do nothing but train: every epoch frees and asks
    for the same tensors, and getting their pages from the system each time is a tenth of its
    seconds. Nothing where the C library is another.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(M_TRIM_THRESHOLD, MOST_FREE)
    mallopt(M_MMAP_THRESHOLD, LARGEST_ON_HEAP)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch and for linear algebra.

    Sums over several threads differ in their last bits with the number of threads, and with tensors
    as small as these a second thread mostly waits. Splits run side by side instead.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
