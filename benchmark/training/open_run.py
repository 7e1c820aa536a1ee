"""A run that is being executed: what methods in our loop and methods that train themselves both need."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmark.config import RunConfig
from benchmark.data.store import PreparedCase
from benchmark.protocols import ExternalMethod, Method
from benchmark.registry import build_method
from benchmark.results.evidence import scores_facts, weights_facts
from benchmark.results.heartbeat import Beat
from benchmark.results.means import over_cases
from benchmark.results.order import RunOrder
from benchmark.results.runs import RunFolder, RunRecord
from benchmark.scoring.evaluate import Predicted, Split, new_projections, score_cases
from benchmark.scoring.metrics import METRICS
from benchmark.training.fold import FoldData

log = logging.getLogger(__name__)


@dataclass
class OpenRun:
    """`record` is what the folder says of the run so far; `asked_to_stop` turns true when the launcher asks."""

    order: RunOrder
    folder: RunFolder
    record: RunRecord
    data: FoldData
    beat: Beat
    asked_to_stop: Callable[[], bool]

    @property
    def config(self) -> RunConfig:
        return self.order.config

    @property
    def device(self) -> torch.device:
        return torch.device(self.order.resources.device)

    def note(self, **changes: Any) -> None:
        """Change the record, here and on disk."""
        self.record = replace(self.record, **changes)
        self.folder.write_record(self.record)

    def new_method(self) -> Method | ExternalMethod:
        """The run's method with its first weights, always the same."""
        torch.manual_seed(self.config.seed)
        return build_method(
            self.config.method,
            self.config.method_args,
            spec=self.data.spec,
            patch_size=self.config.training.patch_size,
            loss_weights=self.config.loss_weights,
        )

    @property
    def part(self) -> Split:
        """What is scored in the end; the test part only outside of searches."""
        return "validation" if self.order.trial else "test"

    @property
    def scored_cases(self) -> Sequence[PreparedCase]:
        """Only to be asked for when nothing can be chosen any more."""
        return self.data.validation if self.order.trial else self.data.test

    def score(
        self, predicted: Iterable[Predicted], *, told: Sequence[str] | None, weights: Path | None
    ) -> None:
        """Score the run's part as it is predicted, for the regions that are told, and write the scores.

        `weights`: the file that the predictions come from, where there is one.
        """
        used = weights_facts(self.folder, weights)
        test = self.part == "test"
        projections = new_projections(self.data.spec, told) if test else None
        scores = score_cases(
            predicted,
            self.data.references,
            spec=self.data.spec,
            config=self.config,
            run_id=self.order.run_id,
            told=told,
            split=self.part,
            predictions=self.folder.predictions if test and self.order.resources.save_predictions else None,
            projections=projections,
        )
        if projections is not None:
            projections.write(self.folder.projections_file)
        write = self.folder.write_scores if test else self.folder.write_validation
        write(scores)
        if test:
            self.note(facts={**self.record.facts, **used, **scores_facts(self.folder)})
        log.info("%s part: %s", self.part, _summary(scores))


def _summary(scores: pd.DataFrame) -> str:
    names = ["reading", "region", "metric"]
    means = over_cases(scores, ["reading", "metric"]).reset_index().sort_values(names)
    return ", ".join(
        f"{reading} {region} {METRICS[metric].title} {METRICS[metric].scale * value:.4g}".strip()
        for reading, region, metric, value in means[[*names, "value"]].itertuples(index=False, name=None)
    )
