"""The results on disk: one folder a run, one row a score. Reads and writes; needs no torch.

    results/runs/<run_id>/
        config.yaml       the RunConfig
        data.json         DataPlaces: where its data lie, so that a finished run can be opened again
        run.json          RunRecord: state, versions, device, seconds, memory, error
        heartbeat.json    Heartbeat, while it runs: step, loss, validation Dice
        history.csv       one row an epoch or validation: step, seconds, loss names, val_dice
        scores.parquet    one row per case, region and metric (SCORE_COLUMNS)
        projections.npz   where each test case is right and wrong, seen from the front (scoring/projections.py)
        validation.parquet  the same of the validation part, where a search asked for it
        last.safetensors  weights;  checkpoint.pt  what a resume needs
        attempts.json     the attempts: machine, start, end, how it ended (benchmark/results/attempts.py)
        log.txt           the log;  predictions/  NIfTI masks, when asked for
        without/          <modality>.parquet, <modality>.json: the scores with a modality missing
        panels/           <case_id>.npz, <case_id>.json: what every branch says of a case

Every file is written whole or not at all (`benchmark/files/writing.py`).
"""

from __future__ import annotations

import contextlib
import csv
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import AfterValidator, Field

from benchmark.credentials import without_secrets
from benchmark.data.naming import case_id_from
from benchmark.files import tables
from benchmark.files.places import (
    DamagedFileError,
    Elsewhere,
    is_name,
    is_regular,
    is_there,
    kind_of,
    regular_files,
)
from benchmark.files.schemas import (
    STRICT,
    UNDEFINED,
    Amount,
    Positive,
    Settings,
    Text,
    Whole,
    checked,
    plausible_costs,
    plausible_facts,
    read_as,
    refuse_odd,
)
from benchmark.files.strict_yaml import read_yaml
from benchmark.files.writing import exclusive, guard, is_held, write_json, write_text, written_whole
from benchmark.notices import notice
from benchmark.vocabulary import BenchError

State = Literal["pending", "running", "done", "failed", "trained", "pruned"]
"""`trained`: a search trained it and scored its validation part, the test part is closed; `pruned`: a search stopped it
early. Neither is done: a grid that has such a run continues it."""
FailureClass = Literal["data", "memory", "diverged", "interrupted", "unsupported", "code", "damaged"]
"""`unsupported`: the method cannot serve the data set, or its package is not installed; the error says which.
`damaged`: files of the run cannot be read or believed; it is said by who looks, and never written."""
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

    __pydantic_config__ = STRICT

    run_id: str
    state: State = "pending"
    failure: FailureClass | None = None
    error: Text | None = None
    attempts: Whole = 0
    threads: Positive | None = None
    data_fingerprint: Text = ""
    parameters: Whole | None = None
    steps: Whole | None = None
    train_seconds: Amount | None = None
    inference_seconds_per_case: Amount | None = None
    peak_memory_mb: Amount | None = None
    costs: Annotated[Mapping[Text, Mapping[str, Any]], AfterValidator(plausible_costs)] = field(
        default_factory=dict
    )
    accumulation: Positive = 1
    excluded_cases: tuple[Text, ...] = ()
    warnings: tuple[Text, ...] = ()
    facts: Annotated[Mapping[str, Any], AfterValidator(plausible_facts)] = field(default_factory=dict)


@dataclass(frozen=True)
class DataPlaces:
    """Where a run's data lie, as absolute paths: the data set's files, the store, the store that is scored on, the
    folds."""

    __pydantic_config__ = STRICT

    root: Elsewhere
    store: Elsewhere
    scored_on: Elsewhere
    splits: Elsewhere


@dataclass(frozen=True)
class WithoutFacts:
    """How a run was scored with a modality missing.

    `manner`: by the method's `own answer`, or shown `zeros`. `changed_voxels`: by reading and case, how many voxels of
    the label map are not as in the prediction from all modalities.
    """

    __pydantic_config__ = STRICT

    modality: Text
    manner: Literal["own answer", "zeros"]
    changed_voxels: Annotated[Mapping[Text, Mapping[Text, Whole]], Field(min_length=1)]


@dataclass(frozen=True)
class Heartbeat:
    """Where a running run is. `done`/`total` count the steps or cases of its `phase`: train, validate, evaluate, and
    prepare for methods that train themselves.
    """

    __pydantic_config__ = UNDEFINED

    phase: Text
    done: Whole
    total: Whole
    loss: float | None = None
    val_dice: float | None = None
    pid: Whole = 0
    host: Text = ""
    device: Text = ""
    time: Amount = 0.0


