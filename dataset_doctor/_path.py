"""Take the current folder off the path of a process that was started as `python -m dataset_doctor`.

Python puts it there first, and it may be a stranger's dataset with a `msgspec.py` in it. The package imports this module before any other.
What Python itself imports before (`runpy` and what that needs) is out of reach; the command `dataset-doctor` has none of this.
"""

import os
import sys


def _leave_out_the_current_folder() -> None:
    # While Python looks for the module of -m, argv[0] is "-m"; in 3.10 no flag tells that the folder is not there (-I, -P).
    is_run = sys.argv[:1] == ["-m"] and not {"dataset_doctor", "-mdataset_doctor"}.isdisjoint(sys.orig_argv)
    if not is_run or getattr(sys.flags, "safe_path", False) or sys.flags.isolated or not sys.path:
        return
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH120 (pathlib would be imported from there)
    if os.path.realpath(sys.path[0]) != os.path.realpath(home):  # a checkout that is not installed
        del sys.path[0]


_leave_out_the_current_folder()
