"""A grid from its name to finished runs: planned, checked, prepared, executed, mirrored to MLflow."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmark import tracking
from benchmark.data.splits import n_folds_in
from benchmark.datasets.registry import dataset
from benchmark.execution.monitor import Monitor
from benchmark.execution.overview import label, labels_of, state_words
from benchmark.execution.places import chosen_devices, places_for
from benchmark.execution.plan_file import RunPlan, write_plan
from benchmark.execution.pool import Pool
from benchmark.planning import setup
from benchmark.planning.grid import Profile, Study
from benchmark.planning.launch import counts, launch, plan
from benchmark.planning.setup import CheckedRun, GridLaunch, LaunchSettings
from benchmark.processes.devices import Slot
from benchmark.processes.signals import answered
from benchmark.registry import method_digest
from benchmark.results.manifests import CellRun, manifests
from benchmark.results.order import RunOrder
from benchmark.vocabulary import BenchError
from benchmark.words import counted


@dataclass(frozen=True)
class GridRequest:
    """What is asked for. `study` None: the user's own methods alone.

    `roots`: the data sets and their folders, None for phantoms. `folds`, `seeds` and `devices` None: the profile's, and
    all GPUs. `jobs`: runs at a time on the CPU; `jobs_per_device`: on each GPU. `only`: conditions as in
    `benchmark.planning.grid.select`.
    """

    study: Study | None
    profile: Profile
    roots: Mapping[str, Path | None]
    own_methods: Sequence[str] = ()
    data_names: Mapping[str, str] = field(default_factory=dict)
    only: Sequence[str] = ()
    folds: Sequence[int] | Literal["all"] | None = None
    seeds: Sequence[int] | None = None
    devices: Sequence[str] | None = None
    jobs: int | None = None
    jobs_per_device: int = 1
    splits: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: bool | None = None
    """Where the runs are for other machines: whether those compute in bfloat16. None: they run here."""

    @property
    def n_folds(self) -> int:
        """How many folds all of the data sets have."""
        used = [
            self.splits or (dataset(name).own_splits(root) if root else None)
            for name, root in self.roots.items()
        ]
        return min(n_folds_in(path) if path else self.profile.n_folds for path in used)

    @property
    def wanted_folds(self) -> list[int]:
        """BenchError for a fold that some data set has not."""
        n_folds = self.n_folds
        folds = self.profile.folds if self.folds is None else self.folds
        wanted = list(range(n_folds)) if folds == "all" else [int(fold) for fold in folds]
        if too_high := [fold for fold in wanted if fold >= n_folds]:
            raise BenchError(
                f"--folds: There is no fold {too_high[0]}; there are the folds 0 to {n_folds - 1}."
            )
        return wanted


@dataclass(frozen=True)
class GridPlan:
    """A grid whose every run can be built, before its data are read."""

    request: GridRequest
    study: Study
    runs: Sequence[CheckedRun]
    places: Sequence[Slot]

    def rows(self, results: Path) -> list[dict[str, Any]]:
        """A row for each chosen run: `cell`, `config`, and of what an earlier start announced `run` and `state`. One
        that cannot serve its data set is `unsupported` before it was ever started, with the `reason`."""
        request = self.request
        rows: list[dict[str, Any]] = []
        for name, root in request.roots.items():
            here = [checked for checked in self.runs if checked.run.config.dataset == name]
            own = [checked.run for checked in here]
            called = setup.data_name(name, root, request.data_names)
            known = _announced(results, self, called, [run.cell for run in own])
            words = state_words(results, list(known.values()))
            for number, (run, reason) in enumerate((checked.run, checked.unsupported) for checked in here):
                if not run.chosen:
                    continue
                cell = known.get(number)
                state = (
                    {"run": None, "state": "pending"}
                    if cell is None
                    else {"run": cell.run_id, "state": words[cell.run_id]}
                )
                if reason and state["state"] == "pending":
                    state |= {"state": "unsupported", "reason": reason}
                rows.append(
                    {**state, "cell": label(run.cell("")), "config": run.config.model_dump(mode="json")}
                )
        return rows

    @property
    def chosen(self) -> list[CheckedRun]:
        return [checked for checked in self.runs if checked.run.chosen]

    @property
    def unsupported(self) -> list[str]:
        """Of the chosen runs, how many cannot serve their data set and why; a sentence for each reason."""
        reasons = Counter(checked.unsupported for checked in self.chosen if checked.unsupported)
        return [
            f"{n} of {counted(len(self.chosen), 'run')} of {self.study.name} cannot be done on these data: {reason}"
            for reason, n in reasons.items()
        ]

    def refuse_nothing_to_do(self) -> None:
        """BenchError where none of the chosen runs can serve its data set."""
        if all(checked.unsupported for checked in self.chosen):
            raise BenchError(" ".join(self.unsupported))


@dataclass(frozen=True)
class AnnouncedGrid:
    """A grid whose data are prepared and whose manifests are written, one launch a data set."""

    launches: Sequence[GridLaunch]

    @property
    def cells(self) -> list[CellRun]:
        return [cell for one in self.launches for cell in one.chosen]

    @property
    def names(self) -> list[str]:
        """Of the manifests."""
        return [one.manifest.name for one in self.launches]

    @property
    def orders(self) -> dict[str, RunOrder]:
        return {run_id: order for one in self.launches for run_id, order in one.orders.items()}

    @property
    def labels(self) -> dict[str, str]:
        """What people call the runs, by id."""
        cells = self.cells
        return labels_of(cells, fold_and_seed=len({(cell.fold, cell.seed) for cell in cells}) > 1)


@dataclass(frozen=True)
class GridOutcome:
    """What came of a launch. `states`: runs by state, as `planning.launch.counts` has them; `undelivered`: runs that
    MLflow lacks; `stopped`: whether somebody, or an error, ended it before its end."""

    launches: Sequence[GridLaunch]
    cells: Sequence[CellRun]
    total: int
    states: Mapping[str, int]
    undelivered: int
    stopped: bool
    stopped_by_error: bool

    @property
    def unfinished(self) -> int:
        return self.total - self.states["done"]


def plan_grid(pool: Pool, request: GridRequest) -> GridPlan:
    """Plan every run and bind its method; BenchError for the first fault. No data set is read but for its layout."""
    folds = request.wanted_folds
    study = setup.study_on(pool, request.study, request.own_methods, request.roots)
    names, bfloat16 = ["cpu"], bool(request.elsewhere)
    if request.elsewhere is None:
        names, bfloat16 = chosen_devices(pool, request.devices, request.jobs)
    planned = plan(
        study,
        request.profile,
        datasets=list(request.roots),
        data_names=setup.names_of(request.roots),
        folds=folds,
        seeds=request.profile.seeds if request.seeds is None else request.seeds,
        only=request.only,
        overrides=request.overrides,
        bfloat16=bfloat16,
        digest=method_digest,
    )
    wanted = [run.config for run in planned if run.chosen]
    places = places_for(names, wanted, request.jobs, request.jobs_per_device)
    return GridPlan(request, study, setup.inspect(pool, planned, study, request.roots), places)


def launch_grid(
    pool: Pool,
    planned: GridPlan,
    settings: LaunchSettings,
    *,
    monitor: Callable[[dict[str, str], int], Monitor],
    retry_failed: bool = False,
    mlflow: bool = True,
) -> GridOutcome:
    """Prepare the data, write the manifests, and run what is missing.

    `monitor` is called once there is something to do, with the runs' labels by id and how many are due.
    """
    results = settings.results
    announced = announce_grid(planned, settings)
    cells, names, labels = announced.cells, announced.names, announced.labels

    def execute(due: Sequence[CellRun]) -> None:
        watching = monitor(labels, len(due))
        with contextlib.ExitStack() as around:
            for name in names if mlflow else ():
                around.enter_context(tracking.Mirror(results, name))
            around.enter_context(watching)
            around.enter_context(answered(pool.request_stop))
            pool.run([announced.orders[cell.run_id] for cell in due], planned.places, observer=watching)

    standings = launch(results, cells, retry_failed=retry_failed, execute=execute)
    return GridOutcome(
        launches=announced.launches,
        cells=cells,
        total=len(labels),
        states=counts(standings),
        undelivered=len(tracking.undelivered(results, grids=names)) if mlflow else 0,
        stopped=bool(pool.stops),
        stopped_by_error=pool.stopped_by_error,
    )


def announce_grid(planned: GridPlan, settings: LaunchSettings) -> AnnouncedGrid:
    """Prepare the data and write the manifests; BenchError where none of the runs can serve its data set."""
    planned.refuse_nothing_to_do()
    if not settings.quiet:
        for line in planned.unsupported:
            settings.screen.print(line, soft_wrap=True, markup=False, highlight=False)
    return AnnouncedGrid(
        [
            setup.announce(planned.study, planned.request.profile, name, planned.runs, root, settings)
            for name, root in planned.request.roots.items()
        ]
    )


def plan_pilots(
    planned: GridPlan,
    settings: LaunchSettings,
    *,
    retry_failed: bool,
    method_files: Sequence[Path] = (),
    bfloat16: bool = False,
) -> RunPlan | None:
    """The plan that pilots work on, written: what is missing of the grid. None where nothing is."""
    announced = announce_grid(planned, settings)
    due: list[CellRun] = []
    launch(settings.results, announced.cells, retry_failed=retry_failed, execute=due.extend)
    if not due:
        return None
    return write_plan(
        planned.study.name,
        [announced.orders[cell.run_id] for cell in due],
        grids=announced.names,
        labels=announced.labels,
        method_files=method_files,
        bfloat16=bfloat16,
    )


def _announced(
    results: Path, planned: GridPlan, called: str, runs: Sequence[Callable[[str], CellRun]]
) -> dict[int, CellRun]:
    """The runs' cells in the newest manifest that knows any of them, by their place in `runs`."""
    for earlier in manifests(results, planned.study.name):
        if earlier.dataset != called or earlier.profile != planned.request.profile.name:
            continue
        known = {(cell.run_id, cell.reading) for cell in earlier.cells}
        fingerprints = {cell.data_fingerprint for cell in earlier.cells}
        found = {
            number: cell
            for number, run in enumerate(runs)
            for cell in map(run, fingerprints)
            if (cell.run_id, cell.reading) in known
        }
        if found:
            return found
    return {}