class RunFolder:
    """One run on disk. What is read of it may be somebody else's: DamagedFileError, a BenchError, names the run, the
    file and what to do. A name that leads out of the results folder is refused at once."""

    def __init__(self, results: Path, run_id: str) -> None:
        if not is_name(run_id):
            raise DamagedFileError(f"{run_id!r} is no name of a run; it could lead out of {results}.")
        guard(results)
        self.run_id = run_id
        self._root = results / "runs"
        self.path = self._root / run_id

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

    @property
    def delivered_files(self) -> tuple[Path, ...]:
        """What a mirror of an ended run gets as it is."""
        return self.config_file, self.record_file, self.scores_file, self.log_file

    def write_data(self, places: DataPlaces) -> None:
        write_json(self.data_file, {name: str(path.absolute()) for name, path in vars(places).items()})

    def data(self) -> DataPlaces:
        """Where the run's data lie; BenchError where it was made by a version that did not write it down."""
        if not is_there(self.data_file):
            raise BenchError(
                f"Run {self.run_id} was made by an earlier version of the suite, which did not note where its data "
                f"lie ({self.data_file} is missing). Remove {self.path} and start its grid again."
            )
        with self._named():
            return read_as(DataPlaces, self.data_file, below=self._root)

    @contextlib.contextmanager
    def _named(self, remedy: str = "") -> Iterator[None]:
        """Whatever file of the run cannot be believed: the error names the run and the remedy."""
        try:
            yield
        except DamagedFileError as error:
            words = str(error).rstrip(".")
            raise DamagedFileError(
                f"Run {self.run_id}: {words}. {remedy or f'Remove {self.path} and start its grid again.'}"
            ) from error

    def refuse_odd_files(self) -> None:
        """DamagedFileError where the folder holds a link, a pipe or a device: who goes on with the run, or loads its
        weights, would write where a link leads, and wait for a pipe."""
        with self._named():
            for folder, folders, files in os.walk(self.path):
                links = [name for name in folders if (Path(folder) / name).is_symlink()]
                for path in (Path(folder) / name for name in (*links, *files)):
                    # What is gone by now was a temporary file of who works on the run.
                    if not is_regular(path) and is_there(path):
                        raise DamagedFileError(f"{path} is {kind_of(path)}, no file")
                # Where nnU-Net predicts, in folders that its next start removes, images are links.
                folders[:] = [name for name in folders if not name.startswith(".")]

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
        if not is_there(json_file):
            return None
        with self._named(f"Evaluate again: bench evaluate {self.run_id} --again --without {modality}"):
            facts = read_as(WithoutFacts, json_file, below=self._root)
            return tables.read_scores(parquet, SCORE_COLUMNS, below=self._root), facts

    def evaluated_without(self) -> list[str]:
        """The modalities whose absence was evaluated, without those of which nothing can be read."""
        found = []
        for path in regular_files(self.path / "without", "*.json", below=self._root):
            try:
                modality = read_as(WithoutFacts, path, below=self._root).modality
                if self._without_files(modality)[1] != path:
                    raise DamagedFileError(f"{path} is that of another modality, {modality}")
                found.append(modality)
            except DamagedFileError as error:
                notice(f"Run {self.run_id}: {error}. It is left out; remove it, and evaluate again.")
        return sorted(found)

    def _without_files(self, modality: str) -> tuple[Path, Path]:
        stem = case_id_from(modality)
        return self.path / "without" / f"{stem}.parquet", self.path / "without" / f"{stem}.json"

    def write_config(self, config: Mapping[str, Any]) -> None:
        write_text(self.config_file, yaml.safe_dump(dict(config), sort_keys=False))

    def config(self) -> dict[str, Any]:
        """The run's configuration; BenchError where the file is damaged."""
        try:
            content = read_yaml(self.config_file, below=self._root)
            refuse_odd(content, source=self.config_file)
            checked(Settings, content, source=str(self.config_file))
            return content
        except BenchError as error:
            words = str(error).rstrip(".")
            raise DamagedFileError(
                f"{self.config_file} is not a run's configuration ({words}); remove the folder {self.path}."
            ) from error

    def write_record(self, record: RunRecord) -> None:
        """As it is, but for passwords that an error quotes."""
        error = None if record.error is None else without_secrets(record.error)
        told = replace(record, error=error, warnings=tuple(map(without_secrets, record.warnings)))
        write_json(self.record_file, asdict(told))

    def record(self) -> RunRecord:
        """The record; a run that was never started is pending."""
        if not is_there(self.record_file):
            return RunRecord(self.run_id)
        with self._named():
            record = read_as(RunRecord, self.record_file, below=self._root)
            if record.run_id != self.run_id:
                raise DamagedFileError(f"{self.record_file} is that of another run, {record.run_id!r}")
        return record

    def seen(self) -> RunRecord:
        """The record for who only looks: of a run that cannot be read, or must not be gone on with, it says so, as
        of a failed one. Never raises: one broken run stops nobody who looks at others."""
        try:
            record = self.record()
            if record.state != "done":
                self.refuse_odd_files()
            if record.state == "running":
                self.heartbeat()
        except DamagedFileError as error:
            notice(str(error))
            return damaged(self.run_id, error)
        return record

    def write_heartbeat(self, beat: Heartbeat) -> None:
        write_json(self.heartbeat_file, asdict(beat))

    def heartbeat(self) -> Heartbeat | None:
        """The last sign of life; None where there is none."""
        if not is_there(self.heartbeat_file):
            return None
        with self._named(f"Remove {self.heartbeat_file}; who has the run writes it again."):
            return read_as(Heartbeat, self.heartbeat_file, below=self._root)

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
        """Numbers by column; empty where there are none."""
        return pd.DataFrame(self.curves())

    def curves(self) -> dict[str, np.ndarray]:
        """As `history`, which takes a thousand runs some time to make frames of."""
        if not is_there(self.history_file):
            return {}
        with self._named():
            return tables.read_history(self.history_file, below=self._root)

    def write_scores(self, scores: pd.DataFrame) -> None:
        with written_whole(self.scores_file) as temporary:
            check_scores(scores, source=str(self.scores_file)).to_parquet(temporary, index=False)

    def scores(self) -> pd.DataFrame:
        """All rows; BenchError where the file is not what the suite writes, or its values are of no metric."""
        return self._scores(self.scores_file)

    def groups(self, over: Sequence[str], *, validation: bool = False) -> tables.Groups:
        """All values by what they have in common in these columns; errors as of `scores`."""
        path = self.validation_file if validation else self.scores_file
        with self._named():
            return tables.read_groups(path, SCORE_COLUMNS, below=self._root, over=over)

    def check(self) -> None:
        """BenchError where the scores could not be read: quicker than reading them."""
        with self._named():
            tables.check_file(self.scores_file, SCORE_COLUMNS, below=self._root)

    def _scores(self, path: Path) -> pd.DataFrame:
        with self._named():
            return tables.read_scores(path, SCORE_COLUMNS, below=self._root)

    def write_validation(self, scores: pd.DataFrame) -> None:
        with written_whole(self.validation_file) as temporary:
            check_scores(scores, source=str(self.validation_file)).to_parquet(temporary, index=False)

    def validation(self) -> pd.DataFrame:
        """The scores of the validation part."""
        return self._scores(self.validation_file)

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
        return is_held(self.path / ".lock")

    def remove_leftovers(self) -> None:
        """Temporary files of a process that was killed while it wrote; only for who holds the claim."""
        for path in self.path.rglob(".*.tmp*"):
            path.unlink(missing_ok=True)


