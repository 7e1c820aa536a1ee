"""Qualitative panels: which slices are shown, which way round, and what is counted as an error."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.scoring.projections import FALSE, HIT, MISS
from benchmark.vocabulary import DataError, Window, ZScore
from reports.evidence.experiments import BANNER
from reports.ground import banner
from reports.panels import reading, write_panel
from reports.panels.colours import ERRORS, WRONG
from reports.panels.figure import draw_panel, pictured
from reports.panels.ink import LABEL_COLOURS
from reports.panels.reading import Output, Outputs, read_outputs
from reports.panels.tiles import (
    classified,
    error_map,
    foreground,
    projected_errors,
    tiles_of,
    widest_region,
    windows_of,
)
from reports.panels.views import largest_component, scale_bar_mm, shown_box, views_of

SHAPE = (20, 16, 12)
SPACING = (2.0, 2.0, 5.0)
RULES = {"CT": Window(-100.0, 250.0), "PET": Window(0.0, 15.0)}


def empty() -> np.ndarray:
    return np.zeros(SHAPE, np.uint8)


def body(*, negative: bool = False) -> np.ndarray:
    """Two modalities that fill the volume: nothing is cropped."""
    image = np.full((2, *SHAPE), 0.5, np.float16)
    image[1, :, :, ::2] = -1 if negative else 0.25
    return image


def outputs_of(reference: np.ndarray, prediction: np.ndarray, **given: Any) -> Outputs:
    facts: dict[str, Any] = {
        "image": body(),
        "outputs": {},
        "labels": {"tumor": 1},
        "regions": {"tumor": (1,)},
        "intensities": RULES,
    } | given
    return Outputs("case", SPACING, ("CT", "PET"), reference=reference, prediction=prediction, **facts)


def views(
    reference: np.ndarray, prediction: np.ndarray, *, image: np.ndarray | None = None, projected: bool = True
):
    shown = body() if image is None else image
    return views_of(shown, reference, prediction, spacing_mm=SPACING, projected=projected, cut="CT")


def test_the_axial_slice_goes_through_the_largest_lesion_where_it_is_largest() -> None:
    reference = empty()
    reference[2:6, 2:6, 2:5] = 1  # 48 voxels, and one more in slice 3
    reference[6, 2, 3] = 1
    reference[10:18, 8:12, 9] = 1  # 32 voxels in one slice
    axial, _ = views(reference, empty())
    assert axial.index == 3
    assert axial.name.endswith("largest\nlesion")


def test_labels_that_touch_are_one_lesion() -> None:
    reference = empty()
    reference[2:5, 2:5, 2] = 1
    reference[5:8, 2:5, 2] = 3
    assert largest_component(reference).sum() == 18


def test_without_a_reference_the_prediction_decides_and_without_both_the_middle() -> None:
    prediction = empty()
    prediction[5, 5, 9] = 1
    axial, _ = views(empty(), prediction)
    assert (axial.index, axial.name.endswith("largest\nfalse positive")) == (9, True)
    axial, _ = views(empty(), empty())
    assert (axial.index, "no lesion" in axial.name) == (6, True)


def test_the_patients_right_is_on_the_left_and_front_and_head_are_at_the_top() -> None:
    # Axes lead to the right, to the front, upwards: the last voxel of each is right, front, head.
    volume = empty()
    volume[-1, -1, -1] = 1
    reference = empty()
    reference[:, :, -1] = 1
    axial, coronal = views(reference, empty(), image=body(negative=True), projected=False)
    assert np.argwhere(axial.picture(volume)).tolist() == [[0, 0]]
    assert axial.picture(volume).shape == (16, 20)
    assert axial.marks == ("R", "L", "A", "P")
    reference = empty()
    reference[:, -1] = 1
    _, coronal = views(reference, empty(), image=body(negative=True), projected=False)
    assert np.argwhere(coronal.picture(volume)).tolist() == [[0, 0]]
    assert coronal.picture(volume).shape == (12, 20)
    assert coronal.marks == ("R", "L", "S", "I")


def test_pet_is_projected_and_what_must_not_be_is_cut_through_the_lesion() -> None:
    reference = empty()
    reference[4:7, 9, 4:7] = 1
    _, projection = views(reference, empty())
    assert projection.index is None
    assert projection.name.endswith("projection; CT: slice 9")
    volume = empty()
    volume[3, 2, 7], volume[3, 11, 7], volume[5, 9, 7] = 1, 5, 3
    assert projection.picture(volume, projected=False).sum() == 3
    volume[5, 9, 7] = 0
    picture = projection.picture(volume)
    assert np.argwhere(picture).tolist() == [[12 - 1 - 7, 20 - 1 - 3]]
    assert picture.max() == 5
    _, cut = views(reference, empty(), image=body(negative=True), projected=False)
    assert cut.index == 9
    assert "Coronal slice 9" in cut.name


def test_pictures_have_the_size_of_the_patient() -> None:
    axial, coronal = views(empty(), empty())
    assert axial.size_mm == (40.0, 32.0)
    assert coronal.size_mm == (40.0, 60.0)


def test_views_are_cropped_to_the_body_and_every_lesion_with_a_margin_of_ten_millimetres() -> None:
    image = np.zeros((1, 60, 50, 20), np.float16)
    image[0, 20:30, 20:25, 8:10] = 0.5
    lesions = np.zeros(image.shape[1:], bool)
    lesions[40, 22, 9] = True
    box = shown_box(image, lesions, spacing_mm=(2.0, 2.0, 5.0))
    assert box == (slice(15, 46), slice(15, 30), slice(6, 12))
    nothing = shown_box(np.zeros_like(image), np.zeros_like(lesions), spacing_mm=SPACING)
    assert nothing == (slice(0, 60), slice(0, 50), slice(0, 20))


def test_the_cropped_slice_is_the_one_of_the_whole_volume() -> None:
    image = np.zeros((1, 40, 40, 40), np.float16)
    image[0, 15:30, 15:30, 15:30] = 0.5
    reference = np.zeros((40, 40, 40), np.uint8)
    reference[20:22, 20:22, 27] = 1
    axial, _ = views_of(image, reference, reference, spacing_mm=(5.0, 5.0, 5.0), projected=True)
    assert axial.index == 27
    assert axial.picture(reference).sum() == 4


@pytest.mark.parametrize(
    ("width", "bar"), [(800.0, 200.0), (240.0, 50.0), (90.0, 20.0), (30.0, 10.0), (4.0, 1.0)]
)
def test_the_scale_bar_is_a_round_length_of_at_most_a_third(width: float, bar: float) -> None:
    assert scale_bar_mm(width) == bar


def test_errors_are_hits_misses_and_false_positives() -> None:
    reference, prediction = empty(), empty()
    reference[0, 0, :2] = 1
    prediction[0, 0, 1:3] = 1
    codes = error_map(outputs_of(reference, prediction))
    assert codes[0, 0, :4].tolist() == [MISS, HIT, FALSE, 0]


def test_a_label_is_wrong_only_if_the_method_can_tell_the_region() -> None:
    reference, prediction = empty(), empty()
    reference[0, 0, :3] = (3, 1, 2)
    prediction[0, 0, :3] = (2, 2, 2)
    regions = {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    told = outputs_of(reference, prediction, regions=regions)
    assert error_map(told)[0, 0, :3].tolist() == [WRONG, WRONG, HIT]
    untold = outputs_of(reference, prediction, regions=regions, predicted_regions=("whole", "core"))
    assert error_map(untold)[0, 0, :3].tolist() == [HIT, WRONG, HIT]


def test_in_a_projection_a_hit_hides_a_miss_and_a_miss_a_false_positive() -> None:
    _, projection = views(empty(), empty())
    codes = empty()
    codes[0, :3, 0] = (FALSE, HIT, MISS)
    codes[1, :2, 0] = (FALSE, MISS)
    codes[2, 4, 0] = FALSE
    assert projected_errors(codes, projection)[-1, ::-1][:4].tolist() == [HIT, MISS, FALSE, 0]


def test_the_foreground_is_all_but_the_first_of_several_channels() -> None:
    probabilities = np.stack([np.full(SHAPE, 0.25), np.full(SHAPE, 0.5), np.full(SHAPE, 0.25)])
    assert foreground(Output("segmentation", "", probabilities)).mean() == pytest.approx(0.75)
    assert foreground(Output("segmentation", "core", probabilities[1:2])).mean() == pytest.approx(0.5)


def test_tiles_are_modalities_reference_outputs_by_kind_and_the_final_mask() -> None:
    one = np.full((1, *SHAPE), 0.25, np.float16)
    outputs = {
        "ct input": Output("input", "CT", one),
        "both": Output("reconstruction", "CT + PET", np.concatenate([one, one])),
        "pet": Output("segmentation", "", np.concatenate([3 * one, one])),
        "class": Output("classification", "", one),
    }
    read = outputs_of(empty(), empty(), outputs=outputs)
    tiles = tiles_of(read, views(empty(), empty()), windows=windows_of(read))
    assert [tile.kind for tile in tiles] == [
        *("image", "image", "labels", "image", "image", "image"),
        *("probability", "probability", "errors"),
    ]
    titles = [tile.title for tile in tiles]
    assert titles[:2] == ["CT\nsoft tissue,\n−100 to 240 HU", "PET\nSUV 0 to 7"]
    assert titles[4:6] == ["CT reconstructed\n(“both”)", "PET reconstructed\n(“both”)"]
    assert titles[6] == "Probability of\ntumor\n(“pet”)"
    assert "mean 0.25" in titles[7]
    # CT and what is made of it have one window, PET and what is made of it another, with dark uptake.
    assert {(tile.low, tile.high, tile.inverted) for tile in (tiles[0], tiles[3], tiles[4])} == {
        (0.0, 340 / 350, False)
    }
    assert {(tile.high, tile.inverted) for tile in (tiles[1], tiles[5])} == {(7 / 15, True)}
    assert tiles[6].pictures[0].max() == pytest.approx(0.25)


def test_labels_lie_over_ct_in_a_slice_and_over_the_inverted_pet_in_a_projection() -> None:
    read = outputs_of(empty(), empty())
    under = tiles_of(read, views(empty(), empty()), windows=windows_of(read))[2].under
    assert under is not None
    # CT 0.5 of [0, 340/350]; PET is 0.25 and 0.5 of [0, 7/15], and white where it is low.
    assert under.pictures[0].max() == pytest.approx(0.5 * 350 / 340, abs=1e-3)
    assert (under.pictures[1].min(), under.inverted) == (0.0, False)


def test_around_a_brain_it_is_black_whatever_its_z_scores() -> None:
    image = np.zeros((1, *SHAPE), np.float16)
    image[0, 4:, :, :], image[0, 4:, ::2, :] = 1, -1
    read = Outputs("case", SPACING, ("FLAIR",), image, empty(), empty(), {}, {"FLAIR": ZScore(nonzero=True)})
    (_, coronal), (tile, *_) = pictured(read)
    assert coronal.index is not None
    assert tile.low == pytest.approx(-1)
    # The box has the brain and 10 mm, which are all four columns of air at its left, the picture's right.
    assert set(np.unique(tile.pictures[0][:, -4:])) == {tile.low}
    assert tile.pictures[0].max() == 1


def test_a_classifier_s_mean_is_over_what_it_was_shown() -> None:
    values = np.zeros((1, *SHAPE), np.float16)
    values[0, :10] = 0.75
    assert classified(Output("classification", "", values)) == 0.75
    assert classified(Output("classification", "", 0 * values)) == 0


def test_the_widest_region_is_the_told_one_of_most_labels() -> None:
    regions = {"core": (2, 3), "whole": (1, 2, 3), "edema": (1,)}
    assert (widest_region(regions), widest_region(regions, ["edema", "core"])) == ("whole", "core")
    assert widest_region({}) is None


# Machado, Oliveira and Fernandes, IEEE TVCG 2009: eyes without one kind of cones, in linear RGB.
DICHROMACIES = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear sRGB, white D65."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], LUMINANCE, [0.0193, 0.1192, 0.9505]]) @ np.clip(rgb, 0, 1)
    ratio = xyz / np.array([0.9505, 1.0, 1.089])
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("name", list(DICHROMACIES))
def test_hits_misses_and_false_positives_differ_for_every_kind_of_eyes(name: str) -> None:
    seen = [lab(np.array(DICHROMACIES[name]) @ linear(ERRORS[code])) for code in (HIT, MISS, FALSE)]
    apart = [np.linalg.norm(seen[a] - seen[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert min(apart) > 25


def test_no_label_has_the_colour_of_an_error() -> None:
    assert not {colour.upper() for colour in LABEL_COLOURS} & {colour.upper() for colour in ERRORS.values()}


def test_their_colours_stand_out_from_black_and_from_white() -> None:
    for code in (HIT, MISS, FALSE):
        brightness = LUMINANCE @ linear(ERRORS[code])
        assert (brightness + 0.05) / 0.05 > 4
        assert 1.05 / (brightness + 0.05) > 2.2


def written(folder: Path, **changes: Any) -> Path:
    """A case of a network with one output as `bench panels` writes it."""
    reference, prediction = empty(), empty()
    reference[4:8, 4:8, 4:7] = 1
    prediction[5:9, 4:8, 4:7] = 1
    arrays = {"image": body(), "reference": reference, "prediction": prediction}
    probability = prediction[None].astype(np.float16)
    arrays |= {"output": np.concatenate([1 - probability, probability])}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "case_7.npz", **(arrays | changes.pop("arrays", {})))
    said = {
        "case_id": "case_7",
        "spacing_mm": [2.0, 2.0, 5.0],
        "modalities": ["CT", "PET"],
        "intensities": {
            "CT": {"rule": "Window", "low": -100.0, "high": 250.0},
            "PET": {"rule": "Window", "low": 0.0, "high": 15.0},
        },
        "branches": [["CT"], ["PET"]],
        "outputs": {"output": {"kind": "segmentation", "of": ""}},
        "labels": {"tumor": 1},
        "regions": {"tumor": [1]},
        "predicted_regions": None,
        "method": "early_fusion",
        "run_id": "abc",
        "seed": 0,
        "fold": 1,
    }
    (folder / "case_7.json").write_text(json.dumps(said | changes), encoding="utf-8")
    return folder / "case_7.npz"


def test_a_panel_is_written_as_png_and_pdf_and_the_same_each_time(tmp_path: Path) -> None:
    source = written(tmp_path / "panels")
    for folder in ("one", "two"):
        paths = write_panel(source, tmp_path / folder)
    assert [path.name for path in paths] == ["case_7.png", "case_7.pdf"]
    for path in paths:
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()


def test_a_panel_stands_under_the_banner_of_who_knows_the_run_or_of_its_reader(tmp_path: Path) -> None:
    plain, _ = write_panel(written(tmp_path / "panels"), tmp_path / "plain")
    with banner.under(BANNER):
        told, _ = write_panel(written(tmp_path / "panels"), tmp_path / "told")
    read, _ = write_panel(written(tmp_path / "phantom", dataset="phantom"), tmp_path / "read")
    assert told.read_bytes() == read.read_bytes()
    heights = [int.from_bytes(path.read_bytes()[20:24], "big") for path in (plain, told)]
    assert heights[1] == heights[0] + 44, "a strip of 0.22 inches"


def test_a_drawn_voxel_is_as_high_as_it_is_in_the_patient(tmp_path: Path) -> None:
    read = read_outputs(written(tmp_path))
    both, tiles = pictured(read)
    figure = draw_panel(tiles, both, title="Mirror U-Net v3", said=["Dice 75.0 %"], labels=read.labels)
    axial, coronal = figure.axes[0], figure.axes[5]
    assert (axial.get_aspect(), coronal.get_aspect()) == (1.0, 1.0)
    # An axial view of 40 x 32 mm is as wide as a coronal one of 40 x 60 mm, with nothing left over.
    places = [ax.get_position() for ax in (axial, coronal)]
    inches = [
        (place.width * figure.get_figwidth(), place.height * figure.get_figheight()) for place in places
    ]
    assert inches[0] == pytest.approx((1.3, 1.3 * 32 / 40))
    assert inches[1] == pytest.approx((1.3, 1.3 * 60 / 40))
    assert [text.get_text() for text in figure.texts] == ["Mirror U-Net v3", "Dice 75.0 %"]
    assert tuple(coronal.images[0].get_extent()) == (0.0, 40.0, 60.0, 0.0)
    assert coronal.images[0].get_array().shape == (12, 20)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        *("reference: tumor", "true positive", "missed (false negative)", "false positive"),
        "border of the reference",
    ]
    assert "patient's right (R) is on the left" in figure.legends[0].get_title().get_text()
    assert [text.get_text() for text in axial.texts] == ["R", "L", "A", "P", "10 mm"]


def test_files_that_are_something_else_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"case_7\.npz and case_7\.json are not what `bench panels` writes"):
        read_outputs(tmp_path / "case_7.npz")
    with pytest.raises(DataError, match="KeyError"):
        read_outputs(written(tmp_path, outputs={"other": {"kind": "segmentation", "of": ""}}))
    other = {"prediction": np.zeros((3, 3, 3), np.uint8)}
    with pytest.raises(DataError, match=r"not on one grid .*prediction \(3, 3, 3\)"):
        read_outputs(written(tmp_path, arrays=other))


def test_arrays_are_read_no_further_than_their_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path)
    monkeypatch.setattr(reading, "MOST_BYTES", 1000)
    with pytest.raises(DataError, match=r"case_7\.npz is damaged .*image has [\d,]+ bytes"):
        read_outputs(file)


@pytest.mark.parametrize(("shape", "kind"), [((2**40, 2, 2), "<f4"), ((2, 2, 2), "|O"), ((-1, 2, 2), "<f4")])
def test_a_header_that_promises_what_is_not_there_is_refused(
    tmp_path: Path, shape: tuple[int, ...], kind: str
) -> None:
    file = written(tmp_path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": kind, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("image.npy", header.getvalue())
    with pytest.raises(DataError, match="are not what `bench panels` writes"):
        read_outputs(file)


def test_a_description_of_many_levels_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path)
    file.with_suffix(".json").write_text('{"a":' * 5000 + "1" + "}" * 5000)
    with pytest.raises(DataError, match="are not what `bench panels` writes"):
        read_outputs(file)
