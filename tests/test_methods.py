"""Every method keeps the contract: with its defaults and each of its examples, on PET/CT and on brain MRI."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmark.contract import CHECKS, SPECS, Setting, settings, verdict_of, verdicts_of
from benchmark.contract.setting import Training
from benchmark.data.readers.autopet import SPEC
from benchmark.protocols import Method
from benchmark.registry import build_method, method_names

SETTINGS = [setting for name in method_names() for setting in settings(name)]
TRAINING = (
    "takes_any_shape",
    "reaches_every_parameter",
    "learns",
    "agrees_in_bfloat16",
    "learns_in_bfloat16",
    "resumes",
)


@pytest.mark.parametrize("setting", SETTINGS, ids=[f"{setting.method}, {setting}" for setting in SETTINGS])
def test_the_method_keeps_the_contract(setting: Setting) -> None:
    if is_seen_elsewhere(setting):
        untrained = setting.build()
        vars(setting)["trained"] = Training(untrained, [], [], frozenset())
        quick = [c for c in CHECKS if c.of != "external" and c.run.__name__ not in TRAINING]
        found = [verdict_of(check, setting) for check in quick]
    else:
        found = list(verdicts_of(setting))
    broken = [verdict for verdict in found if verdict.state == "broken"]
    told = [f"{verdict.check.name}\n  {words}" for verdict in broken for words in verdict.words]
    assert not told, "\n".join(told)


def is_seen_elsewhere(setting: Setting) -> bool:
    """Whether an example is trained on the first data set; on the second one it then is not, which saves minutes.

    `bench check-method` trains it on both.
    """
    if setting.is_default or setting.trains_itself or setting.spec is SPECS[0]:
        return False
    return setting.unsupported is None and replace(setting, spec=SPECS[0]).unsupported is None


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
