"""`bench merge`: results of several machines in one folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.common import AsJson, stopped_by_ctrl_c
from benchmark.terminal import say, tell_notices

if TYPE_CHECKING:
    from benchmark.merging.differences import Difference, ScoreDifference
    from benchmark.merging.launches import Apart
    from benchmark.merging.planning import Conflict, MergePlan

SHOWN = 5
"""So many cells or runs are named; --json has all of them."""


def merge(
    sources: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Results folders; never changed.")
    ],
    into: Annotated[Path, typer.Option("--into", help="The folder that gets everything, new or not.")],
    prefer: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Whose runs are taken where folders have other ones for a cell."),
    ] = None,
    weights: Annotated[
        bool, typer.Option("--weights/--no-weights", help="Copy weights, checkpoints and masks, too.")
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Join the results of several machines: identical runs once, and what differs is listed, not overwritten.

    Prepared data are not copied, nor MLflow's database (`bench sync` builds it). Exit code 1 if something is left for
    you to decide.
    """
    import json

    from benchmark.merging import carry_out, planned

    tell_notices()
    with stopped_by_ctrl_c():
        plan = planned(sources, into, prefer=prefer, weights=weights)
        if not dry_run:
            carry_out(plan)
    if as_json:
        print(json.dumps(plan_json(plan, done=not dry_run), indent=1))
    else:
        say("\n".join(lines(plan, done=not dry_run)))
    raise typer.Exit(0 if plan.is_complete else 1)


def plan_json(plan: MergePlan, *, done: bool) -> dict[str, Any]:
    """Everything of a plan, for scripts."""
    import dataclasses
    import math

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        # JSON has no infinity.
        return None if isinstance(value, float) and not math.isfinite(value) else value

    content = {
        "into": str(plan.into),
        "done": done,
        "complete": plan.is_complete,
        "copied": {copy.folder.run_id: copy.source.name for copy in plan.copies},
        "there": list(plan.there),
        "completed": {
            run_id: {"files": list(gained.files), "facts": list(gained.facts)}
            for run_id, gained in plan.completions.items()
        },
        "launches": {
            manifest.name: sorted({cell.run_id for cell in manifest.cells})
            for manifest in plan.launches.manifests
        },
        "files": sorted(plan.files),
        "conflicts": [dataclasses.asdict(conflict) for conflict in plan.conflicts],
        "apart": [dataclasses.asdict(apart) for apart in plan.launches.apart],
        "left_out": sorted(plan.launches.dropped),
        "running": [{"run": run_id, "folder": folder} for run_id, folder in plan.running],
        "unlike_files": list(plan.unlike_files),
        "data_elsewhere": plan.elsewhere,
    }
    found: dict[str, Any] = plain(content)
    return found


def lines(plan: MergePlan, *, done: bool) -> Iterator[str]:
    """The plan for people."""
    from benchmark.merging.launches import is_done
    from reports.ground.words import counted

    word = "Joined" if done else "Would join"
    by_source = [
        f"{sum(copy.source is source for copy in plan.copies)} from {source.name}"
        for source in plan.sources
        if not source.is_target
    ]
    yield (
        f"{word} into {plan.into}: {', '.join(by_source)}; {counted(len(plan.there), 'run')} there "
        f"already; further copies that are identical: {sum(map(len, plan.more.values()))}."
    )
    yield from _completed(plan, done=done)
    own = next((source.runs for source in plan.sources if source.is_target), {})
    runs = own | {copy.folder.run_id: copy for copy in plan.copies}
    for manifest in plan.launches.manifests:
        n_done = len({cell.run_id for cell in manifest.cells if is_done(cell, runs)})
        n_runs = len({cell.run_id for cell in manifest.cells})
        yield (
            f"  {manifest.name}: profile {manifest.profile}, data set {manifest.dataset}, {n_done} of {n_runs} runs "
            "done"
        )
    for apart in plan.launches.apart:
        yield from _apart(apart)
    for conflict in plan.conflicts:
        yield from _conflict(conflict)
    for run_id, folder in plan.running:
        yield f"running: {run_id} in {folder} is left out; join again when it has ended."
    for words in plan.damaged:
        yield f"damaged: {words}"
    for name in plan.unlike_files:
        yield f"unlike: {name} is not the file of this name that was taken, or scored, and is left out."
    for root, n in plan.elsewhere.items():
        yield (
            f"data: {root} is not on this machine; its {n} runs can be reported, but neither scored again nor "
            "used for predictions here."
        )


def _completed(plan: MergePlan, *, done: bool) -> Iterator[str]:
    """What runs get from identical copies, and how many of them."""
    from collections import Counter
    from pathlib import PurePath

    from reports.ground.words import counted

    gained = plan.completions.values()
    files = Counter(name for each in gained for name in {PurePath(place).parts[0] for place in each.files})
    facts = Counter(name for each in gained for name in each.facts)
    if gained:
        told = [f"{name} ({counted(n, 'run')})" for name, n in sorted(files.items())]
        noted = [f"{name} ({n})" for name, n in sorted(facts.items())]
        told += [f"in run.json {', '.join(noted)}"] if noted else []
        yield f"  From identical copies {'were' if done else 'would be'} added: {'; '.join(told)}."


def _apart(apart: Apart) -> Iterator[str]:
    one, other = apart.launches
    if one == other:
        what = f"{one}: {apart.sources[0]} and {apart.sources[1]} have other runs for the same cells"
    else:
        what = f"{one} ({apart.sources[0]}) and {other} ({apart.sources[1]}) are launches of one table"
    yield f"apart: {what}. Finished in both: {apart.n_both}; in one alone: {apart.n_only[0]} and {apart.n_only[1]}."
    for clash in apart.clashes:
        yield f"  {len(clash.cells)} cells ({_some(clash.cells)}) differ in {_differences(clash.differences)}"
    if apart.kept:
        yield f"  The runs of {apart.kept} are taken, as --prefer says; others only where it has none."
    elif one == other:
        yield "  Neither is taken, or what was there stays; --prefer FOLDER says whose."
    else:
        yield "  Both stay; `bench report --manifest NAME` shows one. --prefer FOLDER makes one of them."


def _conflict(conflict: Conflict) -> Iterator[str]:
    yield f"conflict: run {conflict.run_id} has other scores in {' and '.join(conflict.sources)}."
    for name, scores in zip(conflict.sources[1:], conflict.scores, strict=True):
        yield f"  {conflict.sources[0]} and {name}: {_scores(scores)}"
    yield f"  They differ in {_differences(conflict.differences)}"
    if conflict.kept:
        yield f"  That of {conflict.kept} is taken, as --prefer says."
    else:
        yield "  None is taken; one that was there stays. --prefer FOLDER says whose."


def _scores(scores: ScoreDifference) -> str:
    largest = [f"{metric} by up to {value:.3g}" for metric, value in scores.largest.items()]
    return f"{scores.n} of {scores.total} scores differ ({', '.join(largest)})"


def _differences(found: Sequence[Difference]) -> str:
    if not found:
        return "nothing that was written down: settings, data, code and environment are the same."
    return "; ".join(f"{each.key}: {' / '.join(map(_short, each.values))}" for each in found) + "."


def _short(value: Any) -> str:
    text = str(value)
    return (
        f"{text[:12]}{'+changes' * text.endswith('+changes')}"
        if len(text) >= 40 and " " not in text
        else text
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
