"""From a study to run orders: methods bound, data prepared in every way they ask for, manifests written."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.config import Resources, RunConfig
from benchmark.data.pipeline import ReadyData, foreseen_data, ready_data
from benchmark.execution.devices import Slot, cores
from benchmark.execution.monitor import Preparation as ShownPreparation
from benchmark.execution.order import RunOrder
from benchmark.execution.overview import label, state_words
from benchmark.execution.pool import Pool
from benchmark.execution.worker import Inspected, default_cells, inspect_runs
from benchmark.registry import dataset as reader_of
from benchmark.results import CellRun, GridManifest, RunFolder, exclusive, manifests, write_manifest
from benchmark.vocabulary import BenchError, Preparation
from studies.grid import Profile, Study, load_study, study_of_methods, with_methods
from studies.launch import PlannedRun, manifest

if TYPE_CHECKING:
    from rich.console import Console

PHANTOM_FOLDER = Path("data")
DEFAULT_GRID = "table2"


@dataclass(frozen=True)
class How:
    """What the command line says of a launch besides its runs."""

    results: Path
    splits: Path | None
    skip_bad_cases: bool
    resources: Resources
    screen: Console
    quiet: bool


@dataclass(frozen=True)
class Need:
    """A planned run, and how its method wants the data; None where it cannot serve the data set."""

    run: PlannedRun
    preparation: Preparation | None


@dataclass(frozen=True)
class Work:
    """A grid on one data set: its manifest, the cells to run, and how."""

    manifest: GridManifest
    chosen: list[CellRun]
    orders: dict[str, RunOrder]


def study_with(pool: Pool, grid: str | None, own_methods: Sequence[str], *, dataset: str) -> Study:
    """The grid, with a cell for each of the user's own methods; without a grid, those alone."""
    if not own_methods:
        return load_study(grid or DEFAULT_GRID)
    cells = pool.warm_up().call(default_cells, (list(own_methods), dataset))
    return study_of_methods(cells) if grid is None else with_methods(load_study(grid), cells)


def inspect(pool: Pool, planned: Sequence[PlannedRun], study: Study) -> list[Need]:
    """Bind every method, argument and loss weight before anything runs; BenchError for what cannot work."""
    keys = [_question(run.config).canonical_json() for run in planned]
    questions = {
        key: _question(run.config).model_dump(mode="json") for key, run in zip(keys, planned, strict=True)
    }
    answers = pool.warm_up().call(inspect_runs, list(questions.values()))
    inspected: dict[str, Inspected] = dict(zip(questions, answers, strict=True))
    faults = list(dict.fromkeys(answer.fault for answer in answers if answer.fault))
    needs = []
    for key, run in zip(keys, planned, strict=True):
        readings = inspected[key].readings
        if readings and not run.reading:
            run = replace(run, reading=readings[0])
        if readings and run.reading not in readings:
            named = ", ".join(filter(None, readings)) or "none to choose from"
            faults.append(f"{run.config.method} has no reading {run.reading!r}; its readings: {named}.")
        needs.append(Need(run, inspected[key].preparation))
    if faults:
        more = f" ({len(faults) - 1} more such faults)" if len(faults) > 1 else ""
        raise BenchError(f"{study.source}: {faults[0]}{more}")
    return needs


def _question(config: RunConfig) -> RunConfig:
    return config.model_copy(update={"fold": 0, "seed": 0})


def announce(
    study: Study, profile: Profile, name: str, needs: Sequence[Need], given_root: Path | None, how: How
) -> Work:
    """Prepare a data set in every way its runs ask for, write their manifest, and say how they are executed."""
    own = [need for need in needs if need.run.config.dataset == name]
    with ShownPreparation(how.screen, quiet=how.quiet) as shown:
        data = _Data(name, given_root or _phantoms(profile, shown), profile, how, shown)
        for need in own:
            if need.run.chosen:
                data.wanted(need)
        ready_of = [(data.wanted(need, foresee=not need.run.chosen), data.usual(need)) for need in own]
    _check_left_out(ready_of, how)
    for need, (ready, _) in zip(own, ready_of, strict=True):
        if need.run.config.fold >= ready.n_folds:
            raise BenchError(
                f"There is no fold {need.run.config.fold}: {ready.splits} has the folds 0 to {ready.n_folds - 1}."
            )
    listed = manifest(
        study,
        profile,
        name,
        [(need.run, ready.fingerprint) for need, (ready, _) in zip(own, ready_of, strict=True)],
        data_root=data.root.resolve() if given_root else data.root,
        excluded_cases=sorted({case for ready, _ in ready_of for case in ready.excluded_cases}),
    )
    write_manifest(how.results, listed)
    orders = {
        cell.run_id: RunOrder(
            results=how.results.resolve(),
            run_id=cell.run_id,
            config=need.run.config,
            store=ready.store.resolve(),
            scored_on=usual.store.resolve(),
            splits=ready.splits.resolve(),
            data_fingerprint=ready.fingerprint,
            resources=how.resources,
            excluded_cases=ready.excluded_cases,
        )
        for need, cell, (ready, usual) in zip(own, listed.cells, ready_of, strict=True)
    }
    chosen = [cell for need, cell in zip(own, listed.cells, strict=True) if need.run.chosen]
    _tell_of_missing_masks(how, chosen)
    return Work(listed, chosen, orders)


def _key(preparation: Preparation, scored_on: Path | None) -> str:
    return repr((preparation, scored_on))


