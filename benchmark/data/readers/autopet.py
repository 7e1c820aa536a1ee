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
    <root>/*.csv, or beside <root>           clinical metadata, optional
    <root>/splits_final.json                 optional; read by `benchmark.data.splits`, when asked for

Metadata have a row per study or per DICOM series, and name the study by folder ("File Location" or
"study_location"), by "Study UID", of which the folder's name carries the last five digits, or by "Study
Date". A diagnosis of NEGATIVE means a study without tumour; the PSMA metadata have no diagnosis.
"""

from __future__ import annotations

import csv
import datetime
import io
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from benchmark.data.dataset_json import (
    FILE_NAME,
    channel_entries,
    file_ending,
    label_entries,
    nnunet_names,
    read_dataset_json,
    refuse_equal_ids,
    refuse_no_folder,
    subfolders,
    unpacked_folder,
    what_is_there,
)
from benchmark.data.naming import case_id_from
from benchmark.vocabulary import Case, DataError, DatasetSpec, Preparation, Region, Window

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

TCIA_FILES = {"CT": "CTres.nii.gz", "PET": "SUV.nii.gz", "label": "SEG.nii.gz"}
_CHANNEL_NAMES = {"ct": "CT", "ctres": "CT", "pet": "PET", "suv": "PET", "pt": "PET"}
_NNUNET_NAME = re.compile(r"(?P<patient>(?:fdg|psma)_[^_]+)_(?P<study>.+)", re.IGNORECASE)


def spec_of(root: Path | None) -> DatasetSpec:
    """The same wherever it lies."""
    return SPEC


def discover(root: Path) -> list[Case]:
    """All cases under `root`, sorted by id; no image is opened, so it takes milliseconds.

    A study of which a file is missing is listed too, with the path where the file should be: `check_cases`
    reports it. A case without metadata, or whose metadata contradict one another, has `has_lesion` None.
    Patients: the folder `PETCT_<id>`, or `<tracer>_<id>` of nnU-Net style names `fdg_<id>_<study>` and
    `psma_<id>_<study>`. A case of any other name counts as a patient of its own, so name the files like that
    when a patient has several studies.

    Raises DataError when there is neither layout, or when `dataset.json` does not say which channel is which.
    """
    root = Path(root)
    refuse_no_folder(root, _wanted())
    folder = _dataset_folder(root)
    studies = _nnunet_studies(folder) if _is_nnunet(folder) else _tcia_studies(folder)
    rows = _metadata_rows(folder)
    by_patient: dict[str, int] = defaultdict(int)
    for study in studies:
        by_patient[study.patient] += 1
    cases = [_case(study, rows, alone=by_patient[study.patient] == 1) for study in studies]
    refuse_equal_ids((case.case_id, case.metadata["source"]) for case in cases)
    return sorted(cases, key=lambda case: case.case_id)


@dataclass(frozen=True)
class _Study:
    """`name` is the study as the data set calls it; `source` names it for people."""

    patient: str
    name: str
    source: str
    images: Mapping[str, Path]
    label: Path


def _wanted() -> str:
    return (
        "PETCT_<id>/<study>/{CTres,SUV,SEG}.nii.gz (TCIA layout) or "
        "imagesTr/, labelsTr/ and dataset.json (nnU-Net layout)"
    )


def _is_nnunet(folder: Path) -> bool:
    return (folder / "imagesTr").is_dir() or (folder / "labelsTr").is_dir()


def _is_tcia(folder: Path) -> bool:
    return bool(_tcia_studies(folder))


def _is_dataset(folder: Path) -> bool:
    """For folders that nobody named: one that cannot be read is none."""
    try:
        return _is_nnunet(folder) or _is_tcia(folder)
    except DataError:
        return False


def _dataset_folder(root: Path) -> Path:
    """`root`, or its only subfolder that is a data set."""
    if _is_nnunet(root) or _is_tcia(root):
        return root
    folder = unpacked_folder(root, _is_dataset)
    if folder is not None:
        return folder
    for above in (root, root.parent):
        if any((above / name).exists() for name in TCIA_FILES.values()):
            raise DataError(
                f"{above} is a single study. Name the folder above its patient: {above.parent.parent}."
            )
    if any((study / name).exists() for study in subfolders(root) for name in TCIA_FILES.values()):
        raise DataError(f"{root} is a single patient. Name the folder above it: {root.parent}.")
    raise DataError(f"{root} holds no PET/CT cases: looked for {_wanted()}, but {what_is_there(root)}.")


def _tcia_studies(folder: Path) -> list[_Study]:
    studies = []
    for patient in subfolders(folder):
        for study in subfolders(patient):
            files = {role: study / name for role, name in TCIA_FILES.items()}
            if patient.name.startswith("PETCT_") or any(path.exists() for path in files.values()):
                label = files.pop("label")
                source = f"{patient.name}/{study.name}"
                studies.append(_Study(patient.name, study.name, source, files, label))
    return studies


def _nnunet_studies(folder: Path) -> list[_Study]:
    channels, ending = _channels(folder)
    names = nnunet_names(folder, ending)
    studies = []
    for name in names:
        match = _NNUNET_NAME.fullmatch(name)
        images = {m: folder / "imagesTr" / f"{name}_{channels[m]:04d}{ending}" for m in SPEC.modalities}
        label = folder / "labelsTr" / f"{name}{ending}"
        patient = match["patient"] if match else name
        studies.append(_Study(case_id_from(patient), match["study"] if match else name, name, images, label))
    return studies


def _channels(folder: Path) -> tuple[dict[str, int], str]:
    """Channel numbers of CT and PET, and the ending of the files' names, from nnU-Net's `dataset.json`."""
    example = '"channel_names": {"0": "CT", "1": "PET"}'
    path = folder / FILE_NAME
    content = read_dataset_json(folder, says="which channel is CT", example=example)
    names = channel_entries(content)
    found = [(_CHANNEL_NAMES.get(name.lower()), number) for number, name in names.items()]
    channels = {modality: int(number) for modality, number in found if modality and number.isdigit()}
    known = [modality for modality, _ in found if modality]
    if sorted(known) != sorted(SPEC.modalities) or len(channels) != len(SPEC.modalities):
        raise DataError(f"{path}: channel_names {names} must name CT once and PET once, as in {example}.")
    labels = label_entries(content)
    if labels and {str(value) for value in labels.values()} != {"1"}:
        raise DataError(
            f"{path}: labels {labels}, but AutoPET has one, a tumour of value 1. Merge the labels."
        )
    return channels, file_ending(content, path)


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
        for path in sorted(place.glob("*.csv")):
            for row in _read_metadata(path):
                rows[row.patient].append(row)
        if rows:
            return rows
    return {}


def _read_metadata(path: Path) -> list[_Row]:
    """The rows of one CSV; none when its columns are not AutoPET's."""
    try:
        with path.open("rb") as file:
            columns = _columns(_text(file.readline()))
            if not ({"subject id", "patient id", "file location", "study location"} & set(columns)):
                return []
            reader = csv.reader(io.StringIO(_text(file.read()), newline=""))
            rows = [
                _row(dict(zip(columns, (cell.strip() for cell in line), strict=False))) for line in reader
            ]
    except (OSError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read ({error}). Repair it, or move it away: it is optional."
        ) from error
    return [row for row in rows if row.patient]


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _columns(header: str) -> list[str]:
    cells = next(csv.reader([header.strip()]), [])
    return [re.sub(r"[\s_]+", " ", cell).strip().lower() for cell in cells]


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
