"""The results on disk: one folder a run, one row a score. Reads and writes; needs no torch.

    results/runs/<run_id>/
        config.yaml       the RunConfig
        data.json         DataPlaces: where its data lie, so that a finished run can be opened again
        run.json          RunRecord: state, versions, device, seconds, memory, error
        heartbeat.json    Heartbeat, while it runs: step, loss, validation Dice
        history.csv       one row an epoch or validation: step, seconds, loss names, val_dice
        scores.parquet    one row per case, region and metric (SCORE_COLUMNS)
        projections.npz   where each test case is right and wrong, seen from the front (benchmark/projections.py)
        validation.parquet  the same of the validation part, where a search asked for it
        last.safetensors  weights;  checkpoint.pt  what a resume needs
        log.txt           the log;  predictions/  NIfTI masks, when asked for
        without/          <modality>.parquet, <modality>.json: the scores with a modality missing
        panels/           <case_id>.npz, <case_id>.json: what every branch says of a case

Every file is written whole or not at all (`benchmark/files.py`).
"""

from __future__ import annotations

import contextlib
import csv
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml

from benchmark.data.naming import case_id_from
from benchmark.files import exclusive, read_json, write_json, write_text, written_whole
from benchmark.vocabulary import BenchError

State = Literal["pending", "running", "done", "failed", "trained", "pruned"]
"""`trained`: a search trained it and scored its validation part, the test part is closed; `pruned`: a search stopped it
early. Neither is done: a grid that has such a run continues it."""
FailureClass = Literal["data", "memory", "diverged", "interrupted", "unsupported", "code"]
"""`unsupported`: the method cannot serve the data set, or its package is not installed; the error says which."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's safe loader where it is there: a report reads thousands of configurations."""
STALE_AFTER_SECONDS = 60.0
"""A running run whose heartbeat is older than this, and whose lock is free, was interrupted."""