class _Data:
    """A data set on disk, in every preparation that a launch asks for; each is made once."""

    def __init__(self, name: str, root: Path, profile: Profile, how: How, shown: ShownPreparation) -> None:
        self.name, self.root = name, root
        self._profile, self._how, self._shown = profile, how, shown
        self._ready: dict[str, ReadyData] = {}

    def usual(self, need: Need) -> ReadyData:
        """The data as they are scored."""
        return self._prepared(self._usual(need), scored_on=None)

    def wanted(self, need: Need, *, foresee: bool = False) -> ReadyData:
        """The data as the method wants them; what nobody needs now is foreseen, not prepared."""
        usual = self.usual(need)
        wanted = need.preparation or self._usual(need)
        if wanted == self._usual(need):
            return usual
        if foresee and _key(wanted, usual.store) not in self._ready:
            return foreseen_data(
                self.name, self.root, results=self._how.results, preparation=wanted, scored_on=usual
            )
        return self._prepared(wanted, scored_on=usual.store)

    def _usual(self, need: Need) -> Preparation:
        return reader_of(self.name).spec.preparation_at(need.run.config.spacing_mm)

    def _prepared(self, preparation: Preparation, *, scored_on: Path | None) -> ReadyData:
        key = _key(preparation, scored_on)
        if key not in self._ready:
            self._ready[key] = ready_data(
                self.name,
                self.root,
                results=self._how.results,
                preparation=preparation,
                scored_on=scored_on,
                n_folds=self._profile.n_folds,
                splits_file=self._how.splits,
                skip_bad_cases=self._how.skip_bad_cases,
                jobs=cores(),
                progress=self._shown.show,
            )
        return self._ready[key]


def _check_left_out(ready_of: Sequence[tuple[ReadyData, ReadyData]], how: How) -> None:
    left_out = sorted({case for ready, _ in ready_of for case in ready.excluded_cases})
    if left_out:
        how.screen.print(f"Left out {len(left_out)} bad cases: {', '.join(left_out)}", soft_wrap=True)


def _tell_of_missing_masks(how: How, chosen: Sequence[CellRun]) -> None:
    folders = {cell.run_id: RunFolder(how.results, cell.run_id) for cell in chosen}
    without = [name for name, f in folders.items() if f.scores_file.exists() and not f.predictions.exists()]
    if how.resources.save_predictions and without:
        print(
            f"{len(without)} finished runs have no masks, since they ran without --save-predictions; to get them, "
            f"remove their folders in {how.results / 'runs'}: {', '.join(without[:5])}",
            file=sys.stderr,
        )


def _phantom_root(profile: Profile) -> Path:
    phantom = profile.phantom
    spacing = "x".join(f"{edge:g}" for edge in phantom.spacing_mm) + "mm" if phantom.spacing_mm else "default"
    return PHANTOM_FOLDER / f"phantom-{phantom.cases}-{spacing}-seed{phantom.seed}"


def _phantoms(profile: Profile, shown: ShownPreparation) -> Path:
    from benchmark.data.phantom import DEFAULT_SPACING_MM, write_phantoms

    root = _phantom_root(profile)
    # Another launcher of the same demonstration waits until they are there.
    with exclusive(root.with_name(f".{root.name}.lock"), wait=True):
        write_phantoms(
            root,
            cases=profile.phantom.cases,
            seed=profile.phantom.seed,
            spacing_mm=profile.phantom.spacing_mm or DEFAULT_SPACING_MM,
            jobs=cores(),
            progress=shown.named("generate phantoms"),
        )
    return root


def print_plan(
    screen: Console,
    study: Study,
    profile: Profile,
    needs: Sequence[Need],
    roots: Mapping[str, Path | None],
    results: Path,
    places: Sequence[Slot],
    *,
    as_json: bool,
) -> None:
    """`--dry-run`. The runs' names and states are known when they were announced by an earlier start."""
    rows: list[dict[str, Any]] = []
    for name in roots:
        own = [need.run for need in needs if need.run.config.dataset == name]
        known = _announced(results, study, profile, name, own)
        words = state_words(results, list(known.values()))
        for number, run in enumerate(own):
            if run.chosen:
                cell = known.get(number)
                state = (
                    {"run": None, "state": "pending"}
                    if cell is None
                    else {"run": cell.run_id, "state": words[cell.run_id]}
                )
                rows.append(
                    {**state, "cell": label(run.cell("")), "config": run.config.model_dump(mode="json")}
                )
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        screen.print(f"{row['state']:<11}  {row['run'] or '':<12}  {row['cell']}".rstrip(), soft_wrap=True)
    data = ", ".join(f"{name} in {root or _phantom_root(profile)}" for name, root in roots.items())
    screen.print(
        f"{len(rows)} cells, {sum(row['state'] == 'done' for row in rows)} of them done; data: {data}",
        soft_wrap=True,
    )
    where = ", ".join(f"{place.device} ({place.threads} threads)" for place in places)
    screen.print(f"{study.source} with profile {profile.name} would run on: {where}", soft_wrap=True)


def _announced(
    results: Path, study: Study, profile: Profile, name: str, runs: Sequence[PlannedRun]
) -> dict[int, CellRun]:
    """The runs' cells in the newest manifest that knows any of them, by their place in `runs`."""
    for earlier in manifests(results, study.name):
        if earlier.dataset != name or earlier.profile != profile.name:
            continue
        known = {(cell.run_id, cell.reading): cell for cell in earlier.cells}
        fingerprints = {cell.data_fingerprint for cell in earlier.cells}
        found: dict[int, CellRun] = {}
        for number, run in enumerate(runs):
            for cell in map(run.cell, fingerprints):
                if (cell.run_id, cell.reading) in known:
                    found[number] = cell
        if found:
            return found
    return {}
