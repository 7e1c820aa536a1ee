"""A healthy method keeps the contract; for every check, a method that breaks it is found and told so in words."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.contract import BRAIN_MRI, CHECKS, Setting, Verdict, settings, verdict_of, verdicts
from benchmark.contract.prediction import runs_as_on_the_cpu
from benchmark.contract.setting import CPU
from benchmark.registry import METHOD_FILES, use_method_files

Write = Callable[[str], str]

HEADER = """
import random
import torch
from torch import nn
from healthy_method import Healthy
from benchmark.nn.losses import dice_ce
from benchmark.protocols import BenchError, ExternalMethod, Method, UnsupportedDatasetError
from benchmark.protocols import MissingPackageError
"""

FAULTS = {
    "documented": [
        ("class Net(Healthy):\n    pass", "Net has no docstring"),
        ('class Net(Healthy):\n    "Text."\n    paper = ""', "Net names no paper: set `paper = "),
    ],
    "takes_arguments": [
        (
            """
            class Net(Healthy):
                def __init__(self, dataset, patch_size, width=4):
                    super().__init__(dataset, patch_size, width=width)
            """,
            "The argument `width` must be keyword-only",
        ),
        (
            """
            class Net(Healthy):
                def __init__(self, dataset, patch_size, *, width):
                    super().__init__(dataset, patch_size, width=width)
            """,
            "The argument `width` has no default",
        ),
        (
            """
            class Net(Healthy):
                def __init__(self, spec, *, width=4):
                    pass
            """,
            "The constructor begins with spec, width; it must take `dataset` and `patch_size` first",
        ),
    ],
    "serves": [
        (
            """
            class Net(Healthy):
                def __init__(self, dataset, patch_size):
                    super().__init__(dataset, patch_size)
                    raise ValueError("no such thing")
            """,
            "ValueError: no such thing (net.py, line 13, in __init__)",
        ),
        (
            """
            class Net(Healthy):
                def __init__(self, dataset, patch_size):
                    super().__init__(dataset, patch_size)
                    self.scale = self.head.weight.sum().item()
            """,
            "It cannot be built on torch's meta device",
        ),
        (
            """
            class Net(Healthy):
                def __init__(self, dataset, patch_size):
                    raise UnsupportedDatasetError("it needs ultrasound.")
            """,
            "With these arguments it serves neither autopet nor msd: it needs ultrasound.",
        ),
        (
            'class Net(Healthy):\n    examples = {"broad": {"widht": 8}}',
            "net has no argument 'widht'. Did you mean 'width'?",
        ),
    ],
    "has_abilities": [
        (
            'class Net(Healthy):\n    takes_modalities = "all"',
            "takes_modalities is 'all'; it must be 'any' or 'branches'",
        ),
        (
            'class Net(Healthy):\n    takes_labels = "many"',
            "takes_labels is 'many'; it must be 'one' or 'several'",
        ),
        (
            'class Net(Healthy):\n    takes_labels = "one"',
            "takes_labels is 'one', but it serves defaults on msd; refuse it, or say 'several'",
        ),
        (
            """
            class Net(Healthy):
                def __init__(self, dataset, patch_size):
                    if len(dataset.labels) > 1:
                        raise UnsupportedDatasetError("it knows one label.")
                    super().__init__(dataset, patch_size)
            """,
            "takes_labels is 'several', but it serves no data set of several labels",
        ),
        (
            'class Net(Healthy):\n    takes_modalities = "branches"',
            "takes_modalities is 'branches', but it serves three modalities without being told",
        ),
        (
            """
            class Net(Healthy):
                def __init__(self, dataset, patch_size):
                    if len(dataset.modalities) % 2:
                        raise UnsupportedDatasetError("it needs pairs.")
                    super().__init__(dataset, patch_size)
            """,
            "takes_modalities is 'any', but with three modalities it says: it needs pairs. Serve any number",
        ),
    ],
    "announces": [
        (
            'class Net(Healthy):\n    predicted_regions = ("heart",)',
            "predicted_regions names heart; autopet has tumor",
        ),
        (
            "class Net(Healthy):\n    predicted_regions = ()",
            "predicted_regions is empty; None stands for all regions",
        ),
        (
            'class Net(Healthy):\n    tasks = property(lambda s: ("Segment",), lambda s, v: None)',
            "tasks is ('Segment',)",
        ),
        (
            'class Net(Healthy):\n    fusion = "mid"',
            "fusion is 'mid'; it must be one of single, early, middle",
        ),
        ("class Net(Healthy):\n    readings = ()", "readings is (); it must name at least one"),
        (
            'class Net(Healthy):\n    loss_names = property(lambda s: ("loss",), lambda s, v: None)',
            "A loss must not be called loss: a column of history.csv has that name",
        ),
    ],
    "weighs": [
        (
            "class Net(Healthy):\n    def default_loss_weights(self):\n        return {'seg': 1.0}",
            "default_loss_weights() names seg, loss_names names seg, rec; they must be the same",
        ),
        (
            "class Net(Healthy):\n    def default_loss_weights(self):\n        return {'seg': 1.0, 'rec': -1.0}",
            "The default weight of rec is -1.0; it must be finite and not negative",
        ),
    ],
    "prepares": [
        (
            """
            class Net(Healthy):
                def preparation(self, usual):
                    from dataclasses import replace
                    return replace(usual, intensities={"CT": usual.intensities["CT"]})
            """,
            "preparation() has intensities for CT; autopet has CT, PET, and each needs one",
        ),
        (
            "class Net(Healthy):\n    def preparation(self, usual):\n        pass",
            "preparation() returned NoneType; it must return a Preparation",
        ),
    ],
    "losses_are_announced": [
        (
            """
            class Net(Healthy):
                def losses(self, batch):
                    return super().losses(batch) | {"extra": torch.tensor(0.0)}
            """,
            "losses() returned seg, rec, extra at step 0, loss_names names seg, rec",
        ),
        (
            """
            class Net(Healthy):
                def losses(self, batch):
                    return {name: loss.expand(2) for name, loss in super().losses(batch).items()}
            """,
            "The loss seg has the shape [2]; it must be a scalar",
        ),
        (
            """
            class Net(Healthy):
                def losses(self, batch):
                    found = super().losses(batch)
                    return found | {"rec": found["rec"] / (0 if batch.step == 2 else 1)}
            """,
            "The loss rec is inf at step 2; it must be finite",
        ),
        (
            "class Net(Healthy):\n    def watched(self):\n        return {'seg': torch.ones(())}",
            "watched()['seg'] must be one finite number under a name that no loss has",
        ),
    ],
    "learns_what_it_shows": [
        (
            """
            class Net(Healthy):
                def named_outputs(self, image, *, generator=None):
                    return {"output": self(image)}
            """,
            "With nothing but NaN from named_outputs(), seg, rec is finite as before",
        ),
        (
            """
            class Net(Healthy):
                def named_outputs(self, image, *, generator=None):
                    return {"output": self(image)}
                def losses(self, batch):
                    seg = dice_ce(self.named_outputs(batch.image)["output"], batch.label)
                    return super().losses(batch) | {"seg": seg}
            """,
            "With nothing but NaN from named_outputs(), rec is finite as before",
        ),
    ],
    "ignores": [
        (
            """
            class Net(Healthy):
                def losses(self, batch):
                    seg = nn.functional.cross_entropy(self(batch.image), batch.label[:, 0].long())
                    return super().losses(batch) | {"seg": seg}
            """,
            "losses() fails where nobody annotated, with the label 255: IndexError: Target 255 is out of bounds.",
        ),
        (
            """
            class Net(Healthy):
                def losses(self, batch):
                    seg = nn.functional.cross_entropy(self(batch.image), batch.label[:, 0].long(), ignore_index=255)
                    return super().losses(batch) | {"seg": seg}
            """,
            "The loss seg is nan where nobody annotated; it must be finite. Use benchmark.nn.losses",
        ),
        (
            """
            class Net(Healthy):
                def losses(self, batch):
                    seg = dice_ce(self(batch.image), batch.label * (batch.label < 255))
                    return super().losses(batch) | {"seg": seg}
            """,
            "Where nobody annotated a single voxel, seg has a gradient",
        ),
        (
            """
            class Net(Healthy):
                def losses(self, batch):
                    seg = dice_ce(self(batch.image)[:, :2], (batch.label > 0).byte())
                    return super().losses(batch) | {"seg": seg}
            """,
            "Where nobody annotated a single voxel, seg has a gradient",
        ),
        (
            """
            class Net(Healthy):
                def losses(self, batch):
                    seg = dice_ce(self(batch.image), batch.label) + self.head.weight.square().sum()
                    return super().losses(batch) | {"seg": seg}
            """,
            "what does not come from the label is a loss of its own",
        ),
        (
            """
            class Net(Healthy):
                def named_outputs(self, image, *, generator=None):
                    return {"output": self(image)}
                def losses(self, batch):
                    logits = self.named_outputs(batch.image)["output"]
                    seg = dice_ce(logits, batch.label * (batch.label < 255)) * (batch.label < 255).any()
                    return super().losses(batch) | {"seg": seg}
            """,
            "seg looks at voxels of output that nobody annotated. Use benchmark.nn.losses",
        ),
    ],
    "is_deterministic": [
        (
            """
            class Net(Healthy):
                def features(self, image):
                    return super().features(image * random.random())
            """,
            "Draw random numbers from batch.generator alone",
        ),
    ],
    "leaves_the_batch": [
        (
            """
            class Net(Healthy):
                def losses(self, batch):
                    batch.image[:, :1] += 1
                    return super().losses(batch)
            """,
            "batch.image was changed in place (16384 of 32768 values); work on a copy",
        ),
        (
            """
            class Net(Healthy):
                def losses(self, batch):
                    batch.label.clamp_(max=0)
                    return super().losses(batch)
            """,
            "batch.label was changed in place (1000 of 16384 values)",
        ),
    ],
    "takes_any_shape": [
        (
            """
            class Net(Healthy):
                def features(self, image):
                    assert image.shape[2] == image.shape[3], "patches are cubes"
                    return super().features(image)
            """,
            "losses() fails for 1 patches of 32x16x48: AssertionError: patches are cubes (net.py, line 12, "
            "in features)",
        ),
        (
            """
            class Net(Healthy):
                def features(self, image):
                    a, b = image.chunk(2)
                    return super().features(torch.cat([a, b]))
            """,
            "losses() fails for 1 patches of 32x16x48: ValueError: not enough values to unpack",
        ),
        (
            """
            class Net(Healthy):
                def forward(self, image):
                    return super().forward(image)[..., ::2]
            """,
            "forward() of [1, 2, 32, 16, 48] has the shape [1, 2, 32, 16, 24]; it must be [1, channels, 32, 16, 48]",
        ),
    ],
    "refuses_patch_sizes": [
        (
            """
            class Net(Healthy):
                def features(self, image):
                    found = super().features(image)
                    low = nn.functional.max_pool3d(found, 8)
                    return found + nn.functional.interpolate(low, scale_factor=8)
            """,
            "patch_size 20x24x36 was accepted, and then training failed: RuntimeError: The size of tensor a",
        ),
    ],
    "reaches_every_parameter": [
        (
            """
            class Net(Healthy):
                def __init__(self, dataset, patch_size):
                    super().__init__(dataset, patch_size)
                    self.dead = nn.Linear(2, 2)
            """,
            "dead.bias, dead.weight: no gradient in the steps 0 to 3. Use it in a loss, remove it, or list it in "
            "unused_parameters() with the reason",
        ),
        (
            "class Net(Healthy):\n    def unused_parameters(self):\n        return {'head.bias': 'no bias'}",
            "head.bias: listed in unused_parameters(), but a loss reaches it",
        ),
        (
            "class Net(Healthy):\n    def unused_parameters(self):\n        return {'tail.bias': ' '}",
            "unused_parameters() names tail.bias, which is no parameter",
        ),
        (
            "class Net(Healthy):\n    def unused_parameters(self):\n        return {'tail.bias': ' '}",
            "unused_parameters() gives no reason for tail.bias",
        ),
    ],
    "learns": [
        (
            """
            class Net(Healthy):
                def losses(self, batch):
                    return {n: v.detach() + 0 * v for n, v in super().losses(batch).items()}
            """,
            "12 steps of Adam on one batch in float32 do not lower the losses by 5 % (means of the first and last "
            "4 steps: seg ",
        ),
    ],
    "agrees_in_bfloat16": [
        (
            """
            class Net(Healthy):
                def losses(self, batch):
                    found = super().losses(batch)
                    heavy = (self.forward(batch.image) * 0 + 1000.3).mean() - 1000
                    return found | {"seg": found["seg"] + heavy}
            """,
            "Compute sums, logarithms and exponentials in float32",
        ),
        (
            """
            class Net(Healthy):
                def losses(self, batch):
                    return super().losses(batch) | {"rec": self.forward(batch.image).square().mean()}
            """,
            "Under autocast the loss rec is torch.bfloat16; compute it from `.float()` outputs",
        ),
    ],
    "learns_in_bfloat16": [
        (
            """
            class Net(Healthy):
                def losses(self, batch):
                    rounded = torch.is_autocast_enabled("cpu")
                    return {n: v.detach() + 0 * v if rounded else v for n, v in super().losses(batch).items()}
            """,
            "12 steps of Adam on one batch under bfloat16 autocast do not lower the losses",
        ),
    ],
    "resumes": [
        (
            """
            class Net(Healthy):
                calls = 0
                def losses(self, batch):
                    self.calls += 1
                    return {n: v * self.calls for n, v in super().losses(batch).items()}
                def default_loss_weights(self):
                    return {"seg": 1.0, "rec": 0.1}
                def features(self, image):
                    return super().features(image + self.calls)
            """,
            "2 steps, and 1 step, a checkpoint and 1 more with a new network do not give the same weights: ",
        ),
        (
            """
            class Net(Healthy):
                def __init__(self, dataset, patch_size):
                    super().__init__(dataset, patch_size)
                    self.own = torch.Generator().manual_seed(0)
                def features(self, image):
                    return super().features(image * torch.rand((), generator=self.own))
            """,
            "keep other state in a registered buffer",
        ),
    ],
    "saves": [
        (
            """
            class Net(Healthy):
                def __init__(self, dataset, patch_size):
                    super().__init__(dataset, patch_size)
                    self.shift = torch.randn(())
                def features(self, image):
                    return super().features(image + self.shift)
            """,
            "What prediction needs must be a parameter or a registered buffer",
        ),
    ],
    "decodes": [
        (
            "class Net(Healthy):\n    def decode(self, output, reading=''):\n        return super().decode(output) + 1",
            "decode(output, '') gives the labels 2; autopet has 0 to 1",
        ),
        (
            """
            class Net(Healthy):
                def decode(self, output, reading=''):
                    return super().decode(output).float()
            """,
            "decode(output, '') gives torch.float32; labels are integers",
        ),
        (
            "class Net(Healthy):\n    def decode(self, output, reading=''):\n        return output.argmax(dim=1)",
            "decode(output, '') has the shape [2, 32, 16, 16]; it must be [2, 1, 32, 16, 16]",
        ),
        (
            """
            class Net(Healthy):
                def decode(self, output, reading=''):
                    return super().decode(output).reshape(len(output), 1, *self.patch_size)
            """,
            "RuntimeError: shape '[1, 1, 32, 16, 16]' is invalid",
        ),
        (
            """
            class Net(Healthy):
                decodes_voxelwise = True
                def decode(self, output, reading=''):
                    return super().decode(output - output.mean(dim=(2, 3, 4), keepdim=True))
            """,
            "decode(output, '') of two halves of a volume is not that of the whole; leave `decodes_voxelwise` out",
        ),
        (
            "class Net(Healthy):\n    def only(self, reading):\n        pass",
            "only('') returned NoneType; it must return a Method",
        ),
    ],
    "shows_outputs": [
        (
            """
            class Net(Healthy):
                def named_outputs(self, image, *, generator=None):
                    return {"output": self(image), "mean": self.mean(self.features(image))}
            """,
            "named_outputs(image) has output, mean; output_kinds() names output",
        ),
        (
            """
            class Net(Healthy):
                def output_kinds(self):
                    return super().output_kinds() | {"dark": ("input", "CT")}
            """,
            "named_outputs(image, generator=...) has output; output_kinds() names dark, output",
        ),
        (
            'class Net(Healthy):\n    def output_kinds(self):\n        return {"output": ("mask", "")}',
            "output_kinds()['output'] is of the kind 'mask'; choose of input, reconstruction",
        ),
        (
            'class Net(Healthy):\n    def output_kinds(self):\n        return {"output": ("segmentation", "heart")}',
            "output_kinds()['output'] is a segmentation of 'heart', which autopet has not",
        ),
        (
            'class Net(Healthy):\n    def output_kinds(self):\n        return {"output": ("reconstruction", "CT")}',
            "The output output has the shape [2, 2, 32, 16, 16]; it must be [2, 1, 32, 16, 16]",
        ),
        (
            """
            class Net(Healthy):
                def named_outputs(self, image, *, generator=None):
                    return {"output": self(image) / 0}
            """,
            "The output output has values that are not finite",
        ),
        (
            """
            class Net(Healthy):
                def named_outputs(self, image, *, generator=None):
                    return {"output": self(image) + random.random()}
            """,
            "In eval mode two calls of named_outputs(image) differ in output",
        ),
        (
            """
            class Net(Healthy):
                def named_outputs(self, image, *, generator=None):
                    return {"output": 2 * self(image)}
            """,
            "forward() has a channel that is none of those of named_outputs(image)",
        ),
    ],
    "does_without": [
        (
            "class Net(Healthy):\n    def without(self, modality):\n        return self",
            "without('CT') is a network that looks at CT",
        ),
        (
            "class Net(Healthy):\n    def without(self, modality):\n        return 0",
            "without('PET') returned int; it must return a Method or None",
        ),
        (
            """
            class Net(Healthy):
                readings = ("a", "b")
                def decode(self, output, reading=""):
                    return super().decode(output)
                def without(self, modality):
                    alone = Blind(self.dataset, self.patch_size)
                    alone.readings = ("a",)
                    return alone
            class Blind(Healthy):
                variant = "blind"
                def features(self, image):
                    return super().features(0 * image)
            """,
            "without('CT') has the readings ('a',); it must keep ('a', 'b')",
        ),
        (
            """
            class Net(Healthy):
                def without(self, modality):
                    with torch.inference_mode(False), torch.no_grad():
                        self.head.bias.add_(1)
            """,
            "without() changed the network it was asked of",
        ),
    ],
    "first_reading_is_the_default": [
        (
            """
            class Net(Healthy):
                readings = ("all", "none")
                def decode(self, output, reading="none"):
                    return super().decode(output) * (reading != "none") + (reading == "none")
            """,
            "decode(output) is not decode(output, 'all')",
        ),
    ],
    "predicts_alone": [
        (
            """
            class Net(Healthy):
                def forward(self, image):
                    return super().forward(image - image.mean(dim=0, keepdim=True))
            """,
            "In eval mode a patch's output depends on the other patches of the batch",
        ),
        (
            """
            class Net(Healthy):
                def forward(self, image):
                    return super().forward(nn.functional.dropout(image))
            """,
            "In eval mode two calls of forward() differ",
        ),
    ],
    "names_packages": [
        (
            """
            class Net(ExternalMethod):
                def check_installed(self):
                    raise MissingPackageError("magic is missing")
                def train(self, job): ...
                def predict(self, job, cases, out): ...
            """,
            "check_installed() says 'magic is missing'; it must name the command that installs the package",
        ),
    ],
}
CASES = [(check, code, words) for check, faults in FAULTS.items() for code, words in faults]
BY_NAME = {check.run.__name__: check for check in CHECKS}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a method file, makes it known and returns the method's name."""
    monkeypatch.setenv(METHOD_FILES, "")

    def write(code: str) -> str:
        path = tmp_path / "net.py"
        path.write_text(HEADER + textwrap.dedent(code), encoding="utf-8")
        use_method_files([path])
        return "net"

    return write


