"""Which modalities the branches of a network take: what a study says, or else what the data set says."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.protocols import DatasetSpec, UnsupportedDatasetError
from benchmark.vocabulary import BenchError, Branches, lacks_modalities

Group = str | Sequence[str]
"""A modality, or several that a branch takes as channels."""


def group_of(dataset: DatasetSpec, wanted: Group, *, argument: str) -> tuple[str, ...]:
    """The modalities of one branch; UnsupportedDatasetError where the data set lacks one."""
    names = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    missing = [name for name in names if name not in dataset.modalities]
    if missing:
        raise lacks_modalities(argument, missing, dataset)
    if not names or len(set(names)) < len(names):
        raise BenchError(f"{argument} has the group {list(names)}; it must name a modality, and each once.")
    return names


def declared_branches(dataset: DatasetSpec, *, write: str) -> Branches:
    """Those of the data set; where it declares none, the error says what to `write` instead."""
    if dataset.branches is None and len(dataset.modalities) < 2:
        raise UnsupportedDatasetError(
            f"It takes two modalities, one a branch, and {dataset.name} has {', '.join(dataset.modalities)} alone; "
            f"write {write} with that one twice to train on it in both."
        )
    if dataset.branches is None:
        raise UnsupportedDatasetError(
            f"{dataset.name} declares no pair of branches; write {write}, with modalities of "
            f"{', '.join(dataset.modalities)}."
        )
    return dataset.branches


def branches_of(
    dataset: DatasetSpec, wanted: Sequence[Group] | None, *, argument: str = "branches"
) -> Branches:
    """The modalities of the first and of the second branch; None: those that the data set declares."""
    if wanted is None:
        wanted = declared_branches(dataset, write=f"{argument}: [A, B]")
    if isinstance(wanted, str) or len(wanted) != 2:
        raise BenchError(f"{argument} is {wanted!r}; it must be two modalities, or two lists of them.")
    first, second = (group_of(dataset, group, argument=argument) for group in wanted)
    return first, second


def declared_modality(dataset: DatasetSpec, branch: int, *, write: str) -> str:
    """The one modality of a branch (0 or 1) that the data set declares, for a role that only one can play."""
    group = declared_branches(dataset, write=write)[branch]
    if len(group) > 1:
        raise UnsupportedDatasetError(
            f"{dataset.name} declares the group {title(group)}, where one modality is needed; write {write}."
        )
    return group[0]


def other_branch(branches: Branches, missing: str) -> int | None:
    """The branch, 0 or 1, that does without a modality which is all that the other one takes; None: neither does."""
    for number in (0, 1):
        if branches[1 - number] == (missing,) and missing not in branches[number]:
            return number
    return None


def title(group: Sequence[str]) -> str:
    """A group in one name, as in `Method.output_kinds`."""
    return " + ".join(group)
