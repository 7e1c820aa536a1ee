"""From a study to run orders: methods bound, data prepared in every way they ask for, manifests written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.config import Resources, RunConfig
from benchmark.datasets.pipeline import ReadyData, foreseen_data, ready_data, warning_lines
from benchmark.datasets.registry import dataset as reader_of
from benchmark.datasets.registry import dataset_names, phantom_readers, phantoms_in
from benchmark.execution.monitor import Preparation as ShownPreparation
from benchmark.execution.pool import Pool
from benchmark.execution.worker import Inspected, default_cells, inspect_runs
from benchmark.files.writing import exclusive
from benchmark.planning.grid import (
    PhantomSettings,
    Profile,
    Study,
    load_study,
    study_of_methods,
    with_methods,
)
from benchmark.planning.launch import PlannedRun, manifest
from benchmark.planning.search_space import Search
from benchmark.processes.devices import cores
from benchmark.results.manifests import CellRun, GridManifest, write_manifest
from benchmark.results.order import RunOrder
from benchmark.results.runs import RunFolder
from benchmark.terminal import say
from benchmark.vocabulary import BenchError, Preparation, did_you_mean
from benchmark.words import counted

if TYPE_CHECKING:
    from rich.console import Console

PHANTOM_FOLDER = "phantoms"
"""In the results folder."""
DEFAULT_GRID = "table2"
DEFAULT_DATASET = "autopet"
"""Where neither a study nor the user names one."""


@dataclass(frozen=True)
class LaunchSettings:
    """What the command line says of a launch besides its runs."""

    results: Path
    splits: Path | None
    skip_bad_cases: bool
    resources: Resources
    screen: Console
    quiet: bool
    data_names: Mapping[str, str] = field(default_factory=dict)
    """What people call the data sets, by reader, where the command line says it."""


@dataclass(frozen=True)
class CheckedRun:
    """A planned run, and how its method wants the data; None where it cannot serve the data set.

    `trains_itself`: outside this suite's training loop. `unsupported`: why it cannot.
    """

    run: PlannedRun
    preparation: Preparation | None
    trains_itself: bool = False
    unsupported: str = ""


@dataclass(frozen=True)
class GridLaunch:
    """A grid on one data set: its manifest, the cells to run, and how."""

    manifest: GridManifest
    chosen: list[CellRun]
    orders: dict[str, RunOrder]


def asked_study(grid: str | None, own_methods: Sequence[str]) -> Study | None:
    """The grid that was asked for; None: the user's own methods alone."""
    return None if own_methods and grid is None else load_study(grid or DEFAULT_GRID)


def study_on(
    pool: Pool, asked: Study | None, own_methods: Sequence[str], roots: Mapping[str, Path | None]
) -> Study:
    """The study on these data sets, with a cell for each of the user's own methods; without a study, those alone."""
    name, root = next(iter(roots.items()))
    cells = pool.call(default_cells, (list(own_methods), name, root)) if own_methods else {}
    if asked is None:
        return study_of_methods(cells, dataset=name)
    modalities = {reader_of(each).spec_of(folder).modalities for each, folder in roots.items()}
    if len(modalities) > 1 and asked.depends_on_data:
        raise BenchError(
            f"{asked.source} has levels that depend on the modalities: run it on one data set at a time."
        )
    study = asked.on(next(iter(modalities)))
    return with_methods(study, cells) if cells else study


def names_of(roots: Mapping[str, Path | None]) -> dict[str, str]:
    """What the data sets call themselves, by their readers' names."""
    return {name: reader_of(name).spec_of(root).name for name, root in roots.items()}


def data_names(given: Sequence[str], roots: Mapping[str, Path | None]) -> dict[str, str]:
    """The names of `--data-name`, by reader; BenchError for one that no data set takes."""
    names: dict[str, str] = {}
    for text in given:
        reader, equals, name = text.partition("=")
        if not equals:
            if len(roots) > 1:
                raise BenchError(
                    f"--data-name {text}: say of which data set, --data-name {next(iter(roots))}={text}."
                )
            reader, name = next(iter(roots)), text
        if reader not in roots or not name.strip():
            known = " or ".join(f"{one}=NAME" for one in roots)
            raise BenchError(f"--data-name {text}: write --data-name {known}.")
        if (phantoms := phantoms_in(reader, roots[reader])) and name.strip() != phantoms:
            raise BenchError(
                f"--data-name {text}: these are phantoms, and called {phantoms} in every report, so that nobody takes "
                "their scores for results. Leave the option out."
            )
        names[reader] = name.strip()
    return names


def data_name(reader: str, root: Path | None, given: Mapping[str, str]) -> str:
    """What the data in a folder are called: as the command line says, as they call themselves, or as their folder. A
    reader's name is not theirs; phantoms are called so whatever reads them."""
    if phantoms := phantoms_in(reader, root):
        return phantoms
    if reader in given:
        return given[reader]
    own = reader_of(reader).spec_of(root).name
    return own if own != reader or root is None else root.resolve().name or own


