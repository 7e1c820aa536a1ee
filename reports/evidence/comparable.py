"""Whether own and published numbers are of one experiment: the same data, cases divided alike, the same recipe.

    comparable(made, publication)   why they are not; nothing where they are
    apart_note(reasons)             the sentence that stands first wherever both are shown

Every table, figure, finding and page asks here. What the results do not say is not taken for granted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.results.manifests import GridManifest
from reports.evidence.experiments import Experiment, Folds, experiment_of
from reports.ground.publications import MIRROR_UNET, Publication, PublishedExperiment
from reports.ground.words import counted, enumerated

SHARE = 0.02
"""So far may the share of the cases that a fold tests differ from the published one: patients are not divided."""
WORDS = {
    "training.patch_size": "patches of {}",
    "training.epochs": "{} epochs",
    "training.steps": "{} steps",
    "training.batch_size": "batches of {}",
    "training.optimiser": "optimiser {}",
    "training.learning_rate": "learning rate {}",
    "training.weight_decay": "weight decay {}",
    "training.lesion_fraction": "a share of {} of patches with lesions",
    "training.schedule": "learning rate schedule {}",
    "spacing_mm": "voxels of {} mm",
    "method_args.channels": "networks of {} channels",
}
"""How a setting of the recipe is said."""


def comparable(made: Experiment, publication: Publication) -> tuple[str, ...]:
    """Why own numbers must not be compared with published ones; empty where they may."""
    return tuple(_reasons(made, publication))


def why_not(results: Path, manifest: GridManifest, publication: Publication | None) -> tuple[str, ...]:
    """`comparable` of a launch; empty as well where nothing was published."""
    return () if publication is None else comparable(experiment_of(results, manifest), publication)


def publication_of(grid: str) -> Publication | None:
    """What Mirror U-Net's paper printed of a grid."""
    return {f"table{number}": one for number, one in MIRROR_UNET.items()}.get(grid)


def apart_note(reasons: Sequence[str], publication: Publication) -> str:
    """The first line of whatever shows own and published numbers that are not comparable."""
    return (
        f"Own numbers and those published of {publication.called} are not comparable, and are shown apart: "
        f"{'; '.join(reasons)}."
    )


def _reasons(made: Experiment, publication: Publication) -> Iterator[str]:
    published = publication.experiment
    if not made.settings:
        # No run is done: there is nothing to compare.
        return
    if made.phantoms:
        yield f"own numbers are of phantoms, not of {publication.called}"
        return
    if publication.apart:
        yield publication.apart
    if published is None:
        return
    data = list(_of_data(made, published))
    yield from data
    if made.folds is not None and not data:
        yield from _of_folds(made.folds, published)
    yield from _of_recipe(made, published)


def _of_data(made: Experiment, published: PublishedExperiment) -> Iterator[str]:
    """Other data, or data that nothing is known of."""
    cases = made.cases.n_cases if made.cases else made.folds.n_cases if made.folds else None
    if cases is None:
        yield f"the results do not say which cases data set {made.dataset} has"
        return
    if cases != published.cases:
        yield f"data set {made.dataset} has {counted(cases, 'case')}, {published.called} {published.cases:,}"
        return
    if made.cases is None:
        return
    if set(made.cases.modalities) != set(published.modalities):
        own, theirs = enumerated(made.cases.modalities), enumerated(published.modalities)
        yield f"data set {made.dataset} has the modalities {own}, {published.called} {theirs}"
    for noun, plural, n, wanted in (
        ("patient", "patients", made.cases.n_patients, published.patients),
        ("case with lesions", "cases with lesions", made.cases.n_with_lesions, published.with_lesions),
    ):
        if n != wanted:
            yield f"data set {made.dataset} has {counted(n, noun, plural)}, {published.called} {wanted:,}"


def _of_folds(folds: Folds, published: PublishedExperiment) -> Iterator[str]:
    wanted = published.test_cases / published.cases
    if any(abs(n / folds.n_cases - wanted) > SHARE for n in folds.test_cases):
        sizes = " or ".join(dict.fromkeys(f"{n:,}" for n in folds.test_cases))
        yield f"folds test {sizes} of {folds.n_cases:,} cases, the publication {published.test_cases:,}"


def _of_recipe(made: Experiment, published: PublishedExperiment) -> Iterator[str]:
    if not all(made.settings.values()):
        yield "the results do not say how all runs were trained"
        return
    own: dict[str, list[str]] = {}
    printed: dict[str, str] = {}
    for settings in made.settings.values():
        for key, value, wanted in _departures(settings, published):
            if (text := _said(key, value)) not in own.setdefault(key, []):
                own[key].append(text)
            printed[key] = wanted
    if own:
        apart = [f"{' or '.join(texts)} ({printed[key]})" for key, texts in own.items()]
        yield f"trained otherwise than published (in brackets): {enumerated(apart)}"


def _departures(
    settings: Mapping[str, Any], published: PublishedExperiment
) -> Iterator[tuple[str, Any, str]]:
    """Settings that are not the recipe's, and what the recipe says instead."""
    for name in published.left_alone:
        if (value := settings.get(f"method_args.{name}")) is not None:
            yield f"method_args.{name}", value, "the method's own"
    if settings.get("method") not in published.own_recipes:
        yield from _other_recipe(settings, published)


def _other_recipe(
    settings: Mapping[str, Any], published: PublishedExperiment
) -> Iterator[tuple[str, Any, str]]:
    recipe = published.recipe
    if (steps := settings.get("training.steps")) is not None:
        epochs, batch = recipe["training.epochs"], recipe["training.batch_size"]
        if steps != epochs * math.ceil((published.cases - published.test_cases) / batch):
            yield "training.steps", steps, _said("training.epochs", epochs)
    for key, wanted in recipe.items():
        value = settings.get(key)
        # What a run leaves open is the data set's or the method's own, which are the recipe's.
        if value is None or (key == "training.epochs" and steps is not None):
            continue
        if _plain(value) != _plain(wanted):
            yield key, value, _said(key, wanted)


def _plain(value: Any) -> Any:
    """Equal values are equal whatever read them."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _said(key: str, value: Any) -> str:
    if isinstance(value, (list, tuple)):
        between = ", " if key.endswith("channels") else " × "
        text = between.join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    else:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return WORDS.get(key, f"{key.removeprefix('method_args.')} {{}}").format(text)
