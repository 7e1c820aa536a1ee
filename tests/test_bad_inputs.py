"""Files as strangers bring them: each is read right or refused, by the check and by what a run does before it trains.

One line for each kind: its name, how to make it from a sound data set of six patients, whether it is a fault, a
warning or sound, and words of what is said.
"""

from __future__ import annotations

import errno
import gzip
import os
import re
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from slow_tests import slow_after
from written_studies import write_study

from benchmark.data.check import checked_cases
from benchmark.data.facts import dataset_findings
from benchmark.data.findings import Finding
from benchmark.data.readers import autopet
from benchmark.datasets.pipeline import ready_data
from benchmark.vocabulary import DataError

STUDY = Path("PETCT_0") / "study"


def path_of(root: Path, name: str, patient: int = 0) -> Path:
    return root / f"PETCT_{patient}" / "study" / f"{name}.nii.gz"


def voxels_of(path: Path) -> np.ndarray:
    return nib.load(path).get_fdata().copy()


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray], dtype: type | None = None) -> None:
    """The file with other values, under the same affine."""
    image = nib.load(path)
    stored = np.asarray(image.dataobj).copy()
    values = change(stored)
    nib.save(nib.Nifti1Image(values.astype(dtype or values.dtype), image.affine), path)


def changed(
    name: str, change: Callable[[np.ndarray], np.ndarray], dtype: type | None = None
) -> Callable[[Path], None]:
    return lambda root: rewrite(path_of(root, name), change, dtype)


def every(
    change: Callable[[np.ndarray], np.ndarray], names: tuple[str, ...] = ("CTres", "SUV", "SEG")
) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for name in names:
            rewrite(path_of(root, name), change)

    return make


def patched(
    offset: int, form: str, *values: float, name: str = "SUV", all_files: bool = False
) -> Callable[[Path], None]:
    """Bytes of the header set by hand."""

    def make(root: Path) -> None:
        for each in ("CTres", "SUV", "SEG") if all_files else (name,):
            content = bytearray(gzip.decompress(path_of(root, each).read_bytes()))
            struct.pack_into(form, content, offset, *values)
            path_of(root, each).write_bytes(gzip.compress(content, 1))

    return make


PIXDIM, VOX_OFFSET, XYZT, QFORM_CODE = 80, 108, 123, 252
DIM, DATATYPE, SLOPE, SFORM = 42, 70, 112, 280
"""Places in a NIfTI-1 header; pixdim is that of the first axis."""


def in_unit(code: int, factor: float) -> Callable[[Path], None]:
    """All files with their lengths in another unit, and a header that says so."""

    def make(root: Path) -> None:
        for name in ("CTres", "SUV", "SEG"):
            path = path_of(root, name)
            image = nib.load(path)
            affine = np.diag([factor, factor, factor, 1.0]) @ image.affine
            nib.save(nib.Nifti1Image(np.asarray(image.dataobj).copy(), affine), path)
        patched(XYZT, "<B", code, all_files=True)(root)

    return make


def shifted(root: Path) -> None:
    """16 bytes more before the voxels than the header says."""
    path = path_of(root, "SUV")
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:352] + bytes(16) + content[352:]))


def bomb(root: Path) -> None:
    """Zeros behind the voxels, some 64 MB of them in 64 kB."""
    path = path_of(root, "SUV")
    path.write_bytes(path.read_bytes() + gzip.compress(bytes(64 * 2**20)))


def copied(change: Callable[[nib.Nifti1Image], nib.Nifti1Image]) -> Callable[[Path], None]:
    """The CT of one patient under another, saved again."""

    def make(root: Path) -> None:
        nib.save(change(nib.load(path_of(root, "CTres", 1))), path_of(root, "CTres", 0))

    return make


def turned(image: nib.Nifti1Image) -> nib.Nifti1Image:
    """Another patient's file has other axes, and so must have all of this patient's: only the CT is compared here."""
    return nib.Nifti1Image(np.asarray(image.dataobj).copy(), image.affine)


