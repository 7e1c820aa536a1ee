"""How much longer `bench --help` takes than Python's own start."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.performance.measure import Comparison, NotMeasured, Setting, in_turns


def measure(setting: Setting) -> Iterator[Comparison]:
    beside_python = Path(sys.executable).with_name("bench")
    bench = str(beside_python) if beside_python.exists() else shutil.which("bench")
    if bench is None:
        raise NotMeasured("the command bench is not installed; run pip install -e .")

    def ours() -> None:
        subprocess.run([bench, "--help"], check=True, capture_output=True)

    def peer() -> None:
        subprocess.run([sys.executable, "-c", "pass"], check=True)

    # A start is short and the machine's noise is not: twice as many repetitions as for the long figures.
    ours_seconds, peer_seconds, _, _ = in_turns(ours, peer, repeats=2 * setting.repeats)
    yield Comparison(
        figure="command_line",
        what="bench --help",
        peer_is="python -c pass",
        goal="extra",
        unit="s",
        target=0.5,
        ours=ours_seconds,
        peer=peer_seconds,
    )
