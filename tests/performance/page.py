"""How long the page of 105 cells with 203 cases takes to open in Chromium, against the same scores as one HTML table by
pandas, which has no pages to turn, no sorting and no cells to look into."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.results.manifests import CellRun, GridManifest, write_manifest
from benchmark.results.runs import RunFolder, RunRecord, load_scores
from reports.everything import write_html
from reports.ground.launches import newest_launches
from reports.tables.table2.frames import table2_cells
from tests.performance.measure import Comparison, NotMeasured, Setting, seconds

N_CASES = 203
LIMIT_SECONDS = 2.0
METRICS = {"dice": "1", "fpv_ml": "ml", "fnv_ml": "ml"}


def measure(setting: Setting) -> Iterator[Comparison]:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        raise NotMeasured("there is no Chromium on this machine")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise NotMeasured("the package playwright is not installed") from error
    with tempfile.TemporaryDirectory() as folder:
        results = write_results(Path(folder) / "results")
        written_seconds, written = seconds(
            lambda: write_html(
                results, Path(folder) / "html", source="both", launches=newest_launches(results)
            )
        )
        plain = Path(folder) / "plain.html"
        plain.write_text(_plain(results), encoding="utf-8")
        with sync_playwright() as started:
            opened = started.chromium.launch(executable_path=browser, args=["--no-sandbox"])
            tab = opened.new_page()

            def shown(path: Path, place: str, view: str = "") -> float:
                tab.goto("about:blank")
                took, _ = seconds(
                    lambda: (tab.goto(f"{path.as_uri()}{view}"), tab.locator(place).first.wait_for())
                )
                return took

            page = written.files[0]
            pairs = [
                (shown(page, "#coverage.dataTable"), shown(plain, "table")) for _ in range(setting.repeats)
            ]
            grid = [shown(page, "#cells-0.dataTable", "#/grid/table2") for _ in range(setting.repeats)]
            cell = [
                shown(page, "#cases-table.dataTable", "#/number/table2%3Av3%2Fshuffle%2F5")
                for _ in range(setting.repeats)
            ]
            opened.close()
        size = sum(path.stat().st_size for path in written.files) / 2**20
        first = statistics.median(ours for ours, _ in pairs)
    yield Comparison(
        figure="page",
        what=f"opening the page of 105 cells x {N_CASES} cases x {len(METRICS)} metrics in Chromium",
        peer_is="the same scores as one HTML table written by pandas",
        goal="faster",
        unit="s",
        target=1.0,
        ours=tuple(ours for ours, _ in pairs),
        peer=tuple(peer for _, peer in pairs),
        conditions=((f"opens in {first:.2f} s, under {LIMIT_SECONDS:g} s", first < LIMIT_SECONDS),),
        remarks=(
            f"the view of the grid, tables ready: {statistics.median(grid):.2f} s; of a cell with its cases: "
            f"{statistics.median(cell):.2f} s (each from an empty tab)",
            f"written in {written_seconds:.1f} s, {len(written.files)} files, {size:.1f} MiB",
        ),
    )


def write_results(folder: Path) -> Path:
    """All cells of Table 2 with one finished run each, whose scores are drawn at random."""
    generator = np.random.default_rng(0)
    cells = []
    for number, cell in enumerate(table2_cells().to_dict("records")):
        run_id = f"run{number:03d}"
        run = RunFolder(folder, run_id)
        run.write_scores(_scores(run_id, generator))
        run.write_record(RunRecord(run_id, state="done", parameters=4_800_000, train_seconds=3600.0))
        steps = np.arange(1, 401)
        losses = np.exp(-steps / 100) + generator.random(400) / 10
        run.write_history([{"step": int(s), "seg": float(v)} for s, v in zip(steps, losses, strict=True)])
        factors = {
            "version": str(cell["version"]),
            str(cell["factor"]): str(cell["level"]),
            "shared_layers": str(cell["shared_layers"]),
        }
        cells.append({"factors": factors, "fold": 0, "seed": 0, "run_id": run_id})
    manifest = GridManifest("table2", "k", "paper", "autopet", "", "f", 1.0, ())
    write_manifest(folder, replace(manifest, cells=tuple(CellRun(**cell) for cell in cells)))
    return folder


def _scores(run_id: str, generator: np.random.Generator) -> pd.DataFrame:
    cases = [f"PETCT_{case:04d}_study" for case in range(N_CASES)]
    frame = pd.DataFrame(
        {
            "case_id": np.repeat(cases, len(METRICS)),
            "metric": list(METRICS) * N_CASES,
            "value": generator.random(N_CASES * len(METRICS)),
        }
    )
    frame["unit"] = frame["metric"].map(METRICS)
    frame["patient"] = frame["case_id"]
    facts = {
        "run_id": run_id,
        "method": "mirror_unet",
        "dataset": "autopet",
        "fold": 0,
        "seed": 0,
        "split": "test",
        "checkpoint": "last",
        "grid": "dataset",
        "reading": "",
        "region": "tumor",
    }
    return frame.assign(**facts)


def _plain(results: Path) -> str:
    """All scores as pandas writes them: a row a case, a column a cell and metric."""
    scores = load_scores(results, [f"run{number:03d}" for number in range(105)])
    wide = scores.pivot(index="case_id", columns=["run_id", "metric"], values="value")
    return f"<!doctype html><meta charset=utf-8><title>plain</title>{wide.to_html(float_format='%.4f')}"
