"""What MLflow is to show of a results folder. Reads the folder; of MLflow it knows the names and limits."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmark.config import flat
from benchmark.credentials import without_secrets
from benchmark.files.places import DamagedFileError, is_name, is_regular, is_there
from benchmark.files.tables import Groups
from benchmark.names import unique_names
from benchmark.results.manifests import GridManifest, readable_manifests
from benchmark.results.runs import RunFolder, RunRecord, state_of
from benchmark.vocabulary import BenchError

PARAM_LENGTH, TAG_LENGTH, KEY_LENGTH = 6000, 8000, 250
"""MLflow's limits (mlflow.utils.validation)."""

KIND, RUN_ID, GRID = "bench.kind", "bench.run_id", "bench.grid"
ORIGINAL = "bench.name."
"""The tag that says what a name in MLflow stands for begins so."""
PARENT, COMMIT, NOTE = "mlflow.parentRunId", "mlflow.source.git.commit", "mlflow.note.content"
"""Tags that MLflow's user interface understands."""

STATUSES = {
    "pending": "SCHEDULED",
    "running": "RUNNING",
    "done": "FINISHED",
    "trained": "FINISHED",
    "pruned": "KILLED",
    "failed": "FAILED",
}
"""A run's states in MLflow's words."""

MEANS_OVER = ("split", "reading", "region", "metric")
"""Scores are told as the means over what has the same values in these columns."""
_NOT_A_CURVE = {"step", "seconds", "epoch"}


@dataclass
class GridMembership:
    """Where a run stands: its grids (the oldest first) and its coordinates in their tables."""

    grids: list[GridManifest] = field(default_factory=list)
    factors: dict[str, str] = field(default_factory=dict)

    def add(self, factor: str, value: str) -> None:
        """A factor's value; several cells that share the run have their values one after the other."""
        known = self.factors.setdefault(factor, value)
        if value not in known.split(", "):
            self.factors[factor] = f"{known}, {value}"


@dataclass(frozen=True)
class Survey:
    """The started runs of the chosen grids, these grids (the oldest first), and manifests nobody can read."""

    places: dict[str, GridMembership]
    selected: list[GridManifest]
    damaged: dict[str, str]


def survey(results: Path, grids: Sequence[str] | None) -> Survey:
    """`grids` are names of grids or of manifests; None: every grid, and runs that are in none."""
    if not results.is_dir():
        raise BenchError(f"There is no results folder {results}. Name it with --results.")
    known, unreadable = readable_manifests(results)
    damaged = {
        name: words
        for name, words in unreadable.items()
        if grids is None or {Path(name).stem, Path(name).stem.rpartition("-")[0]} & set(grids)
    }
    known.sort(key=lambda manifest: (manifest.created, manifest.name))
    selected = [m for m in known if grids is None or {m.grid, m.name} & set(grids)]
    for name in grids or ():
        if not damaged and not any(name in (m.grid, m.name) for m in selected):
            names = ", ".join(sorted({m.grid for m in known})) or "none yet"
            raise BenchError(f"There is no grid {name!r} in {results}; there are: {names}.")
    places: dict[str, GridMembership] = {}
    for manifest in known:
        for cell in manifest.cells:
            place = places.setdefault(cell.run_id, GridMembership())
            if manifest not in place.grids:
                place.grids.append(manifest)
            for name, value in cell.factors.items():
                place.add(name, value)
    if grids is None:
        for path in sorted((results / "runs").glob("*")):
            if is_name(path.name):
                places.setdefault(path.name, GridMembership())
    wanted = set(places) if grids is None else {cell.run_id for m in selected for cell in m.cells}
    started = {r: p for r, p in places.items() if r in wanted and is_there(RunFolder(results, r).record_file)}
    return Survey(started, selected, damaged)


class Point(NamedTuple):
    """`seconds` since the run began. There are a thousand a run, made in a quarter of a dataclass's time."""

    step: int
    value: float
    seconds: float


Series = dict[str, list[Point]]


def digest(points: Iterable[Point]) -> str:
    # Without the seconds: a resumed run repeats steps with the same values, but not at the same time.
    return hashlib.sha256(json.dumps([(p.step, repr(p.value)) for p in points]).encode()).hexdigest()[:12]


def curves(history: pd.DataFrame) -> Series:
    """Every column's numbers, `seg` as `train/seg`, `val_dice` as `val/dice`; an empty field is no point."""
    found: Series = {}
    steps = (history["step"] if "step" in history else history.index.to_series()).to_numpy(float)
    seconds = history["seconds"].to_numpy(float) if "seconds" in history else steps
    for column in history.columns:
        if column in _NOT_A_CURVE:
            continue
        values = pd.to_numeric(history[column], errors="coerce").to_numpy(float)
        there = ~np.isnan(values)
        name = f"val/{column[4:]}" if column.startswith("val_") else f"train/{column}"
        numbers = (steps[there].tolist(), values[there].tolist(), seconds[there].tolist())
        found[name] = [Point(int(step), value, at) for step, value, at in zip(*numbers, strict=True)]
    return found