def damaged(run_id: str, error: BenchError) -> RunRecord:
    """What is told of a run whose files cannot be read."""
    return RunRecord(run_id, "failed", "damaged", str(error))


def check_scores(scores: pd.DataFrame, *, source: str) -> pd.DataFrame:
    """The frame with exactly the columns and types of the schema."""
    missing = [column for column in SCORE_COLUMNS if column not in scores]
    unknown = [str(column) for column in scores if column not in SCORE_COLUMNS]
    if missing or unknown:
        raise BenchError(f"{source}: missing columns {missing}, unknown columns {unknown}.")
    return scores[list(SCORE_COLUMNS)].astype(SCORE_COLUMNS)


def state_of(folder: RunFolder, *, now: float | None = None) -> tuple[State, FailureClass | None]:
    """The state as it really is: a run that says it runs, but whose process is gone, was interrupted."""
    record = folder.seen()
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
    """The scores of all finished runs among `run_ids` that can be read; an empty frame with the right columns if there
    are none."""
    frames = []
    for run_id in dict.fromkeys(run_ids):
        folder = RunFolder(results, run_id)
        if folder.seen().state == "done":
            try:
                frames.append(folder.scores())
            except DamagedFileError as error:
                notice(str(error))
    if not frames:
        return pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in SCORE_COLUMNS.items()})
    return pd.concat(frames, ignore_index=True)
