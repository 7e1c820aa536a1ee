"""Which runs of a grid are shown beside one another, and the figures of them on disk.

<results>/panels/<grid>-<key>/figures.json       what was drawn, of which runs
                              figure7_<case>_axial.png, .pdf, figure7_<case>_coronal.png, .pdf, ...
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmark.data.naming import case_id_from
from benchmark.files.places import DamagedFileError, Name, is_there
from benchmark.files.schemas import STRICT, Text, checked, read_mapping
from benchmark.files.writing import exclusive, write_json
from benchmark.results.manifests import CellRun, GridManifest
from benchmark.results.runs import RunFolder
from benchmark.vocabulary import BenchError
from reports.evidence.experiments import banner_of
from reports.ground import banner, drawing
from reports.ground.runs import current_runs
from reports.panels.choice import Chosen
from reports.panels.figure import FORMATS
from reports.panels.layout import PicturedCase
from reports.panels.rows import case_words, fold_and_seed, row_label, row_name, scores_of_run
from reports.panels.rows_figure import FigureRow, draw_rows

MOST_ROWS = 12
RECORD = "figures.json"


@dataclass(frozen=True)
class GridFigure:
    """A figure of the paper: its number, what it shows, and the cells that it shows unless others are named.

    `across_cases`: a row a case and a figure a network; else a row a network and a figure a case.
    """

    number: int
    title: str
    rows: tuple[Mapping[str, str], ...]
    across_cases: bool = False

    @property
    def stem(self) -> str:
        return f"figure{self.number}"


_SHARED = {"shared_layers": "5"}
FIGURES = {
    "table2": GridFigure(
        7,
        "What each branch of Mirror U-Net has learned",
        (
            {"version": "v1", "self_supervision": "noise", **_SHARED},
            *(
                {"version": version, "self_supervision": "shuffle", **_SHARED}
                for version in ("v1", "v2", "v3")
            ),
            # The paper's best theta for these layers; the figure does not say which it shows.
            {"version": "v4", "fusion_weight": "0.2", **_SHARED},
        ),
    ),
    "table5": GridFigure(
        8, "Mirror U-Net on brain tumours", ({"method": "Mirror U-Net v2"},), across_cases=True
    ),
}
"""The paper's Figure 7 has the rows v1-noise, v1-shuffle, v2-shuffle, v3-shuffle and v4."""


def figure_of(grid: str) -> GridFigure | None:
    """The figure of the paper that a grid's runs make."""
    return FIGURES.get(grid)


@dataclass(frozen=True)
class Selected:
    """The cells that are shown, and in words those that are not."""

    cells: tuple[CellRun, ...]
    left_out: tuple[str, ...] = ()


def selected_cells(
    results: Path, manifest: GridManifest, chosen: Sequence[CellRun] | None, *, fold: int | None = None
) -> Selected:
    """Of every cell one finished run: all of `fold` (None: the first fold that has most of them), each with its
    first seed. `chosen` None: the cells of the grid's figure, or all of a grid without one.

    BenchError where there are none, or more than a page has rows.
    """
    figure = figure_of(manifest.grid)
    rows = None if chosen is not None or figure is None else [dict(factors) for factors in figure.rows]
    wanted = [cell for cell in current_runs(manifest) if _is_wanted(cell, chosen, rows)]
    names = list(dict.fromkeys(row_name(cell.factors) for cell in wanted))
    done = [cell for cell in wanted if RunFolder(results, cell.run_id).seen().state == "done"]
    if fold is None and done:
        folds = [cell.fold for cell in done]
        fold = min(set(folds), key=lambda number: (-folds.count(number), number))
    first: dict[str, CellRun] = {}
    for cell in sorted((cell for cell in done if cell.fold == fold), key=lambda cell: cell.seed):
        first.setdefault(row_name(cell.factors), cell)
    if not first:
        raise BenchError(
            f"None of the {len(names)} rows to show of {manifest.name} is done"
            f"{'' if fold is None else f' in fold {fold}'}. `bench run --grid {manifest.grid}` trains them; "
            "--only FACTOR=VALUE,... shows others."
        )
    if len(first) > MOST_ROWS:
        raise BenchError(
            f"{len(first)} rows are more than a figure has ({MOST_ROWS}); choose some with --only FACTOR=VALUE,..."
        )
    in_order = tuple(first[name] for name in names if name in first)
    return Selected(in_order, tuple(name for name in names if name not in first))


def _is_wanted(
    cell: CellRun, chosen: Sequence[CellRun] | None, rows: Sequence[Mapping[str, str]] | None
) -> bool:
    if chosen is not None:
        return cell in chosen
    return rows is None or dict(cell.factors) in rows


@dataclass
class Picture:
    """A figure on disk: what it shows, the runs behind it, and the files' stems."""

    __pydantic_config__ = STRICT

    title: Text
    stems: list[Name]
    runs: list[Name] = field(default_factory=list)


