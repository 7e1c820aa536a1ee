"""The sentences under a table of methods and under its table of costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import pandas as pd

from reports.ground.frames import TableFacts, progress
from reports.ground.measures import FNV, FPV, HD95, Measures, best_words
from reports.ground.notes import MISSING, Frames, own_notes
from reports.ground.words import counted, enumerated, spread
from reports.tables.comparison.costs import joint_trainings
from reports.tables.comparison.frames import Comparison, methods
from reports.tables.comparison.logic import claim_note, late_fusion_notes, own_fusion_notes, printed_scores

JOINT = "‡"


def comparison_notes(
    comparison: Comparison,
    own: Frames | None,
    *,
    runs: pd.DataFrame | None,
    behind: TableFacts | None,
    with_paper: bool,
    remarks: Mapping[str, Sequence[str]] = MappingProxyType({}),
    standing: Sequence[str] = (),
    apart: str = "",
) -> Iterator[str]:
    """All notes of a table of methods; `runs` and `behind` come with `own`; `remarks` are methods by
    remark, `standing` the sentences of the statistics; `apart` says why published numbers are not beside own ones."""
    if apart:
        yield apart
    finished = own is None or progress(next(iter(own.values()))).finished
    among = "" if finished else ", among the methods that are there"
    yield (
        f"Best of each metric in bold ({best_words(comparison.measures)}), ties included{among}; none where "
        "the numbers do not differ, or there is one alone."
    )
    if own is not None and runs is not None and behind is not None:
        yield from own_notes(own, behind, noun=comparison.noun, measures=comparison.measures)
        yield from standing
        if any(measure.metric == HD95.metric for measure in comparison.measures.values()):
            yield (
                "HD95 of a case whose structure was missed or invented is the volume's diagonal, which makes means "
                f"large; the counts are in {comparison.grid}_surfaces."
            )
        yield from _unscored(own, comparison.measures)
        yield from _unsupported(runs)
        yield from _joint(runs)
        yield from own_fusion_notes(runs)
        for remark, named in remarks.items():
            yield f"{enumerated(list(named))}: {remark}."
        besides = list(methods(comparison, runs)["method"].iloc[len(methods(comparison)) :])
        if comparison.publication is not None and besides:
            yield f"Not in the paper's table: {enumerated(besides)}."
    if with_paper and comparison.publication is not None:
        yield from comparison.publication.notes(compared=behind is not None)
        if comparison.number is not None and {FPV.key, FNV.key} & set(comparison.measures):
            yield (
                "The paper prints FPV and FNV in mm³; they are taken for ml, since one voxel of its grid already has "
                "12 mm³."
            )
        scores = printed_scores(comparison)
        yield from late_fusion_notes(scores)
        yield from claim_note(comparison, scores)


def _unscored(own: Frames, measures: Measures) -> Iterator[str]:
    """Why finished methods have a dash: they cannot tell a region, or were scored before a metric existed."""
    n_scored = pd.DataFrame({key: frame.set_index("method")["n_scored"] for key, frame in own.items()})
    first = next(iter(own.values()))
    reasons: dict[str, list[str]] = {}
    for method in first.loc[first["n_runs"] > 0, "method"]:
        scored = {key for key in own if n_scored.loc[method, key] > 0}
        told = {measures[key].region for key in scored} | {""}
        regions = dict.fromkeys(measures[key].region for key in own)
        untold = [region for region in regions if region not in told]
        older = [measures[key].name for key in own if key not in scored and measures[key].region in told]
        if untold:
            reasons.setdefault(f"label maps that cannot tell {enumerated(untold)}", []).append(method)
        if older:
            reasons.setdefault(f"not scored in {enumerated(older)}", []).append(method)
    for reason, named in reasons.items():
        whose = enumerated(named) if len(named) < len(first) or len(first) == 1 else f"all {len(first)}"
        yield f"{MISSING} of finished methods: {reason} ({whose})."


def _unsupported(runs: pd.DataFrame) -> Iterator[str]:
    """Why methods were not run, one sentence a reason."""
    missing = runs[runs["failure"] == "unsupported"]
    for reason, rows in missing.groupby("error", sort=False):
        names = enumerated(list(dict.fromkeys(rows["method"])))
        yield f"Not run: {names}. {str(reason).strip() or 'No reason was recorded.'}"


def _joint(runs: pd.DataFrame) -> Iterator[str]:
    for group in joint_trainings(runs):
        yield f"{enumerated(group)} are read from one joint training a fold and seed."


def costs_notes(costs: pd.DataFrame, runs: pd.DataFrame) -> Iterator[str]:
    """How the costs were measured, and which of them may not be compared; from the rows of `run_costs`."""
    per_method = costs.groupby("method").size()
    yield f"Means over the finished runs of each method ({spread(per_method)}); the paper prints no costs."
    if (changing := _changing(costs, "parameters")) or (changing := _changing(costs, "gflops")):
        yield f"Parameters or operations differ between the runs of {enumerated(changing)}."
    yield (
        "Parameters: all that is trained; where several rows are read from one training, what the row's own reading "
        "needs. GFLOPs: billions of operations of one forward pass over one patch as at inference, convolutions and "
        "matrix products alone, two a multiply-add."
    )
    yield from _patches(costs)
    yield from _seconds(costs)
    yield from _memory(costs)
    groups = [enumerated(group) for group in joint_trainings(runs)]
    if groups:
        yield (
            f"{JOINT} Training time and peak memory of one joint training, which is to be counted once: "
            f"{'; '.join(groups)}."
        )


def _changing(costs: pd.DataFrame, column: str) -> list[str]:
    kinds = costs.dropna(subset=column).groupby("method", sort=False)[column].nunique()
    return [str(name) for name in kinds.index[kinds > 1]]


def _patches(costs: pd.DataFrame) -> Iterator[str]:
    known = costs[costs["patch_size"] != ""]
    groups = {
        str(size): list(dict.fromkeys(rows["method"]))
        for size, rows in known.groupby("patch_size", sort=False)
    }
    if len(groups) == 1:
        yield f"Patch: {_times(next(iter(groups)))} voxels."
    elif groups:
        # The most common size is said of all others, as a list of a dozen names helps nobody.
        usual = max(groups, key=lambda size: len(groups[size]))
        special = [
            f"{_times(size)} voxels for {enumerated(names)}"
            for size, names in groups.items()
            if size != usual
        ]
        yield (
            f"Patches differ: {'; '.join(special)}; {_times(usual)} for all others. GFLOPs of different patches are "
            "not comparable as such."
        )


def _times(size: str) -> str:
    return size.replace("x", " × ")


def _seconds(costs: pd.DataFrame) -> Iterator[str]:
    steps = costs["steps"].dropna()
    trained = f" of {spread(steps)} optimiser steps" if len(steps) else ""
    timed = costs["timed_cases"].dropna()
    cases = f", mean over {spread(timed)} cases a run" if len(timed) else ""
    yield (
        f"Training: wall-clock time{trained}. Inference: wall-clock time a case, all its patches{cases}. Both "
        "include whatever else the device had to do."
    )
    trainings = costs.drop_duplicates("run_id")
    devices = trainings.loc[trainings["device"] != "", "device"].value_counts()
    if len(devices):
        named = [f"{name} ({counted(int(n), 'run')})" for name, n in devices.items()]
        yield f"Measured on: {'; '.join(named)}."
    if len(devices) > 1:
        yield "Warning: seconds and memory on different devices are not comparable."


def _memory(costs: pd.DataFrame) -> Iterator[str]:
    kinds = {True: "allocated on the GPU", False: "resident memory of the process on the CPU"}
    found = costs.loc[costs["peak_memory_mib"].notna(), "on_gpu"].unique()
    if len(found):
        yield f"Peak memory: {' or '.join(kinds[bool(kind)] for kind in sorted(found, reverse=True))}."
