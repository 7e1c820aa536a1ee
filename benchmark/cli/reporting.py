"""`bench report --all` and `--html`: everything that there are runs for, as folders of files or as a page."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.vocabulary import BenchError

if TYPE_CHECKING:
    from benchmark.cli.results import Source
    from reports.everything import Part

Launch = tuple[str, str | None, str | None, str | None]
"""A grid, and, where they are asked for, the name, profile and data set of its launch."""


def report_all(results: Path, source: Source, *, out: Path | None, mlflow: bool, as_json: bool) -> None:
    """Write every report to a folder of its own."""
    from reports.everything import write_everything

    folder = out or results / "reports"
    parts = write_everything(results, folder, source=source.value, claims=_claim_files())
    _tell(parts, f"All in {folder}", as_json=as_json)
    if mlflow:
        from benchmark.tracking import log_report

        for part in parts:
            if part.report is not None and part.report.manifest is not None:
                _try(log_report, results, part.report.manifest, part.report.files)


def report_html(
    results: Path,
    launch: Launch | None,
    source: Source,
    *,
    out: Path | None,
    thumbnails: int,
    mlflow: bool,
    as_json: bool,
) -> None:
    """Write the page of everything, or of one launch alone."""
    from benchmark.tracking.links import run_link
    from reports.everything import write_html
    from reports.provenance.trace import MlflowLink
    from reports.report import choose_launch

    def link(run_id: str) -> MlflowLink:
        found = run_link(results, run_id)
        return MlflowLink(found.url, found.text)

    chosen = None
    if launch is not None:
        grid, name, profile, dataset = launch
        chosen = [choose_launch(results, grid=grid, name=name, profile=profile, dataset=dataset)]
    folder = out or results / "reports" / "html"
    written = write_html(
        results,
        folder,
        source=source.value,
        launches=chosen,
        most_thumbnails=thumbnails,
        links=link,
        claims=_claim_files() if launch is None else (),
    )
    _tell(written.parts, f"Open {written.files[0]}", as_json=as_json)
    if mlflow:
        from benchmark.tracking import log_folder

        # Beside the newest of its grids, once: the pictures of a page are many.
        shown = [
            part.manifest for part in written.parts if part.manifest is not None and part.report is not None
        ]
        if shown:
            _try(log_folder, results, max(shown, key=lambda manifest: manifest.created).name, folder)


def _claim_files() -> list[Path]:
    from reports.claims.reading import claim_files
    from studies.grid import STUDIES

    return claim_files(STUDIES / "claims")


def _tell(parts: Sequence[Part], end: str, *, as_json: bool) -> None:
    if as_json:
        content = [
            {
                "name": part.name,
                "title": part.report.title if part.report is not None else None,
                "reason": part.reason,
                "files": [str(path) for path in part.report.files] if part.report is not None else [],
            }
            for part in parts
        ]
        print(json.dumps({"parts": content, "end": end}, indent=1))
    else:
        print("\n".join([*(part.line for part in parts), end]))


def _try(log: Callable[..., Any], *arguments: Any) -> None:
    """MLflow is a mirror: without it the report is no worse."""
    try:
        log(*arguments)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
