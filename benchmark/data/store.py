"""Prepared cases as memory-mapped arrays, shared by all runs and processes.

    <results>/stores/<dataset>-<key>/     one for each preparation of the data set
        store.json              what was prepared, and how
        cases/<case_id>/        image.npy (float16), label.npy (uint8), lesion.npy (int16), case.json

`case.json` is written last and holds the hashes of the inputs and of the arrays: a case without it, with
other inputs, or with arrays that are not those, is prepared again. A case that nobody has labelled has no `label.npy`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator

from benchmark.data.findings import Finding
from benchmark.data.images import write_mask
from benchmark.data.prepare import FORMAT, Geometry, prepare_case, read_native_label
from benchmark.data.voxel_checks import Signature
from benchmark.files.places import DamagedFileError, Name, is_regular, is_there
from benchmark.files.schemas import STRICT, Amount, Open, Text, checked, read_as, read_mapping
from benchmark.files.writing import write_json, written_whole
from benchmark.vocabulary import Case, CaseSummary, DataError, DatasetSpec, Preparation, Size3, Unclipped

ARRAYS = ("image", "label", "lesion")


def store_folder(results: Path, spec: DatasetSpec, preparation: Preparation, root: Path) -> Path:
    """One folder for each data set on disk and preparation of it."""
    return results / "stores" / _named(spec, root, list(spec.modalities), _plain(preparation))


def splits_folder(results: Path, spec: DatasetSpec, root: Path) -> Path:
    """One folder for each data set on disk: all preparations of it are split alike."""
    return results / "splits" / _named(spec, root)


def _named(spec: DatasetSpec, root: Path, *more: Any) -> str:
    identity = json.dumps([spec.name, str(root.resolve()), *more], sort_keys=True)
    return f"{spec.name}-{hashlib.sha256(identity.encode()).hexdigest()[:10]}"


def preparation_identity(spec: DatasetSpec, preparation: Preparation) -> dict[str, Any]:
    """All that decides arrays and scores besides the files: parameters, labels, versions, format."""
    return {
        "format": FORMAT,
        "dataset": spec.name,
        "modalities": list(spec.modalities),
        "labels": dict(spec.labels),
        **({} if spec.ignore is None else {"ignore": spec.ignore}),
        "regions": {region.name: list(region.labels) for region in spec.regions},
        "preparation": _plain(preparation),
        "versions": {name: version(name) for name in ("numpy", "scipy", "nibabel")},
    }


def _plain(preparation: Preparation) -> dict[str, Any]:
    intensities = {
        name: None if rule is None else {"rule": type(rule).__name__, **asdict(rule)}
        for name, rule in preparation.intensities.items()
    }
    content: dict[str, Any] = json.loads(json.dumps({**asdict(preparation), "intensities": intensities}))
    return content


@dataclass(frozen=True)
class PreparedCase:
    """One case in the store; arrays are mapped when asked for."""

    folder: Path
    case_id: str
    patient: str
    lesion_ml: float
    geometry: Geometry
    files: Mapping[str, Path]
    """The original files, by modality and, where there is one, `label`."""
    channels: Mapping[str, int]
    """Where in their file the modalities lie that share one, as `Case.channels`."""
    inputs: Mapping[str, str]
    """Their hashes when they were prepared."""
    stamps: Mapping[str, Mapping[str, int]]
    """Their sizes and times then, which spare reading files that nobody touched."""
    ignore: int | None = None
    """The value in the label file of voxels that nobody annotated."""
    unclipped: tuple[int, ...] = ()
    """The channels whose values reach beyond [0, 1], and are clipped before a trained network sees them."""
    findings: tuple[Finding, ...] = ()
    """What was odd about the files when they were prepared."""
    signatures: Mapping[str, Signature] = field(default_factory=dict, repr=False)
    """By what the images are known again, by modality."""

    @property
    def is_labelled(self) -> bool:
        return "label" in self.files

    @property
    def has_lesion(self) -> bool:
        """False for a case that nobody has labelled."""
        return self.lesion_ml > 0

    @property
    def summary(self) -> CaseSummary:
        return CaseSummary(self.case_id, self.patient, self.lesion_ml)

    def image(self) -> np.ndarray:
        """float16 `[modality, x, y, z]`: the body's bounding box, mapped."""
        return _mapped(self.folder / "image.npy")

    def label(self) -> np.ndarray:
        """uint8 `[X, Y, Z]`: the full volume at the preparation's spacing, mapped; `IGNORED` where nobody annotated.

        DataError if there is no label.
        """
        self._refuse_unlabelled()
        return _mapped(self.folder / "label.npy")

    def lesion_voxels(self) -> np.ndarray:
        """int16 `[n, 3]`: foreground voxels in the image's coordinates, mapped."""
        return _mapped(self.folder / "lesion.npy")

    def native_label(self) -> np.ndarray:
        """uint8: the label on the original file's grid, `IGNORED` as in `label`. DataError if there is none."""
        self._refuse_unlabelled()
        return read_native_label(self._unchanged_file("label"), ignore=self.ignore)

    def original(self) -> Case:
        """The examination in its original files; DataError if one of them is not what was prepared."""
        files = {role: self._unchanged_file(role) for role in self.files}
        label = files.pop("label", None)
        has_lesion = self.has_lesion if label else None
        return Case(self.case_id, self.patient, files, label, has_lesion, channels=self.channels)

    def _refuse_unlabelled(self) -> None:
        if not self.is_labelled:
            raise DataError(f"Nobody has labelled {self.case_id}; it can be predicted, but not scored.")

    def _unchanged_file(self, role: str) -> Path:
        path = self.files[role]
        if not path.exists() or not _unchanged(path, {**self.stamps[role], "hash": self.inputs[role]}):
            raise DataError(f"{path} has changed since it was prepared. Start again.")
        return path

    def write_nifti(self, path: Path, label_map: np.ndarray) -> None:
        """Write labels of the original file's voxels; they lie on the original images in any viewer."""
        geometry = self.geometry
        write_mask(path, label_map, affine=np.array(geometry.native_affine), header=geometry.native_header)