def outcome(folder: RunFolder, record: RunRecord) -> Series:
    """Of a run that has scores: the mean and count of each split, reading, region and metric, and what the run cost.

    At step 0, the only one: of such metrics MLflow draws bars, of all others lines, which would be a dot each.
    """
    numbers: dict[str, float | None] = {
        f"run/{name}": getattr(record, name)
        for name in ("train_seconds", "inference_seconds_per_case", "peak_memory_mb", "parameters", "steps")
    }
    for groups in _scores(folder, record):
        for number, place in enumerate(groups.names):
            values = groups.values[groups.codes == number]
            defined = values[~np.isnan(values)]
            # A slash within a name is no border between two.
            name = "/".join(part.replace("/", "%2F") for part in place if part)
            numbers[name] = defined.mean() if len(defined) else None
            numbers[f"{name}_n"] = len(defined)
    seconds = record.train_seconds or 0.0
    return {k: [Point(0, float(v), seconds)] for k, v in numbers.items() if v is not None}


def _scores(folder: RunFolder, record: RunRecord) -> Iterator[Groups]:
    """Of the test part and, where a search asked for it, of the validation part."""
    if record.state == "done":
        yield folder.groups(MEANS_OVER)
    if folder.validation_file.exists():
        yield folder.groups(MEANS_OVER, validation=True)


def parameters(config: Mapping[str, Any]) -> dict[str, str]:
    """A configuration as texts by setting, within MLflow's limits and without passwords."""
    return {
        name: shortened(without_secrets(str(value)), PARAM_LENGTH) for name, value in flat(config).items()
    }


def accepted_name(name: str) -> str:
    """The nearest name that MLflow takes for a parameter, a metric or a tag; other names may have the same.

    On file systems names are paths, which must be written in the shortest way and lead nowhere else.
    """
    parts = re.sub(r"[^\w\-. :/]", "_", name).split("/")
    return "/".join(part.replace(".", "_") if part.strip(".") == "" else part for part in parts if part)


def accepted(names: Iterable[str]) -> dict[str, str]:
    """A name of its own that MLflow takes for each of these."""
    return unique_names(names, accepted_name, longest=KEY_LENGTH - len(ORIGINAL))


def originals(names: Mapping[str, str]) -> dict[str, str]:
    """The tags that say what names in MLflow stand for, where they are others."""
    return {f"{ORIGINAL}{ours}": shortened(name, TAG_LENGTH) for name, ours in names.items() if ours != name}


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 4]} ..."


def stamp(path: Path) -> list[int] | None:
    """Changes when the file does."""
    if not is_regular(path):
        return None
    stat = path.stat()
    return [stat.st_mtime_ns, stat.st_size]


def signature_of(folder: RunFolder, place: GridMembership) -> str:
    """Changes when MLflow has to be told something new of a run."""
    files = [folder.config_file, folder.record_file, folder.history_file, folder.scores_file, folder.log_file]
    if folder.validation_file.exists():
        files.append(folder.validation_file)
    content = [[stamp(file) for file in files], [m.name for m in place.grids], sorted(place.factors.items())]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class RunContent:
    """Everything MLflow is to show of one run."""

    run_id: str
    place: GridMembership
    signature: str
    state: str
    status: str
    """The state in MLflow's words."""
    complete: bool
    """The run has come to its end; its curves will not grow any more."""
    name: str
    tags: dict[str, str]
    params: dict[str, str]
    series: Series
    artifacts: tuple[Path, ...]
    start_ms: int
    end_ms: int


def read_run(folder: RunFolder, place: GridMembership) -> RunContent:
    """Read a started run. A damaged folder raises whatever its files make of it."""
    # Before the reading: what changes meanwhile is noticed by the next pass.
    signature = signature_of(folder, place)
    state, failure = state_of(folder)
    if failure == "damaged":
        raise DamagedFileError(str(folder.seen().error))
    # A run that failed before it could write its configuration down is one that failed, too.
    configured = is_there(folder.config_file)
    record, config = folder.record(), folder.config() if configured else {}
    series = curves(folder.history())
    if state in ("done", "trained"):
        series |= outcome(folder, record)
    params = parameters(config)
    ended = state not in ("pending", "running")
    status = STATUSES[state]
    method, fold, seed = (str(config.get(key, "")) for key in ("method", "fold", "seed"))
    notes = [record.error if state in ("failed", "pruned") else None, *record.warnings]
    tags = {
        KIND: "run",
        RUN_ID: folder.run_id,
        "bench.state": state,
        "bench.failure": failure or "",
        "bench.grids": " ".join(m.name for m in place.grids),
        "method": method,
        "fold": fold,
        "seed": seed,
        "dataset": str(config.get("dataset", "")),
        "data_fingerprint": record.data_fingerprint,
        "device": str(record.facts.get("device") or ""),
        COMMIT: str(record.facts.get("git_commit") or ""),
        NOTE: "\n\n".join(note for note in notes if note),
        **{f"factor.{name}": value for name, value in place.factors.items()},
    }
    named = accepted([*series, *params, *tags])
    return RunContent(
        run_id=folder.run_id,
        place=place,
        signature=signature,
        state=state,
        status="KILLED" if failure == "interrupted" else status,
        complete=state in ("done", "failed") and failure != "interrupted",
        name=f"{' '.join(f'{k}={v}' for k, v in place.factors.items()) or method} fold={fold} seed={seed}",
        tags={named[tag]: shortened(without_secrets(value), TAG_LENGTH) for tag, value in tags.items()}
        | originals(named),
        params={named[name]: value for name, value in params.items()},
        series={named[name]: points for name, points in series.items()},
        # The log may be a link to anybody's file, which would be sent.
        artifacts=tuple(filter(is_regular, folder.delivered_files)) if ended else (),
        start_ms=(folder.config_file if configured else folder.record_file).stat().st_mtime_ns // 1_000_000,
        end_ms=folder.record_file.stat().st_mtime_ns // 1_000_000,
    )
