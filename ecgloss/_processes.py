"""Work over several processes, which end with the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
#: Whether processes are forked, which takes no time. Elsewhere each imports all modules again.
FORKED = sys.platform == "linux"


def usable_cores() -> int:
    """Number of cores that this process may use.

    Example:
        >>> usable_cores() >= 1
        True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def over_processes(work: Callable[..., T], jobs: Sequence[tuple[Any, ...]], processes: int) -> Iterator[T]:
    """Call a function for every job, in several processes; results come in the order of the jobs.

    The function must not use torch, whose threads do not survive in a forked process.

    Args:
        work: A function of a module.
        jobs: Its arguments, which can be pickled.
        processes: How many work at once.

    Raises:
        RuntimeError: In a script that is not protected by ``if __name__ == "__main__"``, where processes are not
            forked; and whatever the function raises. Jobs that have not begun are then dropped.

    Example:
        >>> list(over_processes(divmod, [(7, 2), (9, 4)], processes=2))
        [(3, 1), (2, 1)]
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError('a script that starts processes needs the line: if __name__ == "__main__":')
    context = multiprocessing.get_context("fork" if FORKED else "spawn")
    pool = ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(os.getpid(),))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads; see above
            futures = deque(pool.submit(work, *job) for job in jobs)
        while futures:
            yield futures.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(parent: int) -> None:
    """Let a worker leave interrupts to its parent, and end with it, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