def findings(name: str, check: str) -> dict[Setting, tuple[str, ...]]:
    found = {setting: verdict_of(BY_NAME[check], setting) for setting in settings(name)}
    return {setting: verdict.words for setting, verdict in found.items() if verdict.state == "broken"}


def test_a_healthy_method_keeps_the_contract_on_both_data_sets(write: Write) -> None:
    name = write('class Net(Healthy):\n    """Text."""\n    examples = {"wide": {"width": 8}}')
    found = list(verdicts(name))
    assert [(v.check.name, v.words) for v in found if v.state == "broken"] == []
    assert {str(v.setting) for v in found} == {
        "defaults on autopet", "defaults on msd", "wide on autopet", "wide on msd",
    }  # fmt: skip


@pytest.mark.parametrize(("check", "code", "words"), CASES, ids=[f"{c}-{w[:40]}" for c, _, w in CASES])
def test_a_planted_fault_is_found_and_told(write: Write, check: str, code: str, words: str) -> None:
    found = findings(write(code), check)
    assert any(words in finding for own in found.values() for finding in own), found


def test_every_check_that_needs_no_cuda_device_has_a_planted_fault() -> None:
    assert set(FAULTS) == set(BY_NAME) - {"runs_on_cuda"}


def test_methods_that_alternate_by_step_reach_every_parameter_and_learn(write: Write) -> None:
    name = write(
        """
        class Net(Healthy):
            def losses(self, batch):
                found = super().losses(batch)
                idle = "rec" if batch.step % 2 else "seg"
                return found | {idle: found[idle].detach() * 0}
        """
    )
    assert findings(name, "reaches_every_parameter") == {}
    assert findings(name, "learns") == {}


