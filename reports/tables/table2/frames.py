"""Table 2 as numbers, and the points of Figures 4 to 6.

table2_frame(runs), published_table2()   one row per cell of Table 2
dice_by_self_supervision, best_by_sharing, dice_by_fusion_weight   Figures 4, 5, 6
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from benchmark.vocabulary import BenchError
from reports.ground.addresses import address, address_of_cells
from reports.ground.frames import cells_frame
from reports.ground.measures import MEASURES
from reports.ground.publications import published
from reports.ground.runs import Coordinates

CELL = ["version", "factor", "level", "shared_layers"]
"""The coordinates of a cell of Table 2, all strings; `shared_layers` is `5` or `4-5-6`."""

SELF_SUPERVISION = ("none", "noise", "shuffle")
FUSION_WEIGHTS = ("0.1", "0.2", "0.3", "0.4", "0.5", "learnable")
SHARED_LAYERS = ("3", "4", "5", "6", "7", "4-5-6", "3-4-5-6-7")
TABLE2_ROWS = (
    *((version, "self_supervision", level) for version in ("v1", "v2", "v3") for level in SELF_SUPERVISION),
    *(("v4", "fusion_weight", level) for level in FUSION_WEIGHTS),
)


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


PLACE = Coordinates(tuple(CELL), cell_of)
ADDRESSED = ("version", "level", "shared_layers")
"""What an address says of a cell; the kind of its level follows."""


def addresses(frame: pd.DataFrame, *, metric: str = "dice") -> list[str]:
    """The addresses of a measure's numbers, from the columns CELL."""
    measure = "" if metric == next(iter(MEASURES)) else metric
    return [
        address("table2", cell, measure) for cell in frame[list(ADDRESSED)].itertuples(index=False, name=None)
    ]


def address_of(cells: pd.DataFrame, *, among: pd.DataFrame) -> str:
    """The address of several cells of the table's `among`, from the columns CELL; empty of none."""
    chosen, planned = (
        list(frame[list(ADDRESSED)].itertuples(index=False, name=None)) for frame in (cells, among)
    )
    return address_of_cells("table2", chosen, among=planned)


def table2_cells(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """The 105 cells of Table 2 in the paper's order; cells of `runs` that the paper lacks come after."""
    cells = [(*row, layers) for row in TABLE2_ROWS for layers in SHARED_LAYERS]
    known = set(cells)
    if runs is not None:
        cells += sorted(set(runs[CELL].itertuples(index=False, name=None)) - known)
    return pd.DataFrame(cells, columns=CELL)


def table2_frame(runs: pd.DataFrame, *, metric: str = "dice") -> pd.DataFrame:
    """One row per cell of Table 2, in the paper's order: the `cells_frame` of the rows of `run_cells`."""
    return cells_frame(runs, table2_cells(runs), MEASURES[metric])


def published_table2() -> pd.DataFrame:
    """The paper's Table 2 with the columns CELL and `value` (Dice in percent)."""
    return table2_cells().merge(published(2), how="left", on=CELL).rename(columns={"dice": "value"})


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
