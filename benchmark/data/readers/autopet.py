"""AutoPET: whole-body PET/CT with tumour masks, in either layout in which it is published.

TCIA layout (FDG-PET-CT-Lesions, https://doi.org/10.7937/gkr0-xv29, as NIfTI by the challenge's script):

    <root>/PETCT_<id>/<study>/CTres.nii.gz   CT in HU, resampled to the PET grid
                              SUV.nii.gz     PET in SUV
                              SEG.nii.gz     tumour mask, 0 or 1
    <root>/*.csv, or beside <root>           clinical metadata, optional

nnU-Net layout (AutoPET II to IV, https://doi.org/10.57754/FDAT.6gjsg-zcg93):

    <root>/dataset.json                      says which channel is CT and which is PET
    <root>/imagesTr/<case>_0000.nii.gz, <case>_0001.nii.gz
    <root>/labelsTr/<case>.nii.gz
    <root>/imagesTs/...                      without labels, optional
    <root>/*.csv, or beside <root>           clinical metadata, optional
    <root>/splits_final.json                 optional; read by `benchmark.data.splits`, when asked for

Metadata have a row per study or per DICOM series, and name the study by folder ("File Location" or
"study_location"), by "Study UID", of which the folder's name carries the last five digits, or by "Study
Date". A diagnosis of NEGATIVE means a study without tumour; the PSMA metadata have no diagnosis.
"""

from __future__ import annotations

import datetime
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from benchmark.data.bench_block import read_block
from benchmark.data.dataset_json import (
    FILE_NAME,
    channel_entries,
    file_ending,
    is_nnunet,
    label_entries,
    read_dataset_json,
)
from benchmark.data.findings import THE_DATA_SET, Finding, passed_over_finding
from benchmark.data.folders import (
    IMAGES,
    LABELS,
    UNLABELLED,
    NnunetFolder,
    by_stem,
    is_junk,
    refuse_equal_ids,
    refuse_no_folder,
    subfolders,
    unpacked_folder,
    what_is_there,
)
from benchmark.data.images import stem_of
from benchmark.data.naming import TCIA_FILES, case_id_from, printable
from benchmark.data.patients import IdentifiedPatient, by_name, patients_of
from benchmark.data.user_files import read_user_csv, read_user_text
from benchmark.vocabulary import Case, DataError, DatasetSpec, Preparation, Region, Window, kind_of

SPEC = DatasetSpec(
    name="autopet",
    modalities=("CT", "PET"),
    labels={"tumor": 1},
    regions=(Region("tumor", (1,)),),
    preparation=Preparation(
        spacing_mm=(2.0, 2.0, 3.0),
        intensities={"CT": Window(-100.0, 250.0), "PET": Window(0.0, 15.0)},
        crop_modality="PET",
        crop_above=0.0,
    ),
    branches=(("CT",), ("PET",)),
)

_STEMS = {role: stem_of(name) for role, name in TCIA_FILES.items()}
"""Any ending that is read will do."""
_BY_FOLDER = "the folders PETCT_<id>"
_TABLE_HEAD = 10
_HEAD_BYTES = 64 * 2**10
"""Lines and bytes in which the heading of a table is looked for."""
_STUDY_COLUMNS = ("subject id", "patient id", "file location", "study location")
"""A table of studies has one of them."""


def spec_of(root: Path | None) -> DatasetSpec:
    """The same wherever it lies."""
    return SPEC


def discover(root: Path) -> list[Case]:
    """All labelled cases under `root`, sorted by id; no image is opened, so it takes milliseconds.

    A study of which a file is missing is listed too, with the path where the file should be: `check_cases`
    reports it. A case without metadata, or whose metadata contradict one another, has `has_lesion` None.
    Patients: the folder `PETCT_<id>`; in nnU-Net's layout what `mirror_bench` of `dataset.json` says, or the names
    `fdg_<id>_<study>`, `psma_<id>_<study>` and `PETCT_<id>_<study>`. A case of any other name counts as a patient
    of its own.

    Raises DataError when there is neither layout, or when `dataset.json` does not say which channel is which.
    """
    folder = _dataset_folder(Path(root))
    studies = _nnunet_studies(folder) if is_nnunet(folder) else _tcia_studies(folder)
    return _cases(studies, folder)