def test_a_data_set_that_is_refused_is_no_fault_and_nothing_else_is_checked_on_it(write: Write) -> None:
    name = write(
        """
        class Net(Healthy):
            \"\"\"Text.\"\"\"
            def __init__(self, dataset, patch_size):
                if "PET" not in dataset.modalities:
                    raise UnsupportedDatasetError("it needs PET.")
                super().__init__(dataset, patch_size)
        """
    )
    pet_ct, brain = settings(name)
    assert (pet_ct.unsupported, brain.unsupported, brain.spec) == (None, "it needs PET.", BRAIN_MRI)
    states = {v.check.run.__name__: v.state for v in (verdict_of(check, brain) for check in CHECKS)}
    assert states.pop("serves") == "kept"
    assert set(states.values()) == {"not checked"}


def test_defaults_that_must_be_told_something_are_no_fault_where_an_example_serves(write: Write) -> None:
    name = write(
        """
        class Net(Healthy):
            examples = {"told": {"role": "CT"}}
            def __init__(self, dataset, patch_size, *, role=None):
                if role not in dataset.modalities:
                    raise UnsupportedDatasetError("write role: A.")
                super().__init__(dataset, patch_size)
        """
    )
    assert findings(name, "serves") == {}


def test_a_method_that_needs_larger_patches_is_checked_with_larger_ones(write: Write) -> None:
    (setting, _) = settings(
        write(
            """
            class Net(Healthy):
                def __init__(self, dataset, patch_size):
                    if any(side % 32 for side in patch_size):
                        raise BenchError("The sides must be multiples of 32.")
                    super().__init__(dataset, patch_size)
            """
        )
    )
    assert setting.patch_size == (32, 32, 32)
    assert verdict_of(BY_NAME["takes_any_shape"], setting).state == "kept"


