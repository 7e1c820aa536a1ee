"""`dataset.json` as the Medical Segmentation Decathlon and nnU-Net (1 and 2) write it.

"channel_names": {"0": "CT", "1": "PET"}       the decathlon and nnU-Net 1 call it "modality"
"labels": {"background": 0, "tumor": 1}        they write it the other way round: {"0": "background", ...}
"file_ending": ".nii.gz"                       nnU-Net 2 only
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.data.folders import IMAGES, UNLABELLED, refuse_no_folder, unpacked_folder, what_is_there
from benchmark.data.images import ENDINGS
from benchmark.data.naming import case_id_from
from benchmark.data.user_files import read_user_json
from benchmark.vocabulary import IGNORED, DataError, Region

FILE_NAME = "dataset.json"
EVERY_LABEL = "foreground"
"""The region of all labels, which is added to several that are scored one by one."""
IGNORE = "ignore"
"""nnU-Net's name for voxels that nobody annotated."""
_HIGHEST_LABEL = IGNORED - 1


def read_dataset_json(folder: Path, *, says: str, example: str) -> dict[str, Any]:
    """The content, or nothing where it is no JSON object. `says` and `example` tell what is missing without it."""
    path = folder / FILE_NAME
    if not path.is_file():
        raise DataError(f"{path} is missing; it says {says}. Write one with {example}.")
    content = read_user_json(path, needs=f"it needs {example}")
    return content if isinstance(content, dict) else {}


def channel_entries(content: Mapping[str, Any]) -> dict[str, str]:
    """Names by number, both as they are written; empty where there are none."""
    names = content.get("channel_names", content.get("modality"))
    return {str(k): str(v).strip() for k, v in names.items()} if isinstance(names, dict) else {}


def channel_names(content: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """In the order of their numbers, as they are written; several may be equal. DataError unless 0, 1, 2, ..."""
    entries = channel_entries(content)
    if not entries or set(entries) != {str(k) for k in range(len(entries))} or not all(entries.values()):
        raise DataError(
            f'{path}: its channels are {entries}; it must name them by number from 0, as in "channel_names": '
            '{"0": "T1w", "1": "T2w"}.'
        )
    if "label" in entries.values():
        raise DataError(f"{path}: a channel is called 'label'. Rename it, so that it is not taken for one.")
    return tuple(entries[str(k)] for k in range(len(entries)))


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """The names as modalities: without dots, and with the channel's number behind those that differ in case at most.

    They become names of modules, losses and files.
    """
    undotted = [name.replace(".", "_") for name in names]
    plain = [case_id_from(name).casefold() for name in undotted]
    return tuple(f"{name} {k}" if plain.count(plain[k]) > 1 else name for k, name in enumerate(undotted))


def opened_folder(root: Path, *, wanted: str, example: str) -> tuple[Path, dict[str, Any]]:
    """A data set's folder, `root` or the only one in it, and its `dataset.json`. DataError where there is none."""
    root = Path(root)
    refuse_no_folder(root, wanted)
    folder = unpacked_folder(root, lambda path: is_nnunet(path) or (path / FILE_NAME).is_file())
    if folder is None:
        raise DataError(f"{root} is not a data set: looked for {wanted}, but {what_is_there(root)}.")
    return folder, read_dataset_json(folder, says="what is in the images", example=example)


def is_nnunet(folder: Path) -> bool:
    """Whether a folder has the parts of a data set of nnU-Net or of the decathlon."""
    return any((folder / part).is_dir() for part in (IMAGES, "labelsTr", UNLABELLED))


def file_ending(content: Mapping[str, Any], path: Path) -> str:
    ending = content.get("file_ending", ENDINGS[0])
    if str(ending).lower() not in ENDINGS:
        raise DataError(
            f"{path}: file_ending {ending!r} is not read here; {', '.join(ENDINGS)} are. Convert the images."
        )
    return str(ending)


def label_entries(content: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name as they are written, whichever way round they are; without the background."""
    labels = content.get("labels")
    if not isinstance(labels, dict):
        return {}
    by_name = "background" in labels or not all(str(key).isdigit() for key in labels)
    named = labels if by_name else {str(name): value for value, name in labels.items()}
    return {
        str(name): value for name, value in named.items() if name != "background" and value not in (0, "0")
    }


def labels_and_regions(content: Mapping[str, Any], path: Path) -> tuple[dict[str, int], tuple[Region, ...]]:
    """Values by label, and what is scored.

    Entries that list several values are regions, and then every entry is scored as it is written; a value that has no
    entry of its own is called after its number. Where all are plain, each is a region, and so is the union of several:
    a structure found under another's label is not the same failure as one that is not found. The label `ignore` is
    none of them: see `ignored_value`.
    """
    entries = label_entries(content)
    if not entries:
        raise DataError(f'{path} names no labels. Add them, as in "labels": {{"background": 0, "tumor": 1}}.')
    entries.pop(IGNORE, None)
    values = {name: _values(name, entry, path) for name, entry in entries.items()}
    values = dict(zip(_table_names(list(values)), values.values(), strict=True))
    labels: dict[str, int] = {}
    for name, own in values.items():
        if len(own) == 1:
            if own[0] in labels.values():
                raise DataError(f"{path}: two labels have the value {own[0]}. Give each one of its own.")
            labels[name] = own[0]
    unnamed = {value for own in values.values() for value in own} - set(labels.values())
    labels |= {f"label {value}": value for value in sorted(unnamed)}
    regions = tuple(Region(name, own) for name, own in values.items())
    if not unnamed and len(labels) > 1 and len(labels) == len(regions) and EVERY_LABEL not in labels:
        regions += (Region(EVERY_LABEL, tuple(sorted(labels.values()))),)
    return dict(sorted(labels.items(), key=lambda item: item[1])), regions


def ignored_value(content: Mapping[str, Any], path: Path) -> int | None:
    """The value of the label `ignore`, or None where there is none; DataError unless it is above all others."""
    entries = label_entries(content)
    if IGNORE not in entries:
        return None
    own = _values(IGNORE, entries.pop(IGNORE), path)
    highest = max((max(_values(name, entry, path)) for name, entry in entries.items()), default=0)
    if len(own) != 1 or own[0] <= highest:
        raise DataError(
            f"{path}: the label 'ignore' has the value {label_entries(content)[IGNORE]!r}; it must be one value above "
            f"all others, as in nnU-Net: {highest + 1}."
        )
    return own[0]


def _values(name: str, entry: Any, path: Path) -> tuple[int, ...]:
    listed = entry if isinstance(entry, list) else [entry]
    try:
        values = tuple(sorted({int(value) for value in listed}))
    except (TypeError, ValueError):
        values = ()
    if not values or values[0] < 1 or values[-1] > _HIGHEST_LABEL:
        raise DataError(
            f"{path}: the label {name!r} has the value {entry!r}; values are whole numbers from 1 to {_HIGHEST_LABEL}."
        )
    return values


def _table_names(names: Sequence[str]) -> list[str]:
    """Names that a table's cell can hold: words with blanks between. As they were where two would become one."""
    cleaned = [
        " ".join(re.sub(r"[\s_|]+", " ", unicodedata.normalize("NFC", name)).split()) for name in names
    ]
    return cleaned if all(cleaned) and len(set(cleaned)) == len(names) else list(names)
