"""Grids and runs as a person reads them: `bench status`, `bench show`, the summary of `bench run`."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.execution.monitor import TRAINING_SHARE, duration, first_line, fraction, heartbeat_of, where
from benchmark.execution.pilot_status import PilotStatus, pilots_of, plans_in, summary
from benchmark.execution.plan_file import RunPlan
from benchmark.files.places import DamagedFileError, is_name, is_there
from benchmark.results.attempts import Attempt, written_attempts
from benchmark.results.manifests import CellRun, GridManifest, manifests, one_a_run
from benchmark.results.means import over_cases_then_regions, regions_words
from benchmark.results.runs import RunFolder, load_scores, state_of
from benchmark.vocabulary import BenchError
from benchmark.words import in_results

T = TypeVar("T")

STATES = ("done", "running", "failed", "interrupted", "unsupported", "pending")
OF_SEARCHES = ("trained", "pruned")
_STYLE = {
    "done": "green",
    "running": "cyan",
    "failed": "red",
    "interrupted": "yellow",
    "unsupported": "yellow",
    "pending": "dim",
    "trained": "green",
    "pruned": "dim",
}


def state_words(results: Path, cells: Sequence[CellRun]) -> dict[str, str]:
    """By run: done, running, failed, interrupted (it continues at the next start), pending; trained or pruned by a
    search."""
    words: dict[str, str] = {}
    for cell in cells:
        state, failure = state_of(RunFolder(results, cell.run_id))
        words[cell.run_id] = failure if failure in ("interrupted", "unsupported") else state
    return words


def counted(words: Mapping[str, str]) -> Text:
    """The states with their numbers in one line."""
    return _numbers_line(_counts(words))


def _counts(words: Mapping[str, str]) -> dict[str, int]:
    """All states; those that only searches leave where there are some."""
    found = Counter(words.values())
    return {state: found[state] for state in (*STATES, *(word for word in OF_SEARCHES if found[word]))}


def _numbers_line(numbers: Mapping[str, int]) -> Text:
    return Text(", ").join(
        Text(f"{number} {state}", _STYLE[state]) for state, number in numbers.items() if number
    )


Reading = tuple[str, str]
"""A run and the reading of it."""


def dice_by_reading(results: Path, run_ids: Sequence[str]) -> dict[Reading, float]:
    """Mean test Dice in percent: over the cases of a region, then over regions; only readings that have one."""
    return mean_dice(load_scores(results, run_ids))


def mean_dice(scores: pd.DataFrame) -> dict[Reading, float]:
    """Of these scores, as `dice_by_reading`."""
    dice = scores[(scores["metric"] == "dice") & (scores["split"] == "test")]
    means = over_cases_then_regions(dice, ["run_id", "reading"]).dropna().reset_index()
    rows = means.itertuples(index=False, name=None)
    return {(str(run_id), str(reading)): 100 * float(mean) for run_id, reading, mean in rows}


def summary_tables(results: Path, cells: Sequence[CellRun], words: Mapping[str, str]) -> list[Table]:
    """One table per set of factors: the last of several across, Dice or the state in the cells."""
    scores = load_scores(results, [cell.run_id for cell in cells if words[cell.run_id] == "done"])
    dice, regions = mean_dice(scores), sorted(scores.loc[scores["metric"] == "dice", "region"].unique())
    over = f", mean {averaged}" if (averaged := regions_words(regions)) else ""
    groups: dict[tuple[str, ...], list[CellRun]] = {}
    for cell in cells:
        groups.setdefault(tuple(cell.factors), []).append(cell)
    return [_summary_table(names, group, words, dice, over=over) for names, group in groups.items()]


def _summary_table(
    names: tuple[str, ...],
    cells: Sequence[CellRun],
    words: Mapping[str, str],
    dice: Mapping[Reading, float],
    *,
    over: str,
) -> Table:
    down, last = (names[:-1], names[-1]) if len(names) > 1 else (names, None)
    by = f" by {last.replace('_', ' ')}" if last else ""
    table = Table(title=f"Dice [%] on the test part{over}{by}", title_justify="left", header_style="")
    across = list(dict.fromkeys(cell.factors[last] for cell in cells)) if last else ["Dice"]
    for name in down:
        table.add_column(name.replace("_", " "))
    for value in across:
        table.add_column(value, justify="right")
    rows: dict[tuple[str, ...], dict[str, list[CellRun]]] = {}
    for cell in cells:
        row = rows.setdefault(tuple(cell.factors[name] for name in down), {})
        row.setdefault(cell.factors[last] if last else "Dice", []).append(cell)
    for place, row in rows.items():
        shown = [_entry(row.get(value, []), words, dice) for value in across]
        table.add_row(*map(Text, place), *shown)
    return table


def _entry(cells: Sequence[CellRun], words: Mapping[str, str], dice: Mapping[Reading, float]) -> Text:
    states = [words[cell.run_id] for cell in cells]
    readings = [(cell.run_id, cell.reading) for cell in cells]
    values = [dice[reading] for reading in readings if reading in dice]
    if values:
        more = f" ({len(values)}/{len(cells)})" if len(values) < len(cells) else ""
        return Text(f"{sum(values) / len(values):.1f}{more}")
    worst = next(
        (
            s
            for s in ("failed", "unsupported", "interrupted", "running", "pending", *OF_SEARCHES)
            if s in states
        ),
        "",
    )
    return Text(worst or ("undefined" if cells else ""), style=_STYLE.get(worst, ""))


def print_summary(console: Console, results: Path, cells: Sequence[CellRun]) -> None:
    """What came of a launch: the table, the counts, the failures."""
    words = state_words(results, cells)
    for table in summary_tables(results, cells, words):
        console.print(table)
    console.print(counted(words), soft_wrap=True)
    print_failures(console, results, cells, words)


def print_failures(
    console: Console, results: Path, cells: Sequence[CellRun], words: Mapping[str, str]
) -> None:
    """Every failed run with the beginning of its error."""
    for run_id, name in labels_of(cells).items():
        word = words[run_id]
        if word in ("failed", "unsupported"):
            record = RunFolder(results, run_id).seen()
            kind = f"{record.failure}: " if word == "failed" else ""
            line = f"{word} {run_id}  {name}  {kind}{first_line(record.error)}"
            console.print(Text(line, style=_STYLE[word]), soft_wrap=True)
    if "failed" in words.values():
        console.print(
            "`bench show RUN` tells everything about a run; --retry-failed tries them again.", soft_wrap=True
        )


def labels_of(cells: Sequence[CellRun], *, fold_and_seed: bool = True) -> dict[str, str]:
    """A line for each run; one that several cells share is named by the first and their number."""
    readings = Counter(cell.run_id for cell in cells)
    labels = {}
    for cell in one_a_run(cells):
        more = readings[cell.run_id] - 1
        shared = f" (and {more} more readings)" if more else ""
        labels[cell.run_id] = label(cell, fold_and_seed=fold_and_seed) + shared
    return labels


def label(cell: CellRun, *, fold_and_seed: bool = True) -> str:
    """A run of a grid in one line."""
    factors = " ".join(f"{name}={value}" for name, value in cell.factors.items())
    return f"{factors} fold={cell.fold} seed={cell.seed}".strip() if fold_and_seed else factors


def status(results: Path, grid: str | None) -> list[dict[str, Any]]:
    """How the grids of a results folder stand, the newest first. `grid` is a grid's or a manifest's name."""
    every = manifests(results)
    found = [m for m in every if grid in (None, m.grid, m.name)]
    if grid is not None and not found:
        known = ", ".join(dict.fromkeys(m.grid for m in every)) or "none at all"
        raise BenchError(f"There is no grid {grid!r} in {results}; there are {known}.")
    plans = plans_in(results)
    return [_status_of(results, manifest, plans) for manifest in found]


def _status_of(results: Path, manifest: GridManifest, plans: Sequence[RunPlan]) -> dict[str, Any]:
    words = state_words(results, manifest.cells)
    running = []
    labels = labels_of(manifest.cells)
    for cell in one_a_run(manifest.cells):
        if words[cell.run_id] == "running":
            beat = heartbeat_of(results, cell.run_id)
            running.append(
                {"run": cell.run_id, "cell": labels[cell.run_id], "heartbeat": asdict(beat) if beat else None}
            )
    failed = [
        {
            "run": cell.run_id,
            "cell": labels[cell.run_id],
            "failure": record.failure,
            "error": record.error,
        }
        for cell in one_a_run(manifest.cells)
        if words[cell.run_id] == "failed"
        for record in [RunFolder(results, cell.run_id).seen()]
    ]
    return {
        "grid": manifest.grid,
        "manifest": manifest.name,
        "profile": manifest.profile,
        "dataset": manifest.dataset,
        "data_root": manifest.data_root,
        "created": manifest.created,
        "excluded_cases": list(manifest.excluded_cases),
        "counts": _counts(words),
        "total": len(words),
        "eta_seconds": _eta(results, words),
        "running": running,
        "failed": failed,
        "pilots": [asdict(pilot) for pilot in pilots_of(plans, manifest.name)],
    }


def _eta(results: Path, words: Mapping[str, str]) -> float | None:
    """From what finished runs took and how far the running ones are; None without either."""
    done = [RunFolder(results, run).seen().train_seconds for run, word in words.items() if word == "done"]
    seconds = [each for each in done if each is not None]
    beats = [heartbeat_of(results, run) for run, word in words.items() if word == "running"]
    if not seconds or not beats:
        return None
    waiting = sum(word in ("interrupted", "pending") for word in words.values())
    left = waiting + sum(1 - fraction(beat) for beat in beats)
    return statistics.median(seconds) / TRAINING_SHARE * left / len(beats)


def print_status(console: Console, results: Path, grid: str | None) -> None:
    """`bench status` for people."""
    found = status(results, grid)
    if not found:
        console.print(
            f"No grid was started in {results} yet. Start one with `bench run --grid table2{in_results(results)}`."
        )
    for number, manifest in enumerate(found):
        if number:
            console.print()
        created = time.strftime("%Y-%m-%d %H:%M", time.localtime(manifest["created"]))
        head = f"{manifest['manifest']}  profile {manifest['profile']}, data set {manifest['dataset']}, {created}"
        console.print(Text(head, style="bold"), soft_wrap=True)
        line = Text(f"{manifest['total']} runs: ") + _numbers_line(manifest["counts"])
        if manifest["eta_seconds"] is not None:
            line.append(f"; about {duration(manifest['eta_seconds'])} left at the present pace")
        console.print(line, soft_wrap=True)
        for run in manifest["running"]:
            beat = heartbeat_of(results, run["run"])
            console.print(
                Text(f"  running {run['run']}  {run['cell']}  {where(beat)}", "cyan"), soft_wrap=True
            )
        pilots = [PilotStatus(**pilot) for pilot in manifest["pilots"]]
        if pilots:
            console.print(Text(summary(pilots)), soft_wrap=True)
        for pilot in pilots:
            if pilot.state != "ended":
                console.print(Text(f"  {pilot.line}"), soft_wrap=True)
        for run in manifest["failed"]:
            text = f"  failed  {run['run']}  {run['cell']}  {run['failure']}: {first_line(run['error'])}"
            console.print(Text(text, "red"), soft_wrap=True)


def find_run(results: Path, prefix: str) -> RunFolder:
    """The run whose id begins so."""
    folder = results / "runs"
    found = sorted(
        path.name
        for path in folder.glob("*")
        if path.name.startswith(prefix) and is_name(path.name) and path.is_dir() and not path.is_symlink()
    )
    if not found:
        raise BenchError(f"No run in {folder} begins with {prefix!r}; `bench status` lists the grids.")
    if len(found) > 1 and prefix not in found:
        raise BenchError(
            f"{len(found)} runs begin with {prefix!r}: {', '.join(found[:8])}. Write more digits."
        )
    return RunFolder(results, prefix if prefix in found else found[0])


def run_facts(results: Path, folder: RunFolder) -> dict[str, Any]:
    """Everything that is known of a run."""
    record = folder.seen()
    state, failure = state_of(folder)
    beat = folder.heartbeat() if state == "running" else None
    damaged = [str(record.error)] if record.failure == "damaged" else []

    def read(read: Callable[[], T], otherwise: T) -> T:
        """What can be read is shown, what cannot is named."""
        try:
            return read()
        except DamagedFileError as error:
            damaged.append(str(error))
            return otherwise

    scores: pd.DataFrame | None = None
    scores = read(folder.scores, scores) if is_there(folder.scores_file) else None
    if scores is None and is_there(folder.validation_file):
        scores = read(folder.validation, scores)
    return {
        "run": folder.run_id,
        "state": state,
        "failure": failure,
        "grids": [
            {"manifest": manifest.name, "cell": label(cell)}
            for manifest in manifests(results)
            for cell in manifest.cells
            if cell.run_id == folder.run_id
        ],
        "heartbeat": asdict(beat) if beat else None,
        "record": {
            key: value for key, value in asdict(record).items() if key not in ("run_id", "state", "failure")
        },
        "attempts": [asdict(attempt) for attempt in read(lambda: written_attempts(folder), list[Attempt]())],
        "config": read(folder.config, dict[str, Any]()) if is_there(folder.config_file) else {},
        "history": _plain(read(folder.history, pd.DataFrame()).tail(5)),
        "scores": [] if scores is None else _plain(mean_scores(scores)),
        "files": [str(path) for path in sorted(folder.path.iterdir()) if not path.name.startswith(".")],
        "damaged": list(dict.fromkeys(damaged)),
    }


def mean_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Means over cases with how many cases define them: region, metric, unit, mean, n, cases; and the reading,
    where there are several."""
    keys = ["split", "region", "metric", "unit"]
    if scores["reading"].nunique() > 1:
        keys.insert(1, "reading")
    return scores.groupby(keys, sort=False)["value"].agg(mean="mean", n="count", cases="size").reset_index()


