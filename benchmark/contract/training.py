"""What a method promises while it is trained."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from benchmark.config import TrainingConfig
from benchmark.contract.declared import HISTORY
from benchmark.contract.setting import CPU, NOT_CUBIC, ROUND, Setting, Training, train_on_one_batch
from benchmark.contract.words import listed, number, size_of, words_of
from benchmark.data.patches import PatchArrays, PatchSampler
from benchmark.protocols import Batch, Method
from benchmark.results.runs import RunFolder
from benchmark.training.inference import autocast
from benchmark.training.progress import InterruptedRunError, Progress
from benchmark.training.train import Hooks, train
from benchmark.vocabulary import BenchError, Size3

UNUSUAL: Size3 = (20, 24, 36)


def losses_are_announced(setting: Setting) -> list[str]:
    method, found = setting.build(), []
    for batch in setting.steps(ROUND):
        losses = method.losses(batch)
        if set(losses) != set(method.loss_names):
            return [
                f"losses() returned {listed(losses)} at step {batch.step}, loss_names names "
                f"{listed(method.loss_names)}; they must be the same at every step (a loss may be 0)."
            ]
        for name, loss in losses.items():
            if loss.shape != ():
                found.append(
                    f"The loss {name} has the shape {list(loss.shape)}; it must be a scalar: take the mean."
                )
            elif not torch.isfinite(loss):
                found.append(
                    f"The loss {name} is {float(loss.detach())} at step {batch.step}; it must be finite."
                )
    for name, value in method.watched().items():
        if value.numel() != 1 or not torch.isfinite(value).all() or name in (*HISTORY, *method.loss_names):
            found.append(f"watched()[{name!r}] must be one finite number under a name that no loss has.")
    return found


def learns_what_it_shows(setting: Setting) -> list[str]:
    """Losses that depend on the image, but not on what `named_outputs` returns, come from somewhere else."""
    method = setting.build()
    if type(method).named_outputs is Method.named_outputs:
        return []
    batch, shown = setting.batch(), method.named_outputs
    darker = replace(batch, image=0.5 * batch.image)
    with torch.no_grad():
        once, other = ({n: v.clone() for n, v in seeded_losses(method, b).items()} for b in (batch, darker))
        vars(method)["named_outputs"] = lambda image, **kwargs: {
            name: math.nan * output for name, output in shown(image, **kwargs).items()
        }
        spoilt = seeded_losses(method, batch)
    apart = [name for name, loss in spoilt.items() if torch.isfinite(loss) and once[name] != other[name]]
    if not apart:
        return []
    return [
        f"With nothing but NaN from named_outputs(), {listed(apart)} is finite as before. Compute the losses from what "
        "self.named_outputs(batch.image, generator=batch.generator) returns, so that what is shown is what is learned."
    ]


def seeded_losses(method: Method, batch: Batch) -> dict[str, Tensor]:
    torch.manual_seed(0)
    batch.generator.manual_seed(0)
    return method.losses(batch)


def is_deterministic(setting: Setting) -> list[str]:
    once, again = (
        [method.losses(b) for b in setting.steps(2)] for method in (setting.build(), setting.build())
    )
    for step, (a, b) in enumerate(zip(once, again, strict=True)):
        for name in a:
            if not torch.equal(a[name], b[name]):
                return [
                    f"The loss {name} of step {step} was {number(a[name])} and then {number(b[name])}, with the "
                    "same weights, batch and seed. Draw random numbers from batch.generator alone (dropout may use "
                    "torch's own), never from `random`, numpy or a generator of your own."
                ]
    return []


def leaves_the_batch(setting: Setting) -> list[str]:
    method, found = setting.build(), []
    batch = setting.batch()
    before = {name: getattr(batch, name).clone() for name in ("image", "label", "has_lesion")}
    losses = method.losses(batch)
    total(losses).backward()
    with torch.inference_mode():
        method.eval()(batch.image)
    for name, tensor in before.items():
        if not torch.equal(tensor, getattr(batch, name)):
            changed = int((tensor != getattr(batch, name)).sum())
            found.append(
                f"batch.{name} was changed in place ({changed} of {tensor.numel()} values); work on a copy: "
                "no `+=`, no function that ends in _, no assignment to a slice."
            )
    return found


def takes_any_shape(setting: Setting) -> list[str]:
    size = setting.first_accepted(NOT_CUBIC)
    method, found = setting.build(size), []
    for n in (1, 2, 3):
        batch = setting.batch(n, size)
        try:
            bad = [name for name, loss in method.train().losses(batch).items() if not torch.isfinite(loss)]
        except Exception as error:
            found.append(
                f"losses() fails for {n} patches of {size_of(size)}: {words_of(error, setting.file)}"
            )
            continue
        if bad:
            found.append(f"{listed(bad)} is not finite for {n} patches of {size_of(size)}.")
        with torch.inference_mode():
            output = method.eval()(batch.image)
        if output.ndim != 5 or (len(output), *output.shape[2:]) != (n, *size):
            found.append(
                f"forward() of {list(batch.image.shape)} has the shape {list(output.shape)}; "
                f"it must be [{n}, channels, {', '.join(map(str, size))}]."
            )
    return found


def refuses_patch_sizes(setting: Setting) -> list[str]:
    try:
        method = setting.build(UNUSUAL)
    except BenchError:
        return []
    batch = setting.batch(2, UNUSUAL)
    try:
        method.losses(batch)
        with torch.inference_mode():
            shape = tuple(method.eval()(batch.image).shape)
    except Exception as error:
        return [
            f"patch_size {size_of(UNUSUAL)} was accepted, and then training failed: {words_of(error, setting.file)} "
            "Refuse it in the constructor with a BenchError that says which sizes work "
            "(benchmark.nn.unet.check_patch_size does so for a U-Net)."
        ]
    if shape[2:] != UNUSUAL:
        return [
            f"patch_size {size_of(UNUSUAL)} was accepted, and forward() gives {size_of(shape[2:])}; refuse it."
        ]
    return []


def reaches_every_parameter(setting: Setting) -> list[str]:
    method, reached = setting.trained.method, setting.trained.reached
    unused = method.unused_parameters()
    known = {name for name, _ in method.named_parameters()}
    found = []
    if without := sorted(known - reached - set(unused)):
        found.append(
            f"{listed(without)}: no gradient in the steps 0 to {ROUND - 1}. Use it in a loss, remove it, or list it "
            "in unused_parameters() with the reason."
        )
    if used := sorted(reached & set(unused)):
        found.append(
            f"{listed(used)}: listed in unused_parameters(), but a loss reaches it; take it off the list."
        )
    if unknown := sorted(set(unused) - known):
        found.append(f"unused_parameters() names {listed(unknown)}, which is no parameter of the network.")
    if silent := sorted(name for name, reason in unused.items() if not reason.strip()):
        found.append(f"unused_parameters() gives no reason for {listed(silent)}.")
    return found


def learns(setting: Setting) -> list[str]:
    return _has_fallen(setting.trained, "in float32")


def learns_in_bfloat16(setting: Setting) -> list[str]:
    return _has_fallen(train_on_one_batch(setting, "bfloat16"), "under bfloat16 autocast")


def _has_fallen(training: Training, how: str) -> list[str]:
    first, last = (sum(part) / ROUND for part in (training.totals[:ROUND], training.totals[-ROUND:]))
    if last < first - 0.05 * abs(first):
        return []
    each = ", ".join(
        f"{name} {_mean(training.losses[:ROUND], name):.4g} -> {_mean(training.losses[-ROUND:], name):.4g}"
        for name in training.losses[0]
    )
    return [
        f"{len(training.totals)} steps of Adam on one batch {how} do not lower the losses by 5 % (means of the "
        f"first and last {ROUND} steps: {each}). Look for a detached tensor, a loss that does not depend on the "
        "network, or an output that cannot change."
    ]


def agrees_in_bfloat16(setting: Setting) -> list[str]:
    exact, rounded = setting.build(), setting.build()
    wanted = [exact.losses(batch) for batch in setting.steps(2)]
    found = []
    for batch, losses in zip(setting.steps(2), wanted, strict=True):
        with autocast(CPU, "bfloat16"):
            got = rounded.losses(batch)
        for name, loss in losses.items():
            a, b = float(loss.detach()), float(got[name].detach())
            if not abs(a - b) <= max(0.05, 0.1 * abs(a)):
                found.append(
                    f"The loss {name} of step {batch.step} is {a:.4g} in float32 and {b:.4g} under bfloat16 autocast. "
                    "Compute sums, logarithms and exponentials in float32 (`.float()`), as benchmark.nn.losses does."
                )
            if got[name].dtype is not torch.float32:
                found.append(
                    f"Under autocast the loss {name} is {got[name].dtype}; compute it from `.float()` outputs."
                )
    return list(dict.fromkeys(found))


class _SameBatch(PatchSampler):
    """The training loop's sampler, but for the contract's batch at every step."""

    def __init__(self, setting: Setting) -> None:
        vars(self).update(
            cases=(),
            patch_size=setting.patch_size,
            batch_size=2,
            lesion_fraction=1.0,
            seed=0,
            setting=setting,
        )

    @property
    def steps_per_epoch(self) -> int:
        return 1

    def batch(self, step: int) -> PatchArrays:
        batch = vars(self)["setting"].batch()
        image, label, has_lesion = batch.image.half().numpy(), batch.label.numpy(), batch.has_lesion.numpy()
        return PatchArrays(image, label, has_lesion, batch.case_ids, step)


def resumes(setting: Setting) -> list[str]:
    with tempfile.TemporaryDirectory() as results:
        whole, stopped = (RunFolder(Path(results), name) for name in ("whole", "stopped"))
        _train(setting, whole)
        with contextlib.suppress(InterruptedRunError):
            _train(setting, stopped, stop_after=1)
        _train(setting, stopped)
        once, resumed = (safetensors.torch.load_file(folder.weights_file) for folder in (whole, stopped))
    differ = [name for name in once if not torch.equal(once[name], resumed[name])]
    if not differ:
        return []
    return [
        f"2 steps, and 1 step, a checkpoint and 1 more with a new network do not give the same weights: "
        f"{listed(differ)}. What step s does may depend on the weights, the buffers, batch.step and batch.generator "
        "alone; keep other state in a registered buffer."
    ]


def _train(setting: Setting, folder: RunFolder, *, stop_after: int | None = None) -> None:
    method, done = setting.build(), [0]

    def on_step(progress: Progress, _: int) -> None:
        done[0] = progress.step

    train(
        method,
        _SameBatch(setting),
        config=TrainingConfig(patch_size=setting.patch_size, batch_size=2, steps=2, validations=0),
        loss_weights=method.default_loss_weights(),
        device=CPU,
        folder=folder,
        hooks=Hooks(
            validate=lambda: 0.0,
            asked_to_stop=lambda: stop_after is not None and done[0] + 1 >= stop_after,
            on_step=on_step,
        ),
    )


def total(losses: Mapping[str, Tensor]) -> Tensor:
    """Their sum, in float32."""
    return torch.stack([loss.float() for loss in losses.values()]).sum()


def _mean(rows: Sequence[Mapping[str, float]], name: str) -> float:
    return sum(row.get(name, math.nan) for row in rows) / len(rows)
