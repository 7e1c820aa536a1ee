import csv
import dataclasses
import hashlib
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmark.data.phantoms import pet_ct as phantom
from benchmark.data.phantoms.anatomy import TISSUES, Lesion, Patient, Population, draw_patient
from benchmark.data.phantoms.blur import blur
from benchmark.data.phantoms.scanner import Canvas, scan, see_ct, see_pet
from benchmark.data.phantoms.shapes import Grid, SmoothField, cone, ellipsoid
from benchmark.data.readers import autopet
from benchmark.data.readers import phantom as reader
from benchmark.vocabulary import BenchError

COARSE = (9.0, 9.0, 9.0)
N_CASES, SEED = 9, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantoms") / "set"
    phantom.write_phantoms(out, cases=N_CASES, seed=SEED, spacing_mm=COARSE)
    return out


def digests(out: Path) -> dict[str, str]:
    files = (path for path in out.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(out: Path) -> list[dict[str, str]]:
    with (out / phantom.METADATA_FILE).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def values(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def patient_of(study: phantom.Examination, seed: int = SEED) -> Patient:
    return draw_patient(seed, study.patient, healthy=study.healthy, studies=study.n_studies)


def inside_organ(
    patient: Patient, affine: np.ndarray, shape: tuple[int, ...], name: str, depth: float
) -> np.ndarray:
    """Voxels at least `depth` mm within an organ, found from the file's affine alone."""
    bed = patient.studies[0].bed
    axes = []
    for axis, n in enumerate(shape):
        world = affine[axis, axis] * np.arange(n) + affine[axis, 3] - bed[axis]
        axes.append((world / patient.scale[axis]).astype(np.float32))
    x, y, z = np.ix_(*axes)
    mask = np.zeros(shape, bool)
    for part in patient.organs[name]:
        mask |= part.distance(x, y, z) < -depth
    return mask


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_jobs(folder: Path, tmp_path: Path) -> None:
    phantom.write_phantoms(tmp_path / "again", cases=N_CASES, seed=SEED, spacing_mm=COARSE, jobs=2)
    assert digests(tmp_path / "again") == digests(folder)


def test_another_seed_gives_other_patients(folder: Path, tmp_path: Path) -> None:
    phantom.write_phantoms(tmp_path / "other", cases=1, seed=SEED + 1, spacing_mm=COARSE)
    assert not {d for n, d in digests(tmp_path / "other").items() if "SEG" not in n} & set(
        digests(folder).values()
    )


def test_the_reader_of_autopet_finds_every_study_with_its_three_files(folder: Path) -> None:
    found = reader.discover(folder)
    assert len(found) == N_CASES
    assert all(path.is_file() for case in found for path in case.files.values())
    assert dataclasses.replace(autopet.SPEC, name="phantom") == reader.SPEC


def test_the_csv_has_the_columns_of_autopet_and_a_row_per_series(folder: Path) -> None:
    found = rows(folder)
    assert list(found[0]) == list(phantom.COLUMNS)
    assert [row["Modality"] for row in found] == ["SEG", "PT", "CT"] * N_CASES
    assert all(re.fullmatch(r"\d{3}Y", row["age"]) for row in found)
    for row in found:
        assert row["Study UID"][-5:] == row["File Location"].split("/")[-2][-5:]


def test_the_csv_agrees_with_the_labels(folder: Path) -> None:
    cases = reader.discover(folder)
    truth = {case.case_id: bool(values(case.label).any()) for case in cases}
    assert {case.case_id: case.has_lesion for case in cases} == truth
    assert 0 < sum(truth.values()) < N_CASES


@pytest.mark.parametrize("cases", [8, 24, 100])
def test_half_of_the_patients_are_healthy(cases: int) -> None:
    health = {study.patient: study.healthy for study in phantom.plan(cases, seed=SEED)}
    assert abs(sum(health.values()) - len(health) / 2) <= 0.5


def test_of_eight_studies_two_belong_to_one_patient_and_their_folders_lie_together() -> None:
    planned = phantom.plan(80, seed=SEED)
    assert len({study.patient for study in planned}) == 70
    assert len({study.folder for study in planned}) == 80
    assert len({study.folder.split("/")[0] for study in planned}) == 70


def test_a_study_does_not_depend_on_how_many_are_asked_for() -> None:
    assert phantom.plan(100, seed=SEED)[:17] == phantom.plan(17, seed=SEED)


def test_files_share_one_grid_in_las_orientation_with_the_types_of_autopet(folder: Path) -> None:
    for case in reader.discover(folder):
        images = {role: nib.load(path) for role, path in case.files.items()}
        affine = images["PET"].affine
        assert nib.aff2axcodes(affine) == ("L", "A", "S")
        assert all(np.array_equal(image.affine, affine) for image in images.values())
        assert len({image.shape for image in images.values()}) == 1
        kinds = {role: str(image.get_data_dtype()) for role, image in images.items()}
        assert kinds == {"CT": "float32", "PET": "float32", "label": "uint8"}
        assert images["CT"].header.get_zooms() == COARSE


def test_an_interrupted_folder_is_completed_and_finished_studies_are_not_touched(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    def stop(done: int, _: int) -> None:
        if done == 1:
            raise Killed

    out = tmp_path / "set"
    with pytest.raises(Killed):
        phantom.write_phantoms(out, cases=N_CASES, seed=SEED, spacing_mm=COARSE, progress=stop)
    first = next(out.rglob("SUV.nii.gz"))
    stamp = first.stat().st_mtime_ns
    # A kill -9 leaves a study without its label and a temporary file.
    second = out / phantom.plan(2, seed=SEED)[1].folder
    second.mkdir(parents=True)
    (second / ".SUV.nii.gz.x.tmp").write_bytes(b"half")
    seen: list[int] = []
    phantom.write_phantoms(
        out, cases=N_CASES, seed=SEED, spacing_mm=COARSE, progress=lambda done, total: seen.append(done)
    )
    assert seen == list(range(1, N_CASES + 1))
    assert first.stat().st_mtime_ns == stamp
    assert digests(out) == digests(folder)
    monkeypatch.setattr(phantom, "scan", None)
    phantom.write_phantoms(out, cases=N_CASES, seed=SEED, spacing_mm=COARSE)


def test_more_cases_can_be_added_to_a_folder(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    phantom.write_phantoms(out, cases=2, seed=SEED, spacing_mm=COARSE)
    few = digests(out)
    phantom.write_phantoms(out, cases=3, seed=SEED, spacing_mm=COARSE)
    more = digests(out)
    assert all(more[name] == few[name] for name in few if name.endswith(".nii.gz"))
    assert len(rows(out)) == 9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": SEED + 1}, "seed 3, not 4"),
        ({"spacing_mm": (8.0, 8.0, 8.0)}, "spacing_mm"),
        ({"cases": N_CASES - 1}, "--cases 9"),
        ({"lesion_mm": 30.0}, "lesion_mm as usual, not 30"),
        ({"one_healthy_in": 4}, "one_healthy_in as usual, not 4"),
        ({"suv": {"urine": 3.0}}, "suv as usual, not {'urine': 3.0}"),
    ],
)
def test_a_folder_of_other_phantoms_is_refused(folder: Path, change: dict, words: str) -> None:
    before = digests(folder)
    with pytest.raises(BenchError, match=re.escape(words)):
        phantom.write_phantoms(folder, **{"cases": N_CASES, "seed": SEED, "spacing_mm": COARSE, **change})
    assert digests(folder) == before


def test_usual_phantoms_are_refused_in_a_folder_of_unusual_ones(tmp_path: Path) -> None:
    phantom.write_phantoms(tmp_path / "x", cases=1, seed=SEED, spacing_mm=COARSE, lesion_suv=13.0)
    with pytest.raises(BenchError, match=re.escape("lesion_suv 13.0, not as usual")):
        phantom.write_phantoms(tmp_path / "x", cases=1, seed=SEED, spacing_mm=COARSE)


def test_of_four_neighbours_one_is_healthy() -> None:
    patients = {study.patient: study.healthy for study in phantom.plan(200, seed=SEED, one_healthy_in=4)}
    blocks = [[patients[4 * block + place] for place in range(4)] for block in range(len(patients) // 4)]
    assert {sum(block) for block in blocks} == {1}
    assert len({tuple(block) for block in blocks}) == 4


def test_medians_of_lesions_are_those_asked_for() -> None:
    def lesions(**unusual: float) -> list[Lesion]:
        population = Population(**unusual)
        drawn = (
            draw_patient(SEED, index, healthy=False, studies=1, population=population) for index in range(60)
        )
        return [lesion for patient in drawn for lesion in patient.studies[0].lesions]

    usual, unusual = lesions(), lesions(lesion_mm=30.0, lesion_suv=13.0)
    assert np.median([lesion.diameter_mm for lesion in usual]) == pytest.approx(17, rel=0.15)
    assert np.median([lesion.diameter_mm for lesion in unusual]) == pytest.approx(30, rel=0.15)
    assert np.median([lesion.suv for lesion in usual]) == pytest.approx(6.5, rel=0.2)
    assert np.median([lesion.suv for lesion in unusual]) == pytest.approx(13, rel=0.2)
    assert max(lesion.diameter_mm for lesion in unusual) <= 50


def test_spreads_of_lesions_are_those_asked_for() -> None:
    population = Population(lesion_mm=20.0, lesion_mm_spread=0.1, lesion_suv=10.0, lesion_suv_spread=0.2)
    drawn = (
        draw_patient(SEED, index, healthy=False, studies=1, population=population) for index in range(60)
    )
    lesions = [lesion for patient in drawn for lesion in patient.studies[0].lesions]
    assert np.std(np.log([lesion.diameter_mm for lesion in lesions])) == pytest.approx(0.1, rel=0.2)
    assert np.std(np.log([lesion.suv for lesion in lesions])) == pytest.approx(0.2, rel=0.2)


def test_a_tissue_has_the_uptake_asked_for_and_all_others_theirs() -> None:
    """Nothing else is drawn otherwise: HU, other tissues and the day's changes stay to the last bit."""
    population = Population(suv={"urine": 3.0}, suv_spread={"urine": 0.0})
    for index in range(3):
        usual, unusual = (
            draw_patient(SEED, index, healthy=True, studies=1, population=each).studies[0].tissues
            for each in (Population(), population)
        )
        assert [name for name in usual if usual[name] != unusual[name]] == ["urine"]
        assert unusual["urine"][0] == usual["urine"][0]
        # Without differences between patients those of the day remain: a logarithm of 0.4, two deviations at most.
        assert abs(np.log(unusual["urine"][1] / 3.0)) <= 0.8


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(BenchError, match=r"not empty \(thesis.txt"):
        phantom.write_phantoms(tmp_path, cases=1, seed=0, spacing_mm=COARSE)
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == ["thesis.txt"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"cases": 0},
        {"seed": -1},
        {"spacing_mm": (0.0, 2.0, 2.0)},
        {"spacing_mm": (50.0, 50.0, 50.0)},
        {"jobs": 0},
        {"one_healthy_in": 1},
        {"lesion_mm": 60.0},
        {"lesion_mm_spread": -0.1},
        {"lesion_suv_spread": 3.0},
        {"suv": {"urin": 3.0}},
        {"suv": {"urine": -3.0}},
        {"suv_spread": {"urine": float("nan")}},
        {"lesion_suv": 1.0},
    ],
)
def test_senseless_parameters_are_refused_before_anything_is_written(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(BenchError):
        phantom.write_phantoms(tmp_path / "x", **{"cases": 1, "seed": 0, "spacing_mm": COARSE, **wrong})
    assert not (tmp_path / "x").exists()


# Ranges that a radiologist or nuclear physician would accept; HU with or without contrast.
ORGAN_RANGES = {
    "liver": (12, (35, 145), (1.2, 3.8)),
    "lungs": (14, (-920, -700), (0.2, 0.9)),
    "spleen": (10, (30, 150), (1.0, 3.2)),
    "kidneys": (8, (15, 230), (1.3, 9.0)),
    "bladder": (12, (-5, 25), (2.0, 90.0)),
    "cerebellum": (10, (25, 55), (4.5, 14.0)),
    "left ventricle": (6, (20, 190), (0.9, 9.0)),
    "muscle": (20, (25, 85), (0.35, 1.2)),
}


@pytest.fixture(scope="module")
def fine_case(tmp_path_factory: pytest.TempPathFactory) -> tuple[Patient, Path]:
    out = tmp_path_factory.mktemp("fine")
    phantom.write_phantoms(out, cases=1, seed=11, spacing_mm=(4.0, 4.0, 4.0))
    study = phantom.plan(1, seed=11)[0]
    return patient_of(study, 11), out / study.folder


@pytest.mark.parametrize("organ", ORGAN_RANGES)
def test_organs_in_the_files_have_plausible_hu_and_suv(fine_case: tuple[Patient, Path], organ: str) -> None:
    patient, files = fine_case
    depth, hu, suv = ORGAN_RANGES[organ]
    ct = nib.load(files / "CTres.nii.gz")
    mask = inside_organ(patient, ct.affine, ct.shape, organ, depth) & (values(files / "SEG.nii.gz") == 0)
    assert mask.sum() > 5
    assert hu[0] < np.median(ct.get_fdata()[mask]) < hu[1]
    assert suv[0] < np.median(values(files / "SUV.nii.gz")[mask]) < suv[1]


def test_grey_matter_is_hotter_than_anything_in_the_trunk_but_urine_heart_and_bowel(
    fine_case: tuple[Patient, Path],
) -> None:
    patient, files = fine_case
    suv = nib.load(files / "SUV.nii.gz")
    brain = inside_organ(patient, suv.affine, suv.shape, "brain", 2)
    liver = inside_organ(patient, suv.affine, suv.shape, "liver", 12)
    assert values(files / "SUV.nii.gz")[brain].mean() > 2 * values(files / "SUV.nii.gz")[liver].mean()


def test_the_liver_is_on_the_right_and_the_heart_on_the_left(fine_case: tuple[Patient, Path]) -> None:
    patient, files = fine_case
    affine, shape = (image := nib.load(files / "SUV.nii.gz")).affine, image.shape
    right = (affine @ [*np.argwhere(inside_organ(patient, affine, shape, "liver", 0)).mean(0), 1])[0]
    left = (affine @ [*np.argwhere(inside_organ(patient, affine, shape, "myocardium", 0)).mean(0), 1])[0]
    assert right > 30
    assert left < -15


def test_the_organs_have_the_volumes_of_adults(fine_case: tuple[Patient, Path]) -> None:
    patient, files = fine_case
    image = nib.load(files / "SUV.nii.gz")
    # Reference masses of ICRP 89 for adults, about 1 g/ml: liver 1400-1800, spleen 130-150, brain 1300-1450.
    for organ, low, high in (
        ("liver", 1000, 2400),
        ("spleen", 90, 350),
        ("brain", 900, 1800),
        ("lungs", 2500, 7000),
    ):
        ml = inside_organ(patient, image.affine, image.shape, organ, 0).sum() * 0.064 * np.prod(patient.scale)
        assert low < ml < high, (organ, ml)


def test_pet_in_air_is_exactly_zero_and_nowhere_negative(folder: Path) -> None:
    for case in reader.discover(folder):
        suv = values(case.images["PET"])
        assert suv.min() == 0
        assert suv[:3, :3].max() == suv[:, -2:].max() == 0
        assert (suv > 0.05).mean() > 0.1


def test_air_around_the_body_is_minus_1000_hu(folder: Path) -> None:
    for case in reader.discover(folder):
        assert abs(values(case.images["CT"])[:3, -6:].mean() + 1000) < 5


def hot_lesion(diameter_mm: float, suv: float = 15.0) -> Lesion:
    return Lesion("liver", (70.0, 0.0, 300.0), diameter_mm, suv, 60.0, (1.0, 1.0, 1.0), ())


def with_lesions(patient: Patient, *lesions: Lesion) -> Patient:
    study = dataclasses.replace(patient.studies[0], lesions=lesions)
    return dataclasses.replace(patient, studies=(study,))


def test_a_hot_lesion_stands_out_in_pet_and_is_dark_on_contrast_ct() -> None:
    patient = with_lesions(draw_patient(0, 0, healthy=True, studies=1), hot_lesion(40))
    volumes = scan(patient, patient.studies[0], spacing_mm=(5.0, 5.0, 5.0))
    lesion = volumes.label == 1
    assert volumes.suv[lesion].mean() > 8
    assert abs(np.median(volumes.ct[lesion]) - 60) < 10
    # A sphere of 40 mm: 33.5 ml.
    assert lesion.sum() * 0.125 == pytest.approx(33.5, rel=0.1)


def test_a_lesion_smaller_than_a_voxel_still_has_a_label_and_keeps_its_activity() -> None:
    patient = with_lesions(draw_patient(0, 0, healthy=True, studies=1), hot_lesion(8, suv=20))
    without = with_lesions(patient)
    spacing = (20.0, 20.0, 20.0)
    canvas, plain = (Canvas(Grid.over(*p.extent, spacing), p, p.studies[0]) for p in (patient, without))
    label = np.zeros(canvas.activity.shape, np.uint8)
    canvas.paint_lesion(patient.studies[0].lesions[0], label)
    assert label.sum() >= 1
    # 0.268 ml in voxels of 8 ml.
    assert canvas.activity.sum() * 8 == pytest.approx(20 * 0.268, rel=0.5)
    assert plain.activity.sum() == 0


@pytest.mark.parametrize("spacing", [5.0, 9.0, 14.0])
def test_every_planned_lesion_is_labelled_at_any_spacing(spacing: float) -> None:
    patient = draw_patient(5, 2, healthy=False, studies=1)
    (study,) = patient.studies
    for lesion in study.lesions:
        canvas = Canvas(Grid.over(*patient.extent, (spacing,) * 3), patient, study)
        label = np.zeros(canvas.activity.shape, np.uint8)
        canvas.paint_lesion(lesion, label)
        assert label.any()


def test_lesions_are_as_many_as_large_and_as_hot_as_documented() -> None:
    lesions: list[Lesion] = []
    for index in range(60):
        (study,) = draw_patient(9, index, healthy=False, studies=1).studies
        assert 1 <= len(study.lesions) <= 8
        lesions += study.lesions
    sizes, heat = ([getattr(lesion, name) for lesion in lesions] for name in ("diameter_mm", "suv"))
    assert min(sizes) >= 8
    assert 30 < max(sizes) <= 50
    assert np.mean(np.array(heat) < 3.5) > 0.05
    assert np.mean(np.array(heat) > 10) > 0.1
    assert {lesion.site for lesion in lesions} == {"lung", "node", "liver", "bone"}


def test_healthy_patients_have_no_lesions_but_some_have_hot_foci_that_are_not_labelled() -> None:
    drawn = [draw_patient(9, index, healthy=True, studies=1) for index in range(40)]
    assert all(not patient.studies[0].lesions and patient.diagnosis == "NEGATIVE" for patient in drawn)
    inflamed = sum(
        any(p.tissue in ("inflammation", "pneumonia") for p in patient.studies[0].parts) for patient in drawn
    )
    brown = sum("brown fat" in patient.organs for patient in drawn)
    assert 8 <= inflamed <= 26
    assert 0 <= brown <= 12


def test_myocardial_uptake_differs_widely_and_the_liver_little() -> None:
    drawn = [draw_patient(4, index, healthy=True, studies=1).studies[0].tissues for index in range(60)]
    spread = {name: np.std(np.log([t[name][1] for t in drawn])) for name in ("myocardium", "liver")}
    assert spread["myocardium"] > 0.5
    assert spread["liver"] < 0.3


def test_two_studies_of_a_patient_share_the_anatomy_and_differ_in_lesions() -> None:
    patient = next(
        p
        for p in (draw_patient(6, index, healthy=False, studies=2) for index in range(40))
        if p.studies[0].lesions and p.studies[0].lesions != p.studies[1].lesions
    )
    first, second = (scan(patient, study, spacing_mm=(8.0, 8.0, 8.0)) for study in patient.studies)
    stranger = draw_patient(6, 77, healthy=False, studies=1)
    other = scan(stranger, stranger.studies[0], spacing_mm=(8.0, 8.0, 8.0))
    n = min(first.ct.shape[2], other.ct.shape[2])
    bone = [volume.ct[..., -n:] > 180 for volume in (first, second, other)]

    def dice(a: np.ndarray, b: np.ndarray) -> float:
        return float(2 * (a & b).sum() / (a.sum() + b.sum()))

    assert dice(bone[0], bone[1]) > 0.9 > dice(bone[0], bone[2])
    assert not np.array_equal(first.label, second.label)
    assert not np.array_equal(first.suv, second.suv)


def test_follow_ups_shrink_grow_vanish_and_bring_new_lesions() -> None:
    pairs = [draw_patient(8, index, healthy=False, studies=2).studies for index in range(30)]
    change = []
    for before, after in pairs:
        old = {lesion.center: lesion for lesion in before.lesions}
        new = {lesion.center: lesion for lesion in after.lesions}
        change += [new[c].diameter_mm - old[c].diameter_mm for c in old.keys() & new.keys()]
        change += [np.nan] * len(old.keys() - new.keys()) + [np.inf] * len(new.keys() - old.keys())
    found = np.array(change)
    assert np.isnan(found).any()
    assert np.isinf(found).any()
    assert (found < -1).any()
    assert ((found > 1) & np.isfinite(found)).any()


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 3.0), (5.0, 5.0, 6.0)])
def test_a_point_source_is_blurred_to_six_mm(spacing: tuple[float, float, float]) -> None:
    source = np.zeros((25, 25, 25), np.float32)
    source[12, 12, 12] = 1000
    image = blur(source, 6.0, spacing).astype(float)
    assert image.sum() == pytest.approx(1000, rel=1e-4)
    for axis, step in enumerate(spacing):
        profile = image.sum(axis=tuple({0, 1, 2} - {axis}))
        position = (np.arange(25) - 12) * step
        sigma = np.sqrt((profile * position**2).sum() / profile.sum())
        assert 2.3548 * sigma == pytest.approx(6.0, abs=0.05)