def _plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows = frame.to_dict(orient="records")
    return [{str(k): None if isinstance(v, float) and v != v else v for k, v in row.items()} for row in rows]


def print_run(console: Console, folder: RunFolder, facts: Mapping[str, Any]) -> None:
    """`bench show` for people, from the `run_facts`."""
    word = (
        "interrupted (continues at the next start)" if facts["failure"] == "interrupted" else facts["state"]
    )
    console.print(Text(f"Run {facts['run']}: {word}", style="bold"))
    for grid in facts["grids"]:
        console.print(Text(f"  {grid['cell']}  in {grid['manifest']}"), soft_wrap=True)
    if facts["heartbeat"]:
        console.print(Text(f"  {where(folder.heartbeat())}", style="cyan"))
    record = dict(facts["record"])
    error = None if facts["failure"] == "damaged" else record.pop("error")
    record.pop("error", None)
    for words in facts["damaged"]:
        console.print(Text(f"\ndamaged: {words}", style="red"), soft_wrap=True)
    if error and facts["state"] == "pruned":
        console.print(Text(f"\n{error}", style="yellow"), soft_wrap=True)
    elif error:
        console.print(Text(f"\n{facts['failure'] or 'error'}: {error}", style="red"), soft_wrap=True)
    _print_block(console, "Facts", {k: v for k, v in record.items() if v not in (None, "", [], ())})
    _print_rows(console, "Attempts", [_attempt_row(Attempt(**attempt)) for attempt in facts["attempts"]])
    _print_block(console, "Configuration", _in_force(facts["config"]))
    _print_rows(console, "History, last rows", facts["history"])
    _print_rows(console, "Scores, means over cases (n: cases that define the value)", facts["scores"])
    console.print(Text("\nFiles", style="bold"))
    for path in facts["files"]:
        console.print(Text(f"  {path}"), soft_wrap=True)


