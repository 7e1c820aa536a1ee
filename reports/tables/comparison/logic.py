"""What the numbers of a table of methods imply or rule out by logic alone, computed from the numbers."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from reports.ground.frames import DECIMALS
from reports.ground.measures import FNV, MEASURES
from reports.ground.words import enumerated
from reports.tables.comparison.frames import Comparison

UNIMODAL = ("CT", "PET")
UNION, INTERSECTION = "LF-Union", "LF-Intersection"
OURS = "Mirror U-Net"
ROUNDING = 1e-9
"""Sums of equal volumes may differ so much, in ml."""


def printed_scores(comparison: Comparison) -> pd.DataFrame:
    """The published scores by method, a column per measure of the comparison that was published, by its
    key."""
    printed = comparison.printed().set_index("method")
    columns = {measure.printed_as: key for key, measure in comparison.measures.items()}
    return printed[[name for name in columns if name in printed]].rename(columns=columns)


def late_fusion_notes(scores: pd.DataFrame) -> Iterator[str]:
    """Where the late fusions' printed scores cannot belong to the networks of the unimodal rows.

    A union hits every lesion that one of its masks hits, an intersection misses every lesion that one of its
    masks misses, case by case and therefore on average, whether lesions are counted as components or voxel by
    voxel.
    """
    other_networks = "these cannot be the same networks scored on the same cases"
    yield from _beyond(
        scores,
        UNION,
        "fnv_ml",
        above=True,
        why=f"A union of two masks hits every lesion that one of them hits: {other_networks}.",
    )
    yield from _beyond(
        scores,
        INTERSECTION,
        "fnv_ml",
        above=False,
        why=f"An intersection of two masks misses every lesion that one of them misses: {other_networks}.",
    )
    yield from _beyond(
        scores,
        UNION,
        "fpv_ml",
        above=False,
        why="Of the same networks this is possible only where FPV counts components, which a union may join to a "
        "lesion; counted voxel by voxel, a union never has less.",
    )


def _beyond(scores: pd.DataFrame, fusion: str, metric: str, *, above: bool, why: str) -> Iterator[str]:
    """A sentence where a late fusion's score is above (or below) one of the unimodal ones, and what that
    means."""
    if metric not in scores or fusion not in scores.index:
        return
    values = scores[metric].astype(float)
    single, value = values[values.index.isin(UNIMODAL)], float(values[fusion])
    passed = single[single < value] if above else single[single > value]
    if not passed.empty:
        name, side = MEASURES[metric].name, "above" if above else "below"
        yield f"As published, the {name} of {fusion} ({_shown(value)}) is {side} that of {_listed(passed)}. {why}"


def claim_note(comparison: Comparison, scores: pd.DataFrame) -> Iterator[str]:
    """Where a method is ahead of one that the text's claim is of, although it says that none is."""
    if not comparison.claim:
        return
    claimed = comparison.claimed or tuple(name for name in scores.index if str(name).startswith(OURS))
    ours = [name for name in scores.index if name in claimed]
    others = [name for name in scores.index if name not in ours]
    exceptions = []
    for key in scores:
        measure = comparison.measures[str(key)]
        sign = 1 if measure.higher_is_better else -1
        values = scores[key].astype(float) * sign
        ahead: dict[tuple[str, ...], list[str]] = {}
        for other in others:
            if behind := tuple(name for name in ours if values[name] < values[other]):
                ahead.setdefault(behind, []).append(other)
        exceptions += [
            f"in {measure.name}, {_listed(scores[key][better])} before {_listed(scores[key][list(behind)])}"
            for behind, better in ahead.items()
        ]
    if exceptions:
        read = f", read of {enumerated(ours)} alike," if len(ours) > 1 else ""
        yield f"The paper says that {comparison.claim}; as printed{read} it is not so: {'; '.join(exceptions)}."


def own_fusion_notes(runs: pd.DataFrame) -> Iterator[str]:
    """Whether own late fusions are read from the networks of the unimodal rows, and obey what follows from
    it."""
    if FNV.key not in runs:
        return
    done = runs[runs["state"] == "done"]
    fnv = done.pivot_table(index="run_id", columns="method", values="fnv_ml", sort=False, observed=True)
    names = [name for name in (*UNIMODAL, UNION, INTERSECTION) if name in fnv]
    fnv = fnv[names].dropna()
    single = [name for name in UNIMODAL if name in names]
    fusions = [name for name in (UNION, INTERSECTION) if name in names]
    if fnv.empty or not single or not fusions:
        return
    follows = {UNION: "at most", INTERSECTION: "at least"}
    consequences = [f"the FNV of {name} is {follows[name]} theirs" for name in fusions]
    yield (
        f"Own {enumerated(fusions)} are read from the networks of own {enumerated(single)}, on the same cases; by "
        f"construction {enumerated(consequences)}."
    )
    broken = pd.Series(False, index=fnv.index)
    if UNION in fusions:
        broken |= fnv[UNION] > fnv[single].min(axis="columns") + ROUNDING
    if INTERSECTION in fusions:
        broken |= fnv[INTERSECTION] < fnv[single].max(axis="columns") - ROUNDING
    if broken.any():
        yield f"Warning: this is not so in the runs {', '.join(fnv.index[broken])}; their scores are wrong."


def _listed(values: pd.Series) -> str:
    return enumerated([f"{name} ({_shown(value)})" for name, value in values.items()])


def _shown(value: float) -> str:
    return DECIMALS.format(value)
