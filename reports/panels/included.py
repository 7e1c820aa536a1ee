"""Figures 7 and 8 in the report of a grid: the ones that `bench panels` has drawn, and who has not, how."""

from __future__ import annotations

from pathlib import Path

from benchmark.results import GridManifest, written_whole
from reports.cells import titled
from reports.panels.figure import FORMATS
from reports.panels.grid import current, drawn_figures, figure_of, figures_folder
from reports.printing import markdown_text
from reports.runs import current_runs


def include_panels(
    results: Path, manifest: GridManifest, out: Path, *, note: str = ""
) -> tuple[list[Path], list[str]]:
    """Copy the figures of single cases to a report's folder; the files, and the Markdown that shows them.

    Figures of runs that the grid has no more are left out. Where there are none, the text says how to make them. `note`
    stands in the title.
    """
    figure = figure_of(manifest.grid)
    name = f"Figure {figure.number}. {figure.title}" if figure else "Single cases"
    folder = figures_folder(results, manifest)
    every = drawn_figures(folder)
    pictures = current(every, [cell.run_id for cell in current_runs(manifest)])
    texts, files = [f"### {titled(name, note)}\n"], list[Path]()
    for picture in pictures.values():
        title = markdown_text(", ".join(picture.title.splitlines()))
        for stem in picture.stems:
            copied = [_copied(folder / f"{stem}.{kind}", out) for kind in FORMATS]
            present = [path for path in copied if path is not None]
            if not present:
                continue
            files += present
            links = ", ".join(f"[{path.suffix[1:].upper()}]({path.name})" for path in present)
            texts.append(f"![{title}]({stem}.png)\n\n{title} ({links})\n")
    gone = len(every) - len(pictures)
    if not files or gone:
        command = f"`bench panels --grid {manifest.grid}`"
        stale = f"{gone} of the figures of single cases show runs that the grid has no more; " if gone else ""
        texts.append(f"{stale}{command} draws what every branch says of single cases.\n")
    return files, texts


def _copied(source: Path, out: Path) -> Path | None:
    if not source.exists():
        return None
    target = out / source.name
    with written_whole(target) as temporary:
        temporary.write_bytes(source.read_bytes())
    return target
