"""Nobody outlives whoever started them: the process of nnU-Net its run, and its workers that process."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

STOP = b"stop\n"
_PR_SET_PDEATHSIG = 1


def watch_parent(stop: threading.Event) -> None:
    """Listen on standard input: `STOP` sets the event; its end, which comes with the parent's, however that ends,
    kills this process and its whole group. To be called in a process that leads a group of its own."""

    def listen() -> None:
        while received := os.read(0, 64):
            if STOP in received:
                stop.set()
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=listen, daemon=True).start()


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends (Linux; elsewhere nothing happens)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
