"""Before the first trial of a search: every name checked, the data at hand, the study opened."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import optuna

from benchmark.credentials import has_secret, is_address, without_secrets
from benchmark.execution.monitor import Preparation as ShownPreparation
from benchmark.execution.places import chosen_devices, places_for
from benchmark.execution.pool import Pool
from benchmark.files.places import refuse_links
from benchmark.files.writing import write_json
from benchmark.planning import setup
from benchmark.planning.grid import Profile
from benchmark.planning.search_loop import Searching
from benchmark.planning.search_space import Search, SearchTarget
from benchmark.planning.setup import CheckedRun, LaunchSettings, prepared_data
from benchmark.planning.trials import Trainings
from benchmark.processes.devices import Slot
from benchmark.registry import method_digest
from benchmark.results.manifests import GridManifest
from benchmark.results.order import Trial
from benchmark.search.attributes import DEFINITION
from benchmark.search.cards import SearchCard
from benchmark.search.samplers import random_note, sampler_of, startup_note
from benchmark.search.sharing import Launcher
from benchmark.search.storage import journal_file, open_storage
from benchmark.search.trials import Trials
from benchmark.vocabulary import BenchError
from benchmark.words import counted

GRID = "search_"
"""How the names of searches begin among the grids."""


@dataclass(frozen=True)
class SearchPlan:
    """A search whose every choice can be built."""

    pool: Pool
    trainings: Trainings
    root: Path | None
    checked_runs: Sequence[CheckedRun]
    places: list[Slot]


def check(
    pool: Pool,
    search: Search,
    profile: Profile,
    roots: Mapping[str, Path | None],
    *,
    fold: int | None,
    devices: Sequence[str] | None,
    jobs: int | None,
) -> SearchPlan:
    """Bind the method with every choice and both ends of every number; BenchError for the first that cannot work."""
    (dataset, root) = next(iter(roots.items()))
    names, bfloat16 = chosen_devices(pool, devices, None)
    if fold is None:
        fold = profile.folds[0] if profile.search_fold is None else profile.search_fold
    place = SearchTarget(profile, dataset, setup.names_of({dataset: root})[dataset])
    trainings = Trainings(search, place, fold, bfloat16, method_digest)
    probes = trainings.probes()
    on_cpu = names == ["cpu"]
    places = places_for(
        names, [probe.config for probe in probes], jobs if on_cpu else None, 1 if on_cpu else jobs or 1
    )
    checked_runs = setup.inspect(pool, probes, search, roots)
    if unserved := [one for one in checked_runs if one.preparation is None]:
        factors = unserved[0].run.factors
        values = " ".join(f"{name}={value}" for name, value in factors.items() if name != "trial")
        raise BenchError(
            f"{search.source}: {unserved[0].run.config.method} cannot serve {dataset} with {values}; leave that out."
        )
    return SearchPlan(pool, trainings, root, checked_runs, places)


def notes_on(sampler: str, trials: int, trainings: Trainings) -> list[str]:
    """What a person should know of this sampler in this search."""
    search = trainings.search
    at_random = random_note(
        sampler,
        numbers=[number.name for number in search.numbers],
        choices=[choice.name for choice in search.choices if len(choice.levels) > 1],
        in_every_trial=trainings.in_every_trial(),
    )
    return [note for note in (startup_note(sampler, trials), at_random) if note]


def launched(
    roots: Mapping[str, Path | None],
    profile: str | None,
    method_files: Sequence[Path],
    splits: Path | None,
    names: Mapping[str, str],
) -> dict[str, list[str]]:
    """The options that make a later run of a trial the same run, by name; files with their whole path."""
    files = profile is not None and Path(profile).suffix in (".yaml", ".yml")
    return {
        "--data": [name if root is None else f"{name}={root.resolve()}" for name, root in roots.items()],
        "--data-name": [f"{name}={called}" for name, called in names.items()],
        "--profile": [str(Path(profile).resolve()) if files else profile] if profile is not None else [],
        "--method-file": [str(path.resolve()) for path in method_files],
        "--splits": [str(splits.resolve())] if splits is not None else [],
    }


def unpruned_notes(pruner: str, checked_runs: Sequence[CheckedRun]) -> list[str]:
    """Which methods of a search this pruner cannot stop."""
    methods = sorted({one.run.config.method for one in checked_runs if one.trains_itself})
    return [
        f"{method} trains by itself and is validated when it has ended: its trials are never pruned."
        for method in methods
        if pruner != "none"
    ]


def start(
    around: ExitStack,
    planned: SearchPlan,
    settings: LaunchSettings,
    *,
    storage: str | None,
    sampler: str,
    pruner: str,
    seed: int,
    fresh: bool,
    limit: int,
    timeout: float | None,
    launched: Mapping[str, Sequence[str]],
) -> Searching:
    """Prepare the data, open the study or create it, and say that this launcher is at work on it.

    `launched`: the options, by name, that a later run of one of its trials needs again.
    """
    began = time.monotonic()
    trainings, search = planned.trainings, planned.trainings.search
    suggesting = sampler_of(sampler, seed=seed, n_objectives=len(search.objectives))
    journal = journal_file(settings.results.resolve(), search.name)
    if not storage:
        # What the user names may be a link; what lies in the results may have come with them.
        refuse_links(journal, below=journal.parent)
    address = storage or str(journal)
    if not is_address(address):
        address = str(Path(address).resolve())
    opened = open_storage(address)
    with ShownPreparation(settings.screen, quiet=settings.quiet) as shown:
        data = prepared_data(trainings.place.dataset, planned.root, trainings.place.profile, settings, shown)
        ready_of = [data.wanted(one) for one in planned.checked_runs]
    if (n_folds := min(ready.n_folds for ready in ready_of)) <= trainings.fold:
        raise BenchError(f"There is no fold {trainings.fold}: the data have the folds 0 to {n_folds - 1}.")
    if excluded := sorted({case for ready in ready_of for case in ready.excluded_cases}):
        settings.screen.print(
            f"Left out {counted(len(excluded), 'bad case')}: {', '.join(excluded)}", soft_wrap=True
        )
    setup.tell_of_data(ready_of[:1], settings)
    fingerprints = list(dict.fromkeys(ready.fingerprint for ready in ready_of))
    key = trainings.key(fingerprints, sampler, pruner, seed)
    name = _name(opened, f"{search.name}-{key}", fresh=fresh)
    launcher = around.enter_context(Launcher(settings.results))
    named = setup.data_name(data.name, planned.root, settings.data_names)
    about = {
        **trainings.search.definition(),
        "dataset": named,
        "profile": trainings.place.profile.name,
        "fold": trainings.fold,
        "sampler": sampler,
        "pruner": pruner,
        "seed": seed,
        "created": time.time(),
        "launched": dict(launched),
    }
    trials = Trials(
        launcher,
        results=settings.results,
        storage=address,
        name=name,
        directions=search.objectives,
        definition=about,
        sampler=suggesting,
        pruner=pruner,
    )
    _write_card(settings.results, trials, search=search.name, address=address)
    manifest = GridManifest(
        grid=f"{GRID}{search.name}",
        key=name.removeprefix(f"{search.name}-"),
        profile=trainings.place.profile.name,
        dataset=named,
        reader=data.name,
        data_root=str(data.root.resolve() if planned.root else data.root),
        data_fingerprint=fingerprints[0],
        created=time.time(),
        cells=(),
        excluded_cases=tuple(excluded),
    )
    validations = search.validations if len(search.objectives) == 1 else 0
    return Searching(
        trainings,
        trials,
        planned.pool,
        data,
        settings,
        manifest,
        Trial(name, 0, pruner, validations, address),
        limit,
        None if timeout is None else began + timeout,
        {},
        planned.root,
        tuple(fingerprints),
    )


def _write_card(results: Path, trials: Trials, *, search: str, address: str) -> None:
    """Where `bench report --search` finds the study."""
    card = SearchCard(
        search=search,
        study=trials.name,
        storage=without_secrets(_beside(address, results)),
        has_password=has_secret(address),
        created=trials.study.user_attrs[DEFINITION]["created"],
    )
    write_json(results / "searches" / f"{trials.name}.json", asdict(card))


def _beside(address: str, results: Path) -> str:
    """The address as it is written down: a journal in its usual place is found again when the results are moved."""
    usual = results.resolve() / "searches"
    if not is_address(address) and Path(address).parent == usual:
        return Path(address).name
    return address


def _name(storage: optuna.storages.BaseStorage, base: str, *, fresh: bool) -> str:
    """The name of the newest study that is this search; of a new one where `fresh`."""
    names = [s.study_name for s in storage.get_all_studies()]
    numbers = [int(name.removeprefix(f"{base}-")) for name in names if _is_again(name, base)]
    newest = max([1 if base in names else 0, *numbers])
    wanted = newest + 1 if fresh else max(newest, 1)
    return base if wanted == 1 else f"{base}-{wanted}"


def _is_again(name: str, base: str) -> bool:
    return name.startswith(f"{base}-") and name.removeprefix(f"{base}-").isdigit()
