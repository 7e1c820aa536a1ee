"""Signals that ask a process to stop, and who answers them.

A scheduler that ends a job sends SIGTERM to all of its processes at once, a closed terminal SIGHUP. The launcher and
the workers answer for themselves; what is between them (the fork server, the mirror) stays until the launcher is done.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def answered(answer: Callable[[], object]) -> Iterator[None]:
    """Within the block the signals call `answer`, but for those that were ignored before: `nohup` and a shell's `&`
    ask for that."""
    before = {number: signal.getsignal(number) for number in STOPPING}
    answer_from_now_on(answer)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, handler)


def answer_from_now_on(answer: Callable[[], object]) -> None:
    """The same until the process ends."""
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: answer())


@contextlib.contextmanager
def ending_silently() -> Iterator[None]:
    """Within the block, in which nothing is done yet, Ctrl-C ends the process without a traceback."""
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if usual and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    else:
        yield


def ignore() -> None:
    """From now on whoever started this process decides when it ends."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Within the block, and in processes that it starts, the signals wait until somebody calls `let_in`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_in() -> None:
    """Take the signals that were held back, and those to come."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def ended_by(status: int) -> str:
    """The name of the signal in a negative exit status."""
    return signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
