"""The numbers behind tables and figures: small data frames from finished runs or from the printed paper.

    run_cells(results, manifest)   one row per run of a grid, with its means over cases
    table2_frame(runs)             one row per cell of Table 2
    published(table)               the numbers the paper prints
    dice_by_self_supervision, best_by_sharing, dice_by_fusion_weight, box_statistics   Figures 4, 5, 6

Nothing here draws or formats. A further table is one frame function more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.results import CellRun, GridManifest, RunFolder
from benchmark.vocabulary import BenchError

PUBLISHED = Path(__file__).parent / "published"
PUBLISHED_TABLES = (2, 3, 4, 5)

CELL = ["version", "factor", "level", "shared_layers"]
"""The coordinates of a cell of Table 2, all strings; `shared_layers` is `5` or `4-5-6`."""

SELF_SUPERVISION = ("none", "noise", "shuffle")
FUSION_WEIGHTS = ("0.1", "0.2", "0.3", "0.4", "0.5", "learnable")
SHARED_LAYERS = ("3", "4", "5", "6", "7", "4-5-6", "3-4-5-6-7")
TABLE2_ROWS = (
    *((version, "self_supervision", level) for version in ("v1", "v2", "v3") for level in SELF_SUPERVISION),
    *(("v4", "fusion_weight", level) for level in FUSION_WEIGHTS),
)
TEST_SPLIT = "test"
DECIMALS = "{:.2f}"
"""How every value is printed; what is equal in print is a tie."""


@dataclass(frozen=True)
class Measure:
    """How a metric of the results is printed: `value * scale`, two decimals, best is highest or lowest."""

    metric: str
    title: str
    scale: float
    higher_is_better: bool

    @property
    def name(self) -> str:
        """The title without its unit."""
        return self.title.split(" [")[0]


MEASURES = {
    "dice": Measure("dice", "Dice [%]", 100.0, True),
    "fpv_ml": Measure("fpv_ml", "FPV [ml]", 1.0, False),
    "fnv_ml": Measure("fnv_ml", "FNV [ml]", 1.0, False),
}


@dataclass(frozen=True)
class Progress:
    """How many cells have all their planned runs, and how many have some of them."""

    n_cells: int
    n_done: int
    n_partial: int

    @property
    def finished(self) -> bool:
        return self.n_done == self.n_cells


@dataclass(frozen=True)
class Behind:
    """What stands behind a table: how many runs there are, and how they were made.

    `states` counts the planned runs; seeds, folds, checkpoint rules and scoring grids are those of the
    finished ones.
    """

    manifest: str
    dataset: str
    profile: str
    data_fingerprint: str
    states: Mapping[str, int]
    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    checkpoints: tuple[str, ...]
    grids: tuple[str, ...]
    excluded_cases: tuple[str, ...]
    n_superseded: int

    @property
    def n_runs(self) -> int:
        return self.states.get("done", 0)

    @property
    def n_planned(self) -> int:
        return sum(self.states.values())


def published(table: int) -> pd.DataFrame:
    """A table of the paper as printed (percent, ml); the columns are in `published/README.md`."""
    if table not in PUBLISHED_TABLES:
        known = ", ".join(map(str, PUBLISHED_TABLES))
        raise BenchError(
            f"There are no published numbers of Table {table}; there are those of the tables {known}."
        )
    text = dict.fromkeys(CELL, str)
    return pd.read_csv(PUBLISHED / f"table{table}.csv", dtype=text)


def cell_of(factors: Mapping[str, str]) -> dict[str, str]:
    """A run's coordinates in Table 2 from the factors of its grid."""
    kinds = [kind for kind in ("self_supervision", "fusion_weight") if kind in factors]
    if len(kinds) != 1 or not {"version", "shared_layers"} <= set(factors):
        raise BenchError(
            f"A cell with the factors {dict(factors)} has no place in Table 2: it needs version, "
            "shared_layers, and one of self_supervision and fusion_weight. Report the grid table2 instead."
        )
    return {
        "version": factors["version"],
        "factor": kinds[0],
        "level": factors[kinds[0]],
        "shared_layers": factors["shared_layers"],
    }


def current_runs(manifest: GridManifest) -> list[CellRun]:
    """One run per factors, fold and seed; where a grid was planned anew, the run planned last."""
    latest = {(tuple(sorted(run.factors.items())), run.fold, run.seed): run for run in manifest.cells}
    return list(latest.values())


