"""Table 2 of 10,000 runs with its statistics, against a plain table of the same runs by pandas.

`python -m tests.performance.statistics WAY RESULTS` makes the table once, by one WAY (plain, table,
statistics), and prints what it took.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from tests.performance.measure import Comparison, Setting, seconds

RUNS, CASES = 9_975, 200
"""All cells of Table 2, five folds, 19 seeds."""
PEER_RUNS = 1_050
"""Of them for the comparison: a plain table of all runs does not fit into the memory of a small machine."""
REPEATS = 3
"""At most."""
MOST_SECONDS, MOST_GIB = 30.0, 4.0


def measure(setting: Setting) -> Iterator[Comparison]:
    from tests.performance.written_grid import write_grid

    with tempfile.TemporaryDirectory(prefix="bench-statistics-") as folder:
        few, all_runs = Path(folder) / "few", Path(folder) / "all"
        write_grid(few, PEER_RUNS, n_cases=CASES)
        write_grid(all_runs, RUNS, n_cases=CASES)
        ours, peers = [], []
        for _ in range(min(setting.repeats, REPEATS)):
            ours.append(_in_a_process("table", few))
            peers.append(_in_a_process("plain", few))
        whole = [_in_a_process("statistics", all_runs) for _ in range(min(setting.repeats, REPEATS))]

    took = sorted(one["seconds"] for one in whole)[len(whole) // 2]
    memory = max(one["gib"] for one in whole)
    same = max(abs(ours[-1]["sum"][key] - peers[-1]["sum"][key]) for key in ours[-1]["sum"])
    parts = ", ".join(f"{name} {part:.3g} s" for name, part in whole[-1]["parts"].items())
    yield Comparison(
        figure="statistics",
        what=f"Dice, FPV and FNV of the 105 cells of Table 2 from {PEER_RUNS} run folders of {CASES} cases; seconds",
        peer_is="pandas.read_parquet run by run, one frame of all scores, groupby",
        goal="faster",
        unit="s",
        target=3.0,
        ours=tuple(one["seconds"] for one in ours),
        peer=tuple(one["seconds"] for one in peers),
        conditions=(
            (f"the same means: {same:.1e} apart at most, summed over the cells", same < 1e-6),
            (
                f"table and statistics of {RUNS} runs of {CASES} cases: {took:.1f} s, at most {MOST_SECONDS:g} s",
                took <= MOST_SECONDS,
            ),
            (f"and {memory:.2f} GiB at most, of {MOST_GIB:g} GiB", memory <= MOST_GIB),
        ),
        remarks=(
            f"of that: {parts}",
            f"processor time {whole[-1]['processor']:.1f} s, imports included",
            f"memory for {PEER_RUNS} runs: ours {ours[-1]['gib']:.2f} GiB, peer {peers[-1]['gib']:.2f} GiB",
        ),
    )


def _in_a_process(way: str, results: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.performance.statistics", way, str(results)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def plain(results: Path) -> dict[str, float]:
    """What one writes in a notebook: one frame of all scores, means over cases, folds, seeds."""
    manifest = json.loads(next((results / "grids").glob("*.json")).read_text(encoding="utf-8"))
    frames, rows = [], []
    for cell in manifest["cells"]:
        folder = results / "runs" / cell["run_id"]
        if json.loads((folder / "run.json").read_text(encoding="utf-8"))["state"] == "done":
            frames.append(pd.read_parquet(folder / "scores.parquet"))
            rows.append({"run_id": cell["run_id"], "cell": json.dumps(cell["factors"], sort_keys=True)})
    scores = (
        pd.concat(frames, ignore_index=True).query("split == 'test'").merge(pd.DataFrame(rows), on="run_id")
    )
    means = scores.groupby(["metric", "cell", "seed", "fold"])["value"].mean()
    cells = means.groupby(["metric", "cell", "seed"]).mean().groupby(["metric", "cell"]).mean()
    sums = cells.groupby("metric").sum()
    return {metric: float(sums[metric]) for metric in ("dice", "fpv_ml", "fnv_ml")}


def table(results: Path) -> dict[str, float]:
    """The suite's table, without statistics."""
    from benchmark.results.manifests import manifests
    from reports.ground.measures import MEASURES
    from reports.ground.runs import run_cells
    from reports.tables.table2.frames import PLACE, table2_frame

    runs = run_cells(results, manifests(results, "table2")[0], PLACE)
    return {key: table2_frame(runs, metric=key)["value"].sum() / MEASURES[key].scale for key in MEASURES}


