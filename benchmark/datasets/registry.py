"""From a data set's name to its reader."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmark.data import readers
from benchmark.data.findings import Finding
from benchmark.data.phantoms import Phantoms
from benchmark.data.phantoms.writing import FIRST_KIND, PARAMETERS_FILE
from benchmark.data.user_files import read_user_json
from benchmark.vocabulary import BenchError, Case, DatasetSpec, did_you_mean


@dataclass(frozen=True)
class Dataset:
    """A reader; what its parts do is said in `benchmark.data.readers`."""

    name: str
    spec_of: Callable[[Path | None], DatasetSpec]
    discover: Callable[[Path], list[Case]]
    unlabelled: Callable[[Path], list[Case]]
    own_splits: Callable[[Path], Path | None]
    remarks: Callable[[Path], list[Finding]]
    phantoms: Phantoms | None


def dataset_names() -> list[str]:
    """All data sets that have a reader. Imports none of them."""
    return sorted(module.name for module in pkgutil.iter_modules(readers.__path__))


def dataset(name: str) -> Dataset:
    """The reader of a data set."""
    if name not in dataset_names():
        raise BenchError(f"There is no data set {name!r}. {did_you_mean(name, dataset_names())}")
    module = importlib.import_module(f"{readers.__name__}.{name}")
    return Dataset(
        name=name,
        spec_of=module.spec_of,
        discover=module.discover,
        unlabelled=getattr(module, "unlabelled", lambda root: []),
        own_splits=getattr(module, "own_splits", lambda root: None),
        remarks=getattr(module, "remarks", lambda root: []),
        phantoms=getattr(module, "PHANTOMS", None),
    )


def phantom_readers() -> dict[str, Phantoms]:
    """The data sets that the suite writes itself, by name."""
    readers_of = {name: dataset(name).phantoms for name in dataset_names()}
    return {name: phantoms for name, phantoms in readers_of.items() if phantoms is not None}


def phantoms_for(name: str) -> str:
    """The data set of phantoms that stands for another; a phantoms' own name stands for itself."""
    for known, phantoms in phantom_readers().items():
        if name in (known, phantoms.stands_for):
            return known
    raise BenchError(
        f"There are no phantoms for the data set {name!r}; name its folder with --data {name}=DIR."
    )


def phantoms_in(name: str, root: Path | None) -> str:
    """The data set of phantoms that a reader finds in a folder, be it one for patients or of a converted copy; empty
    for other data. Copies that lost both the file of parameters and the name are not known again."""
    known = phantom_readers()
    if name in known:
        return name
    if root is None:
        return ""
    # Archives unpack to a folder of their own.
    for file in (root / PARAMETERS_FILE, *sorted(root.glob(f"*/{PARAMETERS_FILE}"))):
        content = (
            read_user_json(file, needs="it holds the parameters of phantoms") if file.is_file() else None
        )
        if isinstance(content, dict) and {"generation", "seed", "spacing_mm"} <= set(content):
            kind = content.get("kind", FIRST_KIND)
            return next((one for one, phantoms in known.items() if phantoms.kind == kind), "")
    with suppress(BenchError):
        # A folder that cannot be read is refused where it is.
        if (own := dataset(name).spec_of(root).name) in known:
            return own
    return ""
