"""Thumbnails: what is painted where, when there is none, and what is kept."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from finished import prepared
from PIL import Image, ImageColor

from benchmark.data.store import PreparedCase, Store
from benchmark.files.writing import StorageError
from benchmark.results.runs import DataPlaces, RunFolder
from benchmark.scoring.projections import FALSE, HIT, MISS, Projections
from benchmark.vocabulary import BenchError
from reports.panels import thumbnails as module
from reports.panels.colours import ERRORS
from reports.panels.thumbnails import thumbnail_png, thumbnails


@pytest.fixture
def case(tcia_root: Path, tmp_path: Path) -> PreparedCase:
    """A case in a store, and a run "r" that was scored on it: a hit, a miss and a false positive of one voxel each."""
    data = prepared(tcia_root, tmp_path)
    case = next(case for case in Store(data.store).cases.values() if case.has_lesion)
    x, _, z = (part.start for part in case.geometry.crop)
    codes = np.zeros((case.geometry.grid_shape[0], case.geometry.grid_shape[2]), np.uint8)
    codes[x, z], codes[x + 3, z], codes[x, z + 3] = HIT, MISS, FALSE
    write(tmp_path, "r", case.case_id, codes, store=data.store)
    return case


def write(results: Path, run_id: str, case_id: str, codes: np.ndarray, *, store: Path) -> None:
    folder = RunFolder(results, run_id)
    folder.write_data(DataPlaces(store, store, store, store))
    projections = Projections("PET", ["tumor"])
    projections.add(codes, reading="", case_id=case_id, region="tumor")
    projections.write(folder.projections_file)


def read(png: bytes | None) -> np.ndarray:
    assert png is not None
    return np.array(Image.open(io.BytesIO(png)).convert("RGB"))


def test_every_voxel_of_an_error_is_painted_at_its_place_in_its_colour(
    case: PreparedCase, tmp_path: Path
) -> None:
    png = thumbnail_png(tmp_path, "r", "", case.case_id)
    picture = read(png)
    assert png is not None
    assert (picture.shape[0], len(png) < 8000) == (160, True)
    centres = {}
    for code in (HIT, MISS, FALSE):
        rows, columns = np.nonzero((picture == ImageColor.getrgb(ERRORS[code])).all(axis=2))
        centres[code] = (rows.mean(), columns.mean())
    # The patient's right is on the left, the head at the top: a higher index of x lies to the left, of z above.
    assert centres[MISS][1] < centres[HIT][1]
    assert centres[MISS][0] == pytest.approx(centres[HIT][0])
    assert centres[FALSE][0] < centres[HIT][0]
    assert centres[FALSE][1] == pytest.approx(centres[HIT][1])
    # Three voxels are 12 mm across and 15 mm upwards; a pixel is as wide as it is high.
    across, up = centres[HIT][1] - centres[MISS][1], centres[HIT][0] - centres[FALSE][0]
    assert across / up == pytest.approx(12 / 15, abs=0.1)


def test_uptake_is_dark_on_white(case: PreparedCase, tmp_path: Path) -> None:
    """White is SUV 0, black SUV 7 and more."""
    geometry = case.geometry
    codes = np.zeros((geometry.grid_shape[0], geometry.grid_shape[2]), np.uint8)
    write(tmp_path, "plain", case.case_id, codes, store=case.folder.parent.parent)
    picture = read(thumbnail_png(tmp_path, "plain", "", case.case_id))
    assert (picture[..., 0] == picture[..., 1]).all()
    highest = case.image()[1].astype(np.float32).max(axis=1)
    expected = 255 * (1 - np.clip(15 * highest / 7, 0, 1))
    assert (picture.min(), picture.max()) == (
        pytest.approx(expected.min(), abs=3),
        pytest.approx(
            255 if (np.array(geometry.crop_shape) < geometry.grid_shape).any() else expected.max(), abs=3
        ),
    )


def test_the_image_is_projected_once_a_case(
    case: PreparedCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = thumbnail_png(tmp_path, "r", "", case.case_id)

    def fail(*_: object) -> None:
        raise AssertionError("projected again")

    monkeypatch.setattr(module, "_projected", fail)
    assert thumbnail_png(tmp_path, "r", "", case.case_id) == first
    (kept,) = (tmp_path / "reports" / ".cache").rglob("*.npz")
    monkeypatch.undo()
    kept.write_bytes(b"half a file")
    assert thumbnail_png(tmp_path, "r", "", case.case_id) == first


def test_results_that_must_not_be_written_to_have_pictures_too(
    case: PreparedCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def full(path: Path) -> Iterator[Path]:
        raise StorageError(f"{path} cannot be written: Read-only file system")
        yield path

    monkeypatch.setattr(module, "written_whole", full)
    made = thumbnail_png(tmp_path, "r", "", case.case_id)
    assert not (tmp_path / "reports").exists()
    monkeypatch.undo()
    assert made is not None
    assert thumbnail_png(tmp_path, "r", "", case.case_id) == made


def test_where_there_is_nothing_to_show_there_is_none(case: PreparedCase, tmp_path: Path) -> None:
    known = ("r", "", case.case_id)
    asked = [("unknown", "", case.case_id), ("r", "other", case.case_id), ("r", "", "nobody"), known]
    made = thumbnails(tmp_path, asked)
    assert list(made) == asked
    assert [made[one] is None for one in asked] == [True, True, True, False]
    (case.folder.parent.parent / "store.json").rename(tmp_path / "away.json")
    assert thumbnail_png(tmp_path, *known) is None


def test_a_damaged_file_of_projections_is_an_error(case: PreparedCase, tmp_path: Path) -> None:
    RunFolder(tmp_path, "r").projections_file.write_bytes(b"text")
    with pytest.raises(BenchError, match="damaged"):
        thumbnail_png(tmp_path, "r", "", case.case_id)


def test_large_patients_and_single_voxels_fit_the_same_picture() -> None:
    """Of 400 x 326 voxels one is an error: it is painted all the same, and the smallest side is a pixel."""
    greys = np.zeros((400, 326), np.uint8)
    backdrop = module._Backdrop(greys, (slice(100, 300), slice(0, 326)), (2.0, 3.0))
    codes = np.zeros(greys.shape, np.uint8)
    codes[200, 100] = MISS
    picture = read(module._png(backdrop, codes))
    # 200 voxels of 2 mm and a margin of 6 on both sides: 424 mm; all 326 of 3 mm: 978 mm.
    assert picture.shape == (160, round(160 * 424 / 978), 3)
    assert (picture == ImageColor.getrgb(ERRORS[MISS])).all(axis=2).any()