def unlabelled(root: Path) -> list[Case]:
    """The cases of `imagesTs` in nnU-Net's layout, sorted by id."""
    folder = _dataset_folder(Path(root))
    return _cases(_nnunet_studies(folder, part=UNLABELLED), folder) if is_nnunet(folder) else []


def remarks(root: Path) -> list[Finding]:
    """What was passed over, and metadata of which nothing could be taken."""
    folder = _dataset_folder(Path(root))
    studies = [] if is_nnunet(folder) else [s for patient in subfolders(folder) for s in _listed_in(patient)]
    parts = [folder / part for part in (IMAGES, LABELS, UNLABELLED)]
    found = passed_over_finding([folder, *parts, *(study.parent for study in studies), *studies])
    if empty := [study for study in studies if _files_in(study) is None]:
        problem = f"empty study folders are passed over: {', '.join(study.name for study in empty[:3])}"
        found.append(
            Finding(THE_DATA_SET, problem, "Remove them, or put the study there.", tuple(empty), "warning")
        )
    return [*found, *_metadata_remarks(folder, discover(root))]


@dataclass(frozen=True)
class _Study:
    """`name` is the study as the data set calls it; `source` names it for people, `file_name` its files."""

    whose: IdentifiedPatient
    name: str
    source: str
    images: Mapping[str, Path]
    label: Path | None
    file_name: str = ""

    @property
    def patient(self) -> str:
        return self.whose.patient


def _wanted() -> str:
    return (
        "PETCT_<id>/<study>/{CTres,SUV,SEG}.nii.gz (TCIA layout) or "
        "imagesTr/, labelsTr/ and dataset.json (nnU-Net layout)"
    )


def _is_dataset(folder: Path) -> bool:
    """For folders that nobody named: one that cannot be read is none."""
    try:
        return is_nnunet(folder) or bool(_tcia_studies(folder))
    except DataError:
        return False


def _dataset_folder(root: Path) -> Path:
    """`root`, or its only subfolder that is a data set."""
    refuse_no_folder(root, _wanted())
    if is_nnunet(root) or _tcia_studies(root):
        return root
    folder = unpacked_folder(root, _is_dataset)
    if folder is not None:
        return folder
    for above in (root, root.parent):
        if _has_study_files(above):
            raise DataError(
                f"{above} is a single study. Name the folder above its patient: {above.parent.parent}."
            )
    if any(_has_study_files(study) for study in subfolders(root)):
        raise DataError(f"{root} is a single patient. Name the folder above it: {root.parent}.")
    raise DataError(f"{root} holds no PET/CT cases: looked for {_wanted()}, but {what_is_there(root)}.")


def _has_study_files(folder: Path) -> bool:
    return bool(by_stem(folder).keys() & set(_STEMS.values()))


def _tcia_studies(folder: Path) -> list[_Study]:
    studies = []
    for patient in subfolders(folder):
        for study in _listed_in(patient):
            there = _files_in(study)
            if there is None:
                continue
            if patient.name.startswith("PETCT_") or there.keys() & set(_STEMS.values()):
                files = {role: there.get(stem, study / TCIA_FILES[role]) for role, stem in _STEMS.items()}
                label = files.pop("label")
                whose = IdentifiedPatient(printable(patient.name), _BY_FOLDER)
                studies.append(_Study(whose, study.name, f"{patient.name}/{study.name}", files, label))
    return studies


def _listed_in(patient: Path) -> list[Path]:
    """A patient's studies. One that cannot be looked into stands for its own, so that the others are read."""
    try:
        return subfolders(patient)
    except DataError:
        return [patient / "unreadable"] if patient.name.startswith("PETCT_") else []


def _files_in(study: Path) -> dict[str, Path] | None:
    """A study's images by their names without ending; None for a folder that holds nothing. Of one that cannot be
    looked into there are none, so that its files are named as a fault and the others are read."""
    try:
        if all(is_junk(path.name) for path in study.iterdir()):
            return None
    except OSError:
        return {}
    return by_stem(study)