def test_the_half_maximum_of_a_scanned_point_source_lies_three_mm_off() -> None:
    source = np.zeros((31, 31, 31), np.float32)
    source[15, 15, 15] = 1e4
    image = see_pet(source, spacing_mm=(1.0, 1.0, 1.0), noise=0.0, rng=np.random.default_rng(0))
    profile = image[15:, 15, 15] / image[15, 15, 15]
    assert np.interp(0.5, profile[::-1], np.arange(16)[::-1]) == pytest.approx(3.0, abs=0.1)


def test_pet_noise_grows_with_the_root_of_the_activity_and_larger_voxels_have_less() -> None:
    def spread(suv: float, spacing: tuple[float, float, float]) -> float:
        flat = np.full((40, 40, 40), suv, np.float32)
        return float(see_pet(flat, spacing_mm=spacing, noise=0.1, rng=np.random.default_rng(1)).std())

    reference = (2.04, 2.04, 3.0)
    assert spread(2.2, reference) == pytest.approx(0.22, rel=0.1)
    assert spread(8.8, reference) == pytest.approx(2 * spread(2.2, reference), rel=0.02)
    assert spread(2.2, (6.0, 6.0, 6.0)) < 0.8 * spread(2.2, reference)
    assert spread(0.0, reference) == 0