def scaled(image: nib.Nifti1Image) -> nib.Nifti1Image:
    values = image.get_fdata()
    stored = np.round((values + 1100) * 25).astype(np.uint16)
    new = nib.Nifti1Image(stored, image.affine)
    new.header.set_slope_inter(1 / 25, -1100)
    return new


def reoriented(root: Path) -> None:
    """A patient's study again under another name, its axes permuted and flipped, uncompressed and in another type."""
    for name in ("CTres", "SUV", "SEG"):
        image = nib.load(path_of(root, name, 1))
        other = image.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
        path_of(root, name, 0).unlink()
        nib.save(
            nib.Nifti1Image(
                np.asarray(other.dataobj).copy().astype(np.float64 if name != "SEG" else np.uint8),
                other.affine,
            ),
            path_of(root, name, 0).with_suffix(""),
        )


def twice(root: Path) -> None:
    shutil.copytree(root / STUDY, root / "PETCT_0" / "again")


def one_label(marked: np.ndarray) -> Callable[[Path], None]:
    """The same label for the images of two patients."""

    def make(root: Path) -> None:
        for patient in (0, 1):
            rewrite(path_of(root, "SEG", patient), lambda v: marked.astype(v.dtype))

    return make


def ball(radius: float) -> np.ndarray:
    """In the middle of the body: 257 voxels of radius 4, 81 of radius 2.5."""
    distance = np.linalg.norm(np.indices((24, 22, 20)).T - (11, 11, 10), axis=-1).T
    return distance <= radius


def box() -> np.ndarray:
    marked = np.zeros((24, 22, 20), bool)
    marked[8:14, 8:14, 8:12] = True
    return marked


def exchanged(root: Path) -> None:
    ct, pet = path_of(root, "CTres"), path_of(root, "SUV")
    ct.rename(root / "x"), pet.rename(ct), (root / "x").rename(pet)


def displaced(root: Path) -> None:
    """A lesion at the edge of the body, and a CT moved away from under it."""
    label = np.zeros((24, 22, 20), np.uint8)
    label[3:6, 8:12, 8:12] = 1
    rewrite(path_of(root, "SEG"), lambda _: label)
    rewrite(path_of(root, "CTres"), lambda v: np.roll(v, 1, axis=0))


def no_lesion(root: Path) -> None:
    for patient in range(6):
        rewrite(path_of(root, "SEG", patient), np.zeros_like)


def table(text: str, encoding: str = "utf-8", name: str = "metadata.csv") -> Callable[[Path], None]:
    return lambda root: (root / name).write_bytes(text.encode(encoding)) and None


def of_forms(sform: int, qform: int, *, apart: float = 0.0) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for name in ("CTres", "SUV", "SEG"):
            image = nib.load(path_of(root, name))
            new = nib.Nifti1Image(np.asarray(image.dataobj).copy(), image.affine)
            other = image.affine.copy()
            other[0, 3] += apart
            new.set_sform(image.affine, sform)
            new.set_qform(other, qform)
            nib.save(new, path_of(root, name))

    return make


def made_2d(root: Path) -> None:
    for name in ("CTres", "SUV", "SEG"):
        rewrite(path_of(root, name), lambda v: v[:, :, 9])


