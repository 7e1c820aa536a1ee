"""The grids of several folders: united where they are the same, kept apart or joined where they are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmark.merging.differences import Difference, differences
from benchmark.merging.sources import RunCopy, Source
from benchmark.results.manifests import CellRun, GridManifest, asked_together
from benchmark.vocabulary import BenchError

Place = tuple[tuple[tuple[str, str], ...], int, int]
"""A cell's factors, fold and seed."""
Table = tuple[str, str, str]
"""A grid, a profile and a data set: launches of it are meant to be the same table."""
Pair = tuple[str, str]


@dataclass(frozen=True)
class Clash:
    """Cells whose finished runs in two launches of a table differ alike. `runs`: the cells' runs in each launch."""

    cells: tuple[str, ...]
    runs: tuple[Pair, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Apart:
    """Two launches of one table under other code, data or settings; `launches` and `sources` in one order.

    `n_both`: cells that are finished in both, with other runs; `n_only`: in one alone. `kept`: the folder whose runs
    are taken for them; empty: nobody has decided.
    """

    launches: Pair
    sources: Pair
    n_both: int
    n_only: tuple[int, int]
    clashes: tuple[Clash, ...]
    kept: str = ""


@dataclass(frozen=True)
class Launches:
    """`manifests` are what the target gets, or has already; `apart` what was noticed; `dropped` are runs that have
    lost their cells."""

    manifests: tuple[GridManifest, ...]
    apart: tuple[Apart, ...]
    dropped: frozenset[str] = frozenset()


def joined(sources: Sequence[Source], runs: Mapping[str, RunCopy], prefer: Source | None) -> Launches:
    """The launches of all folders together; `runs` is which copy of each run is taken."""
    union = _Union(sources, runs, prefer)
    for source in sources:
        for manifest in source.launches.values():
            union.add(source, manifest)
    united, dropped = union.manifests, set(union.dropped)
    owner = {name: source for source in reversed(sources) for name in source.launches}
    apart = union.apart()
    for names in _by_table(sources).values():
        kept = next((name for name in names if prefer is not None and name in prefer.launches), names[0])
        for name in names:
            if name == kept or owner[name] is owner[kept]:
                continue
            found = _compared((united[kept], united[name]), (owner[kept], owner[name]), runs)
            if prefer is not None and kept in prefer.launches and name not in prefer.launches:
                _refuse_change(sources, name, kept)
                united[kept], lost = _taken(united[kept], united.pop(name), runs)
                dropped |= lost
                found = replace(found, kept=prefer.name)
            apart.append(found)
    still = {cell.run_id for manifest in united.values() for cell in manifest.cells}
    return Launches(tuple(united.values()), tuple(apart), frozenset(dropped - still))


class _Union:
    """Launches by name, with the cells of all folders that have them; what is planned later in a folder stays later.

    Two folders may have a cell of one launch with other finished runs, of which no folder says that one was planned
    after the other. The target's stays; else the preferred folder's is taken; else neither.
    """

    def __init__(self, sources: Iterable[Source], runs: Mapping[str, RunCopy], prefer: Source | None) -> None:
        self.runs, self.prefer = runs, prefer
        self._anew = {
            (name, place, cell.run_id, current[place].run_id)
            for source in sources
            for name, manifest in source.launches.items()
            for current in [_current(manifest)]
            for cell in manifest.cells
            for place in [place_of(cell)]
            if cell.run_id != current[place].run_id
        }
        self.manifests: dict[str, GridManifest] = {}
        self.dropped: set[str] = set()
        self._owners: dict[tuple[str, Place], Source] = {}
        self._refused: set[tuple[str, Place]] = set()
        self._settled: dict[tuple[str, Pair, str], list[tuple[Place, Pair]]] = {}

    def add(self, source: Source, manifest: GridManifest) -> None:
        """Join a folder's launch with those of its name."""
        name, theirs = manifest.name, _current(manifest)
        self._owners |= {(name, place): self._owners.get((name, place), source) for place in theirs}
        earlier = self.manifests.setdefault(name, manifest)
        lost, older = set(), set()
        for place, own in _current(earlier).items():
            their = theirs.get(place, own)
            if their.run_id == own.run_id or (name, place, own.run_id, their.run_id) in self._anew:
                continue
            if (name, place, their.run_id, own.run_id) in self._anew:
                older.add(place)
            else:
                lost |= {(place, run_id) for run_id in self._losers(name, place, source, own, their)}
        known = {(cell.run_id, cell.reading) for cell in earlier.cells}
        new = [cell for cell in manifest.cells if (cell.run_id, cell.reading) not in known]
        # What was planned again somewhere must not become the newest here.
        is_newest = [
            theirs[place] == cell and place not in older for cell in new for place in [place_of(cell)]
        ]
        newest = [cell for cell, is_it in zip(new, is_newest, strict=True) if is_it]
        superseded = [cell for cell, is_it in zip(new, is_newest, strict=True) if not is_it]
        self.manifests[name] = replace(
            earlier,
            cells=tuple(
                cell
                for cell in (*superseded, *earlier.cells, *newest)
                if (place_of(cell), cell.run_id) not in lost and (name, place_of(cell)) not in self._refused
            ),
            created=max(earlier.created, manifest.created),
            excluded_cases=tuple(sorted({*earlier.excluded_cases, *manifest.excluded_cases})),
            asked=asked_together(earlier, manifest),
        )

    def _losers(
        self, name: str, place: Place, source: Source, own: CellRun, their: CellRun
    ) -> tuple[str, ...]:
        owner = self._owners[name, place]
        if not is_done(their, self.runs):
            return (their.run_id,)
        if not is_done(own, self.runs):
            # Planned earlier, for whoever looks.
            return ()
        winner = next((one for one in (owner, source) if one.is_target), None)
        winner = winner or next((one for one in (owner, source) if one is self.prefer), None)
        kept = winner.name if winner is not None and winner is self.prefer else ""
        pair = (owner.name, source.name)
        self._settled.setdefault((name, pair, kept), []).append((place, (own.run_id, their.run_id)))
        if winner is None:
            self._refused.add((name, place))
        losers = [cell.run_id for one, cell in ((owner, own), (source, their)) if one is not winner]
        self.dropped |= set(losers)
        return tuple(losers)

    def apart(self) -> list[Apart]:
        """What was noticed on the way."""
        return [
            Apart((name, name), pair, len(cells), (0, 0), _clashes(dict(cells), self.runs), kept)
            for (name, pair, kept), cells in self._settled.items()
        ]


def place_of(cell: CellRun) -> Place:
    return tuple(sorted(cell.factors.items())), cell.fold, cell.seed


def label(place: Place) -> str:
    """`level=shuffle version=v3 fold=0 seed=0`, the factors in the order of their names."""
    factors, fold, seed = place
    return f"{' '.join(f'{name}={value}' for name, value in factors)} fold={fold} seed={seed}"


def is_done(cell: CellRun, runs: Mapping[str, RunCopy]) -> bool:
    return cell.run_id in runs and runs[cell.run_id].state == "done"


def _current(manifest: GridManifest) -> dict[Place, CellRun]:
    return {place_of(cell): cell for cell in manifest.cells}


def _by_table(sources: Iterable[Source]) -> dict[Table, list[str]]:
    """The names of each table's launches; the newest of every folder, which a report would show, and no older one."""
    found: dict[Table, list[str]] = {}
    for source in sources:
        seen = set()
        for name, manifest in source.launches.items():
            table = (manifest.grid, manifest.profile, manifest.dataset)
            names = found.setdefault(table, [])
            if table not in seen and name not in names:
                names.append(name)
            seen.add(table)
    return found


def _refuse_change(sources: Iterable[Source], name: str, kept: str) -> None:
    for source in sources:
        if source.is_target and name in source.launches:
            raise BenchError(
                f"{source.path} already has the launch {name}, which --prefer would take away for {kept}. Prefer "
                f"{source.path}, or join into a new folder."
            )


def _compared(
    pair: tuple[GridManifest, GridManifest], owners: tuple[Source, Source], runs: Mapping[str, RunCopy]
) -> Apart:
    done = [
        {place: cell for place, cell in _current(manifest).items() if is_done(cell, runs)}
        for manifest in pair
    ]
    both = [place for place in done[0] if place in done[1]]
    ids = {place: (done[0][place].run_id, done[1][place].run_id) for place in both}
    clashing = {place: found for place, found in ids.items() if found[0] != found[1]}
    return Apart(
        launches=(pair[0].name, pair[1].name),
        sources=(owners[0].name, owners[1].name),
        n_both=len(clashing),
        n_only=(len(done[0]) - len(both), len(done[1]) - len(both)),
        clashes=_clashes(clashing, runs),
    )


def _clashes(cells: Mapping[Place, Pair], runs: Mapping[str, RunCopy]) -> tuple[Clash, ...]:
    """The cells, those together that differ in the same way."""
    alike: dict[str, tuple[dict[Place, Pair], tuple[Difference, ...]]] = {}
    for place, ids in cells.items():
        found = differences([runs[run_id] for run_id in ids])
        alike.setdefault(repr(found), ({}, found))[0][place] = ids
    return tuple(
        Clash(tuple(map(label, places)), tuple(places.values()), found) for places, found in alike.values()
    )


def _taken(
    kept: GridManifest, other: GridManifest, runs: Mapping[str, RunCopy]
) -> tuple[GridManifest, set[str]]:
    """`kept` with the cells that only `other` has finished, and the runs of `other` that are left out."""
    own, cells, lost = _current(kept), list(kept.cells), set()
    for place, cell in _current(other).items():
        mine = own.get(place)
        if mine is None or (not is_done(mine, runs) and is_done(cell, runs)):
            # Later in the list takes the place of what was planned earlier.
            cells.append(cell)
        elif mine.run_id != cell.run_id:
            lost.add(cell.run_id)
    return replace(kept, cells=tuple(cells), asked=asked_together(kept, other)), lost