def write_grid_figures(
    folder: Path,
    results: Path,
    manifest: GridManifest,
    cells: Sequence[CellRun],
    cases: Sequence[Chosen],
    pictured: Mapping[tuple[str, str], PicturedCase],
) -> list[Path]:
    """Draw the figures of a grid's cells; `pictured` by the cell's row name and the case.

    A figure of a case replaces that which an earlier call drew of it, and those of other cases are kept. Where a figure
    is a network's (`across_cases`), it has the cases of the last call alone. Returns the files written.
    """
    figure = figure_of(manifest.grid)
    where = fold_and_seed([cell.fold for cell in cells], [cell.seed for cell in cells])
    shown = _Shown(
        results,
        figure.stem if figure else "panels",
        f"{manifest.dataset}, {where}",
        {row_name(cell.factors): cell for cell in cells},
        cases,
        pictured,
    )
    drawn = shown.by_network(figure.rows) if figure and figure.across_cases else shown.by_case()
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    with drawing.style(), banner.under(banner_of(results, manifest)):
        for picture, parts in drawn.values():
            for stem, (rows, views) in zip(picture.stems, parts, strict=True):
                drawn_rows = draw_rows(rows, title=picture.title, views=views)
                files += drawing.save(drawn_rows, folder / stem, formats=FORMATS)
    _note(folder, {key: picture for key, (picture, _) in drawn.items()})
    return files


Drawn = dict[str, tuple[Picture, list[tuple[list[FigureRow], tuple[int, ...]]]]]
"""By key a picture, and for each of its files the rows and the numbers of their views."""


@dataclass(frozen=True)
class _Shown:
    """All that is shown: networks by their row's name, cases, and what the one says of the other."""

    results: Path
    stem: str
    where: str
    cells: Mapping[str, CellRun]
    cases: Sequence[Chosen]
    pictured: Mapping[tuple[str, str], PicturedCase]

    def by_case(self) -> Drawn:
        """A figure a case with a row a network, once axial and once coronal."""
        drawn: Drawn = {}
        for case in self.cases:
            rows = [self._row(name, case, row_label(name)) for name in self.cells]
            why = f": {', '.join(case.reasons)}" if case.reasons else ""
            key = f"{self.stem}_{case.case_id}"
            runs = [cell.run_id for cell in self.cells.values()]
            picture = Picture(
                f"Case {case.case_id}{why}\n{self.where}", [f"{key}_axial", f"{key}_coronal"], runs
            )
            drawn[key] = (picture, [(rows, (0,)), (rows, (1,))])
        return drawn

    def by_network(self, usual: Sequence[Mapping[str, str]]) -> Drawn:
        """A figure a network with a row a case, axial and coronal below each other."""
        drawn: Drawn = {}
        for name, cell in self.cells.items():
            key = self.stem if dict(cell.factors) in usual else f"{self.stem}_{case_id_from(name)}"
            rows = [self._row(name, case, "\n".join([case.case_id, *case.reasons])) for case in self.cases]
            drawn[key] = (Picture(f"{name}\n{self.where}", [key], [cell.run_id]), [(rows, (0, 1))])
        return drawn

    def _row(self, name: str, case: Chosen, label: str) -> FigureRow:
        cell, shown = self.cells[name], self.pictured[name, case.case_id]
        scores = scores_of_run(self.results, cell.run_id, cell.reading)
        lines = [label, *case_words(scores, case.case_id)]
        if shown.probability is not None:
            lines.append(f"P(lesion) {shown.probability:.2f}")
        return FigureRow("\n".join(lines), shown)


def _note(folder: Path, drawn: Mapping[str, Picture]) -> None:
    """Add what was drawn to the record; two commands at a time do not lose each other's."""
    with exclusive(folder / ".lock", wait=True):
        known = {**drawn_figures(folder), **drawn}
        write_json(folder / RECORD, {key: asdict(picture) for key, picture in known.items()})


def drawn_figures(folder: Path) -> dict[str, Picture]:
    """What there is in a folder of figures; nothing where there is none. DamagedFileError for a damaged record."""
    record = folder / RECORD
    if not is_there(record):
        return {}
    try:
        return checked(dict[str, Picture], read_mapping(record, below=folder), source=str(record))
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}. Remove it; `bench panels` writes it again.") from error


def figures_folder(results: Path, manifest: GridManifest) -> Path:
    """Where the figures of a grid's launch lie."""
    return results / "panels" / manifest.name


def current(pictures: Mapping[str, Picture], runs: Iterable[str]) -> dict[str, Picture]:
    """The pictures that show nothing but these runs."""
    known = frozenset(runs)
    return {key: picture for key, picture in pictures.items() if known.issuperset(picture.runs)}
