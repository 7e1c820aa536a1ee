"""The page's folder: `index.html` with its assets, data, pictures and the files of all reports, and `single.html`.

`single.html` is the same page in one file: what a viewer shows that opens one artifact alone, as MLflow's does, or
what is sent by mail. It has everything but the pictures and the files, and says where these are.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.files.places import DamagedFileError, read_bytes, regular_files
from benchmark.files.writing import write_text, written_whole
from benchmark.notices import notice
from benchmark.results.manifests import manifests
from benchmark.results.runs import RunFolder
from benchmark.vocabulary import BenchError
from reports.ground.hypertext import environment
from reports.ground.launches import shown_of
from reports.ground.runs import seen
from reports.page import assets
from reports.page.assets import Asset
from reports.page.cells import Picture, cases_content, run_content, scores_content, trace_content
from reports.page.checking import Checked, checked
from reports.page.failures import wanted_thumbnails
from reports.page.folder import INDEX, SINGLE
from reports.page.grids import ShownGrid, summary
from reports.page.model import Page
from reports.page.run_parts import ShownPart
from reports.page.sharing import without_folders
from reports.page.text import script_json
from reports.provenance.trace import Links, Trace, Traces

MOST_THUMBNAILS = 3000
THUMBNAILS = "-thumbnails"
PNG = b"\x89PNG\r\n\x1a\n"

Thumbnail = Callable[[Path, str, str, str], bytes | None]
"""(results, run, reading, case) -> a PNG, None where the run has none of the case."""


@dataclass(frozen=True)
class Embedded:
    """A script element that stands in the page and is read later."""

    type: str
    text: str


def write_page(
    page: Page,
    grids: Sequence[ShownGrid],
    out: Path,
    *,
    results: Path,
    thumbnail: Thumbnail | None = None,
    most_thumbnails: int = MOST_THUMBNAILS,
    links: Links | None = None,
    parts: Sequence[ShownPart] = (),
) -> list[Path]:
    """Write everything but the reports' own files, which are in `out` already; the paths written, the index first."""
    data: dict[str, str] = {}
    pictures: list[Path] = []
    n_thumbnails = 0
    for number, grid in enumerate(grids):
        data[f"{number}/cases"] = script_json(cases_content(grid))
        drawn = _thumbnails(grid, results, thumbnail, most_thumbnails)
        n_thumbnails += sum(map(len, drawn.values()))
        traces = Traces(results, grid.manifest, links=links, verify=False, known=grid.known())
        for cell in range(len(grid.cells)):
            trace = traces.of(grid.address(cell))
            found = checked(grid, cell, trace, results=results)
            runs, copied = _runs(trace, found, out, results, names=f"{number}/{cell}")
            pictures += copied
            content = {
                **without_folders({**trace_content(trace, found), "runs": runs}, results),
                "scores": scores_content(grid, cell),
                "thumbnails": sorted(drawn.get(cell, ())),
            }
            data[f"{number}/{cell}"] = script_json(content)
            if cell in drawn:
                data[f"{number}/{cell}{THUMBNAILS}"] = script_json(drawn[cell])
    for number, part in enumerate(parts):
        data[f"runs/{number}"] = script_json(without_folders(part.content, results))
    report = script_json(
        {
            "grids": [summary(grid) for grid in grids],
            "parts": [part.address for part in parts],
            "launches": _launches(results, grids),
            "thumbnails": _about_thumbnails(n_thumbnails),
        }
    )
    return [*_write_pages(page, report, data, out), *pictures]


def _launches(results: Path, grids: Sequence[ShownGrid]) -> dict[str, str]:
    """What a grid's name means in an address, here as at the command line."""
    names = dict.fromkeys(grid.manifest.grid for grid in grids)
    return {name: shown_of(results, manifests(results, name)).name for name in names}


def _write_pages(page: Page, report: str, data: Mapping[str, str], out: Path) -> list[Path]:
    script, style = assets.datatables()
    plotly = assets.plotly()
    styles = [style, *map(assets.own, assets.STYLES)]
    early = [*map(assets.own, assets.EARLY)]
    scripts = [script, *map(assets.own, assets.SCRIPTS)]
    shown = {"page": page, "styles": styles, "early": early, "scripts": scripts, "report": report}
    index = environment().get_template("page.html.j2")
    paths = [out / INDEX, out / SINGLE]
    write_text(paths[0], index.render(**shown, single=False, policy=policy([]), embedded={}))
    embedded = {
        name: Embedded("application/json", text)
        for name, text in data.items()
        if not name.endswith(THUMBNAILS)
    }
    embedded["plotly"] = Embedded("text/plain", plotly.inline)
    inside = policy([*early, *scripts, plotly])
    write_text(paths[1], index.render(**shown, single=True, policy=inside, embedded=embedded))
    for asset in (*styles, *early, *scripts, plotly):
        paths.append(out / "assets" / asset.name)
        write_text(paths[-1], asset.text)
    for name, text in data.items():
        paths.append(out / "data" / f"{name}.js")
        write_text(paths[-1], f'bench.receive("{name}",{text});\n')
    return paths


