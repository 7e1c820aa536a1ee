import dataclasses
import hashlib
import json
import math
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmark.data.phantoms import brain as phantom
from benchmark.data.phantoms.brain_anatomy import CORTEX_MM, melt
from benchmark.data.phantoms.brain_canvas import Canvas
from benchmark.data.phantoms.brain_contrast import (
    CONTRASTS,
    TISSUES,
    Acquisition,
    Sequence,
    draw_acquisitions,
    see,
)
from benchmark.data.phantoms.brain_glioma import LOBES
from benchmark.data.phantoms.brain_grid import Grid
from benchmark.data.phantoms.brain_patient import Patient, draw_patient
from benchmark.data.phantoms.brain_scan import Volumes, scan
from benchmark.data.phantoms.pet_ct import write_phantoms
from benchmark.data.phantoms.shapes import SmoothField
from benchmark.data.readers import brain_phantom, msd
from benchmark.vocabulary import BenchError

COARSE = (9.0, 9.0, 9.0)
N_CASES, SEED = 3, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("brains") / "set"
    phantom.write_brain_phantoms(out, cases=N_CASES, seed=SEED, spacing_mm=COARSE)
    return out


def digests(out: Path) -> dict[str, str]:
    files = (path for path in out.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def values(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_jobs(folder: Path, tmp_path: Path) -> None:
    phantom.write_brain_phantoms(tmp_path / "again", cases=N_CASES, seed=SEED, spacing_mm=COARSE, jobs=2)
    assert digests(tmp_path / "again") == digests(folder)


def test_another_seed_gives_other_brains(folder: Path, tmp_path: Path) -> None:
    phantom.write_brain_phantoms(tmp_path / "other", cases=1, seed=SEED + 1, spacing_mm=COARSE)
    images = {d for name, d in digests(tmp_path / "other").items() if name.endswith(".nii.gz")}
    assert not images & set(digests(folder).values())


def test_the_reader_of_the_decathlon_finds_every_case_and_the_unlabelled_one(folder: Path) -> None:
    found = brain_phantom.discover(folder)
    assert [case.case_id for case in found] == ["BRATS_001", "BRATS_002", "BRATS_003"]
    assert all(path.is_file() for case in found for path in case.files.values())
    assert found[0].channels == {"FLAIR": 0, "T1w": 1, "T1Gd": 2, "T2w": 3}
    (other,) = brain_phantom.unlabelled(folder)
    assert other.label is None
    assert dataclasses.replace(msd.SPEC, name="brain_phantom") == brain_phantom.spec_of(folder)


def test_the_description_counts_and_names_the_files_as_the_decathlon_does(folder: Path) -> None:
    written = json.loads((folder / "dataset.json").read_text())
    assert (written["numTraining"], written["numTest"]) == (3, 1)
    assert written["training"][0] == {
        "image": "./imagesTr/BRATS_001.nii.gz",
        "label": "./labelsTr/BRATS_001.nii.gz",
    }
    assert list(written["modality"].values()) == ["FLAIR", "T1w", "t1gd", "T2w"]
    assert all((folder / name).is_file() for name in written["test"])


def test_images_have_four_axes_and_labels_three_on_the_same_grid(folder: Path) -> None:
    for case in brain_phantom.discover(folder):
        image, label = nib.load(case.images["FLAIR"]), nib.load(case.label)
        assert image.shape == (27, 27, 18, 4)
        assert label.shape == (27, 27, 18)
        assert (image.get_data_dtype(), label.get_data_dtype()) == (np.int16, np.uint8)
        assert image.header.get_zooms()[:3] == label.header.get_zooms() == COARSE
        assert np.array_equal(image.affine, label.affine)
        assert nib.aff2axcodes(image.affine) == ("L", "P", "S")


def test_at_one_mm_the_grid_is_that_of_brats() -> None:
    grid = Grid((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    assert grid.shape == (240, 240, 155)
    assert grid.affine.tolist() == [[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_a_case_does_not_depend_on_how_many_are_asked_for(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    phantom.write_brain_phantoms(out, cases=1, seed=SEED, spacing_mm=COARSE)
    few = digests(out)
    phantom.write_brain_phantoms(out, cases=N_CASES, seed=SEED, spacing_mm=COARSE)
    assert digests(out) == digests(folder)
    assert all(digests(folder)[name] == few[name] for name in few if name.endswith(".nii.gz"))


@pytest.mark.parametrize(("cases", "others"), [(1, 1), (10, 1), (11, 2), (60, 6)])
def test_for_every_ten_labelled_cases_begun_there_is_one_without(cases: int, others: int) -> None:
    planned = phantom.plan(cases, seed=SEED)
    assert sum(case.label is None for case in planned) == others
    assert len({case.image for case in planned}) == len({case.patient for case in planned}) == cases + others


def test_of_six_neighbours_one_has_a_glioma_of_low_grade() -> None:
    grades = [case.low_grade for case in phantom.plan(60, seed=SEED)[:60]]
    assert [sum(grades[k : k + 6]) for k in range(0, 60, 6)] == [1] * 10


def test_an_interrupted_folder_is_completed_and_finished_cases_are_not_touched(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    def stop(done: int, _: int) -> None:
        if done == 1:
            raise Killed

    out = tmp_path / "set"
    with pytest.raises(Killed):
        phantom.write_brain_phantoms(out, cases=N_CASES, seed=SEED, spacing_mm=COARSE, progress=stop)
    assert not (out / "dataset.json").exists()
    first = out / "imagesTr" / "BRATS_001.nii.gz"
    stamp = first.stat().st_mtime_ns
    # A kill -9 leaves an image without its label, and temporary files.
    (out / "imagesTr" / "BRATS_002.nii.gz").write_bytes(b"half")
    (out / "imagesTr" / ".BRATS_002.nii.gz.x.tmp").write_bytes(b"half")
    seen: list[tuple[int, int]] = []
    phantom.write_brain_phantoms(
        out, cases=N_CASES, seed=SEED, spacing_mm=COARSE, progress=lambda *done: seen.append(done)
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert first.stat().st_mtime_ns == stamp
    assert digests(out) == digests(folder)
    monkeypatch.setattr(phantom, "scan", None)
    phantom.write_brain_phantoms(out, cases=N_CASES, seed=SEED, spacing_mm=COARSE)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": SEED + 1}, "seed 5, not 6"),
        ({"spacing_mm": (8.0, 8.0, 8.0)}, "spacing_mm"),
        ({"cases": N_CASES - 1}, "--cases 3"),
    ],
)
def test_a_folder_of_other_phantoms_is_refused(folder: Path, change: dict, words: str) -> None:
    before = digests(folder)
    with pytest.raises(BenchError, match=re.escape(words)):
        phantom.write_brain_phantoms(
            folder, **{"cases": N_CASES, "seed": SEED, "spacing_mm": COARSE, **change}
        )
    assert digests(folder) == before


def test_brains_and_bodies_of_the_same_seed_do_not_share_a_folder(folder: Path) -> None:
    with pytest.raises(BenchError, match="kind brain, not pet-ct"):
        write_phantoms(folder, cases=N_CASES, seed=SEED, spacing_mm=COARSE)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(BenchError, match=r"not empty \(thesis.txt"):
        phantom.write_brain_phantoms(tmp_path, cases=1, seed=0, spacing_mm=COARSE)


@pytest.mark.parametrize("wrong", [{"cases": 0}, {"seed": -1}, {"spacing_mm": (20.0, 2.0, 2.0)}, {"jobs": 0}])
def test_senseless_parameters_are_refused_before_anything_is_written(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(BenchError):
        phantom.write_brain_phantoms(tmp_path / "x", **{"cases": 1, "seed": 0, "spacing_mm": COARSE, **wrong})
    assert not (tmp_path / "x").exists()


def test_outside_the_brain_all_contrasts_are_zero_and_inside_none_is(folder: Path) -> None:
    for case in brain_phantom.discover(folder):
        image, label = values(case.images["FLAIR"]), values(case.label)
        inside = image[..., 0] > 0
        assert all(np.array_equal(image[..., k] > 0, inside) for k in range(4))
        assert image.min() == 0
        assert not inside[[0, -1]].any()
        assert not inside[:, [0, -1]].any()
        assert inside[label > 0].all()
        # A brain with its fluid: some 1.2 to 1.8 l.
        assert 1.2 < inside.sum() * 9**3 / 1e6 < 1.8


@dataclasses.dataclass
class Seen:
    """A scan at 2.5 mm, where every voxel is rendered in one piece, with the anatomy behind it."""

    patient: Patient
    volumes: Volumes
    canvas: Canvas
    box: tuple[slice, slice, slice]

    def mean(self, contrast: str, where: np.ndarray) -> float:
        return float(self.volumes.image[..., CONTRASTS.index(contrast)][self.box][where].mean())

    @property
    def label(self) -> np.ndarray:
        return self.volumes.label[self.box]

    @property
    def healthy(self) -> np.ndarray:
        return (self.label == 0) & (self.canvas.inside > 0.99) & (self.canvas.outline < -4)

    @property
    def white(self) -> np.ndarray:
        """Deep white matter, away from ventricles, nuclei, vessels and the tumour."""
        far = np.ones(self.label.shape, bool)
        far[self.canvas.ventricle_box] = self.canvas.ventricle > 8
        return self.healthy & far & (self.canvas.cortex > 8) & (self.canvas.nuclei == 0)

    @property
    def fluid(self) -> np.ndarray:
        inner = np.zeros(self.label.shape, bool)
        inner[self.canvas.ventricle_box] = self.canvas.ventricle < -3.5
        return inner & (self.label == 0)


@pytest.fixture(scope="module", params=[(1, 0, False), (1, 4, False), (2, 7, False)])
def seen(request: pytest.FixtureRequest) -> Seen:
    seed, index, low_grade = request.param
    spacing = (2.5, 2.5, 2.5)
    patient = draw_patient(seed, index, low_grade=low_grade)
    grid = Grid(spacing, patient.brain.scale)
    canvas = Canvas(grid, patient)
    return Seen(patient, scan(patient, spacing_mm=spacing), canvas, grid.box)


def test_on_flair_oedema_is_brighter_than_white_matter_and_fluid_is_darkest(seen: Seen) -> None:
    assert seen.mean("FLAIR", seen.label == 1) > 1.2 * seen.mean("FLAIR", seen.white)
    assert seen.mean("FLAIR", seen.fluid) < 0.5 * seen.mean("FLAIR", seen.white)


def test_after_gadolinium_the_enhancing_tumour_is_brighter_than_white_matter_and_before_it_is_not(
    seen: Seen,
) -> None:
    bright = seen.label == 3
    assert seen.mean("T1Gd", bright) > 1.15 * seen.mean("T1Gd", seen.white)
    assert seen.mean("T1w", bright) < seen.mean("T1w", seen.white)
    assert seen.mean("T1Gd", bright) > 1.2 * seen.mean("T1Gd", seen.label == 2)


def test_on_t1_white_matter_is_brighter_than_fluid_and_on_t2_the_other_way_round(seen: Seen) -> None:
    assert seen.mean("T1w", seen.white) > 1.5 * seen.mean("T1w", seen.fluid)
    assert seen.mean("T2w", seen.fluid) > 1.5 * seen.mean("T2w", seen.label == 1)
    assert seen.mean("T2w", seen.label == 1) > 1.2 * seen.mean("T2w", seen.white)


def test_grey_matter_is_darker_than_white_on_t1_and_brighter_on_t2(seen: Seen) -> None:
    cortex = seen.healthy & (seen.canvas.cortex > 0.8) & (seen.canvas.cortex < CORTEX_MM - 0.8)
    assert seen.mean("T1w", cortex) < seen.mean("T1w", seen.white)
    assert seen.mean("T2w", cortex) > seen.mean("T2w", seen.white)


def test_oedema_lies_in_white_matter(seen: Seen) -> None:
    oedema = seen.label == 1
    assert (seen.canvas.cortex[oedema] > CORTEX_MM).mean() > 0.8
    # It is a choice: of the whole brain much less is white matter.
    assert (seen.canvas.cortex[seen.canvas.inside > 0.5] > CORTEX_MM).mean() < 0.5


def test_the_core_lies_on_its_side_of_the_falx_and_is_surrounded_by_oedema(seen: Seen) -> None:
    label, tumour = seen.label, seen.patient.glioma
    assert not tumour.crosses
    x = np.broadcast_to(seen.canvas.before[0], label.shape)[label >= 2]
    assert (np.sign(x) == np.sign(tumour.center[0])).mean() > 0.99
    # The array's first axis runs to the left, so what is on the right comes first.
    first = np.argwhere(seen.volumes.label >= 2)[:, 0].mean() < seen.volumes.label.shape[0] / 2
    assert first == (tumour.center[0] > 0)


def test_a_low_grade_glioma_takes_up_no_contrast() -> None:
    patient = draw_patient(1, 3, low_grade=True)
    volumes = scan(patient, spacing_mm=(5.0, 5.0, 5.0))
    assert np.unique(volumes.label).tolist() == [0, 1, 2]
    core = volumes.label == 2
    for contrast in (1, 2):
        # Darker than white matter, before as after.
        gain = patient.acquisitions[CONTRASTS[contrast]].gain
        assert np.median(volumes.image[..., contrast][core]) < 0.95 * gain


def test_a_tumour_has_the_same_volume_at_any_spacing_and_no_label_vanishes() -> None:
    patient = draw_patient(1, 4, low_grade=False)
    ml = {}
    for spacing in (2.5, 5.0, 12.0):
        label = scan(patient, spacing_mm=(spacing,) * 3).label
        assert np.unique(label).tolist() == [0, 1, 2, 3]
        ml[spacing] = (label >= 2).sum() * spacing**3 / 1000
    assert ml[5.0] == pytest.approx(ml[2.5], rel=0.1)
    assert ml[12.0] == pytest.approx(ml[2.5], rel=0.35)


def test_labels_do_not_depend_on_the_scanner() -> None:
    patient = draw_patient(1, 4, low_grade=False)
    box = ((-80.0, -120.0, -80.0), (80.0, 80.0, 90.0))
    other = dataclasses.replace(
        patient, acquisitions=draw_acquisitions(np.random.default_rng(9), box[0], box[1])
    )
    one, two = (scan(p, spacing_mm=COARSE) for p in (patient, other))
    assert np.array_equal(one.label, two.label)
    assert not np.array_equal(one.image, two.image)


def best_common_threshold(scans: list[Volumes], contrast: str) -> float:
    """The mean Dice of the whole tumour that the best threshold, the same for all, reaches on z-scores."""
    found = []
    for volumes in scans:
        inside = volumes.image[..., 0] > 0
        image = volumes.image[..., CONTRASTS.index(contrast)].astype(float)
        z = (image - image[inside].mean()) / image[inside].std()
        found.append(
            [
                dice((sign * z > cut) & inside, volumes.label > 0)
                for sign in (1, -1)
                for cut in np.linspace(0.2, 3.0, 15)
            ]
        )
    return float(np.mean(found, axis=0).max())


def without_difficulties(patient: Patient) -> Patient:
    """The same patient, with watery oedema and an even coil, and without what else is bright on FLAIR."""
    brain = dataclasses.replace(patient.brain, lesion_load=0.0, pulsation=0.0)
    even = {name: dataclasses.replace(a, unevenness=0.0) for name, a in patient.acquisitions.items()}
    glioma = dataclasses.replace(patient.glioma, water=1.0)
    return dataclasses.replace(patient, brain=brain, glioma=glioma, lesions=(), acquisitions=even)


def test_no_threshold_on_one_contrast_finds_the_tumour_and_without_the_difficulties_one_does_better() -> None:
    patients = [draw_patient(3, index, low_grade=index == 5) for index in range(12)]
    scans = [scan(patient, spacing_mm=(5.0, 5.0, 5.0)) for patient in patients]
    assert 0.4 < best_common_threshold(scans, "FLAIR") < 0.8
    for contrast in ("T1w", "T1Gd", "T2w"):
        assert best_common_threshold(scans, contrast) < 0.45
    easy = [scan(without_difficulties(patient), spacing_mm=(5.0, 5.0, 5.0)) for patient in patients]
    assert best_common_threshold(easy, "FLAIR") > best_common_threshold(scans, "FLAIR") + 0.05


def test_what_takes_up_contrast_is_not_only_tumour(seen: Seen) -> None:
    after = seen.volumes.image[..., 2][seen.box]
    bright = after > np.median(after[seen.label == 3])
    assert (bright & (seen.label == 0)).sum() > 0.02 * (seen.label == 3).sum()


def test_gliomas_lie_where_and_are_as_large_as_documented() -> None:
    drawn = [draw_patient(4, index, low_grade=index % 6 == 0).glioma for index in range(300)]
    for lobe, (share, _, _) in LOBES.items():
        # Three standard deviations of 300 draws at most.
        assert np.mean([g.lobe == lobe for g in drawn]) == pytest.approx(share, abs=0.085)
    assert 0.4 < np.mean([g.center[0] > 0 for g in drawn]) < 0.6
    core_ml = [4 / 3 * math.pi * g.radius_mm**3 / 1000 for g in drawn]
    assert min(core_ml) >= 4.0 - 1e-6
    assert max(core_ml) <= 140.0 + 1e-6
    assert np.median(core_ml) == pytest.approx(42, rel=0.15)
    assert np.mean([g.satellite is not None for g in drawn]) < 0.2
    assert any(g.satellite for g in drawn)
    assert any(g.crosses for g in drawn)


def test_tissue_at_the_edge_of_the_core_comes_from_as_far_in_as_the_tumour_pushes() -> None:
    tumour = draw_patient(4, 1, low_grade=False).glioma
    x, y, z = (np.float32(c) for c in tumour.center)
    edge = np.array([x + tumour.radius_mm], np.float32)
    deep = np.array([30.0], np.float32)
    before, _, _ = tumour.displaced(edge, np.array([y]), np.array([z]), deep)
    assert edge[0] - before[0] == pytest.approx(tumour.push_mm, rel=1e-3)
    still, _, _ = tumour.displaced(edge, np.array([y]), np.array([z]), 0 * deep)
    assert still[0] == edge[0]


def test_spin_echo_and_inversion_recovery_follow_the_signal_equations() -> None:
    # Half recovered, half decayed, half water: an eighth.
    assert Sequence(tr=1000 * math.log(2), te=80 * math.log(2)).signal(1000, 80, 0.5) == pytest.approx(0.125)
    # Inverted, and a third of the way back at ln(3/2) T1; the long repetition forgets.
    sequence = Sequence(tr=1e6, te=0, ti=1000 * math.log(1.5))
    assert sequence.signal(1000, 80, 1.0) == pytest.approx(1 / 3)


def test_flair_suppresses_fluid_to_within_a_fifth_of_white_matter() -> None:
    fluid, white = TISSUES["cerebrospinal fluid"], TISSUES["white matter"]
    for seed in range(20):
        flair = draw_acquisitions(np.random.default_rng(seed), (-9, -9, -9), (9, 9, 9))["FLAIR"].sequence
        signal = [flair.signal(t.t1, t.t2, t.density) for t in (fluid, white)]
        assert signal[0] < 0.3 * signal[1]


def test_noise_is_rician() -> None:
    coil = SmoothField.draw(np.random.default_rng(0), low=(0, 0, 0), high=(9, 9, 9), pitch=90.0)
    axes = np.ix_(*[np.arange(40, dtype=np.float32)] * 3)
    acquisition = Acquisition(Sequence(1, 1), (1.0, 1.0, 1.0), 0.1, 10000.0, coil, 0.0)

    def mean(signal: float, spacing: float) -> float:
        image = see(
            np.full((40, 40, 40), signal, np.float32),
            white_matter=1.0,
            acquisition=acquisition,
            axes=axes,
            spacing_mm=(spacing,) * 3,
            rng=np.random.default_rng(1),
        )
        return float(image.mean()) / 10000

    # Rayleigh where there is no signal: sigma times the root of pi / 2. At 4 mm sigma is an eighth.
    assert mean(0.0, 1.0) == pytest.approx(0.1 * math.sqrt(math.pi / 2), rel=0.02)
    assert mean(0.0, 4.0) == pytest.approx(0.0125 * math.sqrt(math.pi / 2), rel=0.02)
    # Far above the noise: signal plus sigma^2 / 2 signal.
    assert mean(1.0, 1.0) == pytest.approx(1.005, abs=0.001)


def test_melting_two_surfaces_fills_the_edge_between_them_by_a_quarter_of_the_width() -> None:
    zero = np.zeros(1, np.float32)
    assert melt(zero, zero, 8.0)[0] == pytest.approx(-2.0)
    assert melt(zero + 10, zero - 10, 8.0)[0] == pytest.approx(-10.0)


def test_the_documented_table_holds_the_values_of_the_code() -> None:
    text = (Path(__file__).parents[1] / "docs" / "phantoms.md").read_text(encoding="utf-8")
    table = {}
    for line in text[text.index("# Brain phantoms") :].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and cells[0] in TISSUES:
            table[cells[0]] = tuple(float(cell) for cell in cells[1:6])
    assert table == {n: (t.t1, t.t2, t.density, t.shortening, t.spread) for n, t in TISSUES.items()}