def _attempt_row(attempt: Attempt) -> dict[str, str]:
    begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(attempt.start))
    lasted = "" if attempt.end is None else duration(attempt.end - attempt.start)
    return {
        "machine": attempt.node,
        "start": begun,
        "lasted": lasted,
        "end": first_line(attempt.cause or "nobody saw it end"),
    }


def _print_block(console: Console, title: str, content: Mapping[str, Any]) -> None:
    console.print(Text(f"\n{title}", style="bold"))
    plain = {key: _readable(value) for key, value in content.items()}
    text = yaml.safe_dump(plain, sort_keys=False, default_flow_style=None, width=100)
    console.print(Text("  " + text.rstrip().replace("\n", "\n  ")), soft_wrap=True)


def _readable(value: Any) -> Any:
    """For people: numbers of four digits, and the costs of the only reading as those of the run."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return (
            _readable(value[""])
            if set(value) == {""}
            else {key: _readable(one) for key, one in value.items()}
        )
    return [_readable(one) for one in value] if isinstance(value, (list, tuple)) else value


def _in_force(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without what another setting overrides: of steps and epochs, steps decide."""
    training = dict(config.get("training", {}))
    if training.get("steps") is not None:
        training.pop("epochs", None)
    return {**config, "training": training} if training else dict(config)


def _print_rows(console: Console, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    console.print(Text(f"\n{title}", style="bold"))
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in rows[0]:
        table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
    for row in rows:
        table.add_row(*(_shown(value) for value in row.values()))
    console.print(table)


def _shown(value: object) -> Text:
    if value is None:
        return Text("undefined", style="dim")
    return Text(f"{value:.4g}" if isinstance(value, float) else str(value))
