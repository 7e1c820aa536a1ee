"""The cases of one run, opened from the stores its order names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchmark.config import RunConfig
from benchmark.data.splits import stored_splits
from benchmark.data.store import PreparedCase, Store, data_fingerprint
from benchmark.datasets.registry import dataset
from benchmark.protocols import ExternalMethod, Method
from benchmark.results.order import RunOrder
from benchmark.vocabulary import BenchError, DataError, DatasetSpec, Preparation


@dataclass(frozen=True)
class FoldData:
    """The cases of a run's fold in the method's preparation, and in the usual one for scoring (`references`).

    `fingerprints`: of the prepared cases (`store`), of those that are scored on (`scored_on`) and of the folds'
    membership (`splits`), and what names the preparation itself, whatever it was applied to (`preparation`).
    """

    spec: DatasetSpec
    train: Sequence[PreparedCase]
    validation: Sequence[PreparedCase]
    test: Sequence[PreparedCase]
    references: Mapping[str, PreparedCase]
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    def without_test(self) -> FoldData:
        """The fold for those who may not see the test part."""
        ids = {case.case_id for case in self.test}
        references = {name: case for name, case in self.references.items() if name not in ids}
        return replace(self, test=(), references=references)


def run_preparation(method: Method | ExternalMethod, config: RunConfig, spec: DatasetSpec) -> Preparation:
    """How a run wants its cases prepared. A method that trains itself clips, or does not, by itself."""
    wanted = method.preparation(spec.preparation_at(config.spacing_mm))
    unclipped = config.training.clip == "inference" and isinstance(method, Method)
    return wanted.unclipped() if unclipped else wanted


def open_fold(order: RunOrder) -> FoldData:
    """The order's fold; DataError when the data are not those it was planned for."""
    config = order.config
    store = Store(order.store)
    scored_on = store if order.scored_on == order.store else Store(order.scored_on)
    references = scored_on.cases
    cases = {case_id: case for case_id, case in store.cases.items() if case_id in references}
    splits = stored_splits(order.splits, [case.summary for case in cases.values()])
    if (
        data_fingerprint(store.fingerprint, splits.fingerprint, scored_on=scored_on.fingerprint)
        != order.data_fingerprint
    ):
        raise DataError(
            f"The data in {order.store} has changed since this run was planned; start the grid again."
        )
    if config.fold >= len(splits.folds):
        raise BenchError(f"There is no fold {config.fold} in {order.splits}; it has {len(splits.folds)}.")
    fold = splits.folds[config.fold]
    if config.training.tumour_free == "dropped":
        ill = {case.case_id for case in cases.values() if case.has_lesion}
        chosen = (tuple(name for name in part if name in ill) for part in (fold.train, fold.validation))
        fold = replace(fold, train=next(chosen), validation=next(chosen))
    if empty := [name for name, ids in fold.parts().items() if not ids]:
        raise DataError(f"Fold {config.fold} of {order.splits} has no case left in {' and '.join(empty)}.")
    train, validation, test = ([cases[case_id] for case_id in ids] for ids in fold.parts().values())
    fingerprints = {
        "preparation": _digest(store.identity["preparation"]),
        "store": store.fingerprint,
        "scored_on": scored_on.fingerprint,
        "splits": splits.fingerprint,
    }
    spec = dataset(config.dataset).spec_of(order.root)
    return FoldData(spec, train, validation, test, references, fingerprints)


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