# Mapped files hold a descriptor each; a bounded number stays below the usual limit of 1,024.
@lru_cache(maxsize=256)
def _mapped(path: Path) -> np.ndarray:
    try:
        # A pipe would be waited for, and a link leads elsewhere.
        if not is_regular(path):
            raise ValueError("it is no file")
        array: np.ndarray = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}). Start again to have it rebuilt.") from error
    return array


class _Intensities(Open):
    intensities: dict[str, dict[str, Any] | None]


class _Known(Open):
    """Of the identity, what is read again."""

    modalities: list[Text]
    preparation: _Intensities
    ignore: int | None = None


def _plausible(identity: dict[str, Any]) -> dict[str, Any]:
    _Known.model_validate(identity)
    return identity


_Identity = Annotated[dict[str, Any], AfterValidator(_plausible)]


@dataclass(frozen=True)
class _Content:
    """`store.json`."""

    __pydantic_config__ = STRICT

    identity: _Identity
    cases: tuple[Name, ...]


class Store:
    """The prepared cases of one data set. Opening it reads the small JSON files only; what they hold may be somebody
    else's. DataError for what is not prepared, or damaged."""

    def __init__(self, root: Path) -> None:
        self.root = root
        path = root / "store.json"
        if not is_there(path):
            raise DataError(
                f"There is no prepared data in {root}. `bench data prepare` or `bench run` makes it."
            )
        try:
            content = read_as(_Content, path, below=root)
        except DamagedFileError as error:
            raise DataError(f"{error}. Remove it, and start again to have it written.") from error
        self.identity: dict[str, Any] = content.identity
        self.case_ids = content.cases

    @cached_property
    def cases(self) -> dict[str, PreparedCase]:
        found = {case_id: read_case(self.root / "cases" / case_id) for case_id in self.case_ids}
        if odd := [case_id for case_id, case in found.items() if case.case_id != case_id]:
            raise DataError(
                f"{found[odd[0]].folder} holds another case, {found[odd[0]].case_id}. Remove it, and start again."
            )
        return found

    @property
    def fingerprint(self) -> str:
        """Hash of parameters, library versions and the contents of all input files."""
        return store_fingerprint(self.identity, self.cases.values())


def data_fingerprint(store: str, splits: str, *, scored_on: str) -> str:
    """What a run's identity says of its data, from the fingerprints of the store, of the folds' membership, and of the
    store on whose grid it is scored, where that is another."""
    parts = [store, splits, *([scored_on] if scored_on != store else [])]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def store_fingerprint(identity: Mapping[str, Any], cases: Iterable[PreparedCase]) -> str:
    inputs = {
        case.case_id: [dict(case.inputs), case.patient, *([dict(case.channels)] if case.channels else [])]
        for case in cases
    }
    return hashlib.sha256(json.dumps([identity, inputs], sort_keys=True).encode()).hexdigest()[:16]


class _Case(Open):
    """Of `case.json`, what has a simple type."""

    case_id: Name
    patient: Text
    lesion_ml: Amount
    identity: _Identity


