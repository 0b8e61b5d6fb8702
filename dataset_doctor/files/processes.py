"""How many processors there are, and whether other processes may be asked for help."""

from __future__ import annotations

import os
import sys
import threading


def processors() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def may_fork() -> bool:
    """Tell whether this process may fork a worker: a fork copies locks that other threads hold, and other systems start afresh."""
    if sys.platform != "linux" or threading.active_count() > 1:
        return False
    import multiprocessing

    return not multiprocessing.current_process().daemon and processors() > 1