def other_format(ending: str, spoil: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        import SimpleITK as sitk

        path = path_of(root, "SUV")
        new = path.with_name(f"SUV{ending}")
        sitk.WriteImage(sitk.ReadImage(str(path)), str(new), useCompression=ending == ".nrrd")
        path.unlink()
        new.write_bytes(spoil(new.read_bytes()))

    return make


def saved_as(
    name: str, image: Callable[[np.ndarray, np.ndarray], nib.spatialimages.SpatialImage]
) -> Callable[[Path], None]:
    """A file as another class or type of nibabel's makes it of voxels and affine."""

    def make(root: Path) -> None:
        path = path_of(root, name)
        old = nib.load(path)
        nib.save(image(np.asarray(old.dataobj).copy(), old.affine), path)

    return make


def in_colours(voxels: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    colours = np.zeros(voxels.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours["R"] = voxels != 0
    return nib.Nifti1Image(colours, affine)


def with_a_comment(voxels: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    """An extension of the header, behind which the voxels begin later."""
    image = nib.Nifti1Image(voxels, affine)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 100))
    return image


def bytes_of(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """The PET file with other bytes."""
    return lambda root: path_of(root, "SUV").write_bytes(change(path_of(root, "SUV").read_bytes())) and None


def instead(put: Callable[[Path], object]) -> Callable[[Path], None]:
    """Something that is no file in the place of the PET."""

    def make(root: Path) -> None:
        path_of(root, "SUV").unlink()
        put(path_of(root, "SUV"))

    return make


@dataclass(frozen=True)
class Kind:
    make: Callable[[Path], None]
    severity: str
    words: str


def fault(make: Callable[[Path], None], words: str) -> Kind:
    return Kind(make, "fault", words)


def warning(make: Callable[[Path], None], words: str) -> Kind:
    return Kind(make, "warning", words)


def sound(make: Callable[[Path], None]) -> Kind:
    return Kind(make, "sound", "")


KINDS = {
    # Shapes.
    "trailing axis of one": warning(
        every(lambda v: v[..., None]), "axes of one voxel behind the third: 24 x 22 x 20 x 1"
    ),
    "two trailing axes of one": warning(every(lambda v: v[..., None, None]), "24 x 22 x 20 x 1 x 1"),
    "two axes": fault(made_2d, "is not a volume: its shape is 24 x 22"),
    "one slice": fault(
        every(lambda v: v[:, :, 9:10]), "is one slice, not a volume: its shape is 24 x 22 x 1"
    ),
    "one voxel": fault(every(lambda v: v[9:10, 9:10, 9:10]), "its shape is 1 x 1 x 1"),
    "three slices": warning(every(lambda v: v[:, :, 8:11]), "has 3 slices along one axis"),
    "two volumes": fault(
        changed("SUV", lambda v: np.stack([v, v], 3)), "is not a volume: its shape is 24 x 22 x 20 x 2"
    ),
    # Labels.
    "label of floats": warning(changed("SEG", lambda v: v, np.float32), "the label is stored as float32"),
    "label of 0.99999997": warning(changed("SEG", lambda v: v * 0.99999997, np.float64), "stored as float64"),
    "label of a half": fault(changed("SEG", lambda v: v * 0.5, np.float32), r"values \[?0\.5\b"),
    "label of 0.999": fault(changed("SEG", lambda v: v * 0.999, np.float32), r"values \[?0\.999\b"),
    "label of NaN": fault(changed("SEG", lambda v: np.where(v, np.nan, 0), np.float32), r"values \[?nan\b"),
    "label of -1": fault(changed("SEG", lambda v: v * -1.0, np.int8), r"values \[?-1\b"),
    "label of 256": fault(changed("SEG", lambda v: v * 256.0, np.int16), r"values \[?256\b"),
    "label of infinity": fault(
        changed("SEG", lambda v: np.where(v, np.inf, 0), np.float32), r"values \[?inf\b"
    ),
    "label as a picture of 0 and 255": fault(changed("SEG", lambda v: v * 255), r"values \[?255\b"),
    "label in colours": fault(saved_as("SEG", in_colours), "instead of one number per voxel"),
    "label of another size": fault(changed("SEG", lambda v: v[:-1]), "label 23 x 22 x 20"),
    "no lesion anywhere": fault(no_lesion, "labelled voxel"),
    # Values.
    "PET in Bq/ml": fault(changed("SUV", lambda v: v * 5000), "looks like Bq/ml"),
    "PET in kBq/ml": warning(changed("SUV", lambda v: v * 4.7), "it may be in kBq/ml"),
    "PET rescaled": fault(changed("SUV", lambda v: v / v.max()), "no voxel is above 1"),
    "PET without counts": fault(changed("SUV", lambda v: v * 0), "no voxel is above 1 .the highest is 0"),
    "PET below zero": fault(
        changed("SUV", lambda v: np.where(v > 7, v, -v)), r"cannot be SUV: \d+% of the voxels are negative"
    ),
    "PET of complex numbers": fault(
        saved_as("SUV", lambda v, affine: nib.Nifti1Image(v.astype(np.complex64), affine)),
        "SUV.nii.gz stores complex64 instead of one number per voxel",
    ),
    "CT as a picture of 0 to 255": fault(
        changed("CTres", lambda v: np.clip((v + 160) / 400, 0, 1) * 255, np.uint8), "CT cannot be in HU"
    ),
    "PET constant": fault(changed("SUV", lambda v: v * 0 + 1.5), "PET is 1.5 in every voxel"),
    "CT constant": fault(changed("CTres", lambda v: v * 0 - 100), "CT is -100 in every voxel"),
    "CT with an offset": fault(changed("CTres", lambda v: v + 1024), "CT cannot be in HU: no voxel is below"),
    "CT and PET exchanged": fault(exchanged, "PET cannot be SUV"),
    "CT with NaN": fault(
        changed("CTres", lambda v: np.where(v > 80, np.nan, v)), "CT is NaN or infinite in|CT.*NaN"
    ),
    "beyond float32": fault(changed("SUV", lambda v: v.astype(float) * 1e300), "beyond what 32 bits hold"),
    "CT beside its PET": warning(displaced, "of the lesion's voxels lie outside of the body"),
    # One image in two cases.
    "copy under another patient": fault(
        copied(turned), r"CT image is the same as that of PETCT_1_study \(patient PETCT_1\)"
    ),
    "copy in 16 scaled bits": fault(copied(scaled), "CT image is the same as that of PETCT_1_study"),
    "copy turned, as float64": fault(reoriented, "image is the same as that of PETCT_1_study"),
    "a study twice": warning(twice, r"the CT image is the same as that of PETCT_0_again \(patient PETCT_0\)"),
    # One label in two cases.
    "a label under another patient": warning(
        one_label(ball(4)),
        r"same voxels as that of PETCT_1_study \(patient PETCT_1\), whose images are others",
    ),
    "a small label that two cases have": sound(one_label(ball(2.5))),
    "a box that two cases have": sound(one_label(box())),
    # Headers.
    "an edge of 0": fault(patched(PIXDIM, "<f", 0.0), "has voxels of 0 x 4 x 5 according to its header"),
    "a negative edge": fault(patched(PIXDIM, "<f", -4.0), "has voxels of -4 x 4 x 5 according"),
    "an edge of NaN": fault(patched(PIXDIM, "<f", float("nan")), "has voxels of nan x 4 x 5 according"),
    "an affine of NaN": fault(
        patched(SFORM, "<f", float("nan"), all_files=True), "CTres.nii.gz has no usable affine"
    ),
    "two axes in one direction": fault(
        patched(SFORM, "<ffff", 0, 0, 0, 0, all_files=True), "CTres.nii.gz has no usable affine"
    ),
    "an intercept of NaN": fault(patched(SLOPE, "<ff", 1.0, float("nan")), "invalid intercept nan"),
    "a slope of 0": sound(patched(SLOPE, "<f", 0.0)),
    "a negative size": fault(patched(DIM, "<h", -5), "holds no voxels: its shape is -5 x 22 x 20"),
    "a type that there is not": fault(patched(DATATYPE, "<h", 0), "data code 0 not supported"),
    "an extension of the header": sound(saved_as("SUV", with_a_comment)),
    "NIfTI-2": sound(saved_as("SUV", nib.Nifti2Image)),
    "bytes the other way round": sound(
        saved_as(
            "SUV",
            lambda v, affine: nib.Nifti1Image(v.astype(">f4"), affine, nib.Nifti1Header(endianness=">")),
        )
    ),
    "sform and qform apart": warning(
        of_forms(1, 1, apart=9.0), "the sform and the qform of CTres.nii.gz lie up to 9.0 mm"
    ),
    "no orientation": warning(
        patched(QFORM_CODE, "<hh", 0, 0, all_files=True), "does not say how it is oriented"
    ),
    "voxels inside the header": fault(patched(VOX_OFFSET, "<f", 336.0), "vox offset 336 too low"),
    "voxels said to begin late": fault(
        patched(VOX_OFFSET, "<f", 368.0), "ends after 42,592 of the 42,608 bytes"
    ),
    "voxels that begin late": fault(shifted, "goes on behind the last of the 42,592 bytes"),
    "metres": warning(in_unit(1, 0.001), "gives its lengths in metres"),
    "micrometres": warning(in_unit(3, 1000.0), "gives its lengths in micrometres"),
    "micrometres of a microscope": fault(in_unit(3, 2.5), "has voxels of 0.01 x 0.01 x 0.0125 mm"),
    "millimetres called metres": fault(in_unit(1, 1.0), r"has voxels of 4e\+03 x 4e\+03 x 5e\+03 mm"),
    "a bomb behind the voxels": fault(bomb, "goes on behind the last of the 42,592 bytes"),
    "a header that promises 20 TB": fault(
        patched(42, "<hhh", 30000, 30000, 6000), "ends after at most .* bytes that its header"
    ),
    # Files that are none.
    "an empty file": fault(bytes_of(lambda b: b""), "SUV.nii.gz is empty"),
    "text": fault(bytes_of(lambda b: b"<html>404 Not Found</html>"), "is not compressed with gzip"),
    "compressed text": fault(bytes_of(lambda b: gzip.compress(b"404 " * 500)), "is not a NIfTI image"),
    "DICOM": fault(bytes_of(lambda b: bytes(128) + b"DICM" + bytes(500)), "is not compressed with gzip"),
    "uncompressed under the wrong name": fault(bytes_of(gzip.decompress), "is not compressed with gzip"),
    "zeros behind the compressed file": sound(bytes_of(lambda b: b + bytes(512))),
    "a folder in a file's place": fault(instead(Path.mkdir), "SUV.nii.gz is not a file"),
    "a pipe": fault(instead(os.mkfifo), "SUV.nii.gz is not a file"),
    "a link to nowhere": fault(
        instead(lambda path: path.symlink_to("/nowhere/SUV")), "SUV.nii.gz is missing"
    ),
    # Other formats.
    "MetaImage cut off": fault(
        other_format(".mha", lambda b: b[: len(b) // 2]), "SUV.mha is damaged, or none that SimpleITK"
    ),
    "NRRD with a damaged byte": fault(
        other_format(".nrrd", lambda b: b[:-4000] + b"\xff" * 64 + b[-3936:]),
        "SUV.nrrd is damaged, or none that SimpleITK",
    ),
    "MetaImage of nothing": fault(
        other_format(".mha", lambda b: b"nothing"), "SUV.mha is damaged, or none that SimpleITK"
    ),
    "MetaImage with voxels elsewhere": fault(
        other_format(".mha", lambda b: b.replace(b"= LOCAL", b"= pipe!")),
        "SUV.mha does not hold its voxels itself",
    ),
    "MetaImage with a long header": fault(
        other_format(".mha", lambda b: b.replace(b"NDims", b"Comment = " + b"x" * 2**16 + b"\nNDims", 1)),
        "SUV.mha does not hold its voxels itself",
    ),
    "NRRD with voxels elsewhere": fault(
        other_format(".nrrd", lambda b: b.replace(b"\n\n", b"\ndata file: pipe\n\n", 1)),
        "SUV.nrrd does not hold its voxels itself",
    ),
    # Tables of metadata.
    "a table about others": warning(
        table("Subject ID,diagnosis\nPETCT_zzz,NEGATIVE\n"), "none of them about a case"
    ),
    "a table of something else": warning(table("a,b\n1,2\n"), "metadata.csv is not read"),
    # Folders.
    "what archivers leave": warning(
        lambda root: (root / "__MACOSX" / "x").mkdir(parents=True), "of archivers passed over"
    ),
    "what Windows leaves": sound(lambda root: (root / "PETCT_0" / "Thumbs.db").write_bytes(b"x") and None),
    "a copy beside the file": sound(
        lambda root: shutil.copy(path_of(root, "SUV"), root / STUDY / "SUV (1).nii.gz") and None
    ),
    "an ending in capitals": sound(
        lambda root: path_of(root, "SUV").rename(root / STUDY / "SUV.NII.GZ") and None
    ),
    "an empty study": warning(
        lambda root: (root / "PETCT_0" / "empty").mkdir(), "empty study folders are passed over: empty"
    ),
    "a file forgotten": fault(lambda root: path_of(root, "SEG").unlink(), "SEG.nii.gz is missing"),
    "a file misspelt": fault(
        lambda root: path_of(root, "SEG").rename(path_of(root, "SEG").with_name("SGE.nii.gz")) and None,
        r"Did you mean 'SGE.nii.gz'\?",
    ),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for patient in range(6):
        write_study(tmp_path / "data" / f"PETCT_{patient}" / "study", seed=patient)
    return tmp_path / "data"


def found_in(root: Path) -> list[Finding]:
    cases = autopet.discover(root)
    checked = checked_cases(cases, autopet.SPEC, thorough=True, jobs=2)
    return [*autopet.remarks(root), *checked.findings, *dataset_findings(cases, checked.facts)]


def test_the_sound_data_set_is_sound(root: Path, tmp_path: Path) -> None:
    assert found_in(root) == []
    assert ready_data("autopet", root, results=tmp_path).warnings == ()


@pytest.mark.filterwarnings("error:overflow", "error:invalid value")
@pytest.mark.parametrize("name", slow_after(12, KINDS))
def test_a_stranger_s_file_is_read_right_or_refused(root: Path, tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    kind.make(root)
    findings = found_in(root)
    if kind.severity == "sound":
        assert findings == []
        ready = ready_data("autopet", root, results=tmp_path)
        assert (ready.warnings, ready.n_cases) == ((), 6)
        return
    said = [
        f
        for f in findings
        if f.severity == kind.severity and _matches(kind.words, f"{f.problem}. {f.remedy}")
    ]
    assert said, [str(f) for f in findings]
    faults = [f for f in findings if f.is_fault]
    if kind.severity == "fault":
        with pytest.raises(DataError) as refused:
            ready_data("autopet", root, results=tmp_path)
        assert _matches(kind.words, str(refused.value)), str(refused.value)
    else:
        assert faults == []
        ready = ready_data("autopet", root, results=tmp_path)
        assert any(_matches(kind.words, f"{f.problem}. {f.remedy}") for f in ready.warnings)
        assert ready.excluded_cases == ()


def _matches(words: str, text: str) -> bool:
    return re.search(words, text, re.DOTALL) is not None


def test_a_bad_case_is_left_out_and_the_others_are_used(root: Path, tmp_path: Path) -> None:
    """What only the voxels show, too: five of six patients are left."""
    KINDS["PET in Bq/ml"].make(root)
    ready = ready_data("autopet", root, results=tmp_path, skip_bad_cases=True, n_folds=5)
    assert (ready.n_cases, ready.excluded_cases) == (5, ("PETCT_0_study",))
    KINDS["copy under another patient"].make(root)
    rewrite(path_of(root, "SUV"), lambda v: v / 5000)
    ready = ready_data("autopet", root, results=tmp_path / "2", skip_bad_cases=True, n_folds=4)
    assert ready.excluded_cases == ("PETCT_0_study", "PETCT_1_study")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize("title", ["", "Clinical metadata of Müller's study\n\n"])
def test_a_table_of_metadata_is_read_however_it_was_exported(
    root: Path, separator: str, encoding: str, title: str
) -> None:
    rows = [["Subject ID", "diagnosis"], ["PETCT_0", "NEGATIVE"], ["PETCT_1", "LYMPHOMA"]]
    table(title + "\r\n".join(separator.join(row) for row in rows), encoding)(root)
    lesions = {case.patient: case.has_lesion for case in autopet.discover(root)}
    assert (lesions["PETCT_0"], lesions["PETCT_1"], lesions["PETCT_2"]) == (False, True, None)


def test_tables_that_cannot_be_read_are_named_with_their_line(root: Path) -> None:
    table(f"Subject ID,diagnosis\nPETCT_0,{'x' * 131_073}\n")(root)
    with pytest.raises(DataError, match=r"metadata.csv, line 2: field larger than field limit"):
        autopet.discover(root)
    (root / "metadata.csv").unlink()
    os.mkfifo(root / "metadata.csv")
    with pytest.raises(DataError, match=r"metadata.csv is not a file"):
        autopet.discover(root)
    (root / "metadata.csv").unlink()
    (root / "metadata.csv").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"metadata.csv is not a file"):
        autopet.discover(root)


def shut(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for who has no right to list a folder, nor to see what is in it."""

    def guarded(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def asked(path: object, *more: object, **said: object) -> Any:
            place = Path(path) if isinstance(path, (str, Path)) else Path()
            if folder in place.parents or (place == folder and name.endswith("dir")):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return real(path, *more, **said)

        return asked

    for name in ("stat", "lstat", "listdir", "scandir"):
        monkeypatch.setattr(os, name, guarded(name))


@pytest.mark.parametrize(
    ("closed", "case_id"), [("PETCT_3", "PETCT_3_unreadable"), ("PETCT_3/study", "PETCT_3_study")]
)
def test_a_folder_that_cannot_be_read_is_the_fault_of_one_case_and_stops_no_other(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str, case_id: str
) -> None:
    shut(root / closed, monkeypatch)
    cases = autopet.discover(root)
    assert len(cases) == 6
    faults = [f for f in checked_cases(cases, autopet.SPEC, thorough=False).findings if f.is_fault]
    assert {f.case_id for f in faults} == {case_id}
    assert {f.problem for f in faults} >= {"SUV.nii.gz cannot be read (Permission denied)"}
    ready = ready_data("autopet", root, results=tmp_path, skip_bad_cases=True, n_folds=4)
    assert (ready.n_cases, ready.excluded_cases) == (5, (case_id,))


def test_uncompressed_metaimage_and_nrrd_files_are_prepared_to_the_same_arrays(
    root: Path, tmp_path: Path
) -> None:
    """One patient's CT as .nii, another's as .mha, a third's as .nrrd; all stand beside .nii.gz."""
    import SimpleITK as sitk

    from benchmark.data.store import Store

    before = Store(ready_data("autopet", root, results=tmp_path / "a").store)
    for patient, ending in ((0, ".nii"), (1, ".mha"), (2, ".nrrd")):
        for name in ("CTres", "SUV", "SEG"):
            path = path_of(root, name, patient)
            new = path.with_name(f"{name}{ending}")
            if ending == ".nii":
                new.write_bytes(gzip.decompress(path.read_bytes()))
            else:
                sitk.WriteImage(sitk.ReadImage(str(path)), str(new))
            path.unlink()
    assert found_in(root) == []
    after = Store(ready_data("autopet", root, results=tmp_path / "b").store)
    for case_id, case in before.cases.items():
        assert after.cases[case_id].image().tobytes() == case.image().tobytes()
        assert after.cases[case_id].label().tobytes() == case.label().tobytes()
        assert after.cases[case_id].geometry.crop == case.geometry.crop
