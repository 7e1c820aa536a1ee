"""A page of runs written by hand, for the tests of the page."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from PIL import Image
from written_runs import NAN, V3, V4, manifest_of, methods_manifest, score_rows, write_failure, write_scores

from benchmark.results.manifests import write_manifest
from benchmark.results.runs import RunFolder, WithoutFacts
from reports.everything import WrittenPage, write_html
from reports.ground.drawing import FORMATS
from reports.provenance.trace import MlflowLink

HOSTILE = "<script>window.hacked=1</script>"
HOSTILE_METHODS = (
    HOSTILE,
    "</script><img src=x onerror='window.hacked=2'>",
    "\"'><svg onload=window.hacked=3> & [x](javascript:window.hacked=4) `**b**`",
)
HOSTILE_CASE = "case\"><img src=x onerror='window.hacked=5'></script>"
DICE = [0.9, 0.5, NAN, 0.25]
"""v3's cases 0 to 3: a mean of 55 %."""
OTHER = [0.6, 0.7, NAN, 0.2]
"""v4's: 50 %. v3 is ahead by 30, −20 and 5 points."""


CLAIMS = """
name: hand
paper: by hand
claims:
  - id: v3-before-v4
    place: by hand
    says: v3 is better than v4.
    table: table2
    test: {better: v3/shuffle/5, than: v4/0.2/4-5-6}
  - id: elsewhere
    place: by hand
    says: Of a table that has no runs here.
    table: table4
    test: {better: Mirror U-Net v3, than: Blackbean}
"""


def chromium() -> str | None:
    """A browser to test with, if there is one."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next(filter(None, found), None)


def png(colour: str = "#888888") -> bytes:
    """A small picture."""
    file = io.BytesIO()
    Image.new("RGB", (30, 40), colour).save(file, "PNG")
    return file.getvalue()


def write_results(folder: Path) -> Path:
    """Table 2 with two finished cells of four cases and one that failed; Table 3 with hostile names."""
    _run(folder, "run3", {"dice": DICE, "fpv_ml": [1.0, 2.0, 3.0, 4.0], "fnv_ml": [0.0, 0.0, 0.0, 2.0]})
    _run(folder, "run4", {"dice": OTHER, "fpv_ml": [0.0, 0.0, 6.0, 0.0], "fnv_ml": [1.0, 1.0, 0.0, 2.0]})
    write_failure(folder, "run9", "memory")
    failed = {**V4, "fusion_weight": "0.3"}
    write_manifest(folder, manifest_of((V3, 0, 0, "run3"), (V4, 0, 0, "run4"), (failed, 0, 0, "run9")))
    names = ("hostile-1", "hostile.2", "hostile_3")
    for run_id, first in zip(names, (0.1, 0.2, 0.3), strict=True):
        _run(folder, run_id, {"dice": [first, 0.5], "fpv_ml": [0.05, 0.04]}, cases=[HOSTILE_CASE, "case1"])
    cells = [(method, 0, 0, run_id) for method, run_id in zip(HOSTILE_METHODS, names, strict=True)]
    write_manifest(folder, methods_manifest("table3", *cells))
    return folder


def _run(
    results: Path, run_id: str, scores: Mapping[str, Sequence[float]], *, cases: Sequence[str] = ()
) -> None:
    rows = score_rows(run_id, {"": scores})
    if cases:
        rows["case_id"] = [cases[int(name[-1])] for name in rows["case_id"]]
    write_scores(
        results,
        run_id,
        [rows],
        parameters=4_809_781,
        train_seconds=60.0,
        facts={"git_commit": "0123456789abcdef", "cpu": "<i>a processor</i>", "host": "secret-host"},
    )
    folder = RunFolder(results, run_id)
    folder.write_config({"method": "some_method", "training": {"steps": 3, "note": "</pre><b>bold</b>"}})
    folder.write_history(
        [{"step": step, "seconds": step, "seg": 1 / step, "val_dice": step / 10} for step in (1, 2, 3)]
    )


def link(run_id: str) -> MlflowLink:
    """An address in MLflow for run3, and for the others one that must never become a link."""
    if run_id == "run3":
        return MlflowLink("https://mlflow.test/#/experiments/1/runs/abc", "")
    return MlflowLink("javascript:window.hacked=6", "")


def without_ink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes seconds; a grey picture stands for every figure."""

    def save(figure: object, stem: Path, *, formats: Sequence[str] = FORMATS) -> list[Path]:
        paths = [stem.with_name(f"{stem.name}.{kind}") for kind in formats]
        for path in paths:
            path.write_bytes(png() if path.suffix == ".png" else b"")
        return paths

    monkeypatch.setattr("reports.ground.drawing.save", save)


def thumbnail(results: Path, run_id: str, reading: str, case_id: str) -> bytes | None:
    """A picture of every case of Table 2 but the last."""
    return png() if run_id in ("run3", "run4") and not case_id.endswith("3") else None


def write_test_page(folder: Path) -> WrittenPage:
    """The results, and `html/` with their page and claims about them."""
    results = write_results(folder / "results")
    rows = score_rows("hostile-1", {"": {"dice": [0.2, 0.6]}})
    rows["case_id"] = [HOSTILE_CASE, "case1"]
    RunFolder(results, "hostile-1").write_without(rows, WithoutFacts("CT", "zeros", {"": {}}))
    claims = folder / "claims.yaml"
    claims.write_text(CLAIMS, encoding="utf-8")
    with pytest.MonkeyPatch.context() as monkeypatch:
        without_ink(monkeypatch)
        return write_html(
            results, folder / "html", source="both", thumbnail=thumbnail, links=link, claims=[claims]
        )