def run_cells(results: Path, manifest: GridManifest, *, region: str | None = None) -> pd.DataFrame:
    """One row per planned run of a grid, finished or not.

    Columns: CELL, `fold`, `seed`, `run_id`, `state`, `failure`, `checkpoint`, `grid`, `n_cases`, and for
    every metric m of `MEASURES` the columns `m` (mean over the test cases for which it is defined; Dice as a
    fraction, volumes in ml) and `m_defined` (over how many). Runs that are not done have NaN and 0.
    `region` may be left out where there is only one.
    """
    rows = []
    for run in current_runs(manifest):
        folder = RunFolder(results, run.run_id)
        record = folder.record()
        row: dict[str, object] = {
            **cell_of(run.factors),
            "fold": run.fold,
            "seed": run.seed,
            "run_id": run.run_id,
            "state": record.state,
            "failure": record.failure or "",
            "checkpoint": "",
            "grid": "",
            "n_cases": 0,
        }
        for metric in MEASURES:
            row |= {metric: float("nan"), f"{metric}_defined": 0}
        if record.state == "done":
            row |= _means_over_cases(_test_scores(folder, region=region))
        rows.append(row)
    metrics = [column for metric in MEASURES for column in (metric, f"{metric}_defined")]
    columns = [*CELL, "fold", "seed", "run_id", "state", "failure", "checkpoint", "grid", "n_cases", *metrics]
    return pd.DataFrame(rows, columns=columns)


def _test_scores(folder: RunFolder, *, region: str | None) -> pd.DataFrame:
    try:
        scores = folder.scores()
    except (OSError, ValueError) as error:
        raise BenchError(
            f"Run {folder.run_id} is done, but {folder.scores_file} cannot be read ({error}). "
            f"Remove {folder.path} and start the grid again."
        ) from error
    scores = scores[scores["split"] == TEST_SPLIT]
    regions = sorted(scores["region"].unique())
    if region is None and len(regions) > 1:
        raise BenchError(
            f"Run {folder.run_id} has the regions {', '.join(regions)}; say which one the table shows."
        )
    return scores if region is None else scores[scores["region"] == region]


def _means_over_cases(scores: pd.DataFrame) -> dict[str, object]:
    means: dict[str, object] = {
        "n_cases": scores["case_id"].nunique(),
        "checkpoint": _joined(scores["checkpoint"]),
        "grid": _joined(scores["grid"]),
    }
    for metric in MEASURES:
        values = scores.loc[scores["metric"] == metric, "value"]
        means |= {metric: float(values.mean()), f"{metric}_defined": int(values.notna().sum())}
    return means