SCORE_COLUMNS = {
    "run_id": "string",
    "method": "string",
    "dataset": "string",
    "fold": "int64",
    "seed": "int64",
    "split": "string",
    "checkpoint": "string",
    "grid": "string",
    "reading": "string",
    "case_id": "string",
    "patient": "string",
    "region": "string",
    "metric": "string",
    "unit": "string",
    "value": "float64",
}
"""`reading` says how the network's output was read, where there are several ways (see `Entrant.readings`).

NaN in `value` means undefined (Dice without a reference, say), never missing."""


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run besides its configuration. `facts` holds versions, device, git commit.

    `costs` has one entry a reading: `parameters`, `gflops` of one forward pass over one patch (2 a multiply-add),
    `patch_size`, `inference_seconds_per_case`, and over how many cases that was timed (`timed_cases`).
    """

    run_id: str
    state: State = "pending"
    failure: FailureClass | None = None
    error: str | None = None
    attempts: int = 0
    threads: int | None = None
    data_fingerprint: str = ""
    parameters: int | None = None
    steps: int | None = None
    train_seconds: float | None = None
    inference_seconds_per_case: float | None = None
    peak_memory_mb: float | None = None
    costs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    accumulation: int = 1
    excluded_cases: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DataPlaces:
    """Where a run's data lie, as absolute paths: the data set's files, the store, the store that is scored on, the
    folds."""

    root: Path
    store: Path
    scored_on: Path
    splits: Path


@dataclass(frozen=True)
class WithoutFacts:
    """How a run was scored with a modality missing.

    `manner`: by the method's `own answer`, or shown `zeros`. `changed_voxels`: by reading and case, how many voxels of
    the label map are not as in the prediction from all modalities.
    """

    modality: str
    manner: Literal["own answer", "zeros"]
    changed_voxels: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Heartbeat:
    """Where a running run is. `done`/`total` count the steps or cases of its `phase`: train, validate, evaluate, and
    prepare for methods that train themselves.
    """

    phase: str
    done: int
    total: int
    loss: float | None = None
    val_dice: float | None = None
    pid: int = 0
    host: str = ""
    device: str = ""
    time: float = 0.0


class RunFolder:
    """One run on disk."""

    def __init__(self, results: Path, run_id: str) -> None:
        self.run_id = run_id
        self.path = results / "runs" / run_id

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def record_file(self) -> Path:
        return self.path / "run.json"

    @property
    def heartbeat_file(self) -> Path:
        return self.path / "heartbeat.json"

    @property
    def history_file(self) -> Path:
        return self.path / "history.csv"

    @property
    def scores_file(self) -> Path:
        return self.path / "scores.parquet"

    @property
    def projections_file(self) -> Path:
        return self.path / "projections.npz"

    @property
    def validation_file(self) -> Path:
        return self.path / "validation.parquet"

    @property
    def weights_file(self) -> Path:
        return self.path / "last.safetensors"

    @property
    def best_weights_file(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def checkpoint_file(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def log_file(self) -> Path:
        return self.path / "log.txt"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions"

    @property
    def data_file(self) -> Path:
        return self.path / "data.json"

    @property
    def panels(self) -> Path:
        return self.path / "panels"

    def write_data(self, places: DataPlaces) -> None:
        write_json(self.data_file, {name: str(path.absolute()) for name, path in vars(places).items()})

    def data(self) -> DataPlaces:
        """Where the run's data lie; BenchError where it was made by a version that did not write it down."""
        if not self.data_file.exists():
            raise BenchError(
                f"Run {self.run_id} was made by an earlier version of the suite, which did not note where its data "
                f"lie ({self.data_file} is missing). Remove {self.path} and start its grid again."
            )
        content = read_json(self.data_file)
        try:
            return DataPlaces(**{name: Path(text) for name, text in content.items()})
        except TypeError as error:
            raise BenchError(
                f"{self.data_file} is damaged ({error}). Remove {self.path}; start again."
            ) from error

    def write_without(self, scores: pd.DataFrame, facts: WithoutFacts) -> None:
        """The scores with a modality missing; the facts are written last, and say that the scores are there."""
        parquet, json_file = self._without_files(facts.modality)
        json_file.unlink(missing_ok=True)
        with written_whole(parquet) as temporary:
            check_scores(scores, source=str(parquet)).to_parquet(temporary, index=False)
        write_json(json_file, asdict(facts))

    def without(self, modality: str) -> tuple[pd.DataFrame, WithoutFacts] | None:
        """The scores with a modality missing, and how they came about; None where it was not evaluated."""
        parquet, json_file = self._without_files(modality)
        if not json_file.exists():
            return None
        content = read_json(json_file)
        try:
            facts = WithoutFacts(**content)
        except TypeError as error:
            raise BenchError(f"{json_file} is damaged ({error}). Evaluate again with --again.") from error
        return check_scores(pd.read_parquet(parquet), source=str(parquet)), facts

    def evaluated_without(self) -> list[str]:
        """The modalities whose absence was evaluated."""
        return sorted(read_json(path)["modality"] for path in (self.path / "without").glob("*.json"))

    def _without_files(self, modality: str) -> tuple[Path, Path]:
        stem = case_id_from(modality)
        return self.path / "without" / f"{stem}.parquet", self.path / "without" / f"{stem}.json"

    def write_config(self, config: Mapping[str, Any]) -> None:
        write_text(self.config_file, yaml.safe_dump(dict(config), sort_keys=False))

    def config(self) -> dict[str, Any]:
        """The run's configuration; BenchError where the file is damaged."""
        try:
            content = yaml.load(self.config_file.read_text(encoding="utf-8"), LOADER)  # noqa: S506 (a safe loader)
        except (UnicodeDecodeError, yaml.YAMLError):
            content = None
        if not isinstance(content, dict):
            raise BenchError(
                f"{self.config_file} is not a run's configuration; remove the folder {self.path}."
            )
        return content

    def write_record(self, record: RunRecord) -> None:
        write_json(self.record_file, asdict(record))

    def record(self) -> RunRecord:
        """The record; a run that was never started is pending."""
        if not self.record_file.exists():
            return RunRecord(self.run_id)
        content = read_json(self.record_file)
        known = {f.name for f in fields(RunRecord)}
        # JSON has no tuples.
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in content.items() if k in known
        }
        return RunRecord(**plain)

    def write_heartbeat(self, beat: Heartbeat) -> None:
        write_json(self.heartbeat_file, asdict(beat))

    def heartbeat(self) -> Heartbeat | None:
        if not self.heartbeat_file.exists():
            return None
        return Heartbeat(**read_json(self.heartbeat_file))

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """All rows so far; columns are the union of the rows' keys, in order of appearance."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with (
            written_whole(self.history_file) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)

    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.history_file) if self.history_file.exists() else pd.DataFrame()

    def write_scores(self, scores: pd.DataFrame) -> None:
        with written_whole(self.scores_file) as temporary:
            check_scores(scores, source=str(self.scores_file)).to_parquet(temporary, index=False)

    def scores(self) -> pd.DataFrame:
        return check_scores(pd.read_parquet(self.scores_file), source=str(self.scores_file))

    def write_validation(self, scores: pd.DataFrame) -> None:
        with written_whole(self.validation_file) as temporary:
            check_scores(scores, source=str(self.validation_file)).to_parquet(temporary, index=False)

    def validation(self) -> pd.DataFrame:
        """The scores of the validation part."""
        return check_scores(pd.read_parquet(self.validation_file), source=str(self.validation_file))

    @contextlib.contextmanager
    def claimed(self) -> Iterator[bool]:
        """Hold the run for this process; False when another process, on any launcher, holds it.

        The lock ends with the process, however it ends.
        """
        # Whoever asks `is_claimed` holds the lock for an instant; that must not cost the run its worker.
        for pause in (0.02, 0.1, 0.3, 0.0):
            with exclusive(self.path / ".lock") as held:
                if held or pause == 0.0:
                    yield held
                    return
            time.sleep(pause)

    def is_claimed(self) -> bool:
        """Whether some process works on this run right now."""
        if not (self.path / ".lock").exists():
            return False
        # A shared lock: those who only look do not see one another.
        with exclusive(self.path / ".lock", shared=True) as held:
            return not held

    def remove_leftovers(self) -> None:
        """Temporary files of a process that was killed while it wrote; only for who holds the claim."""
        for path in self.path.glob(".*.tmp"):
            path.unlink(missing_ok=True)


def check_scores(scores: pd.DataFrame, *, source: str) -> pd.DataFrame:
    """The frame with exactly the columns and types of the schema."""
    missing = [column for column in SCORE_COLUMNS if column not in scores]
    unknown = [str(column) for column in scores if column not in SCORE_COLUMNS]
    if missing or unknown:
        raise BenchError(f"{source}: missing columns {missing}, unknown columns {unknown}.")
    return scores[list(SCORE_COLUMNS)].astype(SCORE_COLUMNS)


def state_of(folder: RunFolder, *, now: float | None = None) -> tuple[State, FailureClass | None]:
    """The state as it really is: a run that says it runs, but whose process is gone, was interrupted."""
    record = folder.record()
    if record.state != "running":
        return record.state, record.failure
    if folder.is_claimed():
        return "running", None
    beat = folder.heartbeat()
    age = (time.time() if now is None else now) - (beat.time if beat else 0.0)
    # On file systems without locks across machines only the heartbeat tells.
    if beat is not None and beat.host != os.uname().nodename and age < STALE_AFTER_SECONDS:
        return "running", None
    return "failed", "interrupted"


def load_scores(results: Path, run_ids: Iterable[str]) -> pd.DataFrame:
    """The scores of all finished runs among `run_ids`; an empty frame with the right columns if there are none."""
    frames = []
    for run_id in dict.fromkeys(run_ids):
        folder = RunFolder(results, run_id)
        if folder.record().state == "done":
            frames.append(folder.scores())
    if not frames:
        return pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in SCORE_COLUMNS.items()})
    return pd.concat(frames, ignore_index=True)
