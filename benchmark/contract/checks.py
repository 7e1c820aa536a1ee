"""The promises of `benchmark.protocols.Method`, each as a sentence and a function that looks for what breaks it.

A finding says what is wrong, with names and numbers, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmark.contract import declared, ignoring, prediction, training
from benchmark.contract.setting import Setting


@dataclass(frozen=True)
class Check:
    """`run` returns what breaks the promise `name`; `of`: all methods, or those that train in our loop, or those that
    train themselves."""

    name: str
    run: Callable[[Setting], list[str]]
    of: Literal["all", "ours", "external"] = "ours"


CHECKS = (
    Check("The class says what it is, and names its paper", declared.documented, of="all"),
    Check("Its own arguments are keyword-only and have defaults", declared.takes_arguments, of="all"),
    Check("It serves a data set, or says why it cannot", declared.serves, of="all"),
    Check(
        "A missing package is named with the command that installs it", declared.names_packages, of="external"
    ),
    Check("It takes the modalities and labels that it says it takes", declared.has_abilities, of="all"),
    Check("Tasks, fusion, losses, readings and told regions are announced", declared.announces, of="all"),
    Check("default_loss_weights() names exactly the losses", declared.weighs, of="all"),
    Check("preparation() has a rule for every modality", declared.prepares, of="all"),
    Check("The losses are those of loss_names, and finite scalars", training.losses_are_announced),
    Check("What named_outputs() shows is what losses() learns from", training.learns_what_it_shows),
    Check("Voxels that nobody annotated change no segmentation loss", ignoring.ignores),
    Check("The same seed gives the same losses", training.is_deterministic),
    Check("The batch is left as it was", training.leaves_the_batch),
    Check("Patches need not be cubes; batches of 1, 2 and 3 work", training.takes_any_shape),
    Check("A patch size that cannot work is refused", training.refuses_patch_sizes),
    Check("Every parameter gets a gradient, or is listed as unused", training.reaches_every_parameter),
    Check("The losses fall on one batch", training.learns),
    Check("bfloat16 autocast gives nearly the losses of float32", training.agrees_in_bfloat16),
    Check("The losses fall on one batch under bfloat16 autocast", training.learns_in_bfloat16),
    Check("An interrupted training continues bit for bit", training.resumes),
    Check("Saved weights predict the same", prediction.saves),
    Check("Every reading decodes to labels of the data set", prediction.decodes),
    Check("decode(output) is the first reading", prediction.first_reading_is_the_default),
    Check(
        "named_outputs() are those of output_kinds(), and forward() is made of them", prediction.shows_outputs
    ),
    Check("without(modality) does without it, or is None", prediction.does_without),
    Check("A prediction depends on its patch alone", prediction.predicts_alone),
    Check("CPU and CUDA agree, and it trains on CUDA", prediction.runs_on_cuda),
)