def _joined(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def table2_cells(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """The 105 cells of Table 2 in the paper's order; cells of `runs` that the paper lacks come after."""
    cells = [(*row, layers) for row in TABLE2_ROWS for layers in SHARED_LAYERS]
    known = set(cells)
    if runs is not None:
        cells += sorted(set(runs[CELL].itertuples(index=False, name=None)) - known)
    return pd.DataFrame(cells, columns=CELL)


def table2_frame(runs: pd.DataFrame, *, metric: str = "dice") -> pd.DataFrame:
    """One row per cell of Table 2, in the paper's order, from the rows of `run_cells`.

    `value` is in the printed unit of `MEASURES[metric]`: the mean over cases within a run, then over folds,
    then over seeds; `std` is the sample standard deviation over the seeds' values (NaN for fewer than two).
    `n_runs` of `n_expected` runs are done, `n_undefined` of them have no case for which the metric is
    defined and do not enter the mean. `n_cases` counts each fold's test cases once, however many seeds
    there are; `n_defined` those with a defined value. Cells without a finished run have NaN and counts of 0.
    """
    measure = MEASURES[metric]
    planned = runs.groupby(CELL, as_index=False).agg(n_expected=("run_id", "size"))
    frame = table2_cells(runs).merge(planned, how="left", on=CELL)
    done = runs[runs["state"] == "done"]
    rows = [
        {**dict(zip(CELL, key, strict=True)), **_over_folds_then_seeds(group, metric)}
        for key, group in done.groupby(CELL)
    ]
    columns = [*CELL, "value", "std", "n_runs", "n_undefined", "n_folds", "n_seeds", "n_cases", "n_defined"]
    frame = frame.merge(
        pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(CELL, str)), how="left", on=CELL
    )
    frame[["value", "std"]] = frame[["value", "std"]].astype(float) * measure.scale
    counts = ["n_expected", *columns[6:]]
    frame[counts] = frame[counts].astype(float).fillna(0).astype(int)
    return frame[[*columns[:6], "n_runs", "n_expected", *columns[7:]]]


def _over_folds_then_seeds(runs: pd.DataFrame, metric: str) -> dict[str, float]:
    by_seed = runs.groupby("seed")[metric].mean()
    by_fold = runs.groupby("fold")[["n_cases", f"{metric}_defined"]].max().sum()
    return {
        "value": float(by_seed.mean()),
        "std": float(by_seed.std(ddof=1)),
        "n_runs": len(runs),
        "n_undefined": int(runs[metric].isna().sum()),
        "n_folds": runs["fold"].nunique(),
        "n_seeds": runs["seed"].nunique(),
        "n_cases": int(by_fold["n_cases"]),
        "n_defined": int(by_fold[f"{metric}_defined"]),
    }


def published_table2() -> pd.DataFrame:
    """The paper's Table 2 with the columns CELL and `value` (Dice in percent)."""
    return table2_cells().merge(published(2), how="left", on=CELL).rename(columns={"dice": "value"})


def behind(runs: pd.DataFrame, manifest: GridManifest) -> Behind:
    """The counts and conditions of a grid, for the notes under a table."""
    done = runs[runs["state"] == "done"]
    return Behind(
        manifest=manifest.name,
        dataset=manifest.dataset,
        profile=manifest.profile,
        data_fingerprint=manifest.data_fingerprint,
        states={str(state): int(count) for state, count in runs["state"].value_counts().items()},
        seeds=_distinct(done["seed"]),
        folds=_distinct(done["fold"]),
        checkpoints=tuple(sorted(set(done["checkpoint"]))),
        grids=tuple(sorted(set(done["grid"]))),
        excluded_cases=manifest.excluded_cases,
        n_superseded=len(manifest.cells) - len(current_runs(manifest)),
    )


def _distinct(values: pd.Series) -> tuple[int, ...]:
    return tuple(sorted({int(value) for value in values}))


def progress(frame: pd.DataFrame) -> Progress:
    """How far the cells of a `table2_frame`, or of a part of it, are done."""
    begun = frame["n_runs"].gt(0)
    whole = begun & frame["n_runs"].eq(frame["n_expected"])
    return Progress(n_cells=len(frame), n_done=int(whole.sum()), n_partial=int((begun & ~whole).sum()))


def best_mask(frame: pd.DataFrame, within: list[str], *, higher_is_better: bool = True) -> pd.Series:
    """Which rows hold the best `value` of their group, as printed (two decimals): all of a tie, no NaN."""
    shown = frame["value"].map(DECIMALS.format).astype(float)
    best = shown.groupby([frame[column] for column in within]).transform("max" if higher_is_better else "min")
    return shown.notna() & (shown == best)


# Figures. Every function takes a frame with CELL and `value` and returns the points to draw.


def figure_cells(frame: pd.DataFrame, figure: int) -> pd.DataFrame:
    """The rows of Table 2 that Figure 4, 5 or 6 draws."""
    if figure == 4:
        return frame[frame["factor"] == "self_supervision"]
    if figure == 6:
        theta = pd.to_numeric(frame["level"], errors="coerce")
        return frame[(frame["factor"] == "fusion_weight") & (theta >= 0.1 - 1e-9) & (theta <= 0.5 + 1e-9)]
    return frame


def dice_by_self_supervision(frame: pd.DataFrame) -> pd.DataFrame:
    """Figure 4: the values of v1-v3 by version and self-supervision, one row per choice of shared layers."""
    points = figure_cells(frame, 4)
    return points[["version", "level", "shared_layers", "value"]].reset_index(drop=True)


def best_by_sharing(frame: pd.DataFrame) -> pd.DataFrame:
    """Figure 5: the best value for each version and choice of shared layers, the bold numbers of Table 2.

    `level` attains it (the first of a tie, empty where there is none); `n` of `n_expected` levels have one.
    """
    rows = []
    for (version, layers), box in frame.groupby(["version", "shared_layers"], sort=False):
        values = box["value"]
        rows.append(
            {
                "version": version,
                "shared_layers": layers,
                "level": box["level"].iloc[int(values.argmax())] if values.notna().any() else "",
                "value": values.max(),
                "n": int(values.notna().sum()),
                "n_expected": len(box),
            }
        )
    return pd.DataFrame(rows)


def dice_by_fusion_weight(frame: pd.DataFrame) -> pd.DataFrame:
    """Figure 6: the values of v4 by shared layers, one row per fixed theta in [0.1, 0.5], none learnable."""
    points = figure_cells(frame, 6)
    return points[["shared_layers", "level", "value"]].reset_index(drop=True)


def box_statistics(points: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Quartiles of `value` in each group, and whiskers to the farthest point within 1.5 interquartile ranges.

    Columns: `by`, `q1`, `median`, `q3`, `low`, `high` (NaN for a group without values), and `n` of
    `n_expected` points.
    """
    rows = []
    for key, group in points.groupby(by, sort=False):
        values = group["value"].dropna().to_numpy()
        row = dict(zip(by, key, strict=True)) | {"n": len(values), "n_expected": len(group)}
        if len(values):
            q1, median, q3 = np.percentile(values, [25, 50, 75])
            reach = 1.5 * (q3 - q1)
            # An interpolated quartile may lie beyond the last point within reach.
            low = min(values[values >= q1 - reach].min(), q1)
            high = max(values[values <= q3 + reach].max(), q3)
            row |= {"q1": q1, "median": median, "q3": q3, "low": low, "high": high}
        rows.append(row)
    return pd.DataFrame(rows, columns=[*by, "q1", "median", "q3", "low", "high", "n", "n_expected"])