def _nnunet_studies(folder: Path, *, part: str = IMAGES) -> list[_Study]:
    channels, content = _channels(folder)
    path = folder / FILE_NAME
    files = NnunetFolder(folder, file_ending(content, path), len(channels))
    block = read_block(content, path, modalities=SPEC.modalities, labels=SPEC.labels)
    everybody = sorted({*files.labelled(), *files.unlabelled()})
    patients = patients_of(everybody, block.get("patients"), path=path)
    studies = []
    for name in files.unlabelled() if part == UNLABELLED else files.labelled():
        images = files.images(name, part=part)
        studies.append(
            _Study(
                whose=patients[name],
                name=by_name(name)[1],
                source=name,
                images={modality: images[channels[modality]] for modality in SPEC.modalities},
                label=None if part == UNLABELLED else files.label(name),
                file_name=name,
            )
        )
    return studies


def _channels(folder: Path) -> tuple[dict[str, int], Mapping[str, object]]:
    """Channel numbers of CT and PET, and the whole content, from nnU-Net's `dataset.json`."""
    example = '"channel_names": {"0": "CT", "1": "PET"}'
    path = folder / FILE_NAME
    content = read_dataset_json(folder, says="which channel is CT", example=example)
    names = channel_entries(content)
    found = [(kind_of(name), number) for number, name in names.items()]
    channels = {modality: int(number) for modality, number in found if modality and number.isdigit()}
    known = [modality for modality, _ in found if modality]
    if sorted(known) != sorted(SPEC.modalities) or len(channels) != len(SPEC.modalities):
        raise DataError(f"{path}: channel_names {names} must name CT once and PET once, as in {example}.")
    labels = label_entries(content)
    if labels and {str(value) for value in labels.values()} != {"1"}:
        raise DataError(
            f"{path}: labels {labels}, but AutoPET has one, a tumour of value 1. Merge the labels; or read the data "
            f"set with --data nnunet={folder}."
        )
    return channels, content


@dataclass(frozen=True)
class _Row:
    """What one line of the metadata says of a study; empty strings where it says nothing."""

    patient: str
    folder: str
    uid: str
    date: datetime.date | None
    facts: Mapping[str, str]

    @property
    def names_a_study(self) -> bool:
        return bool(self.folder or self.uid or self.date)


def _cases(studies: Sequence[_Study], folder: Path) -> list[Case]:
    rows = _metadata_rows(folder)
    by_patient: dict[str, int] = defaultdict(int)
    for study in studies:
        by_patient[study.patient] += 1
    cases = [_case(study, rows, alone=by_patient[study.patient] == 1) for study in studies]
    refuse_equal_ids((case.case_id, case.metadata["source"]) for case in cases)
    return sorted(cases, key=lambda case: case.case_id)


def _case(study: _Study, rows: Mapping[str, Sequence[_Row]], *, alone: bool) -> Case:
    matched = _rows_of(study, rows.get(_bare(study.patient), ()), alone=alone)
    facts: dict[str, str] = {}
    for key in ("diagnosis", "age", "sex"):
        said = {row.facts[key] for row in matched if row.facts.get(key)}
        if len(said) == 1:
            facts[key] = said.pop()
    diagnosis = facts.get("diagnosis", "").upper()
    return Case(
        case_id=case_id_from(study.source),
        patient=study.patient,
        images=study.images,
        label=study.label,
        has_lesion=diagnosis != "NEGATIVE" if diagnosis else None,
        metadata={"study": study.name, "source": study.source, **facts},
        patient_rule=study.whose.rule,
        name=study.file_name,
    )


def _rows_of(study: _Study, rows: Sequence[_Row], *, alone: bool) -> list[_Row]:
    """The rows that speak of this study, by the surest match that finds any.

    Rows that name no study, or a study that cannot be compared, speak of the patient: they count when the
    patient has no other study on disk, or when they name none at all.
    """
    by_folder = [row for row in rows if row.folder and case_id_from(row.folder) == case_id_from(study.name)]
    if by_folder:
        return by_folder
    digits = re.search(r"-(\d{5})$", study.name)
    by_uid = [
        row
        for row in rows
        if row.uid
        and (row.uid == study.name or (digits and row.uid.endswith(digits[1]) and _agree(row, study)))
    ]
    if by_uid:
        return by_uid
    by_date = [row for row in rows if row.date and row.date == _date(study.name)]
    if by_date:
        # Two studies of one day: their rows cannot be told apart by the date.
        return by_date if len({row.uid or row.folder for row in by_date}) == 1 else []
    if any(not row.names_a_study for row in rows):
        return [row for row in rows if not row.names_a_study]
    return [row for row in rows if _agree(row, study)] if alone else []


