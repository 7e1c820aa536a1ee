"""Printed numbers: where they come from, of which experiment they are, and the files that hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.config import flat
from benchmark.files.strict_yaml import read_yaml
from benchmark.vocabulary import BenchError

PUBLISHED = Path(__file__).parent.parent / "published"
PUBLISHED_TABLES = (2, 3, 4, 5)


@dataclass(frozen=True)
class PublishedExperiment:
    """What printed numbers were measured on, as `published/mirror_unet.yaml` states it.

    The counts are the data set's fingerprint; `test_cases` of its cases were tested. `recipe`: settings of a run,
    with one key a setting, for all but the methods of `own_recipes`. `left_alone`: arguments of methods that the
    experiment does not name.
    """

    called: str
    modalities: tuple[str, ...]
    cases: int
    patients: int
    with_lesions: int
    test_cases: int
    recipe: Mapping[str, Any]
    own_recipes: tuple[str, ...]
    left_alone: tuple[str, ...]


@dataclass(frozen=True)
class Publication:
    """A printed table: its `source`, on what it stands (`setting`, whole sentences), and what the data set is `called`.

    `experiment` None: the publication does not state it. `apart`: why own numbers cannot be of the same experiment,
    where they never can.
    """

    source: str
    setting: str
    called: str
    experiment: PublishedExperiment | None = None
    apart: str = ""

    def notes(self, *, compared: bool) -> Iterator[str]:
        """Where the numbers come from; `compared`: own ones stand beside them."""
        yield f"Published numbers: {self.source}. {self.setting}"
        if compared:
            yield "Difference = own − published."


@cache
def _experiments() -> Mapping[str, PublishedExperiment]:
    content = read_yaml(PUBLISHED / "mirror_unet.yaml")
    return {
        name: PublishedExperiment(
            **{
                **facts,
                "modalities": tuple(facts["modalities"]),
                "recipe": flat(facts["recipe"]),
                "own_recipes": tuple(facts["own_recipes"]),
                "left_alone": tuple(facts["left_alone"]),
            }
        )
        for name, facts in content.items()
    }


def _of_autopet(table: int) -> Publication:
    return Publication(
        f"Mirror U-Net, ICCV Workshops 2023, Table {table}",
        "AutoPET, 811 studies for training and 203 for test. The paper prints one number a cell and does not state "
        "seeds, nor over how many cases the Dice is defined; its checkpoint was chosen on the reported split.",
        called="AutoPET",
        experiment=_experiments()["autopet"],
    )


MIRROR_UNET = {
    **{table: _of_autopet(table) for table in (2, 3, 4)},
    5: Publication(
        "Mirror U-Net, ICCV Workshops 2023, Table 5",
        "MSD BrainTumour, 484 cases for training and 266 for test, whose labels are not public; the paper does not "
        "say how it scored them. It prints one number a cell and does not state seeds.",
        called="MSD BrainTumour",
        experiment=_experiments()["msd"],
        apart="the published numbers are of 266 test cases whose labels are not public, own folds are over the 484 "
        "labelled ones",
    ),
}
"""The tables of the Mirror U-Net paper by their numbers."""


def published(table: int) -> pd.DataFrame:
    """A table of the Mirror U-Net paper as printed (percent, ml); the columns are in
    `published/README.md`."""
    if table not in PUBLISHED_TABLES:
        known = ", ".join(map(str, PUBLISHED_TABLES))
        raise BenchError(
            f"There are no published numbers of Table {table}; there are those of the tables {known}."
        )
    # Levels such as 0.10 and layers such as 5 are names, not numbers.
    return pd.read_csv(PUBLISHED / f"table{table}.csv", dtype={"level": str, "shared_layers": str})
