"""A grid of Table 2 as it lies on disk when it has run: synthetic scores, every file as the suite writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from benchmark.config import run_config
from benchmark.results.manifests import CellRun, GridManifest, write_manifest
from benchmark.results.runs import RunFolder, RunRecord, check_scores
from reports.tables.table2.frames import table2_cells

FOLDS = 5
STEPS = 400
UNITS = {
    "dice": "1",
    "fpv_ml": "ml",
    "fnv_ml": "ml",
    "over_ml": "ml",
    "under_ml": "ml",
    "lesions": "1",
    "missed_lesions": "1",
    "hd95_mm": "mm",
    "surface_dice_2mm": "1",
    "missed": "1",
    "invented": "1",
}
"""All metrics of PET/CT."""
FACTS = {
    "device": "NVIDIA A100-SXM4-40GB",
    "protocol": 3,
    "versions": {f"package{number}": "1.2.3" for number in range(12)},
    "tasks": ["segmentation", "reconstruction"],
    "fusion": "fission",
}


def write_grid(results: Path, n_runs: int, *, n_cases: int = 200, seed: int = 0) -> GridManifest:
    """`n_runs` finished runs: all 105 cells, five folds, as many seeds as it takes; half of the cases have a
    lesion."""
    generator = np.random.default_rng(seed)
    templates = [_template(fold, n_cases) for fold in range(FOLDS)]
    effects = dict(enumerate(generator.normal(0.6, 0.03, 105)))
    history = _history(generator)
    runs = []
    for (number, cell), fold, run_seed in _cells(n_runs):
        run_id = f"{len(runs):012x}"
        runs.append(CellRun(cell, fold, run_seed, run_id))
        table = _with_values(templates[fold], run_id, run_seed, effects[number], generator)
        folder = RunFolder(results, run_id)
        folder.path.mkdir(parents=True)
        # Without `written_whole`, whose waiting for the disk would take minutes here.
        pq.write_table(table, folder.scores_file)
        record = RunRecord(run_id, state="done", data_fingerprint="f1", facts=FACTS)
        folder.record_file.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
        folder.config_file.write_text(_config(cell, fold, run_seed), encoding="utf-8")
        folder.history_file.write_text(history, encoding="utf-8")
    manifest = GridManifest("table2", "k", "paper", "autopet", "", "f1", 1.0, tuple(runs))
    return write_manifest(results, manifest)


def _cells(n_runs: int) -> Iterator[tuple[tuple[int, dict[str, str]], int, int]]:
    cells = table2_cells().to_dict("records")
    for number in range(n_runs):
        rest, cell = divmod(number, len(cells))
        run_seed, fold = divmod(rest, FOLDS)
        row = cells[cell]
        factors = {
            "version": row["version"],
            row["factor"]: row["level"],
            "shared_layers": row["shared_layers"],
        }
        yield (cell, factors), fold, run_seed


def _config(factors: Mapping[str, str], fold: int, seed: int) -> str:
    settings = {
        "dataset": "autopet",
        "method": "mirror_unet",
        "method_args": dict(factors),
        "loss_weights": {},
        "fold": fold,
        "seed": seed,
    }
    whole = run_config(settings, source="written_grid").model_dump(mode="json")
    return yaml.dump(whole, Dumper=yaml.CSafeDumper, sort_keys=False)


def _history(generator: np.random.Generator) -> str:
    steps = np.arange(1, STEPS + 1)
    losses = {name: np.exp(-steps / 100) + generator.random(STEPS) / 10 for name in ("seg", "rec_ct")}
    return pd.DataFrame({"step": steps, **losses}).to_csv(index=False)


def _template(fold: int, n_cases: int) -> pa.Table:
    rows = [
        {
            "run_id": "",
            "method": "mirror_unet",
            "dataset": "autopet",
            "fold": fold,
            "seed": 0,
            "split": "test",
            "checkpoint": "last",
            "grid": "dataset",
            "reading": "",
            "case_id": f"PETCT_{fold}{case:07d}_05-23-2003-NA-PET-CT_Ganzkoerper_Standard-{case:05d}",
            "patient": f"PETCT_{fold}{case:07d}",
            "region": "tumor",
            "metric": metric,
            "unit": unit,
            "value": 0.0,
        }
        for case in range(n_cases)
        for metric, unit in UNITS.items()
    ]
    return pa.Table.from_pandas(check_scores(pd.DataFrame(rows), source="template"), preserve_index=False)


def _with_values(
    template: pa.Table, run_id: str, seed: int, effect: float, generator: np.random.Generator
) -> pa.Table:
    n = template.num_rows // len(UNITS)
    values = generator.gamma(1.0, 5.0, (n, len(UNITS)))
    healthy = np.arange(n) % 2 == 1
    difficulty = np.linspace(-0.3, 0.3, n)
    values[:, 0] = np.where(
        healthy, np.nan, np.clip(effect + difficulty + generator.normal(0, 0.05, n), 0, 1)
    )
    values[:, 2] = np.where(healthy, 0.0, values[:, 2])
    place = {metric: number for number, metric in enumerate(UNITS)}
    lesions = np.where(healthy, 0.0, np.ceil(values[:, place["lesions"]]))
    values[:, place["lesions"]] = lesions
    values[:, place["missed_lesions"]] = np.floor(lesions * generator.random(n))
    values[:, place["surface_dice_2mm"]] = generator.random(n)
    values[:, [place["missed"], place["invented"]]] = 0.0
    columns = {
        "run_id": pa.array([run_id] * template.num_rows),
        "seed": np.full(template.num_rows, seed),
        "value": values.ravel(),
    }
    for name, column in columns.items():
        index = template.schema.get_field_index(name)
        kind = template.schema.field(index).type
        template = template.set_column(index, template.schema.field(index), pa.array(column, kind))
    return template
