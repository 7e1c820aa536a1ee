"""Own runs with planted effects, for the tests of claims: whole grids of many patients, written by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from written_runs import methods_manifest, write_run

from benchmark.results.manifests import CellRun, GridManifest, write_manifest
from reports.ground.publications import published

Dice = Callable[[Mapping[str, str]], float]
"""The true mean Dice (a fraction) of a cell, from its factors."""


def table2_factors() -> list[dict[str, str]]:
    """The factors of the 105 cells, as the grid table2 names them."""
    rows = published(2).to_dict("records")
    return [
        {
            "version": row["version"],
            str(row["factor"]): str(row["level"]),
            "shared_layers": row["shared_layers"],
        }
        for row in rows
    ]


def plant_table2(
    results: Path,
    dice: Dice,
    *,
    versions: Sequence[str] = ("v1", "v2", "v3", "v4"),
    n_patients: int = 60,
    noise: float = 0.01,
    seed: int = 0,
) -> None:
    """A grid table2, of these versions. A case's Dice is the cell's mean, the patient's own level, and noise."""
    generator = np.random.default_rng(seed)
    patients = generator.normal(0.0, 0.1, n_patients)
    cells = []
    for number, factors in enumerate(table2_factors()):
        if factors["version"] not in versions:
            continue
        values = np.clip(dice(factors) + patients + generator.normal(0.0, noise, n_patients), 0.0, 1.0)
        write_run(results, f"run{number}", list(values))
        cells.append(CellRun(factors, 0, 0, f"run{number}"))
    write_manifest(results, GridManifest("table2", "k", "demo", "phantom", "", "f1", 1.0, tuple(cells)))


def plant_methods(
    results: Path,
    grid: str,
    means: Mapping[str, tuple[float, float, float]],
    *,
    n_patients: int = 60,
    noise: float = 0.01,
    profile: str = "paper",
    seed: int = 0,
) -> None:
    """A finished grid of methods with these true means of Dice (a fraction), FPV and FNV (ml)."""
    generator = np.random.default_rng(seed)
    patients = generator.normal(0.0, 0.1, n_patients)
    for name, (dice, fpv, fnv) in means.items():
        wobble = generator.normal(0.0, noise, (3, n_patients))
        write_run(
            results,
            name.replace(" ", "-"),
            list(np.clip(dice + patients + wobble[0], 0, 1)),
            fpv_ml=list(np.maximum(fpv + 10 * (patients + wobble[1]), 0)),
            fnv_ml=list(np.maximum(fnv + 10 * (patients + wobble[2]), 0)),
        )
    cells = [(name, 0, 0, name.replace(" ", "-")) for name in means]
    write_manifest(results, replace(methods_manifest(grid, *cells), profile=profile))