def test_pet_noise_is_shared_by_neighbours() -> None:
    flat = np.full((60, 60, 40), 2.2, np.float32)
    noise = see_pet(flat, spacing_mm=(2.0, 2.0, 3.0), noise=0.1, rng=np.random.default_rng(2)) - 2.2
    beside = np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1]
    far = np.corrcoef(noise[8:].ravel(), noise[:-8].ravel())[0, 1]
    assert beside > 0.6
    assert abs(far) < 0.05


def test_ct_noise_is_mild_and_unbiased() -> None:
    flat = np.full((40, 40, 40), 50, np.float32)
    seen = see_ct(flat, spacing_mm=(2.04, 2.04, 3.0), rng=np.random.default_rng(0))
    assert seen.mean() == pytest.approx(50, abs=0.5)
    assert seen.std() == pytest.approx(12, rel=0.1)
    assert np.array_equal(seen, np.rint(seen))


def test_distances_of_simple_shapes_are_exact() -> None:
    ball = ellipsoid((0, 0, 0), (10, 10, 10))
    assert ball.depth((0, 0, 4)) == pytest.approx(6)
    assert ball.depth((0, 0, 13)) == pytest.approx(-3)
    rod = cone((0, 0, 0), (0, 0, 20), 5, 3)
    assert rod.depth((1, 0, 10)) == pytest.approx(3)
    assert (ball - rod).depth((0, 0, 4)) < 0
    assert ball.wall(2).depth((0, 0, 9)) == pytest.approx(1)


def test_a_smooth_field_is_the_same_on_every_grid() -> None:
    field = SmoothField.draw(np.random.default_rng(0), low=(-50, -50, -50), high=(50, 50, 50), pitch=10)
    coarse, fine = (
        field.on(a[:, None, None], a[None, :, None], a[None, None, :])
        for a in (np.arange(-48, 48, 6, dtype=np.float32), np.arange(-48, 48, 2, dtype=np.float32))
    )
    np.testing.assert_allclose(fine[::3, ::3, ::3], coarse, atol=1e-4)
    assert 0.7 < fine.std() < 1.3


def test_the_documented_table_holds_the_values_of_the_code() -> None:
    text = (Path(__file__).parents[1] / "docs" / "phantoms.md").read_text(encoding="utf-8")
    table = {}
    for line in text[: text.index("## Brain phantoms")].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and cells[0] in TISSUES:
            table[cells[0]] = tuple(float(cell.replace("−", "-")) for cell in cells[1:4])
    assert table == {name: (t.hu, t.hu_contrast, t.suv) for name, t in TISSUES.items()}
