"""Work in processes of its own, a bounded number of pieces at a time; they die with the process that started them."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from recipe_core.jobs import die_with_parent

Piece = TypeVar("Piece")
Outcome = TypeVar("Outcome")


def new_pool(workers: int, *preload: str) -> ProcessPoolExecutor:
    """A pool whose processes share the modules `preload`, imported once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    return ProcessPoolExecutor(workers, mp_context=context, initializer=die_with_parent)


def in_parallel(
    pool: Executor,
    work: Callable[[Piece], Outcome],
    pieces: Iterable[Piece],
    at_once: int,
    check: Callable[[], None],
) -> Iterator[tuple[Piece, Outcome]]:
    """Each piece with what `work` makes of it, as it is done; at most `at_once` are handed out at a time."""
    waiting, running = deque(pieces), dict[Future[Outcome], Piece]()
    while waiting or running:
        while waiting and len(running) < at_once:
            piece = waiting.popleft()
            running[pool.submit(work, piece)] = piece
        for future in wait(running, timeout=0.5, return_when=FIRST_COMPLETED).done:
            outcome = future.result()
            yield running.pop(future), outcome
        check()


def survivors(
    work: Callable[[Sequence[Piece]], list[Outcome]],
    pieces: Sequence[Piece],
    killed: Outcome,
    preload: str,
    check: Callable[[], None],
) -> list[Outcome]:
    """What `work` makes of each piece alone, in a process that some may kill; `killed` stands for those."""
    outcomes: list[Outcome] = []
    while len(outcomes) < len(pieces):
        with new_pool(1, preload) as pool:
            try:
                for piece in pieces[len(outcomes) :]:
                    check()
                    outcomes += pool.submit(work, [piece]).result()
            except BrokenProcessPool:
                outcomes.append(killed)
    return outcomes


@contextmanager
def ending_when_stuck(seconds: float) -> Iterator[Callable[[], object]]:
    """Work in a pool's process that has to call what it is given every so many seconds, or else the process ends.

    A signal ends it, as a crash would: what hangs in a library's code may hold the interpreter and all its threads.
    """
    try:
        yield lambda: signal.setitimer(signal.ITIMER_REAL, seconds)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
