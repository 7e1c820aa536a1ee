"""Projections of errors: hand-made volumes, what a file holds, and that every evaluation writes one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from finished import finished, split_evenly

from benchmark.finished.rescoring import Reproduced, rescore
from benchmark.scoring.projections import FALSE, HIT, MISS, Projections, open_projections, projected_errors
from benchmark.vocabulary import BenchError, Region

TUMOUR = (Region("tumor", (1,)),)
SHAPE = (6, 5, 4)


def volumes() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)


def test_a_hit_hides_a_miss_and_a_miss_a_false_positive_along_the_ray_from_front_to_back() -> None:
    predicted, true = volumes()
    predicted[0, 0, 0] = 1  # false positive alone
    true[1, 4, 0] = 1  # miss alone
    predicted[2, 0, 0], true[2, 4, 0] = 1, 1  # both on one ray
    predicted[3, 1, 0] = true[3, 1, 0] = 1  # a hit,
    predicted[3, 0, 0], true[3, 4, 0] = 1, 1  # before a miss and behind a false positive
    codes = projected_errors(predicted, true, TUMOUR)["tumor"]
    assert codes.shape == (6, 4)
    assert codes[:, 0].tolist() == [FALSE, MISS, MISS, HIT, 0, 0]
    assert not codes[:, 1:].any()


def test_regions_are_projected_each_for_itself() -> None:
    predicted, true = volumes()
    predicted[1, 2, 3], true[1, 2, 3] = 1, 2  # another part of the whole
    true[5, 0, 0] = 3
    regions = (Region("whole", (1, 2, 3)), Region("core", (2, 3)))
    codes = projected_errors(predicted, true, regions)
    assert (codes["whole"][1, 3], codes["whole"][5, 0]) == (HIT, MISS)
    assert (codes["core"][1, 3], codes["core"][5, 0]) == (MISS, MISS)


def test_nothing_is_projected_of_nothing() -> None:
    assert not projected_errors(*volumes(), TUMOUR)["tumor"].any()


def test_the_projection_is_that_of_three_whole_masks() -> None:
    drawn = np.random.default_rng(0)
    predicted, true = np.uint8(drawn.random((2, 30, 20, 25)) > 0.99)
    codes = projected_errors(predicted, true, TUMOUR)["tumor"]
    hit = (predicted & true).max(axis=1) > 0
    miss = (true & ~predicted & 1).max(axis=1) > 0
    false = (predicted & ~true & 1).max(axis=1) > 0
    np.testing.assert_array_equal(codes, np.where(hit, HIT, np.where(miss, MISS, np.where(false, FALSE, 0))))
    assert {0, HIT, MISS, FALSE} >= set(np.unique(codes)) > {MISS, FALSE}


def test_a_file_gives_back_what_was_added_whatever_names_hold(tmp_path: Path) -> None:
    codes = np.arange(12, dtype=np.uint8).reshape(3, 4) % 4
    written = Projections("PET", ["whole tumor", "a/b"])
    written.add(codes, reading="", case_id="case 1", region="whole tumor")
    written.add(codes[::-1], reading="CT or PET", case_id="x/../y", region="a/b")
    path = tmp_path / "run" / "projections.npz"
    written.write(path)
    with open_projections(path) as read:
        assert read is not None
        assert (read.modality, read.regions) == ("PET", ("whole tumor", "a/b"))
        assert (read.cases(""), read.cases("CT or PET"), read.cases("%")) == (["case 1"], ["x/../y"], [])
        np.testing.assert_array_equal(read.codes("", "case 1", "whole tumor"), codes)
        np.testing.assert_array_equal(read.codes("CT or PET", "x/../y", "a/b"), codes[::-1])
        assert read.codes("", "case 1", "a/b") is None
    with open_projections(tmp_path / "none.npz") as nothing:
        assert nothing is None


def test_a_whole_body_case_takes_less_than_two_kilobytes_and_equal_masks_give_equal_files(
    tmp_path: Path,
) -> None:
    """400 x 400 x 326 voxels, fifteen lesions of 1 to 5 cm across, each found and shifted by a voxel."""
    drawn = np.random.default_rng(1)
    x, z = np.ogrid[:400, :326]
    true, predicted = (np.zeros((400, 1, 326), np.uint8) for _ in range(2))
    for _ in range(15):
        across, up, radius = drawn.integers(120, 280), drawn.integers(30, 290), drawn.integers(3, 13)
        for shift, mask in enumerate((true, predicted)):
            mask[:, 0][(x - across - shift) ** 2 + (1.5 * (z - up)) ** 2 <= radius**2] = 1
    codes = projected_errors(predicted, true, TUMOUR)["tumor"]
    sizes = []
    for name in ("one.npz", "two.npz"):
        written = Projections("PET", ["tumor"])
        for number in range(20):
            case_id = f"PETCT_0000b373e3_02-05-2005-NA-PET-CT_Ganzkoerper-{number:05d}"
            written.add(codes, reading="", case_id=case_id, region="tumor")
        written.write(tmp_path / name)
        sizes.append((tmp_path / name).stat().st_size / 20)
    assert sizes[0] < 2000
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


@pytest.mark.parametrize("content", [b"", b"PK nothing", b"text"])
def test_a_damaged_file_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a1b2" / "projections.npz"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(BenchError, match=r"damaged .*`bench evaluate a1b2`"), open_projections(path):
        pass


def test_a_run_keeps_pictures_of_its_masks_and_evaluation_adds_them_to_older_runs(
    tcia_root: Path, tmp_path: Path
) -> None:
    weights = {"rec_ct": 1e-4, "seg": 0.5}
    run = finished(tcia_root, tmp_path, "mirror_unet", weights, version="v1", channels=[2, 4, 4, 4, 4])
    path, case = run.folder.projections_file, run.data.test[0]
    (_, label_maps) = next(iter(run.predicted([case])))
    masks = label_maps[""].voxels > 0, case.label() > 0
    with open_projections(path) as read:
        assert read is not None
        assert (read.modality, read.regions) == ("PET", ("tumor",))
        assert read.cases("") == [one.case_id for one in run.data.test]
        codes = read.codes("", case.case_id, "tumor")
    assert codes is not None
    np.testing.assert_array_equal(codes == HIT, (masks[0] & masks[1]).any(axis=1))
    np.testing.assert_array_equal(codes > 0, (masks[0] | masks[1]).any(axis=1))

    kept = path.read_bytes()
    assert rescore(run).projections is None
    path.unlink()
    assert rescore(run).projections is True
    assert path.read_bytes() == kept
    # Other weights than were scored: these would be pictures of other masks.
    path.unlink()
    assert rescore(split_evenly(run, "pet")).projections is False
    assert not path.exists()


def test_pictures_of_other_masks_do_not_stand_for_those_that_were_scored() -> None:
    def found(**differences: float) -> Reproduced:
        return Reproduced(rows=9, differences=differences, only_stored=0, only_new=0)

    assert found(dice=0.005, over_ml=0.5, under_ml=0.0).alike
    assert not found(dice=0.02).alike
    assert not found(dice=0.0, over_ml=float("inf")).alike
    assert not Reproduced(rows=9, differences={}, only_stored=1, only_new=0).alike
