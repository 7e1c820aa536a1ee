"""The suite's own brain phantoms, which lie on disk as the decathlon's BrainTumour does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmark.data.phantoms import Phantoms
from benchmark.data.phantoms.brain import DEFAULT_SPACING_MM, KIND, write_brain_phantoms
from benchmark.data.readers import msd
from benchmark.vocabulary import DatasetSpec

SPEC = replace(msd.SPEC, name="brain_phantom")
PHANTOMS = Phantoms(KIND, "msd", DEFAULT_SPACING_MM, write_brain_phantoms)
discover = msd.discover
unlabelled = msd.unlabelled


def spec_of(root: Path | None) -> DatasetSpec:
    return SPEC
