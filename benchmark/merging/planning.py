"""Which run is taken from where, and what stands in the way. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmark.files.places import exists
from benchmark.merging.completing import Completion, completion
from benchmark.merging.copying import refused_below
from benchmark.merging.differences import Difference, ScoreDifference, differences, score_difference
from benchmark.merging.launches import Launches, joined
from benchmark.merging.sources import RANK, RunCopy, Source, opened
from benchmark.vocabulary import BenchError

NOT_COPIED = (".lock", "heartbeat.json", "*.tmp")
HEAVY = ("*.safetensors", "checkpoint.pt", "external", "predictions")
"""Weights, and what is only needed to go on with a training or made on request."""
COPIED_FOLDERS = ("splits", "searches")
"""What is copied file by file besides runs: folds, and the journals of searches."""


def left_out(*, weights: bool) -> tuple[str, ...]:
    """Patterns of what is not copied of a run."""
    return NOT_COPIED if weights else (*NOT_COPIED, *HEAVY)


@dataclass(frozen=True)
class Conflict:
    """Finished copies of one run whose scores differ; `scores` compares the first with each of the others.

    `kept`: the preferred folder, whose copy is taken; empty: none is, and what the target has stays.
    """

    run_id: str
    sources: tuple[str, ...]
    scores: tuple[ScoreDifference, ...]
    differences: tuple[Difference, ...]
    kept: str = ""


@dataclass(frozen=True)
class MergePlan:
    """What joining would do. `copies`: the runs to be copied; `more`: of runs the identical copies that are not taken,
    and `completions` what those have that the taken one lacks. `weights`: whether weights and masks are copied.
    `damaged`: runs, launches and files that are left where they are, with the reason, in sentences."""

    into: Path
    sources: tuple[Source, ...]
    copies: tuple[RunCopy, ...]
    there: tuple[str, ...]
    more: dict[str, tuple[RunCopy, ...]]
    conflicts: tuple[Conflict, ...]
    running: tuple[tuple[str, str], ...]
    launches: Launches
    files: dict[str, Path]
    unlike_files: tuple[str, ...]
    elsewhere: dict[str, int] = field(default_factory=dict)
    completions: dict[str, Completion] = field(default_factory=dict)
    weights: bool = True
    damaged: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether everything is joined and nothing is left for a person to decide."""
        undecided = any(apart.n_both and not apart.kept for apart in self.launches.apart)
        conflicts = any(not conflict.kept for conflict in self.conflicts)
        return not (conflicts or self.running or self.unlike_files or self.damaged or undecided)


def planned(
    sources: Sequence[Path], into: Path, *, prefer: Path | None = None, weights: bool = True
) -> MergePlan:
    """How the folders are joined; `prefer`: whose launch of a table takes the cells of the others'; `weights` False
    leaves them, checkpoints and masks where they are.

    BenchError for folders that are none; manifests and runs that cannot be read are left where they are.
    """
    folders = opened(list(sources), into)
    preferred = _preferred(folders, prefer)
    found = [_choice(copies, preferred) for copies in _copies(folders)]
    taken = {each.run_id: each.taken for each in found if each.taken is not None}
    launches = joined(folders, taken, preferred)
    files, unlike = _files(folders)
    copied = [copy for run_id, copy in taken.items() if run_id not in launches.dropped]
    more = {each.run_id: each.same for each in found if each.same and each.run_id not in launches.dropped}
    gained = {run_id: completion(taken[run_id], same, weights=weights) for run_id, same in more.items()}
    unlike += [name for each in gained.values() for name in each.unlike]
    new = tuple(copy for copy in copied if not copy.source.is_target)
    return MergePlan(
        into=into,
        sources=tuple(folders),
        copies=new,
        there=tuple(copy.folder.run_id for copy in copied if copy.source.is_target),
        more=more,
        conflicts=tuple(each.conflict for each in found if each.conflict is not None),
        running=tuple(place for each in found for place in each.running),
        launches=launches,
        files=files,
        unlike_files=tuple(unlike),
        elsewhere=_elsewhere(copied),
        completions={run_id: each for run_id, each in gained.items() if not each.is_empty},
        weights=weights,
        damaged=tuple(_damaged(folders, new, weights=weights)),
    )