def statistics(results: Path, parts: dict[str, float]) -> dict[str, float]:
    """What `bench report --grid table2` computes and prints of scores: tables, marks, intervals, ranks, mixed models.

    Figures are not drawn; `parts` are the seconds of the parts.
    """
    from benchmark.results.manifests import manifests
    from reports.evidence.mixing import checked
    from reports.ground.frames import behind
    from reports.ground.latex import latex
    from reports.ground.measures import MEASURES
    from reports.ground.printing import markdown
    from reports.ground.runs import planned_runs, reported_scores, with_means
    from reports.statistics.scores import case_scores
    from reports.tables.table2 import standing
    from reports.tables.table2.frames import PLACE, table2_cells, table2_frame
    from reports.tables.table2.mixed import mixed_tables
    from reports.tables.table2.ranks import table2_ranks
    from reports.tables.table2.tables import table2

    def timed(name: str, work: Callable[[], Any]) -> Any:
        took, result = seconds(work)
        parts[name] = parts.get(name, 0.0) + took
        return result

    manifest = manifests(results, "table2")[0]
    planned = timed("run.json", lambda: planned_runs(results, manifest, PLACE))
    scores = timed("scores.parquet", lambda: reported_scores(results, planned, metrics=standing.METRICS))
    runs = timed("means", lambda: with_means(planned, scores))
    known = timed("conditions", lambda: checked(behind(runs, manifest), results, runs))
    own = {key: timed("cells", lambda key=key: table2_frame(runs, metric=key)) for key in MEASURES}
    stand = timed("standings", lambda: standing.table2_standings(planned, scores))
    dice = timed("ranks", lambda: case_scores(planned, scores, table2_cells(planned), MEASURES["dice"]))
    shown = [timed("ranks", lambda: table2_ranks(dice)), timed("mixed models", lambda: mixed_tables(dice))]
    printed = [table for part in shown for ready in part.tables for table in ready.printed]
    for key in MEASURES:
        printed.append(timed("printing", lambda key=key: table2(own[key], None, behind=known, metric=key)))
        printed.append(timed("printing", lambda key=key: standing.table2_statistics(stand[key], metric=key)))
    timed("printing", lambda: (latex(printed), *map(markdown, printed)))
    return {key: own[key]["value"].sum() / MEASURES[key].scale for key in MEASURES}


def main() -> None:
    way, results = sys.argv[1], Path(sys.argv[2])
    parts: dict[str, float] = {}
    ways: dict[str, Callable[[], dict[str, float]]] = {
        "plain": lambda: plain(results),
        "table": lambda: table(results),
        "statistics": lambda: statistics(results, parts),
    }
    took, sums = seconds(ways[way])
    # Linux counts in KiB. Of the processes that read files only the largest one's peak is known.
    peaks = [
        resource.getrusage(who).ru_maxrss * n
        for who, n in ((resource.RUSAGE_SELF, 1), (resource.RUSAGE_CHILDREN, os.cpu_count() or 1))
    ]
    gib = sum(peaks) / 2**20
    spent = sum(os.times()[:4])
    print(json.dumps({"seconds": took, "processor": spent, "gib": gib, "sum": sums, "parts": parts}))


if __name__ == "__main__":
    main()
