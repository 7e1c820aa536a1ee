"""A run in words: the row of the table in which it stands, and what it scored in a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.results.manifests import CellRun, GridManifest, manifests
from benchmark.results.runs import RunFolder
from reports.ground.measures import DICE, FNV, FPV, Measure
from reports.ground.words import counted, layers_label, level_label

TEST = "test"


def row_name(factors: Mapping[str, str]) -> str:
    """A cell in the words of its table: `Mirror U-Net v3, L2 + shuffling, L = {5}`, or its method."""
    if set(factors) == {"method"}:
        return factors["method"]
    known = dict(factors)
    words = []
    if "version" in known:
        words.append(f"Mirror U-Net {known.pop('version')}")
    levels = [factor for factor in ("self_supervision", "fusion_weight") if factor in known]
    words += [level_label(factor, known.pop(factor)) for factor in levels]
    if "shared_layers" in known:
        words.append(layers_label(known.pop("shared_layers")))
    return ", ".join([*words, *(f"{name.replace('_', ' ')} {value}" for name, value in known.items())])


def row_label(name: str) -> str:
    """A `row_name` in lines that fit beside a picture."""
    return name.replace(", ", ",\n", 1).replace(", L = ", ",\nL = ")


def name_of_run(
    results: Path, run_id: str, reading: str, *, method: str, method_args: Mapping[str, Any]
) -> str:
    """The row of the newest grid that has the run; of none, its method with its arguments."""
    cells = cells_of_run(manifests(results), run_id)
    for cell in sorted(cells, key=lambda cell: cell.reading != reading):
        return row_name(cell.factors)
    arguments = ", ".join(f"{name} {value}" for name, value in method_args.items())
    return f"{method} ({arguments})" if arguments else method


def cells_of_run(listed: Sequence[GridManifest], run_id: str) -> list[CellRun]:
    """The cells of a run in the newest grid that has it."""
    found = ([cell for cell in manifest.cells if cell.run_id == run_id] for manifest in listed)
    return next(filter(None, found), [])


def scores_of_run(results: Path, run_id: str, reading: str) -> pd.DataFrame:
    """A run's scores of the test part with one reading; of its first, where it has none of that name."""
    scores = RunFolder(results, run_id).scores()
    scores = scores[scores["split"] == TEST]
    known = list(scores["reading"].unique())
    wanted = reading if reading in known or not known else known[0]
    return scores[scores["reading"] == wanted]


def case_words(scores: pd.DataFrame, case_id: str) -> list[str]:
    """What a run scored in a case: Dice, FPV and FNV of the only region, or the Dice of each."""
    own = scores[scores["case_id"] == case_id]
    regions = list(own["region"].unique())
    if len(regions) == 1:
        values = own.set_index("metric")["value"]
        return [_score(measure, values.get(measure.metric)) for measure in (DICE, FPV, FNV)]
    dice = own[own["metric"] == DICE.metric].set_index("region")["value"]
    return [f"{region}: {_score(DICE, dice.get(region))}" for region in regions]


def _score(measure: Measure, value: float | None) -> str:
    name, _, unit = measure.title.partition(" [")
    if value is None:
        return f"{name} not scored"
    if pd.isna(value):
        return f"{name} undefined"
    digits = ".1f" if measure is DICE else ".2f"
    return f"{name} {measure.scale * value:{digits}} {unit.removesuffix(']')}"


def fold_and_seed(folds: Sequence[int], seeds: Sequence[int]) -> str:
    """`fold 0, seed 0`, or how many there are."""
    parts = []
    for noun, numbers in (("fold", folds), ("seed", seeds)):
        different = sorted(set(numbers))
        parts.append(f"{noun} {different[0]}" if len(different) == 1 else counted(len(different), noun))
    return ", ".join(parts)
