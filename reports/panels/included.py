"""Figures 7 and 8 in the report of a grid: the ones that `bench panels` has drawn, and who has not, how."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.files.places import DamagedFileError, is_there, read_bytes, refuse_links
from benchmark.files.writing import written_whole
from benchmark.notices import notice
from benchmark.results.manifests import GridManifest
from reports.ground.cells import titled
from reports.ground.files import WrittenFigure
from reports.ground.printing import markdown_text
from reports.ground.runs import current_runs
from reports.panels.figure import FORMATS
from reports.panels.grid import current, drawn_figures, figure_of, figures_folder


@dataclass
class Included:
    """Figures that were copied to a report's folder, the Markdown that shows them, and what it says of those that were
    not."""

    figures: list[WrittenFigure] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        return [path for figure in self.figures for path in figure.files]

    def leave_out(self, error: DamagedFileError) -> None:
        """Say what cannot be shown, and why."""
        notice(str(error))
        words = f"Left out of the figures of single cases: {error}"
        self.remarks.append(words)
        self.texts.append(f"{markdown_text(words)}\n")


def include_panels(results: Path, manifest: GridManifest, out: Path, *, note: str = "") -> Included:
    """Copy the figures of single cases to a report's folder.

    Figures of runs that the grid has no more are left out, and what is no figure of the suite's is named. Where there
    are none, the text says how to make them. `note` stands in the title.
    """
    figure = figure_of(manifest.grid)
    name = f"Figure {figure.number}. {figure.title}" if figure else "Single cases"
    folder = figures_folder(results, manifest)
    included = Included(texts=[f"### {titled(name, note)}\n"])
    try:
        refuse_links(folder, below=folder.parent)
        every = drawn_figures(folder)
    except DamagedFileError as error:
        included.leave_out(error)
        return included
    pictures = current(every, [cell.run_id for cell in current_runs(manifest)])
    for picture in pictures.values():
        title = ", ".join(picture.title.splitlines())
        shown = markdown_text(title)
        for stem in picture.stems:
            try:
                present = _copied([folder / f"{stem}.{kind}" for kind in FORMATS], out)
            except DamagedFileError as error:
                included.leave_out(error)
                continue
            if not present:
                continue
            included.figures.append(WrittenFigure(titled(name, note), title, tuple(present)))
            links = ", ".join(f"[{path.suffix[1:].upper()}]({path.name})" for path in present)
            included.texts.append(f"![{shown}]({stem}.png)\n\n{shown} ({links})\n")
    gone = len(every) - len(pictures)
    if not included.figures or gone:
        command = f"`bench panels --grid {manifest.name}`"
        stale = f"{gone} of the figures of single cases show runs that the grid has no more; " if gone else ""
        remark = f"{stale}{command} draws what every branch says of single cases."
        included.remarks.append(remark)
        included.texts.append(f"{remark}\n")
    return included


def _copied(sources: Iterable[Path], out: Path) -> list[Path]:
    """Those of the files that are there, in the folder; DamagedFileError, before any is written, for what is none."""
    contents = {path.name: read_bytes(path, below=path.parent) for path in sources if is_there(path)}
    for name, content in contents.items():
        with written_whole(out / name) as temporary:
            temporary.write_bytes(content)
    return [out / name for name in contents]