def _damaged(folders: Sequence[Source], new: Sequence[RunCopy], *, weights: bool) -> Iterator[str]:
    for source in folders:
        yield from source.damaged
        for folder in COPIED_FOLDERS:
            yield from source.odd_files(folder)
    for copy in new:
        yield from refused_below(copy.folder.path, leaving=left_out(weights=weights))


@dataclass(frozen=True)
class _Choice:
    """Which copy of a run is taken, its identical copies elsewhere, and what stands in the way."""

    run_id: str
    taken: RunCopy | None
    same: tuple[RunCopy, ...] = ()
    conflict: Conflict | None = None
    running: tuple[tuple[str, str], ...] = ()


def _copies(folders: Sequence[Source]) -> list[list[RunCopy]]:
    """Of every run the copies that there are, in the folders' order."""
    # A run that the target has and nobody can read is its owner's to remove.
    theirs = {run_id for source in folders if source.is_target for run_id in source.damaged_runs}
    run_ids = dict.fromkeys(run_id for source in folders for run_id in source.runs if run_id not in theirs)
    return [[source.runs[run_id] for source in folders if run_id in source.runs] for run_id in run_ids]


def _choice(copies: Sequence[RunCopy], prefer: Source | None) -> _Choice:
    run_id = copies[0].folder.run_id
    own = next((copy for copy in copies if copy.source.is_target), None)
    held = [copy for copy in copies if copy.state == "running"]
    free = [copy for copy in copies if copy.state != "running"]
    # Whoever works on a run in the target must not find another in its place.
    if not free or (own is not None and own in held):
        return _Choice(run_id, own, running=tuple((run_id, copy.source.name) for copy in held))
    done = [copy for copy in free if copy.state == "done"]
    if not done:
        taken = own or min(free, key=lambda copy: RANK.index(copy.state))
        return _Choice(run_id, taken, same=tuple(copy for copy in free if copy.is_copy_of(taken)))
    conflict = _conflict(done)
    if conflict is None:
        return _Choice(run_id, done[0], same=tuple(done[1:]))
    chosen = next((copy for copy in done if copy.source is prefer), None)
    if chosen is None or (own is not None and own in done and own is not chosen):
        return _Choice(run_id, own, conflict=conflict)
    return _Choice(run_id, chosen, conflict=replace(conflict, kept=chosen.source.name))


def _preferred(folders: Sequence[Source], prefer: Path | None) -> Source | None:
    if prefer is None:
        return None
    for source in folders:
        if source.path.resolve() == prefer.resolve():
            return source
    raise BenchError(f"--prefer {prefer} is none of {', '.join(source.name for source in folders)}.")


def _conflict(done: Sequence[RunCopy]) -> Conflict | None:
    """None where all finished copies of a run have the same scores."""
    first, *others = done
    apart = [copy for copy in others if not first.same_scores(copy)]
    if not apart:
        return None
    return Conflict(
        run_id=first.folder.run_id,
        sources=(first.source.name, *(copy.source.name for copy in apart)),
        scores=tuple(score_difference(first, copy) for copy in apart),
        differences=differences([first, *apart]),
    )


def _files(folders: Sequence[Source]) -> tuple[dict[str, Path], list[str]]:
    """By their place in the target the files that it lacks; and those that two folders have with other content."""
    missing: dict[str, Path] = {}
    unlike: list[str] = []
    for folder in COPIED_FOLDERS:
        known: dict[str, Path] = {}
        for source in folders:
            for name, path in source.files(folder).items():
                place = f"{folder}/{name}"
                if place not in known:
                    known[place] = path
                    if not source.is_target:
                        missing[place] = path
                elif known[place].read_bytes() != path.read_bytes():
                    unlike.append(f"{place} of {source.name}")
    return missing, unlike


def _elsewhere(copies: Iterable[RunCopy]) -> dict[str, int]:
    """Data sets that are not on this machine, with how many runs saw them."""
    roots = Counter(str(copy.folder.data().root) for copy in copies if copy.folder.data_file.exists())
    return {root: n for root, n in roots.items() if not exists(Path(root))}
