"""A limit of time for code that is not ours and may never come back.

with time_limit(60, TooLong()):
    build()
"""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType

SOON = 1e-3  # s; no time at all would switch the timer off
AGAIN = 0.01  # s
LATEST = 1e8  # s; a timer takes no more


class time_limit:
    """Within it `error` is raised after so many seconds, wherever Python code is at or waits then.

    By a signal, which only the main thread of a program gets, and Windows has none: elsewhere nothing happens. It
    should be a BaseException, so that another's `except Exception` lets it through.

    Args:
        at_end: called at the end, whatever ends it.
    """

    def __init__(self, seconds: float, error: BaseException, at_end: Callable[[], None] = lambda: None):
        self.seconds, self.error, self.at_end = seconds, error, at_end
        self.works = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()

    def __enter__(self) -> None:
        if self.works:
            self.before = signal.signal(signal.SIGALRM, self._ring)
            self.started = time.monotonic()
            # Again and again: a library may swallow the first, in a callback or a destructor.
            seconds = min(max(self.seconds, SOON), LATEST)
            self.others = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.at_end()
        if self.works:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self.before)
            left, every = self.others
            if left:  # somebody else's, as of a test that has a limit of its own
                signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - self.started), SOON), every)

    def _ring(self, _: int, frame: FrameType | None) -> None:
        """Raise, but not on the way in or out, which have to come to their own end: then soon again."""
        while frame is not None:
            if frame.f_code in (time_limit.__enter__.__code__, time_limit.__exit__.__code__):
                signal.setitimer(signal.ITIMER_REAL, AGAIN, 1.0)
                return
            frame = frame.f_back
        raise self.error