def read_case(folder: Path) -> PreparedCase:
    """A prepared case from its `case.json`; DataError if that is missing or damaged."""
    path = folder / "case.json"
    try:
        content = read_mapping(path, below=folder.parent)
        checked(_Case, content, source=str(path))
        g = content["geometry"]
        geometry = Geometry(
            native_shape=_three(g["native_shape"]),
            native_affine=tuple(tuple(row) for row in g["native_affine"]),
            grid_shape=_three(g["grid_shape"]),
            spacing_mm=(g["spacing_mm"][0], g["spacing_mm"][1], g["spacing_mm"][2]),
            crop_start=_three(g["crop_start"]),
            crop_shape=_three(g["crop_shape"]),
            native_header=base64.b64decode(g.get("native_header", "")),
        )
        return PreparedCase(
            folder=folder,
            case_id=content["case_id"],
            patient=content["patient"],
            lesion_ml=content["lesion_ml"],
            geometry=geometry,
            files={role: Path(entry["path"]) for role, entry in content["inputs"].items()},
            channels=content.get("channels", {}),
            ignore=content["identity"].get("ignore"),
            unclipped=_unclipped(content["identity"]),
            findings=tuple(map(Finding.from_json, content.get("findings", ()))),
            signatures={name: Signature.from_json(s) for name, s in content.get("signatures", {}).items()},
            inputs={role: entry["hash"] for role, entry in content["inputs"].items()},
            stamps={
                role: {name: entry[name] for name in ("size", "mtime_ns")}
                for role, entry in content["inputs"].items()
            },
        )
    except (DamagedFileError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(
            f"{folder} is not a prepared case ({error}). Start again to have it rebuilt."
        ) from error


def _unclipped(identity: Mapping[str, Any]) -> tuple[int, ...]:
    rules = identity["preparation"]["intensities"]
    names = enumerate(identity["modalities"])
    return tuple(k for k, name in names if (rules.get(name) or {}).get("rule") == Unclipped.__name__)


def _three(values: list[int]) -> Size3:
    x, y, z = values
    return x, y, z


def store_case(case: Case, folder: Path, *, spec: DatasetSpec, preparation: Preparation) -> None:
    """Prepare one case and write it; `case.json` last.

    DataError for files that cannot be read or do not fit together, and for values that are a fault.
    """
    (folder / "case.json").unlink(missing_ok=True)
    # Modalities that share a file share what is recorded of it.
    try:
        files = {
            path: {"path": str(path.absolute()), **_stamp(path), "hash": _file_hash(path)}
            for path in set(case.files.values())
        }
    except OSError as error:
        raise DataError(f"{case.case_id}: cannot read {error.filename}: {error.strerror}.") from error
    prepared = prepare_case(case, spec, preparation, inspect=True)
    assert prepared.inspection is not None
    arrays = {}
    for name in _arrays_of(case):
        path = folder / f"{name}.npy"
        with written_whole(path) as temporary, temporary.open("wb") as file:
            np.save(file, getattr(prepared, name))
        arrays[name] = {**_stamp(path), "hash": _file_hash(path)}
    write_json(
        folder / "case.json",
        {
            "case_id": case.case_id,
            "patient": case.patient,
            "lesion_ml": prepared.lesion_ml,
            "geometry": asdict(prepared.geometry)
            | {"native_header": base64.b64encode(prepared.geometry.native_header).decode()},
            "identity": preparation_identity(spec, preparation),
            "inputs": {role: files[path] for role, path in case.files.items()},
            "channels": dict(case.channels),
            "arrays": arrays,
            "findings": [finding.to_json() for finding in prepared.inspection.findings],
            "signatures": {
                name: signature.to_json() for name, signature in prepared.inspection.signatures.items()
            },
        },
    )


def _arrays_of(case: Case) -> list[str]:
    return [name for name in ARRAYS if name != "label" or case.label is not None]


def why_stale(case: Case, folder: Path, *, identity: Mapping[str, Any]) -> str | None:
    """Why a case must be prepared (again), or None. Files whose size and time have not changed are not read."""
    if not is_there(folder / "case.json"):
        return "not prepared yet"
    try:
        content = read_mapping(folder / "case.json", below=folder.parent)
        if content["identity"] != identity:
            return "prepared with other parameters or library versions"
        if content["patient"] != case.patient or set(content["inputs"]) != set(case.files):
            return "belongs to other files"
        if content.get("channels", {}) != case.channels:
            return "belongs to other places in its files"
        recorded = {path: content["inputs"][role] for role, path in case.files.items()}
        if any(entry["path"] != str(path.absolute()) for path, entry in recorded.items()):
            return "belongs to other files"
        changed = (path for path, entry in recorded.items() if not _unchanged(path, entry))
        if path := next(changed, None):
            return f"{path.name} has changed"
        arrays = {f"{name}.npy": content["arrays"][name] for name in _arrays_of(case)}
        damaged = (name for name, entry in arrays.items() if not _unchanged(folder / name, entry))
        if name := next(damaged, None):
            return f"{name} is damaged"
    except (DamagedFileError, OSError, ValueError, KeyError, TypeError):
        return "case.json is damaged"
    return None


def _stamp(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _unchanged(path: Path, recorded: Mapping[str, Any]) -> bool:
    stamp = _stamp(path)
    if stamp == {"size": recorded["size"], "mtime_ns": recorded["mtime_ns"]}:
        return True
    return stamp["size"] == recorded["size"] and _file_hash(path) == recorded["hash"]


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
