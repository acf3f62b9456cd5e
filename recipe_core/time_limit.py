"""A limit of time for code that is not ours and may never come back.

with time_limit(60, TooLong()):
    build()
"""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

SOON = 1e-3  # s; no time at all would switch the timer off
LATEST = 1e8  # s; a timer takes no more


@contextlib.contextmanager
def time_limit(seconds: float, error: BaseException) -> Iterator[None]:
    """Within it `error` is raised after so many seconds, wherever Python code is at or waits then.

    By a signal, which only the main thread of a program gets, and Windows has none: elsewhere nothing happens. It
    should be a BaseException, so that another's `except Exception` lets it through.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, ring)
    started = time.monotonic()
    # Again and again: a library may swallow the first, in a callback or a destructor.
    left, every = signal.setitimer(signal.ITIMER_REAL, min(max(seconds, SOON), LATEST), 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:  # somebody else's, as of a test that has a limit of its own
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - started), SOON), every)
