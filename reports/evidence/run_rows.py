"""The rows of a run that are in no table: of the validation part, of the test part, or without a modality.

A trial of a search is judged by the first of these, a table of missing modalities is made of the last; their addresses
are `run:RUN/PART[/READING]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.results.runs import RunFolder
from benchmark.vocabulary import BenchError
from reports.evidence.evidence import scores_file
from reports.ground.addresses import RUN, Places, run_address
from reports.ground.measures import Measure, measure_of
from reports.ground.score_files import TEST_SPLIT

VALIDATION, TEST, WITHOUT = "validation", "test", "without "
KEYS = ["case_id", "patient", "region"]


@dataclass(frozen=True)
class RunPart:
    """A part of a run's rows; `reading` empty: the first."""

    run_id: str
    part: str
    reading: str = ""

    @property
    def address(self) -> str:
        return run_address(self.run_id, self.part, self.reading)


@dataclass(frozen=True, eq=False)
class PartRows:
    """A row a case and region: `case_id`, `patient`, `region`, and every measure by its metric, in the printed unit.

    `means` are over cases, a row a `region`; of several regions the mean over these is the last, without a name.
    `faults` are sentences: files that are not as the run left them.
    """

    part: RunPart
    measures: tuple[Measure, ...]
    rows: pd.DataFrame
    means: pd.DataFrame
    faults: tuple[str, ...] = ()

    def summary(self) -> Iterator[tuple[str, dict[str, float]]]:
        """What stands under the rows: the means, and for every region the standard deviation (n - 1) and the median of
        its cases, by metric; each with its title."""
        metrics = [measure.metric for measure in self.measures]
        for mean in self.means.to_dict("records"):
            title = mean_title(str(mean["region"]), len(self.means))
            yield title, {metric: mean[metric] for metric in metrics}
        by_region = self.rows.groupby("region", sort=False)[metrics]
        for title, spread in (("SD", by_region.std(ddof=1)), ("Median", by_region.median())):
            for region, numbers in spread.to_dict("index").items():
                shown = title if len(spread) == 1 else f"{title} of {region}"
                yield shown, {metric: float(numbers[metric]) for metric in metrics}


def mean_title(region: str, n_means: int) -> str:
    """How one of `n_means` rows of `PartRows.means` is called."""
    return "Mean" if n_means == 1 else f"Mean of {region}" if region else "Mean over regions"


def without(modality: str) -> str:
    """The part of the rows in which a modality was not shown."""
    return f"{WITHOUT}{modality}"


def parts_of(wanted: Places) -> list[RunPart]:
    """The parts that an address names; BenchError where it is none of a run's rows."""
    found = []
    for pattern in wanted.patterns:
        names = [name for name in pattern if name is not None]
        if wanted.grid != RUN or len(names) != len(pattern) or len(names) not in (2, 3):
            raise BenchError(
                f"{wanted} is not the address of a run's rows. Write run:RUN/PART, for example "
                f"run:8924fe8193f4/{VALIDATION}."
            )
        found.append(RunPart(*names))
    return found


def part_rows(results: Path, part: RunPart) -> PartRows:
    """The rows of a part; BenchError where the run has none, or none that can be read."""
    folder = RunFolder(results, part.run_id)
    try:
        scores = _scores(folder, part)
    except (OSError, ValueError) as error:
        raise BenchError(f"The rows {part.part!r} of run {part.run_id} cannot be read: {error}") from error
    if not scores.empty:
        scores = scores[scores["reading"] == (part.reading or scores["reading"].iloc[0])]
    if scores.empty:
        read = f" as it is read by {part.reading}" if part.reading else ""
        raise BenchError(f"Run {part.run_id} has no rows {part.part!r}{read} in {folder.path}.")
    if scores.duplicated([*KEYS, "metric"]).any():
        raise BenchError(f"The rows {part.part!r} of run {part.run_id} have a case twice.")
    measures = tuple(measure_of(str(metric)) for metric in scores["metric"].unique())
    metrics = [measure.metric for measure in measures]
    rows = scores.pivot(index=KEYS, columns="metric", values="value")[metrics]
    rows = (rows * [measure.scale for measure in measures]).reset_index()
    rows.columns.name = None
    means = rows.groupby("region", sort=False)[metrics].mean()
    if len(means) > 1:
        means.loc[""] = means.mean()
    return PartRows(part, measures, rows, means.reset_index(), tuple(_faults(folder, part)))


def _faults(folder: RunFolder, part: RunPart) -> Iterator[str]:
    """Only of the test part a run writes down what its rows were."""
    if part.part == TEST and scores_file(folder, folder.record().facts, verify=True).state == "changed":
        yield f"The scores of run {part.run_id} are not as the run wrote them."


def _scores(folder: RunFolder, part: RunPart) -> pd.DataFrame:
    if part.part == VALIDATION and folder.validation_file.exists():
        return folder.validation()
    if part.part == TEST and folder.scores_file.exists():
        scores = folder.scores()
        return scores[scores["split"] == TEST_SPLIT]
    if part.part.startswith(WITHOUT):
        found = folder.without(part.part.removeprefix(WITHOUT))
        if found is not None:
            return found[0]
    raise BenchError(f"Run {part.run_id} has no rows {part.part!r} in {folder.path}.")
