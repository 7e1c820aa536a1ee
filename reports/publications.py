"""Printed numbers: where they come from, of which data they are, and the files that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.vocabulary import BenchError
from reports.frames import Behind

PUBLISHED = Path(__file__).parent / "published"
PUBLISHED_TABLES = (2, 3, 4, 5)


@dataclass(frozen=True)
class Publication:
    """A printed table: its `source`, on what it stands (`setting`, whole sentences), and the data set it is
    of.

    `dataset` is the data set's name in the suite, `called` its name in print; `apart` is what keeps own
    numbers of the very data set from being the same experiment, if anything does.
    """

    source: str
    setting: str
    dataset: str
    called: str
    apart: str = ""

    def notes(self, behind: Behind | None) -> Iterator[str]:
        """Where the numbers come from, and whether own ones (`behind`) may be compared with them."""
        yield f"Published numbers: {self.source}. {self.setting}"
        if behind is not None:
            yield "Difference = own − published."
            if behind.dataset.casefold() != self.dataset.casefold() or behind.profile != "paper":
                yield (
                    f"The two are not comparable here: own numbers are of data set {behind.dataset} under "
                    f"profile {behind.profile}, published ones of {self.called} with the paper's recipe."
                )
            elif self.apart:
                yield self.apart


def _of_autopet(table: int) -> Publication:
    return Publication(
        f"Mirror U-Net, ICCV Workshops 2023, Table {table}",
        "AutoPET, 811 studies for training and 203 for test. The paper prints one number a cell and does not state "
        "seeds, nor over how many cases the Dice is defined; its checkpoint was chosen on the reported split.",
        dataset="autopet",
        called="AutoPET",
    )


MIRROR_UNET = {
    **{table: _of_autopet(table) for table in (2, 3, 4)},
    5: Publication(
        "Mirror U-Net, ICCV Workshops 2023, Table 5",
        "MSD BrainTumour, 484 cases for training and 266 for test, whose labels are not public; the paper does not "
        "say how it scored them. It prints one number a cell and does not state seeds.",
        dataset="msd",
        called="MSD BrainTumour",
        apart="Own folds are over the 484 labelled cases: own and published numbers are of different test cases.",
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