def test_one_error_is_told_once(write: Write) -> None:
    name = write(
        """
        class Net(Healthy):
            \"\"\"Text.\"\"\"
            def losses(self, batch):
                raise KeyError("T1")
        """
    )
    found = [v for v in verdicts(name) if v.setting.spec is not BRAIN_MRI]
    told = [
        v.check.run.__name__ for v in found if v.words == ("KeyError: 'T1' (net.py, line 13, in losses)",)
    ]
    assert told == ["losses_are_announced"]
    assert ("it fails as above",) in [v.words for v in found if v.check.run.__name__ == "learns"]


def test_methods_that_train_themselves_are_checked_for_what_makes_sense(write: Write) -> None:
    name = write(
        """
        class Net(ExternalMethod):
            \"\"\"Text.\"\"\"
            paper = "Nobody 2024"
            def check_installed(self):
                raise MissingPackageError("magic is missing; pip install magic")
            def train(self, job): ...
            def predict(self, job, cases, out): ...
        """
    )
    found: list[Verdict] = list(verdicts(name))
    assert {v.words for v in found if v.state == "not checked"} == {("not applicable, it trains itself",)}
    assert [v.check.run.__name__ for v in found if v.state == "kept"][:8] == [
        "documented", "takes_arguments", "serves", "names_packages",
        "has_abilities", "announces", "weighs", "prepares",
    ]  # fmt: skip
    assert not [v for v in found if v.state == "broken"]


