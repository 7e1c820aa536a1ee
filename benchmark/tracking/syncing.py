"""Bring MLflow up to date with a results folder, as often as one likes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from benchmark.credentials import without_secrets
from benchmark.files.places import is_regular
from benchmark.files.writing import exclusive
from benchmark.tracking.content import GridMembership, Survey, survey
from benchmark.tracking.deadline import Deadline
from benchmark.tracking.delivery import Delivery
from benchmark.tracking.memory import Memory
from benchmark.tracking.store import lock_file, reason, store_uri
from benchmark.vocabulary import BenchError
from benchmark.words import counted, in_results


@dataclass(frozen=True)
class SyncReport:
    """What one call of `sync` did. `undelivered` names runs (or grids) and the reason."""

    uri: str
    results: Path = Path("results")
    delivered: int = 0
    up_to_date: int = 0
    undelivered: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None
    """Why the store as a whole could not be used."""
    skipped: bool = False
    """Another process was delivering this results folder."""
    seconds: float = 0.0

    @property
    def message(self) -> str:
        """One line for a person."""
        if self.skipped:
            return "Another process is delivering these results to MLflow; try again when it has ended."
        text = f"{self.uri}: {counted(self.delivered, 'run')} delivered, {self.up_to_date} were up to date"
        if self.problem:
            again = f"`bench sync{in_results(self.results)}` tries again."
            return f"{text}, {len(self.undelivered)} not delivered ({self.problem}). {again}"
        if self.undelivered:
            reasons = "; ".join(f"{name}: {why}" for name, why in self.undelivered.items())
            return f"{text}, {len(self.undelivered)} not delivered: {reasons}"
        return f"{text}."


def sync(results: Path, *, grids: Sequence[str] | None = None, tracking_uri: str | None = None) -> SyncReport:
    """Bring MLflow up to date with the results folder.

    `grids` are names of grids (`table2`) or of manifests (`table2-1f3a`); None: every run there is. Raises
    BenchError for an unknown grid or a folder that cannot be written; everything else is in the report.
    """
    return sync_once(results, grids=grids, tracking_uri=tracking_uri, deadline=Deadline())


def sync_once(
    results: Path,
    *,
    grids: Sequence[str] | None = None,
    tracking_uri: str | None = None,
    active: bool = False,
    stop: Callable[[], bool] = lambda: False,
    deadline: Deadline | None = None,
) -> SyncReport:
    """`sync` for the mirror: a launcher is at work (`active`); `stop` may end the pass between two runs.

    With a `deadline` the pass ends by then, also in the middle of a request.
    """
    began = time.monotonic()
    uri = tracking_uri or store_uri(results)
    found = survey(results, grids)
    with exclusive(lock_file(results)) as held:
        if not held:
            return SyncReport(without_secrets(uri), results, skipped=True)
        for leftover in results.glob(".*mlflow*.tmp"):
            # Of a mirror that was killed while it wrote; the lock says that nobody is writing now.
            leftover.unlink(missing_ok=True)
        memory = Memory(results, uri)
        todo: dict[str, GridMembership] = {}
        failures = dict(found.damaged)
        delivered: set[str] = set()

        def note(run_id: str) -> None:
            delivered.add(run_id)
            if deadline is not None:
                deadline.step()

        def deliver() -> str | None:
            delivery = Delivery(results, uri, memory)
            # Only now is it clear whether the memory is of this store.
            todo.clear()
            todo.update(_to_do(results, found, memory))
            if deadline is not None:
                deadline.extend(len(todo) + len(found.selected))
            failures.update(
                delivery.deliver_all(todo, found.selected, active=active, stop=stop, delivered=note)
            )
            memory.save()
            return delivery.problem

        try:
            problem = deliver() if deadline is None else deadline.keep(deliver)
        except Exception as error:
            # Whatever a database or a network can raise; a later sync delivers.
            problem = reason(error, uri)
            todo = dict(todo) or _to_do(results, found, memory)
            failures |= dict.fromkeys(todo.keys() - delivered - failures.keys(), problem)
    return SyncReport(
        uri=without_secrets(uri),
        results=results,
        delivered=len(todo.keys() - failures.keys()),
        up_to_date=len(found.places) - len(todo),
        undelivered=failures,
        problem=problem,
        seconds=time.monotonic() - began,
    )


def _to_do(results: Path, found: Survey, memory: Memory) -> dict[str, GridMembership]:
    return {
        run_id: place
        for run_id, place in found.places.items()
        if not memory.is_current(results, run_id, place)
    }


def undelivered(
    results: Path, *, grids: Sequence[str] | None = None, tracking_uri: str | None = None
) -> list[str]:
    """The started runs that MLflow does not know in their present state. Reads files only."""
    memory = Memory(results, tracking_uri or store_uri(results))
    places = survey(results, grids).places
    return [run_id for run_id, place in places.items() if not memory.is_current(results, run_id, place)]


def log_report(
    results: Path, grid_name: str, files: Sequence[Path], *, folder: Path | None = None, name: str = "report"
) -> None:
    """Add figures and tables to the parent run of a grid (the newest of that name), under `name`, where they keep
    their places in `folder`; without one, side by side.

    Raises BenchError if MLflow cannot be reached; the files themselves are never touched.
    """

    def send(client: Any, run: str, deadline: Deadline) -> None:
        for file in files:
            place = PurePosixPath(name) / (
                "" if folder is None else file.parent.relative_to(folder).as_posix()
            )
            client.log_artifact(run, str(file), str(place))
            deadline.step()

    _log(results, grid_name, send, pieces=len(files))


def log_folder(results: Path, grid_name: str, folder: Path) -> None:
    """Add a folder with all files that are in it to the parent run of a grid, under its name; else as `log_report`.

    A link may have come with the results, and lead to what nobody means to give away.
    """
    files = [path for path in sorted(folder.rglob("*")) if is_regular(path)]
    log_report(results, grid_name, files, folder=folder, name=folder.name)


def _log(results: Path, grid_name: str, send: Callable[[Any, str, Deadline], None], *, pieces: int) -> None:
    """`send` is called with MLflow's client, the id of the parent run, and the deadline, whose steps it tells."""
    uri = store_uri(results)
    selected = survey(results, [grid_name]).selected
    if not selected:
        raise BenchError(f"The manifest of {grid_name!r} in {results} is damaged. Run the grid again.")
    deadline = Deadline(pieces)

    def log() -> None:
        with exclusive(lock_file(results), wait=True):
            delivery = Delivery(results, uri, Memory(results, uri))
            parent = delivery.parent_of(selected[-1]).mlflow_id
            delivery.store.require_own(parent)
            deadline.step()
            send(delivery.client, parent, deadline)
            delivery.memory.save()

    try:
        deadline.keep(log)
    except BenchError:
        raise
    except Exception as error:
        where, why = without_secrets(uri), reason(error, uri)
        raise BenchError(f"The report was not added to MLflow at {where}: {why}") from error