def policy(inside: Sequence[Asset]) -> str:
    """The content security policy: nothing but the folder's own files, or the scripts that stand in the page itself.

    Styles may be set by scripts, since the plots do so; with nothing to be fetched from, they can tell nobody.
    """
    allowed = " ".join(asset.digest for asset in inside) or "'self'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _runs(
    trace: Trace, found: Checked, out: Path, results: Path, *, names: str
) -> tuple[list[dict[str, object]], list[Path]]:
    """The runs of a cell for its file, and the pictures of them that were copied."""
    runs, copied = [], []
    for place, run in enumerate(trace.runs):
        folder = RunFolder(results, run.run_id)
        pictures = []
        for index, panel in enumerate(regular_files(folder.panels, "*.png", below=folder.path.parent)):
            if (content := _png(panel)) is None:
                continue
            target = Path("pictures") / f"{names}-{place}-{index}.png"
            with written_whole(out / target) as temporary:
                temporary.write_bytes(content)
            copied.append(out / target)
            pictures.append(Picture(target.as_posix(), f"What every branch says of {panel.stem}"))
        parameters = seen(results, run.run_id).parameters
        runs.append(
            run_content(
                run, parameters, _history(folder), checked=found, dataset=trace.dataset, pictures=pictures
            )
        )
    return runs, copied


def _png(panel: Path) -> bytes | None:
    """A picture's content; None, and a word about it, for what is no picture."""
    try:
        content = read_bytes(panel, below=panel.parent)
        if not content.startswith(PNG):
            raise DamagedFileError(f"{panel} is no PNG")
    except DamagedFileError as error:
        notice(f"{error}. It is left out.")
        return None
    return content


def _history(folder: RunFolder) -> dict[str, np.ndarray]:
    """Empty where it cannot be read, of which a word is said."""
    try:
        return folder.curves()
    except DamagedFileError as error:
        notice(str(error))
        return {}


def _thumbnails(
    grid: ShownGrid, results: Path, thumbnail: Thumbnail | None, most: int
) -> dict[int, dict[int, str]]:
    """By cell and case the wanted thumbnails that there are, in base64: one file a cell, where thousands of pictures
    would be a burden on any file share."""
    if thumbnail is None or not grid.measures:
        return {}
    key, measure = next(iter(grid.measures.items()))
    values = grid.scores[key].case_values()
    folds, names = grid.cases["fold"].tolist(), grid.cases["case_id"].astype(str).tolist()
    runs = _first_done(grid)
    found: dict[int, dict[int, str]] = {}
    for cell, case in wanted_thumbnails(values, higher_is_better=measure.higher_is_better, most=most):
        if (run := runs.get((cell, folds[case]))) is None:
            continue
        try:
            png = thumbnail(results, *run, names[case])
        except BenchError as error:
            notice(str(error))
            continue
        if png is not None:
            found.setdefault(cell, {})[case] = b64encode(png).decode("ascii")
    return found


def _first_done(grid: ShownGrid) -> dict[tuple[int, int], tuple[str, str]]:
    """By cell and fold the run and reading of the first seed that is done."""
    numbers = {
        place: cell for cell, place in enumerate(grid.cells[grid.keys].itertuples(index=False, name=None))
    }
    done = grid.planned[grid.planned["state"] == "done"].sort_values("seed", kind="stable")
    found: dict[tuple[int, int], tuple[str, str]] = {}
    for place, row in zip(
        done[grid.keys].itertuples(index=False, name=None),
        done[["fold", "run_id", "reading"]].itertuples(index=False, name=None),
        strict=True,
    ):
        if place in numbers:
            found.setdefault((numbers[place], int(row[0])), (str(row[1]), str(row[2])))
    return found


def _about_thumbnails(n: int) -> str:
    if n:
        return (
            "These cells have no pictures here. The page in one file has none at all; in the folder, "
            "`bench report --html --thumbnails N` writes more of them."
        )
    return (
        "There are no pictures: the runs have no projections. `bench evaluate RUN` makes those of a finished run; "
        "new runs have them."
    )
