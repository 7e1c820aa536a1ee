"""What a table shows of the scores: one column a `Measure`, a metric of the whole case or of one region."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from reports.words import enumerated


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

    @property
    def key(self) -> str:
        """Its name in frames and CSV files: `dice`, `whole_tumor_dice`."""
        return f"{region_key(self.region)}_{self.metric}" if self.region else self.metric

    @property
    def name(self) -> str:
        """The title without its unit."""
        return f"{self.region} {self.kind}" if self.region else self.kind

    @property
    def kind(self) -> str:
        """The name without the region."""
        return self.title.split(" [")[0].removeprefix(_opened(self.region)).lstrip()

    @property
    def heading(self) -> str:
        """The title, and which end of the scale is the better one."""
        return f"{self.title} {'↑' if self.higher_is_better else '↓'}"

    def of(self, region: str) -> Measure:
        """The same metric of one region; of the only one for an empty name."""
        if not region:
            return self
        return replace(
            self,
            region=region,
            title=f"{_opened(region)} {self.title}",
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
    """The measures by their keys."""
    return {measure.key: measure for measure in measures}


DICE = Measure("dice", "Dice [%]", 100.0, True, "dice")
FPV = Measure("fpv_ml", "FPV [ml]", 1.0, False, "fpv")
FNV = Measure("fnv_ml", "FNV [ml]", 1.0, False, "fnv")
HD95 = Measure("hd95_mm", "HD95 [mm]", 1.0, False, "hd95")
SURFACE_DICE = Measure("surface_dice_2mm", "Surface Dice at 2 mm [%]", 100.0, True, "surface_dice")
LESIONS = Measure("lesions", "Lesions", 1.0, False, "lesions")
MISSED_LESIONS = Measure("missed_lesions", "Missed lesions", 1.0, False, "missed_lesions")
MEASURES = measures_of(DICE, FPV, FNV)
"""What the paper prints of PET/CT."""


def measure_of(metric: str) -> Measure:
    """How a metric is printed; those of no table as they are."""
    return _KNOWN.get(metric) or Measure(metric, metric.replace("_", " "), 1.0, True, metric)


_KNOWN = {one.metric: one for one in (DICE, FPV, FNV, HD95, SURFACE_DICE, LESIONS, MISSED_LESIONS)}


def usual_measures(regions: Sequence[str], metrics: Iterable[str]) -> Measures:
    """What a table of methods shows of the regions and metrics that were scored.

    One region: Dice, FPV, FNV and, where it was scored, HD95. Several: Dice and, where it was scored, HD95 of
    each.
    """
    more = [HD95] if HD95.metric in metrics else []
    if len(regions) <= 1:
        return measures_of(*MEASURES.values(), *more)
    return measures_of(*(measure.of(region) for measure in (DICE, *more) for region in regions))


def best_words(measures: Measures) -> str:
    """`Dice: highest, FPV and FNV: lowest`."""
    ends = {True: "highest", False: "lowest"}
    kinds: dict[bool, list[str]] = {}
    for measure in measures.values():
        named = kinds.setdefault(measure.higher_is_better, [])
        if measure.kind not in named:
            named.append(measure.kind)
    return ", ".join(f"{enumerated(names)}: {ends[higher]}" for higher, names in kinds.items())
