"""What a table shows of the scores: one column a `Measure`, a metric of the whole case or of one region."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmark.names import unique_names
from benchmark.scoring.metrics import METRICS
from benchmark.vocabulary import BenchError
from reports.ground.words import enumerated


@dataclass(frozen=True)
class Measure:
    """How a metric of the results is printed: `value * scale`, two decimals, best is highest or lowest.

    `printed_as` is its column in the published tables of methods. `region` names one of the data set's
    regions; empty: the only one there is.
    """

    metric: str
    title: str
    scale: float
    higher_is_better: bool
    printed_as: str
    region: str = ""
    region_as: str = ""
    """The region as a part of its key."""
    region_shown: str = ""
    """The region as it begins its title."""

    @property
    def key(self) -> str:
        """Its name in frames and CSV files: `dice`, `whole_tumor_dice`."""
        return f"{self.region_as}_{self.metric}" if self.region else self.metric

    @property
    def name(self) -> str:
        """The title without its unit."""
        return f"{self.region} {self.kind}" if self.region else self.kind

    @property
    def kind(self) -> str:
        """The name without the region."""
        return self.title.removeprefix(self.region_shown).lstrip().split(" [")[0]

    @property
    def heading(self) -> str:
        """The title, and which end of the scale is the better one."""
        return f"{self.title} {'↑' if self.higher_is_better else '↓'}"

    def of(self, region: str, among: Iterable[str] = ()) -> Measure:
        """The same metric of one region; of the only one for an empty name. `among`: the regions of the same table,
        whose keys are others, whatever signs and case their names have."""
        if not region:
            return self
        keys = unique_names([region, *among], region_key)
        alike = {other for other in (region, *among) if _opened(other) == _opened(region)}
        shown = _opened(region) if len(alike) == 1 else region
        return replace(
            self,
            region=region,
            region_as=keys[region],
            region_shown=shown,
            title=f"{shown} {self.title}",
            printed_as=f"{region_key(region)}_{self.printed_as}",
        )


Measures = Mapping[str, Measure]
"""The columns of a table, by their keys."""


def region_key(region: str) -> str:
    """A region's name as a part of a column's name."""
    return re.sub(r"\W+", "_", region.strip().lower()).strip("_")


def _opened(region: str) -> str:
    return region[:1].upper() + region[1:]


def measures_of(*measures: Measure) -> Measures:
    """The measures by their keys; BenchError where two have the same, so that none is lost."""
    found = {measure.key: measure for measure in measures}
    if lost := [measure for measure in measures if found[measure.key] != measure]:
        raise BenchError(
            f"Two columns would be called {lost[0].key}: {lost[0].title} and {found[lost[0].key].title}. Rename one of "
            "the regions."
        )
    return found


def measure_of(metric: str) -> Measure:
    """How a metric is printed; one that this version does not know, as it is."""
    known = METRICS.get(metric)
    if known is None:
        return Measure(metric, metric.replace("_", " "), 1.0, True, metric)
    unitless = re.sub(r"(_\d*mm|_ml)$", "", metric)
    return Measure(metric, known.title, known.scale, known.higher_is_better, unitless)


DICE = measure_of("dice")
FPV = measure_of("fpv_ml")
FNV = measure_of("fnv_ml")
HD95 = measure_of("hd95_mm")
SURFACE_DICE = measure_of("surface_dice_2mm")
LESIONS = measure_of("lesions")
MISSED_LESIONS = measure_of("missed_lesions")
MEASURES = measures_of(DICE, FPV, FNV)
"""What the paper prints of PET/CT."""


def usual_measures(regions: Sequence[str], metrics: Iterable[str]) -> Measures:
    """What a table of methods shows of the regions and metrics that were scored: what each metric says of itself, and
    in any case what the paper prints."""
    scored = {*metrics, DICE.metric}
    if len(regions) <= 1:
        names = [name for name, known in METRICS.items() if known.column != "none"]
        return measures_of(*(measure_of(name) for name in names if name in {*scored, *MEASURES}))
    everywhere = [name for name, known in METRICS.items() if known.column == "every region"]
    shown = [measure_of(name) for name in everywhere if name in scored]
    return measures_of(*(measure.of(region, regions) for measure in shown for region in regions))


def best_words(measures: Measures) -> str:
    """`Dice: highest, FPV and FNV: lowest`."""
    ends = {True: "highest", False: "lowest"}
    kinds: dict[bool, list[str]] = {}
    for measure in measures.values():
        named = kinds.setdefault(measure.higher_is_better, [])
        if measure.kind not in named:
            named.append(measure.kind)
    return ", ".join(f"{enumerated(names)}: {ends[higher]}" for higher, names in kinds.items())
