"""What is said when a file is cut off while it is mapped into memory: the system then ends the process, and Python has no say in it."""

import os
import signal

_MESSAGE = b"""dataset-doctor: a file was cut off while it was read.
  Nothing was written. Run the command again when the dataset is at rest.
"""


def told_in_words() -> None:
    """Put two lines and exit code 2 in the place of the system's "Bus error".

    A handler of Python's own would run only after the access that fails, which would then be tried again without end. So it is the C
    library that calls it, in the middle of things, and it does no more than write and leave.
    """
    if not hasattr(signal, "SIGBUS") or _kept:
        return
    import ctypes

    def leave(_: int) -> None:
        os.write(2, _MESSAGE)
        os._exit(2)

    _kept.append(ctypes.CFUNCTYPE(None, ctypes.c_int)(leave))
    ctypes.CDLL(None).signal(signal.SIGBUS, _kept[0])


_kept: list[object] = []
"""The handler, which must live as long as the process."""
