"""The sentences under Table 2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from reports.ground.frames import TableFacts, progress
from reports.ground.measures import Measure
from reports.ground.notes import own_notes
from reports.ground.publications import MIRROR_UNET


def table2_notes(
    own: pd.DataFrame | None,
    paper: pd.DataFrame | None,
    *,
    behind: TableFacts | None,
    measure: Measure,
    standing: Sequence[str] = (),
    apart: str = "",
) -> Iterator[str]:
    """All notes of Table 2, for own and published numbers as given; `standing` are those of the statistics, `apart`
    says why published numbers are not beside own ones."""
    if apart:
        yield apart
    best = "Best" if measure.higher_is_better else "Best (lowest)"
    among = "" if own is None or progress(own).finished else ", among the cells that are there"
    yield (
        f"{best} of each box (one version, one L) in bold, ties included; best of each version "
        f"underlined{among}; neither where the numbers do not differ, or there is one alone."
    )
    if own is not None and behind is not None:
        yield from own_notes({measure.metric: own}, behind)
        yield from standing
    if paper is not None:
        yield from MIRROR_UNET[2].notes(compared=own is not None)
