"""`python -m tests.fuzz [--count N] [--seed S] [--every]`: mutated results folders through every reading command.

Each folder has one to three mutations. `status`, `show`, `why`, `merge`, `evaluate`, `predict` and `panels` read every
folder; the reports and `sync`, which take longer, read every seventh each, or, with --every, all of them. The exit code
is 1 if a command ended in a traceback, hung, wrote outside of its folder, left a process or told a secret.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

from .fuzzing import fuzzed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first folder's number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", action="store_true")
    chosen = parser.parse_args()
    began, bad, commands = time.monotonic(), 0, Counter[str]()
    for number in range(chosen.first, chosen.first + chosen.count):
        for found in fuzzed(chosen.seed, number, every=chosen.every):
            commands[f"{found.command}: exit {found.ended.code}"] += 1
            if found.ended.faults:
                bad += 1
                print(
                    f"{number}: {found.mutations}: bench {found.command}: {'; '.join(found.ended.faults)}",
                    flush=True,
                )
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
