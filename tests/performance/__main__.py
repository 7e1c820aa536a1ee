"""`python -m tests.performance [--only NAME ...] [--repeats N] [--threads N] [--json FILE]`.

Prints one line a figure and a table at the end. The exit code is 0 whether or not targets are met: they are
read by people, on machines that may be busy.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

from benchmark.files.writing import write_json
from tests.performance.measure import Comparison, NotMeasured, Setting, measured_alone

FIGURES = (
    "false_volumes",
    "patches",
    "training_step",
    "cpu_step",
    "layers",
    "inference",
    "whole_case",
    "similarity",
    "runner",
    "command_line",
    "gpu_step",
    "search",
    "page",
    "statistics",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.performance", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=FIGURES, default=FIGURES, metavar="NAME", help=", ".join(FIGURES)
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, help="write all measured values here")
    chosen = parser.parse_args()
    if min(chosen.repeats, chosen.threads) < 1:
        parser.error("--repeats and --threads are at least 1")

    # Read by OpenMP and BLAS when the figures' processes load them.
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(chosen.threads)
    machine = f"{_processor()}, {os.cpu_count()} CPUs, {chosen.threads} threads, torch {version('torch')}"
    print(f"{machine}; median (smallest to largest in {chosen.repeats} repetitions)", flush=True)

    measured: list[Comparison] = []
    absent: dict[str, str] = {}
    for name in chosen.only:
        try:
            # In a process of its own: what one figure sets up (threads, allocator) must not serve another's peer.
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                compared = process.submit(
                    measured_alone, name, Setting(chosen.repeats, chosen.threads)
                ).result()
            for comparison in compared:
                measured.append(comparison)
                print(comparison.line(), flush=True)
                for text, holds in comparison.conditions:
                    print(f"    {'holds' if holds else 'FAILS'}: {text}", flush=True)
                for remark in comparison.remarks:
                    print(f"    {remark}", flush=True)
        except NotMeasured as reason:
            absent[name] = f"not measured: {reason}"
            print(f"{name}: {absent[name]}", flush=True)
        except Exception:
            absent[name] = "crashed"
            print(f"{name}: crashed", flush=True)
            traceback.print_exc()

    print(f"\n{'figure':<16}{'result':>12}{'target':>14}   verdict")
    for comparison in measured:
        print(f"{comparison.figure:<16}{comparison.result:>12}{comparison.bound:>14}   {comparison.verdict}")
    for name, reason in absent.items():
        print(f"{name:<16}{'-':>12}{'-':>14}   {reason}")
    if chosen.json:
        write_json(
            chosen.json,
            {
                "machine": machine,
                "figures": [comparison.as_dict() for comparison in measured],
                "not_measured": absent,
            },
        )
    return int("crashed" in absent.values())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
