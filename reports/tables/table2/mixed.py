"""What version, self-supervision, shared layers and the fusion weight contribute to Table 2."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from reports.ground.words import layers_label, level_label
from reports.statistics.factor_tables import Part, factor_tables
from reports.statistics.outputs import Outputs
from reports.statistics.scores import CaseScores
from reports.tables.table2.frames import address_of
from reports.tables.table2.ranks import cell_name

LAYERS = "shared layers"
FACTORS = {
    "self_supervision": ("version", "self-supervision", LAYERS),
    "fusion_weight": ("fusion weight", LAYERS),
}
"""The factors of the cells of either kind, in Table 2's own columns but for `level`, which has its kind's name."""
PARTS = {"self_supervision": "v1–v3", "fusion_weight": "v4"}
SIZE = (
    "Shared layers and the number of parameters go together (each shared layer is one that is not doubled); a "
    "contribution of L is of both."
)


def mixed_tables(scores: CaseScores, *, note: str = "") -> Outputs:
    """The mixed models of Table 2's Dice: v1 to v3, and v4; `scores` are of its cells. `note` goes into the titles."""
    parts = {name: _part(scores, kind) for kind, name in PARTS.items()}
    return factor_tables(parts, number="2", stem="table2", remarks=(SIZE,), note=note)


def _part(scores: CaseScores, kind: str) -> Part:
    chosen = np.flatnonzero(scores.cells["factor"] == kind)
    here, name = scores.of_cells(chosen), FACTORS[kind][-2]
    cells = pd.DataFrame(
        {
            "version": here.cells["version"],
            name: [level_label(kind, level) for level in here.cells["level"]],
            LAYERS: here.cells["shared_layers"].map(layers_label),
        }
    )
    names = [cell_name(cell) for cell in here.cells.to_dict("records")]
    return Part(
        replace(here, cells=cells),
        FACTORS[kind],
        names,
        lambda rows: address_of(here.cells.iloc[list(rows)], among=scores.cells),
    )
