"""Hearing of SIGTERM beside vLLM, which answers it."""

import signal
import threading
from collections.abc import Callable
from types import FrameType


def before_terminating(callback: Callable[[], None]) -> bool:
    """Have ``callback`` called when SIGTERM comes, before whoever waits for it now.

    An event loop's ``add_signal_handler`` keeps a handler of Python's beneath and has it write to
    the loop; that one is called as before. ``callback`` runs between two instructions of whatever
    runs then and may only set plain values.

    Returns: Whether it will be called: somebody waits for the signal, and this is the thread that
    may say so. Without anybody SIGTERM ends the process at once, and so it shall stay.
    """
    heard = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(heard):
        return False

    def handle(number: int, frame: FrameType | None) -> None:
        callback()
        heard(number, frame)

    signal.signal(signal.SIGTERM, handle)
    signal.siginterrupt(signal.SIGTERM, False)  # as event loops set it
    return True
