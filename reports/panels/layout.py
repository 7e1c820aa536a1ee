"""Figures 7 and 8 as numbers: a row a network or a case, and the column in which each of its tiles stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reports.panels.figure import pictured
from reports.panels.reading import Outputs
from reports.panels.tiles import (
    FINAL,
    MASK,
    REFERENCE,
    Tile,
    classified,
    error_map,
    errors_tile,
    widest_region,
)
from reports.panels.views import View
from reports.panels.windows import unit_of

INPUT, FIRST, SECOND, LAST = "input", "first branch", "second branch", "last"
"""Columns that networks with two branches share, whatever they call their outputs."""
_BRANCHES = {"ct": FIRST, "pet": SECOND, "ct input": INPUT, "bottleneck": LAST, "output": LAST}
"""Mirror U-Net's outputs; the paper shows the bottleneck of v2 and v3 and the fused decision of v4 in one column."""
CORRUPTED = {"noise": "noise added", "shuffle": "shuffled"}
_ORDER = {INPUT: 2, FIRST: 3, SECOND: 4, LAST: 6, MASK: 7, FINAL: 8}
_OTHER = 5


@dataclass(frozen=True)
class LabelledTile:
    """A tile in a row: its column, the column's heading, and what is said of this tile alone."""

    column: str
    heading: str
    caption: str
    tile: Tile


@dataclass(frozen=True)
class PicturedCase:
    """What a network says of a case, as pictures. `probability` is its classifier's mean, where it has one."""

    case_id: str
    views: tuple[View, ...]
    places: tuple[LabelledTile, ...]
    labels: Mapping[str, int]
    probability: float | None


def pictured_case(read: Outputs) -> PicturedCase:
    """The tiles of a case in their columns."""
    views, tiles = pictured(read)
    own = [tile for tile in tiles if tile.role not in (*read.modalities, FINAL)]
    inputs = [tile for name in _shown_modalities(read) for tile in tiles if tile.role == name]
    classes = [output for output in read.outputs.values() if output.kind == "classification"]
    places = [_modality(read, tile) for tile in inputs]
    places += [place for tile in own if (place := _place(read, tile)) is not None]
    return PicturedCase(
        read.case_id,
        views,
        (*places, _final(read, tiles, views)),
        read.labels,
        classified(classes[0]) if classes else None,
    )


def _modality(read: Outputs, tile: Tile) -> LabelledTile:
    """A window in a known unit is the column's; one between percentiles is the case's own."""
    if unit_of(tile.role, read.intensities.get(tile.role)):
        return LabelledTile(tile.role, tile.title, "", tile)
    name, _, words = tile.title.partition("\n")
    return LabelledTile(tile.role, name, words, tile)


def columns(rows: Sequence[PicturedCase]) -> dict[str, str]:
    """The columns of all rows from left to right, with their headings."""
    headings: dict[str, dict[str, None]] = {}
    modalities = {tile.role: None for row in rows for tile in _inputs(row)}
    for row in rows:
        for place in row.places:
            headings.setdefault(place.column, {})[place.heading] = None
    order = {REFERENCE: 1, **_ORDER, **dict.fromkeys(modalities, 0)}
    ranked = sorted(headings, key=lambda column: order.get(column, _OTHER))
    joined = {column: "\nor ".join(headings[column]) for column in ranked}
    return {column: heading[:1].upper() + heading[1:] for column, heading in joined.items()}


def _inputs(row: PicturedCase) -> list[Tile]:
    names = [place.column for place in row.places]
    return [place.tile for place in row.places[: names.index(REFERENCE)]]


def _shown_modalities(read: Outputs) -> list[str]:
    """Those of the branches, in their order; of other networks all."""
    of_branches = [name for group in read.branches for name in group if name in read.modalities]
    return list(dict.fromkeys(of_branches)) or list(read.modalities)


def _place(read: Outputs, tile: Tile) -> LabelledTile | None:
    """The column of a tile that is no modality; a classifier is a number, not a picture, in these figures."""
    if tile.role == REFERENCE:
        return LabelledTile(REFERENCE, "Reference", "", tile)
    if tile.role == MASK:
        return LabelledTile(MASK, "Labels of the final mask", "", tile)
    output = read.outputs[tile.role]
    if output.kind == "classification":
        return None
    of = output.of or (next(iter(read.labels)) if len(read.labels) == 1 else "any label")
    corruption = str(read.run.method_args.get("corruption", ""))
    caption = {
        "input": CORRUPTED.get(corruption, f"{of}, as shown"),
        "reconstruction": f"reconstructed {of}",
        "segmentation": f"P({of})",
    }[output.kind]
    column, heading = _branch(read, tile.role)
    return LabelledTile(column, heading, caption, tile)


def _branch(read: Outputs, name: str) -> tuple[str, str]:
    """The column of an output, and its heading."""
    groups = [" + ".join(group) for group in read.branches]
    regions = list(read.run.method_args.get("branch_regions", ()))
    if len(groups) == 2 and name in regions:
        number = regions.index(name)
        return (FIRST, SECOND)[number], f"{groups[number]} branch"
    column = _BRANCHES.get(name, name)
    if len(groups) != 2 or len(read.outputs) == 1:
        return (name, "Output") if name == "output" else (name, f"Output “{name}”")
    headings = {
        INPUT: f"Input of the\n{groups[0]} branch",
        FIRST: f"{groups[0]} branch",
        SECOND: f"{groups[1]} branch",
    }
    if column == LAST:
        return LAST, "fused branches" if name == "output" else "Bottleneck"
    return column, headings.get(column, f"Output “{name}”")


def _final(read: Outputs, tiles: Sequence[Tile], views: Sequence[View]) -> LabelledTile:
    """The mask that is scored; of several regions the one that holds all others."""
    region = widest_region(read.regions, read.predicted_regions)
    final = next(tile for tile in tiles if tile.role == FINAL)
    if len(read.regions) > 1 and region is not None and final.under is not None:
        final = errors_tile(error_map(read, region), "", views, under=final.under)
        return LabelledTile(FINAL, "Final mask", region, final)
    return LabelledTile(FINAL, "Final mask", "", replace(final, title=""))