def check_names(profile: Profile) -> None:
    """BenchError for a data set in the profile that does not exist, or of which there are no phantoms."""
    for key, named, possible in (
        ("datasets", profile.datasets, dataset_names()),
        ("phantoms", profile.phantoms, list(phantom_readers())),
    ):
        for name in named:
            if name.partition("/")[0] not in possible:
                raise BenchError(
                    f"profiles/{profile.name}.yaml: {key} names {name!r}. {did_you_mean(name, possible)}"
                )
    for name, wanted in profile.phantoms.items():
        takes = phantom_readers()[name].unusual
        if idle := [key for key in wanted.unusual if key not in takes]:
            raise BenchError(
                f"profiles/{profile.name}.yaml: phantoms.{name} says {', '.join(idle)}, which these phantoms do not "
                "have; leave it out."
            )


def inspect(
    pool: Pool, planned: Sequence[PlannedRun], study: Study | Search, roots: Mapping[str, Path | None]
) -> list[CheckedRun]:
    """Bind every method, argument and loss weight before anything runs; BenchError for what cannot work."""
    keys = [_question(run.config).canonical_json() for run in planned]
    questions = {
        key: (_question(run.config).model_dump(mode="json"), roots[run.config.dataset])
        for key, run in zip(keys, planned, strict=True)
    }
    answers = pool.call(inspect_runs, list(questions.values()))
    inspected: dict[str, Inspected] = dict(zip(questions, answers, strict=True))
    faults = list(dict.fromkeys(answer.fault for answer in answers if answer.fault))
    checked_runs = []
    for key, run in zip(keys, planned, strict=True):
        readings = inspected[key].readings
        if readings and not run.reading:
            run = replace(run, reading=readings[0])
        if readings and run.reading not in readings:
            named = ", ".join(filter(None, readings)) or "none to choose from"
            faults.append(f"{run.config.method} has no reading {run.reading!r}; its readings: {named}.")
        answer = inspected[key]
        checked_runs.append(CheckedRun(run, answer.preparation, answer.trains_itself, answer.unsupported))
    if faults:
        more = f" ({len(faults) - 1} more such faults)" if len(faults) > 1 else ""
        raise BenchError(f"{study.source}: {faults[0]}{more}")
    return checked_runs


def _question(config: RunConfig) -> RunConfig:
    return config.model_copy(update={"fold": 0, "seed": 0})


def announce(
    study: Study,
    profile: Profile,
    name: str,
    checked_runs: Sequence[CheckedRun],
    given_root: Path | None,
    settings: LaunchSettings,
) -> GridLaunch:
    """Prepare a data set in every way its runs ask for, write their manifest, and say how they are executed."""
    own = [checked for checked in checked_runs if checked.run.config.dataset == name]
    with ShownPreparation(settings.screen, quiet=settings.quiet) as shown:
        data = prepared_data(name, given_root, profile, settings, shown)
        for checked in own:
            if checked.run.chosen:
                data.wanted(checked)
        ready_of = [
            (data.wanted(checked, foresee=not checked.run.chosen), data.usual(checked)) for checked in own
        ]
    _check_left_out(ready_of, settings)
    tell_of_data([usual for _, usual in ready_of], settings)
    for checked, (ready, _) in zip(own, ready_of, strict=True):
        if checked.run.config.fold >= ready.n_folds:
            raise BenchError(
                f"There is no fold {checked.run.config.fold}: {ready.splits} has the folds 0 to {ready.n_folds - 1}."
            )
    listed = manifest(
        study,
        profile,
        data_name(name, given_root, settings.data_names),
        [(checked.run, ready.fingerprint) for checked, (ready, _) in zip(own, ready_of, strict=True)],
        data_root=data.root.resolve() if given_root else data.root,
        excluded_cases=sorted({case for ready, _ in ready_of for case in ready.excluded_cases}),
        reader=name,
    )
    write_manifest(settings.results, listed)
    orders = {
        cell.run_id: order_of(checked.run.config, cell.run_id, data, ready, usual, settings)
        for checked, cell, (ready, usual) in zip(own, listed.cells, ready_of, strict=True)
    }
    chosen = [cell for checked, cell in zip(own, listed.cells, strict=True) if checked.run.chosen]
    _tell_of_missing_masks(settings, chosen)
    return GridLaunch(listed, chosen, orders)


def _key(preparation: Preparation, scored_on: Path | None) -> str:
    return repr((preparation, scored_on))


def order_of(
    config: RunConfig,
    run_id: str,
    data: PreparedData,
    ready: ReadyData,
    usual: ReadyData,
    settings: LaunchSettings,
) -> RunOrder:
    """How a run is executed: `ready` are the data as its method wants them, `usual` as they are scored."""
    return RunOrder(
        results=settings.results.resolve(),
        run_id=run_id,
        config=config,
        root=data.root.resolve(),
        store=ready.store.resolve(),
        scored_on=usual.store.resolve(),
        splits=ready.splits.resolve(),
        data_fingerprint=ready.fingerprint,
        resources=settings.resources,
        excluded_cases=ready.excluded_cases,
    )


