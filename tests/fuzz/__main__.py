"""`python -m tests.fuzz [--count N] [--seed S] [--every]`: mutated results folders through every reading command.

Each folder has one to three mutations. Commands run in forks of this process, on every hundredth folder as users start
them. `status`, `show`, `why`, `merge`, `evaluate`, `predict` and `panels` read every
folder; the reports and `sync`, which take longer, read every seventh each, or, with --every, all of them. The exit code
is 1 if a command ended in a traceback, hung, wrote outside of its folder, left a process or told a secret.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter

# A process that forks has threads of its own only, and children that share two cores gain nothing from more.
os.environ |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}

from .fuzzing import fuzzed, sound


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first folder's number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", action="store_true")
    chosen = parser.parse_args()
    began, bad, commands = time.monotonic(), 0, Counter[str]()
    with sound() as folder:
        for number in range(chosen.first, chosen.first + chosen.count):
            for found in fuzzed(folder, chosen.seed, number, every=chosen.every):
                commands[f"{found.command}: exit {found.ended.code}"] += 1
                if found.ended.faults:
                    bad += 1
                    words = "; ".join(found.ended.faults)
                    print(f"{number}: {found.mutations}: bench {found.command}: {words}", flush=True)
                    print(found.ended.out[-3000:], flush=True)
            if number % 20 == 19:
                print(f"{number + 1} folders, {sum(commands.values())} commands, {bad} faults", flush=True)
    for line, n in sorted(commands.items()):
        print(f"{n:6} {line}")
    print(
        f"{chosen.count} folders, {sum(commands.values())} commands, {bad} faults, {time.monotonic() - began:.0f} s"
    )
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