def test_a_method_that_predicts_otherwise_elsewhere_is_found(write: Write) -> None:
    """The check of CUDA devices, with the CPU in the place of one."""
    name = write(
        """
        class Net(Healthy):
            built = 0
            def __init__(self, dataset, patch_size):
                super().__init__(dataset, patch_size)
                Net.built += 1
                self.number = self.built
            def forward(self, image):
                return super().forward(image) + 10 * self.number
        """
    )
    (setting, _) = settings(name)
    (words,) = runs_as_on_the_cpu(setting, CPU)
    assert words.startswith("The outputs on the CPU and on cpu differ by up to 10")
    (healthy, _) = settings(write('class Net(Healthy):\n    """Text."""'))
    assert runs_as_on_the_cpu(healthy, CPU) == []


def test_what_asks_whether_there_is_a_lesion_may_look_where_nobody_annotated(write: Write) -> None:
    """The classifier sees all logits; its answer is the same whichever half of the lesion has a label."""
    name = write(
        """
        from benchmark.nn.heads import lesion_target
        class Net(Healthy):
            def named_outputs(self, image, *, generator=None):
                return {"output": self(image)}
            def losses(self, batch):
                logits = self.named_outputs(batch.image)["output"]
                present = lesion_target("patch")(batch).float()
                asked = nn.functional.binary_cross_entropy_with_logits(logits[:, 1].mean((1, 2, 3)), present)
                return {"seg": dice_ce(logits, batch.label), "rec": asked}
        """
    )
    assert findings(name, "ignores") == {}
