"""The report of the grid `aahn`: own numbers, beside those of AAHN's paper where it names the data set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from benchmark.results.manifests import GridManifest
from reports.ground.cells import Source
from reports.ground.files import SHOWN, ReportFiles, write_index, write_table
from reports.ground.frames import DECIMALS
from reports.ground.layout import TableLayout
from reports.ground.measures import DICE, HD95, Measure, region_key
from reports.ground.notes import MISSING
from reports.ground.printing import Cell, PrintedTable, Row, Span, markdown
from reports.ground.publications import PUBLISHED, Publication
from reports.ground.published_numbers import PublishedNumber, number_in
from reports.ground.words import enumerated
from reports.tables.comparison.frames import FACTS, Comparison
from reports.tables.comparison.layout import of_methods
from reports.tables.comparison.report import report as comparison_report

FILE = PUBLISHED / "aahn.csv"
PAPER = (
    "Asymmetric Adaptive Heterogeneous Network for Multi-Modality Medical Image Segmentation, IEEE TMI 2025"
)
TITLE = "AAHN, its ablations, and other methods"
METRICS = {"dice": DICE, "hd95": HD95}


def numbers() -> pd.DataFrame:
    """The published numbers as they stand in the file, one a row: method, dataset, region, metric, value,
    unit, source.

    `value` is scaled to percent where its unit is 1.
    """
    frame = pd.read_csv(FILE)
    # Four decimals of a fraction are two of a percentage, and nothing more.
    frame["value"] = frame["value"].where(frame["unit"] != "1", (frame["value"] * 100).round(6))
    return frame


def numbers_on(dataset: str) -> pd.DataFrame:
    """Those of one data set that can stand beside own ones: `method` and a column for every
    `Measure.printed_as`.

    A data set is known by its name, whatever its case and signs; numbers without a stated unit are left out.
    """
    frame = rows_on(dataset)
    wide = frame.pivot(index="method", columns="column", values="value")
    names = pd.Index(dict.fromkeys(frame["method"]), name="method")
    return wide.reindex(names).rename_axis(columns=None).reset_index()


def rows_on(dataset: str) -> pd.DataFrame:
    """The rows of `numbers` behind `numbers_on`, with their `Measure.printed_as` in `column`."""
    frame = numbers()
    frame = frame[(frame["dataset"].map(_plain) == _plain(dataset)) & (frame["unit"] != "not stated")]
    several = frame["region"].nunique() > 1
    columns = [
        METRICS[metric].of(region if several else "").printed_as
        for metric, region in zip(frame["metric"], frame["region"], strict=True)
    ]
    return frame.assign(column=columns)


def _plain(name: str) -> str:
    """`Dataset021_Hecktor-21` as hecktor21."""
    return region_key(re.sub(r"^(dataset|task)\d+_", "", name, flags=re.IGNORECASE)).replace("_", "")


def comparison_on(dataset: str, *, source: Source) -> Comparison:
    """The comparison of the grid's methods on this data set, with the paper's numbers if they are asked
    for."""
    own = Comparison("aahn", TITLE, facts=FACTS)
    if source == "runs" or numbers_on(dataset).empty:
        return own
    publication = Publication(
        PAPER,
        "One number a cell. Images were scaled to 128 × 128, and the cases divided by the authors' own code. HD95 is "
        "printed without a unit, and not set beside own millimetres.",
        called=dataset,
        apart="the published numbers are of cases that the authors divided by their own code, own folds are others",
    )
    return Comparison(
        "aahn", TITLE, facts=FACTS, printed=partial(numbers_on, dataset), publication=publication
    )


def on_data_of(manifest: GridManifest | None) -> TableLayout:
    """The entry of the registry, with what was published on the launch's data set; None: without a launch."""
    if manifest is None:
        return replace(of_methods(comparison_on("", source="runs")), report=report)
    comparison = comparison_on(manifest.dataset, source="both")
    published = partial(_published, manifest.dataset, comparison.publication)
    return replace(of_methods(comparison), report=report, published_number=published)


def _published(
    dataset: str, publication: Publication | None, cell: Mapping[str, str], measure: Measure
) -> PublishedNumber | None:
    rows = rows_on(dataset)
    found = rows[(rows["method"] == cell["method"]) & (rows["column"] == measure.printed_as)]
    if found.empty or publication is None:
        return None
    # The frame's index counts the rows after the header.
    return number_in(FILE, int(found.index[0]) + 2, float(found["value"].iloc[0]), publication)


def report(
    results: Path | None, manifest: GridManifest | None, *, source: Source, out: Path, summary: Sequence[str]
) -> ReportFiles:
    """Write all files of the report to `out`; `summary` comes first in the lines for the terminal."""
    if results is not None and manifest is not None:
        comparison = comparison_on(manifest.dataset, source=source)
        return comparison_report(comparison, results, manifest, source=source, out=out, summary=summary)
    frame = numbers()
    printed = published_table(frame)
    written = write_table(out / "aahn", [printed], layout=frame, cells=frame)
    lines = [*summary, *_lines(frame)]
    return write_index(
        out,
        f"Table aahn: {SHOWN['paper']}",
        lines=lines,
        texts=[markdown(printed)],
        files=written.files,
        tables=[written],
    )


def published_table(frame: pd.DataFrame) -> PrintedTable:
    """All of `numbers`: a row a data set and region, a column a method and metric."""
    columns = list(dict.fromkeys(zip(frame["method"], frame["metric"], strict=True)))
    values = frame.set_index(["dataset", "region", "method", "metric"])["value"]
    rows = [
        Row(dataset, region, tuple(_cell(values, (dataset, region, *column)) for column in columns))
        for dataset, region in dict.fromkeys(zip(frame["dataset"], frame["region"], strict=True))
    ]
    elsewhere = frame[frame["source"] != "paper"]
    sources = [
        f"{source}: {enumerated(list(dict.fromkeys(rows['method'] + ' on ' + rows['dataset'])))}"
        for source, rows in elsewhere.groupby("source", sort=False)
    ]
    notes = [
        f"Published numbers: {PAPER}, on other data sets than the suite's.",
        *(["Not from the paper but from " + "; ".join(sources) + "."] if sources else []),
        "One number a cell. Whether HD95 is in mm or in pixels of the scaled images is not stated with it.",
    ]
    titles = {"dice": DICE.heading, "hd95": f"{HD95.kind} ↓"}
    return PrintedTable(
        number="aahn",
        title="Dice and HD95 of AAHN, as published",
        stub=("Data set", "Region"),
        columns=tuple(f"{method} {titles[metric]}" for method, metric in columns),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _cell(values: pd.Series, key: tuple[str, str, str, str]) -> Cell:
    return (Span(DECIMALS.format(values[key]) if key in values.index else MISSING),)


def _lines(frame: pd.DataFrame) -> Iterator[str]:
    """The Dice of each method and data set, for the terminal."""
    dice = frame[frame["metric"] == "dice"]
    for (method, dataset), rows in dice.groupby(["method", "dataset"], sort=False):
        parts = zip(rows["region"], rows["value"], strict=True)
        yield (
            f"{method} on {dataset}, Dice [%]: "
            + ", ".join(f"{region} {DECIMALS.format(value)}" for region, value in parts)
            + "."
        )