def prepared_data(
    name: str, given_root: Path | None, profile: Profile, settings: LaunchSettings, shown: ShownPreparation
) -> PreparedData:
    """A data set in its folder, or its phantoms, written where they are not there yet."""
    return PreparedData(
        name, given_root or _phantoms(name, profile, settings.results, shown), profile, settings, shown
    )


class PreparedData:
    """A data set on disk, in every preparation that a launch asks for; each is made once."""

    def __init__(
        self, name: str, root: Path, profile: Profile, settings: LaunchSettings, shown: ShownPreparation
    ) -> None:
        self.name, self.root, self.spec = name, root, reader_of(name).spec_of(root)
        self._profile, self._settings, self._shown = profile, settings, shown
        self._ready: dict[str, ReadyData] = {}

    def usual(self, checked: CheckedRun) -> ReadyData:
        """The data as they are scored."""
        return self._prepared(self._usual(checked), scored_on=None)

    def wanted(self, checked: CheckedRun, *, foresee: bool = False) -> ReadyData:
        """The data as the method wants them; what nobody needs now is foreseen, not prepared."""
        usual = self.usual(checked)
        wanted = checked.preparation or self._usual(checked)
        if wanted == self._usual(checked):
            return usual
        if foresee and _key(wanted, usual.store) not in self._ready:
            return foreseen_data(
                self.name, self.root, results=self._settings.results, preparation=wanted, scored_on=usual
            )
        return self._prepared(wanted, scored_on=usual.store)

    def _usual(self, checked: CheckedRun) -> Preparation:
        return self.spec.preparation_at(checked.run.config.spacing_mm)

    def _prepared(self, preparation: Preparation, *, scored_on: Path | None) -> ReadyData:
        key = _key(preparation, scored_on)
        if key not in self._ready:
            self._ready[key] = ready_data(
                self.name,
                self.root,
                results=self._settings.results,
                preparation=preparation,
                scored_on=scored_on,
                n_folds=self._profile.n_folds,
                splits_file=self._settings.splits,
                skip_bad_cases=self._settings.skip_bad_cases,
                jobs=cores(),
                progress=self._shown.show,
            )
        return self._ready[key]


def _check_left_out(ready_of: Sequence[tuple[ReadyData, ReadyData]], settings: LaunchSettings) -> None:
    left_out = sorted({case for ready, _ in ready_of for case in ready.excluded_cases})
    if left_out:
        settings.screen.print(
            f"Left out {counted(len(left_out), 'bad case')}: {', '.join(left_out)}", soft_wrap=True
        )


def tell_of_data(ready_of: Sequence[ReadyData], settings: LaunchSettings) -> None:
    """Whose the cases are, and what is odd about them; once, however many runs use them."""
    for line in dict.fromkeys(line for ready in ready_of for line in warning_lines(ready)):
        settings.screen.print(line, soft_wrap=True, markup=False, highlight=False)


def _tell_of_missing_masks(settings: LaunchSettings, chosen: Sequence[CellRun]) -> None:
    folders = {cell.run_id: RunFolder(settings.results, cell.run_id) for cell in chosen}
    without = [name for name, f in folders.items() if f.scores_file.exists() and not f.predictions.exists()]
    if settings.resources.save_predictions and without:
        say(
            f"{counted(len(without), 'finished run')} without masks, started without --save-predictions; to get them, "
            f"remove their folders in {settings.results / 'runs'}: {', '.join(without[:5])}",
            to_stderr=True,
        )


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def phantom_root(name: str, profile: Profile, results: Path) -> Path:
    """The folder of a data set's phantoms of that profile."""
    wanted = profile.phantoms.get(name, PhantomSettings())
    spacing = "x".join(f"{edge:g}" for edge in wanted.spacing_mm) + "mm" if wanted.spacing_mm else "default"
    if any(isinstance(value, dict) for value in wanted.unusual.values()):
        # Tissues would make a long name; the folder's `phantom.json` says everything.
        unusual = f"-unusual-{_digest(wanted.unusual)}"
    else:
        unusual = "".join(f"-{key}{value:g}" for key, value in wanted.unusual.items())
    return results / PHANTOM_FOLDER / f"{name}-{wanted.cases}-{spacing}-seed{wanted.seed}{unusual}"


def _phantoms(name: str, profile: Profile, results: Path, shown: ShownPreparation) -> Path:
    phantoms = reader_of(name).phantoms
    assert phantoms is not None
    wanted, root = profile.phantoms.get(name, PhantomSettings()), phantom_root(name, profile, results)
    # Another launcher of the same demonstration waits until they are there.
    with exclusive(root.with_name(f".{root.name}.lock"), wait=True):
        phantoms.writer(wanted.unusual)(
            root,
            cases=wanted.cases,
            seed=wanted.seed,
            spacing_mm=wanted.spacing_mm or phantoms.default_spacing_mm,
            jobs=cores(),
            progress=shown.named("generate phantoms"),
        )
    return root
