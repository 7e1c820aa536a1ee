"""From a printed number to everything it stands on, and back: the number is computed again from the rows.

    trace(results, manifest, address)            one number
    Traces(results, manifest).of(address)        many of a launch

Of a launch only the runs of the number's own cell are opened, its neighbours' configurations, and, where the regions
of the data set decide what the table shows, one run a cell. A `Trace` is plain data: `dataclasses.asdict` of it is
JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.config import flat
from benchmark.results.manifests import CellRun, GridManifest
from benchmark.results.runs import RunFolder, RunRecord, damaged
from benchmark.vocabulary import BenchError
from reports.evidence import evidence
from reports.evidence.comparable import why_not
from reports.evidence.configs import unlike, unlike_defaults
from reports.evidence.mixing import conditions, mixed, mixing_notes, refusal
from reports.evidence.recomputing import RunRows, agree, over_folds_then_seeds, read_rows
from reports.ground.addressed import AddressedTable
from reports.ground.addresses import Address, parse_address
from reports.ground.frames import DECIMALS, cells_frame
from reports.ground.layout import TableLayout
from reports.ground.measures import Measure, measures_of
from reports.ground.notes import MISSING, UNDEFINED
from reports.ground.published_numbers import PublishedNumber
from reports.ground.runs import (
    Scored,
    config_of,
    current_runs,
    planned_and_scored,
    scored_in,
    seen,
    with_means,
)
from reports.ground.score_files import read_scores
from reports.provenance.tree import Links, MlflowLink, Neighbours, RunTrace, Trace
from reports.tables.registry import PUBLISHED, layout_of

__all__ = ["Links", "MlflowLink", "Neighbours", "RunTrace", "Trace", "Traces", "published_trace", "trace"]


def trace(
    results: Path,
    manifest: GridManifest,
    address: str | Address,
    *,
    links: Links | None = None,
    verify: bool = True,
) -> Trace:
    """What stands behind a number. BenchError for an address that names none."""
    return Traces(results, manifest, links=links, verify=verify).of(address)


@dataclass(frozen=True, eq=False)
class Known:
    """The rows of `run_cells` of a launch, by coordinates and measure the number and how many cases were scored, and
    why its numbers are not comparable with published ones."""

    runs: pd.DataFrame
    keys: Sequence[str]
    values: Mapping[tuple[tuple[str, ...], str], tuple[float, int]]
    apart: tuple[str, ...]

    @cached_property
    def _places(self) -> dict[tuple[str, ...], list[int]]:
        found: dict[tuple[str, ...], list[int]] = {}
        for place, coordinates in enumerate(self.runs[list(self.keys)].itertuples(index=False, name=None)):
            found.setdefault(tuple(map(str, coordinates)), []).append(place)
        return found

    def of(self, coordinates: tuple[str, ...]) -> pd.DataFrame:
        """The rows of a cell."""
        return self.runs.iloc[self._places.get(coordinates, [])].reset_index(drop=True)


@dataclass
class Traces:
    """The numbers of one launch. Without `verify` no file is digested, which takes its time where weights are large.

    `known`: what was read of its cells already.
    """

    results: Path
    manifest: GridManifest
    links: Links | None = None
    verify: bool = True
    known: Known | None = None
    _configs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _damaged: dict[str, str] = field(default_factory=dict)

    @cached_property
    def layout(self) -> TableLayout:
        """What there is to know of the launch's table."""
        return layout_of(self.manifest)

    @cached_property
    def cells(self) -> dict[tuple[str, ...], list[CellRun]]:
        """The planned cells by their coordinates, and the current runs of each."""
        place = self.layout.place
        found: dict[tuple[str, ...], list[CellRun]] = {}
        for run in current_runs(self.manifest):
            coordinates = place.of(run.factors)
            found.setdefault(tuple(coordinates[key] for key in place.keys), []).append(run)
        return found

    @cached_property
    def _planned(self) -> dict[tuple[str, ...], list[str]]:
        """By their cell all runs that were ever planned, also those that others took the place of."""
        place = self.layout.place
        found: dict[tuple[str, ...], list[str]] = {}
        for run in self.manifest.cells:
            coordinates = place.of(run.factors)
            found.setdefault(tuple(coordinates[key] for key in place.keys), []).append(run.run_id)
        return found

    @cached_property
    def table(self) -> AddressedTable:
        """The table whose numbers have addresses."""
        cells = pd.DataFrame(list(self.cells), columns=list(self.layout.place.keys))
        return self.layout.addressed(cells, self._scored())

    def _scored(self) -> Scored | None:
        """The regions and metrics of one finished run of every cell, as far as they can be read."""
        if self.layout.has_fixed_measures:
            return None
        found = [scores for runs in self.cells.values() for scores in self._first_readable(runs)]
        return scored_in(pd.concat(found, ignore_index=True)) if found else None

    def _first_readable(self, runs: Sequence[CellRun]) -> Iterator[pd.DataFrame]:
        for run in runs:
            # What is damaged is told to whoever asks for that cell's number.
            with suppress(BenchError):
                if seen(self.results, run.run_id).state == "done":
                    yield read_scores(self.results, {run.run_id: [run.reading]})
                    return

    def of(self, address: str | Address) -> Trace:
        """What stands behind one number."""
        wanted = parse_address(address) if isinstance(address, str) else address
        cell, measure = self.table.cell(wanted), self.table.measure(wanted)
        traced = [self._run(run, measure) for run in self._runs_of(cell)]
        means = self._means(cell, measure)
        value, printed = self._reported(means, cell, measure)
        runs = tuple(run for run, _ in traced)
        recomputed = over_folds_then_seeds([(run.seed, run.mean) for run in runs if run.state == "done"])
        address = self.table.of_launch(self.manifest).address(cell, measure.key)
        apart = mixed(conditions(self.results, means))
        faults = [fault for _, found in traced for fault in found]
        if why_not := refusal(apart, f"The number {address}"):
            faults.append(why_not)
        if not (agrees := agree(value, recomputed)):
            faults.insert(0, f"The table's number is {value!r}, but the rows on disk give {recomputed!r}.")
        return Trace(
            address=address,
            table=f"Table {self.table.name}",
            manifest=self.manifest.name,
            profile=self.manifest.profile,
            dataset=self.manifest.dataset,
            cell={key: cell[key] for key in self.table.place.keys},
            measure=measure.key,
            title=measure.title,
            value=value,
            printed=printed,
            recomputed=recomputed,
            agrees=agrees,
            runs=runs,
            neighbours=tuple(self._neighbours(cell)),
            published=self._published(cell, measure),
            faults=tuple(faults),
            remarks=(*self._remarks(cell, runs), *mixing_notes(apart, unsaid=())),
        )

    def _published(self, cell: Mapping[str, str], measure: Measure) -> PublishedNumber | None:
        found = self.layout.published_number(cell, measure)
        return None if found is None else replace(found, apart=self._apart)

    @cached_property
    def _apart(self) -> str:
        """Why the launch's numbers are not comparable with published ones."""
        if self.known is not None:
            return "; ".join(self.known.apart)
        return "; ".join(why_not(self.results, self.manifest, self.layout.publication))

    def _means(self, cell: Mapping[str, str], measure: Measure) -> pd.DataFrame:
        """The rows of `run_cells` of one cell and measure."""
        if self.known is not None and measure.key in self.known.runs:
            return self.known.of(tuple(cell[key] for key in self.table.place.keys))
        own = replace(self.manifest, cells=tuple(self._runs_of(cell)))
        planned, scores = planned_and_scored(self.results, own, self.table.place)
        return with_means(planned, scores, measures=measures_of(measure))

    def _reported(
        self, means: pd.DataFrame, cell: Mapping[str, str], measure: Measure
    ) -> tuple[float | None, str]:
        """The number as the report's own frames have it, and as it is printed."""
        place = (tuple(cell[key] for key in self.table.place.keys), measure.key)
        if self.known is not None and place in self.known.values:
            value, n_scored = self.known.values[place]
        else:
            frame = cells_frame(means, pd.DataFrame([dict(cell)]), measure)
            value, n_scored = float(frame["value"].iloc[0]), int(frame["n_scored"].iloc[0])
        if pd.isna(value):
            return None, UNDEFINED if n_scored else MISSING
        return value, DECIMALS.format(value)

    def _runs_of(self, cell: Mapping[str, str]) -> list[CellRun]:
        return self.cells.get(tuple(cell[key] for key in self.table.place.keys), [])

    def _run(self, run: CellRun, measure: Measure) -> tuple[RunTrace, list[str]]:
        folder = RunFolder(self.results, run.run_id)
        record, config, faults = seen(self.results, run.run_id), self._config(run.run_id), []
        rows = RunRows(())
        if record.state == "done":
            try:
                rows = read_rows(folder, measure, reading=run.reading)
            except BenchError as error:
                record = damaged(run.run_id, error)
        if record.failure == "damaged":
            faults.append(str(record.error))
        rule = ", ".join(rows.checkpoints) or str(config.get("training", {}).get("checkpoint", ""))
        scores = evidence.scores_file(folder, record.facts, verify=self.verify)
        weights = evidence.weights_file(folder, record.facts, rule=rule, verify=self.verify)
        data, wrong = evidence.data_of(
            folder, record, fold=run.fold, rows=rows if record.state == "done" else None, verify=self.verify
        )
        if run.run_id in self._damaged:
            faults.append(self._damaged[run.run_id])
        if record.state == "done":
            faults += [*evidence.faults_of(run, record, rows, scores=scores, weights=weights), *wrong]
        traced = RunTrace(
            run_id=run.run_id,
            reading=run.reading,
            fold=run.fold,
            seed=run.seed,
            state=record.state,
            failure=record.failure or "",
            error=record.error or "",
            mean=rows.mean,
            cases=rows.cases,
            folder=str(folder.path),
            config=config,
            config_state=evidence.config_state(folder, config, record),
            unlike_defaults=unlike_defaults(flat(config)),
            commit=evidence.commit_of(record.facts),
            versions=_versions(record),
            machine=_machine(record),
            protocol=record.facts.get("protocol"),
            data=data,
            checkpoint=rule,
            score_grid=", ".join(rows.grids),
            weights=weights,
            scores=scores,
            steps=record.steps,
            train_seconds=record.train_seconds,
            warnings=tuple(record.warnings),
            mlflow=self.links(run.run_id) if self.links is not None else None,
        )
        return traced, faults

    def _config(self, run_id: str) -> Mapping[str, Any]:
        """Empty where there is none, or none that can be read."""
        if run_id not in self._configs:
            there = RunFolder(self.results, run_id).config_file.exists()
            try:
                self._configs[run_id] = config_of(self.results, run_id) if there else {}
            except BenchError as error:
                self._configs[run_id] = {}
                self._damaged[run_id] = str(error)
        return self._configs[run_id]

    def _neighbours(self, cell: Mapping[str, str]) -> list[Neighbours]:
        """Along every coordinate an address names, on the fold and with the seed of the cell's first run."""
        runs = [run for run in self._runs_of(cell) if self._config(run.run_id)]
        if not runs:
            return []
        own, found = runs[0], []
        here = flat(self._config(own.run_id))
        for key in self.table.shown:
            # The kind of a level goes with the level.
            fixed = [other for other in self.table.shown if other != key]
            near = [
                (run, place)
                for coordinates, theirs in self.cells.items()
                for place in [dict(zip(self.table.place.keys, coordinates, strict=True))]
                if place[key] != cell[key] and all(place[other] == cell[other] for other in fixed)
                for run in theirs
                if (run.fold, run.seed) == (own.fold, own.seed)
            ]
            there = [
                (flat(self._config(run.run_id)), place) for run, place in near if self._config(run.run_id)
            ]
            if there:
                differences = unlike(here, [config for config, _ in there])
                found.append(Neighbours(key, tuple(place[key] for _, place in there), differences))
        return found

    def _remarks(self, cell: Mapping[str, str], runs: tuple[RunTrace, ...]) -> list[str]:
        remarks = []
        if len(runs) > 1 and (apart := unlike(flat(runs[0].config), [flat(run.config) for run in runs[1:]])):
            remarks.append(f"The cell's runs differ in {', '.join(each.key for each in apart)}.")
        planned = self._planned.get(tuple(cell[key] for key in self.table.place.keys), [])
        if len(planned) > len(runs):
            earlier = sorted(set(planned) - {run.run_id for run in runs})
            remarks.append(f"Planned earlier for this cell, and not shown: {', '.join(earlier)}.")
        unfinished = [run.run_id for run in runs if run.state != "done"]
        if unfinished and len(unfinished) < len(runs):
            remarks.append(f"Not in the number, since not done: {', '.join(unfinished)}.")
        return remarks


def _versions(record: RunRecord) -> dict[str, str]:
    versions = {str(name): str(version) for name, version in record.facts.get("versions", {}).items()}
    python = {"python": str(record.facts["python"])} if "python" in record.facts else {}
    return python | versions


def _machine(record: RunRecord) -> dict[str, Any]:
    named = ("host", "device", "gpu", "cpu", "threads", "precision", "platform")
    return {name: record.facts[name] for name in named if name in record.facts}


def published_trace(table: AddressedTable, address: str | Address) -> Trace:
    """The trace of a number that was only published; BenchError where the cell has none."""
    wanted = parse_address(address) if isinstance(address, str) else address
    cell, measure = table.cell(wanted), table.measure(wanted)
    number = PUBLISHED[table.grid].published_number(cell, measure)
    if number is None:
        raise BenchError(f"Nobody published {measure.title} of {table.address(cell)}.")
    return Trace(
        address=table.address(cell, measure.key),
        table=f"Table {table.name}",
        manifest="",
        profile="",
        dataset="",
        cell=cell,
        measure=measure.key,
        title=measure.title,
        value=None,
        printed=MISSING,
        recomputed=None,
        agrees=True,
        runs=(),
        neighbours=(),
        published=number,
    )
