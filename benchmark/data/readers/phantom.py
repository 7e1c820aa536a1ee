"""The suite's own PET/CT phantoms, which lie on disk as AutoPET does."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from benchmark.data.phantoms import Phantoms
from benchmark.data.phantoms.anatomy import Population
from benchmark.data.phantoms.pet_ct import DEFAULT_SPACING_MM, write_phantoms
from benchmark.data.readers import autopet
from benchmark.vocabulary import DatasetSpec

SPEC = replace(autopet.SPEC, name="phantom")
PHANTOMS = Phantoms(
    "pet-ct",
    "autopet",
    DEFAULT_SPACING_MM,
    write_phantoms,
    frozenset(field.name for field in fields(Population)),
)
discover = autopet.discover


def spec_of(root: Path | None) -> DatasetSpec:
    return SPEC
