"""Labels as nnU-Net numbers them: 1, 2, 3, ... without a gap, and above them the value of `ignore`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from benchmark.vocabulary import DatasetSpec, Region


def consecutive(labels: Mapping[str, int], ignore: int | None) -> dict[int, int]:
    """nnU-Net's value of every value that the label files may hold, in their order."""
    values = [0, *sorted(labels.values()), *([] if ignore is None else [ignore])]
    return {value: number for number, value in enumerate(values)}


def is_consecutive(numbering: Mapping[int, int]) -> bool:
    """Whether the files' values are nnU-Net's already."""
    return all(value == number for value, number in numbering.items())


def renumbered(spec: DatasetSpec) -> DatasetSpec:
    """The data set with nnU-Net's values; names stay."""
    numbering = consecutive(spec.labels, spec.ignore)
    regions = (Region(r.name, tuple(numbering[value] for value in r.labels)) for r in spec.regions)
    return replace(
        spec,
        labels={name: numbering[value] for name, value in spec.labels.items()},
        regions=tuple(regions),
        ignore=None if spec.ignore is None else numbering[spec.ignore],
    )
