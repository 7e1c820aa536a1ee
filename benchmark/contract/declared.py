"""What a method says of itself before it is trained."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace

import torch

from benchmark.contract.setting import SPECS, THREE_MODALITIES, Setting
from benchmark.contract.words import listed, words_of
from benchmark.protocols import Method
from benchmark.vocabulary import MissingPackageError, Preparation

TASKS = ("Seg", "Rec", "Class")
FUSIONS = ("single", "early", "middle", "late", "fission")
HISTORY = ("step", "epoch", "seconds", "loss", "val_dice")
"""Columns of `history.csv`, where the losses and what is watched stand beside them."""


def documented(setting: Setting) -> list[str]:
    found = []
    if not vars(setting.kind).get("__doc__"):
        found.append(
            f"{setting.kind.__name__} has no docstring: say what it is, and under Decisions what is open."
        )
    if not setting.kind.paper:
        found.append(f'{setting.kind.__name__} names no paper: set `paper = "Authors, Title, Venue Year"`.')
    return found


def takes_arguments(setting: Setting) -> list[str]:
    parameters = list(inspect.signature(setting.kind).parameters.values())
    found = []
    if [p.name for p in parameters[:2]] != ["dataset", "patch_size"]:
        found.append(
            f"The constructor begins with {', '.join(p.name for p in parameters[:2]) or 'nothing'}; "
            "it must take `dataset` and `patch_size` first."
        )
    for p in parameters[2:]:
        if p.kind is not p.KEYWORD_ONLY:
            found.append(
                f"The argument `{p.name}` must be keyword-only: write `*,` before it (no *args, **kwargs)."
            )
        elif p.default is p.empty:
            found.append(
                f"The argument `{p.name}` has no default: a run names only the arguments it changes."
            )
    return found


def serves(setting: Setting) -> list[str]:
    if setting.unsupported is None:
        setting.build_any()
        try:
            with torch.device("meta"):
                setting.build_any()
        except Exception as error:
            return [
                f"It cannot be built on torch's meta device, as is done to check a study: "
                f"{words_of(error, setting.file)} The constructor must not look at the values of tensors."
            ]
        return []
    by_example = setting.is_default and any(other.unsupported is None for other in setting.siblings)
    if not by_example and all(replace(setting, spec=spec).unsupported for spec in SPECS):
        names = " nor ".join(spec.name for spec in SPECS)
        return [f"With these arguments it serves neither {names}: {setting.unsupported}"]
    return []


def has_abilities(setting: Setting) -> list[str]:
    """Asked once a class, of its first setting that serves a data set."""
    kind, first = setting.kind, next(other for other in setting.siblings if other.unsupported is None)
    if (setting.example, setting.spec) != (first.example, first.spec):
        return []
    if kind.takes_modalities not in ("any", "branches"):
        return [f"takes_modalities is {kind.takes_modalities!r}; it must be 'any' or 'branches'."]
    if kind.takes_labels not in ("one", "several"):
        return [f"takes_labels is {kind.takes_labels!r}; it must be 'one' or 'several'."]
    found = []
    others = [other for other in setting.siblings if len(other.spec.labels) > 1]
    several = [str(other) for other in others if other.unsupported is None]
    if kind.takes_labels == "one" and several:
        found.append(f"takes_labels is 'one', but it serves {listed(several)}; refuse it, or say 'several'.")
    if kind.takes_labels == "several" and not several:
        found.append(
            "takes_labels is 'several', but it serves no data set of several labels with its defaults or an example; "
            "add an example that does, or say 'one'."
        )
    arguments = {"variant": kind.variant} if "variant" in setting.arguments else {}
    elsewhere = replace(setting, arguments=arguments, spec=THREE_MODALITIES)
    if kind.takes_modalities == "branches" and elsewhere.unsupported is None:
        elsewhere.build_any()
        found.append(
            "takes_modalities is 'branches', but it serves three modalities without being told whose role is whose; "
            "say 'any'."
        )
    if kind.takes_modalities == "any":
        if elsewhere.unsupported is not None:
            found.append(
                f"takes_modalities is 'any', but with three modalities it says: {elsewhere.unsupported} Serve any "
                "number by default, or say 'branches'."
            )
        elif not setting.trains_itself:
            with torch.inference_mode():
                elsewhere.build().eval()(elsewhere.batch().image)
    return found


def announces(setting: Setting) -> list[str]:
    method = setting.build_any()
    found = []
    if not method.tasks or set(method.tasks) - set(TASKS):
        found.append(f"tasks is {method.tasks!r}; it must hold some of {', '.join(TASKS)}.")
    if method.fusion not in FUSIONS:
        found.append(f"fusion is {method.fusion!r}; it must be one of {', '.join(FUSIONS)}.")
    if not method.readings or len(set(method.readings)) < len(method.readings):
        found.append(f"readings is {method.readings!r}; it must name at least one, and each once.")
    if not method.loss_names and not setting.trains_itself:
        found.append("loss_names is empty; set it in the constructor to the keys of losses().")
    regions = [region.name for region in setting.spec.regions]
    if unknown := [name for name in method.predicted_regions or () if name not in regions]:
        found.append(f"predicted_regions names {listed(unknown)}; {setting.spec.name} has {listed(regions)}.")
    if method.predicted_regions == ():
        found.append("predicted_regions is empty; None stands for all regions.")
    if taken := sorted(set(method.loss_names) & set(HISTORY)):
        found.append(f"A loss must not be called {', '.join(taken)}: a column of history.csv has that name.")
    return found


def weighs(setting: Setting) -> list[str]:
    method = setting.build_any()
    weights = method.default_loss_weights()
    found = []
    if set(weights) != set(method.loss_names):
        found.append(
            f"default_loss_weights() names {listed(weights)}, loss_names names {listed(method.loss_names)}; "
            "they must be the same."
        )
    for name, weight in weights.items():
        if not 0 <= weight < math.inf:
            found.append(f"The default weight of {name} is {weight}; it must be finite and not negative.")
    return found


def prepares(setting: Setting) -> list[str]:
    prepared = setting.build_any().preparation(setting.spec.preparation)
    if not isinstance(prepared, Preparation):
        return [f"preparation() returned {type(prepared).__name__}; it must return a Preparation."]
    if set(prepared.intensities) != set(setting.spec.modalities):
        return [
            f"preparation() has intensities for {listed(prepared.intensities)}; "
            f"{setting.spec.name} has {listed(setting.spec.modalities)}, and each needs one."
        ]
    return []


def names_packages(setting: Setting) -> list[str]:
    method = setting.build_any()
    if isinstance(method, Method):
        return []
    try:
        method.check_installed()
    except MissingPackageError as missing:
        if "install" not in str(missing):
            return [
                f"check_installed() says {str(missing)!r}; it must name the command that installs the package."
            ]
    return []
