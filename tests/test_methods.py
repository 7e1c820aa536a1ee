"""Every method keeps the contract: with its defaults and each of its examples, on PET/CT and on brain MRI.

`make test` trains a covering set of these settings: the defaults, and one setting for each distinct set of losses.
`bench check-method` trains every one on both data sets.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from benchmark.contract import CHECKS, SPECS, Check, Setting, settings, verdict_of
from benchmark.contract.setting import Training
from benchmark.data.readers.autopet import SPEC
from benchmark.protocols import Method
from benchmark.registry import build_method, method_names

SETTINGS = [setting for name in method_names() for setting in settings(name)]
ON_DEFAULTS = ("agrees_in_bfloat16", "learns_in_bfloat16", "resumes")
TRAINING = ("takes_any_shape", "reaches_every_parameter", "learns", *ON_DEFAULTS)


@pytest.mark.parametrize("setting", SETTINGS, ids=[f"{setting.method}, {setting}" for setting in SETTINGS])
def test_the_method_keeps_the_contract(setting: Setting, all_tests: bool) -> None:
    served = setting.unsupported is None and not setting.trains_itself
    if served and not is_trained(setting, all_tests=all_tests):
        vars(setting)["trained"] = Training(setting.build(), [], [], frozenset())
    found = [verdict_of(check, setting) for check in checks_of(setting, all_tests=all_tests)]
    broken = [verdict for verdict in found if verdict.state == "broken"]
    told = [f"{verdict.check.name}\n  {words}" for verdict in broken for words in verdict.words]
    assert not told, "\n".join(told)


def checks_of(setting: Setting, *, all_tests: bool) -> list[Check]:
    """What a setting is asked: everything where it is trained, and bfloat16 and resuming of the defaults alone."""
    checks = [check for check in CHECKS if check.of != "external" or setting.trains_itself]
    if setting.trains_itself or setting.unsupported is not None:
        return checks
    if is_trained(setting, all_tests=all_tests):
        left_out = () if setting.is_default else ON_DEFAULTS
    elif all_tests:
        left_out = TRAINING
    else:
        return [
            check for check in checks if check.of == "all" or check.run.__name__ == "losses_are_announced"
        ]
    return [check for check in checks if check.run.__name__ not in left_out]


def is_trained(setting: Setting, *, all_tests: bool) -> bool:
    """With all tests every setting is, on one data set, and the defaults on both; else those of the covering set."""
    if setting.unsupported is not None or setting.trains_itself:
        return False
    elsewhere = setting.spec is not SPECS[0] and replace(setting, spec=SPECS[0]).unsupported is None
    if all_tests:
        return setting.is_default or not elsewhere
    first = next(
        own for own in setting.siblings if own.unsupported is None and losses_of(own) == losses_of(setting)
    )
    return first is setting or (setting.is_default and not elsewhere)


@cache
def losses_of(setting: Setting) -> frozenset[str]:
    with torch.device("meta"):
        return frozenset(setting.build().loss_names)


def test_each_set_of_losses_is_trained_once_and_all_settings_with_all_tests() -> None:
    """CT only and PET only have a loss each; the two examples of BraTS have their own; the defaults have others."""
    late = [setting for setting in SETTINGS if setting.method == "late_fusion"]
    trained = [str(setting) for setting in late if is_trained(setting, all_tests=False)]
    assert trained == [
        "defaults on autopet", "defaults on msd", "CT only on autopet", "PET only on autopet", "T1Gd and FLAIR on msd",
    ]  # fmt: skip
    early, on_msd = (setting for setting in SETTINGS if setting.method == "early_fusion")
    assert [is_trained(early, all_tests=every) for every in (False, True)] == [True, True]
    assert [is_trained(on_msd, all_tests=every) for every in (False, True)] == [False, True]
    (only_ct,) = (setting for setting in late if str(setting) == "CT only on autopet")
    asked = [check.run.__name__ for check in checks_of(only_ct, all_tests=False)]
    assert "learns" in asked
    assert not set(asked) & set(ON_DEFAULTS)
    assert set(ON_DEFAULTS) <= {check.run.__name__ for check in checks_of(early, all_tests=False)}


def test_every_method_is_tried_on_both_data_sets() -> None:
    tried = {(setting.method, setting.spec.name) for setting in SETTINGS}
    assert tried == {(name, spec.name) for name in method_names() for spec in SPECS}
    assert [len(spec.modalities) for spec in SPECS] == [2, 4]


def test_decoding_is_argmax() -> None:
    class Plain(Method):
        def losses(self, batch: object) -> dict[str, Tensor]:
            return {}

        def forward(self, image: Tensor) -> Tensor:
            return image

    output = torch.randn(2, 5, 6, 7, 8).round()
    assert torch.equal(Plain(SPEC, (6, 7, 8)).decode(output).long(), output.argmax(dim=1, keepdim=True))


def test_methods_are_built_at_full_size_without_memory() -> None:
    with torch.device("meta"):
        method = build_method(
            "early_fusion", {}, spec=SPEC, patch_size=(96, 96, 96), loss_weights={"seg": 1.0}
        )
    assert isinstance(method, Method)
    assert {parameter.device.type for parameter in method.parameters()} == {"meta"}