def _agree(row: _Row, study: _Study) -> bool:
    """Whether the dates do not contradict one another."""
    date = _date(study.name)
    return row.date is None or date is None or row.date == date


def _bare(patient: str) -> str:
    """The patient without the prefix, which differs between folders, nnU-Net names and metadata."""
    return re.sub(r"^(petct|fdg|psma)_", "", patient.strip().lower())


def _date(text: str) -> datetime.date | None:
    """The date that a name or a cell begins with: 03-23-2003 and 3/23/2003 (month first), 2003-03-23."""
    american = re.match(r"(\d{1,2})[-/](\d{1,2})[-/](\d{4})(?!\d)", text)
    iso = re.match(r"(\d{4})-?(\d{2})-?(\d{2})(?!\d)", text)
    if american:
        month, day, year = (int(part) for part in american.groups())
    elif iso:
        year, month, day = (int(part) for part in iso.groups())
    else:
        return None
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None


def _metadata_rows(folder: Path) -> dict[str, list[_Row]]:
    """Rows of all metadata files in `folder`, or else beside it, by bare patient name."""
    for place in (folder, folder.parent):
        rows: dict[str, list[_Row]] = defaultdict(list)
        for path in _tables_in(place):
            for row in _read_metadata(path) or ():
                rows[row.patient].append(row)
        if rows:
            return rows
    return {}


def _tables_in(folder: Path) -> list[Path]:
    """Of a folder above the data set, files alone: whatever else is there is nobody's concern."""
    return sorted(path for path in folder.glob("*.csv") if not is_junk(path.name))


def _metadata_remarks(folder: Path, cases: Sequence[Case]) -> list[Finding]:
    """Tables in the data set's folder, or used from beside it, that say nothing of any case."""
    found = []
    known = {_bare(case.patient) for case in cases}
    for path in dict.fromkeys((*_tables_in(folder), *_tables_in(folder.parent))):
        rows = _read_metadata(path)
        if rows is None and path.parent == folder:
            found.append(
                Finding(
                    THE_DATA_SET,
                    f"{path.name} is not read: its first {_TABLE_HEAD} lines name no column Subject ID, Patient ID, "
                    "File Location or Study Location",
                    "If it holds the clinical metadata, name the columns as AutoPET does; else ignore this.",
                    (path,),
                    "warning",
                )
            )
        elif rows and not known & {row.patient for row in rows}:
            found.append(
                Finding(
                    THE_DATA_SET,
                    f"{path.name} has {len(rows)} rows, none of them about a case: it speaks of {rows[0].patient}, the "
                    f"cases are of {cases[0].patient if cases else 'nobody'}",
                    "Use the table of this data set, or name its patients as the folders do.",
                    (path,),
                    "warning",
                )
            )
    return found


def _read_metadata(path: Path) -> list[_Row] | None:
    """The rows of a table of studies; None for any other table, of which no more than the head is read."""
    head = re.sub(r"[\s_]+", " ", read_user_text(path, head=_HEAD_BYTES)).lower()
    if not any(column in head for column in _STUDY_COLUMNS):
        return None
    lines = read_user_csv(path)
    for number, line in enumerate(lines[:_TABLE_HEAD]):
        columns = [re.sub(r"[\s_]+", " ", cell).strip().lower() for cell in line]
        if set(_STUDY_COLUMNS) & set(columns):
            rows = [_row(dict(zip(columns, cells, strict=False))) for cells in lines[number + 1 :]]
            return [row for row in rows if row.patient]
    return None


def _row(cells: Mapping[str, str]) -> _Row:
    location = cells.get("file location") or cells.get("study location") or ""
    parts = PurePosixPath(location.replace("\\", "/")).parts
    subject = cells.get("subject id") or cells.get("patient id") or ""
    # .../PETCT_<id>/<study>[/<series>]
    at = next((i for i, part in enumerate(parts) if part == subject or part.startswith("PETCT_")), None)
    folder = parts[at + 1] if at is not None and at + 1 < len(parts) else ""
    if not subject and at is not None:
        subject = parts[at]
    date = _date(cells.get("study date", ""))
    return _Row(_bare(subject), folder, cells.get("study uid", ""), date, cells)
