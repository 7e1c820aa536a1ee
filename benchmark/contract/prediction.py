"""What a method promises once it is trained."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmark.contract.setting import ROUND, Setting
from benchmark.contract.training import total
from benchmark.contract.words import NotChecked, listed
from benchmark.inference import autocast
from benchmark.protocols import Method
from benchmark.train import load_weights, save_weights
from benchmark.vocabulary import Size3

VOLUME: Size3 = (37, 29, 23)


def saves(setting: Setting) -> list[str]:
    trained, loaded = setting.trained.method, setting.build(seed=1)
    with tempfile.TemporaryDirectory() as folder:
        save_weights(trained, Path(folder) / "weights")
        load_weights(loaded, Path(folder) / "weights")
    image = setting.batch().image
    with torch.inference_mode():
        before, after = trained.eval()(image), loaded.eval()(image)
    if torch.equal(before, after):
        return []
    return [
        f"The saved weights, loaded into a new network, predict something else (up to {apart(before, after):.3g} "
        "apart). What prediction needs must be a parameter or a registered buffer."
    ]


def decodes(setting: Setting) -> list[str]:
    method, found = setting.trained.method.eval(), []
    with torch.inference_mode():
        output = method(setting.batch().image).float()
        if not torch.isfinite(output).all():
            found.append("forward() gives values that are not finite.")
        drawn = torch.randn((1, output.shape[1], *VOLUME), generator=torch.Generator().manual_seed(0))
        for reading in method.readings:
            which = f"decode(output, {reading!r})"
            for stitched in (output, drawn):
                labels = method.decode(stitched, reading)
                wanted = (len(stitched), 1, *stitched.shape[2:])
                if tuple(labels.shape) != wanted:
                    found.append(f"{which} has the shape {list(labels.shape)}; it must be {list(wanted)}.")
                if labels.is_floating_point() or labels.is_complex():
                    found.append(f"{which} gives {labels.dtype}; labels are integers.")
                values = sorted(set(labels.unique().tolist()) - set(range(setting.spec.n_classes)))
                if values:
                    found.append(
                        f"{which} gives the labels {listed(map(str, values))}; {setting.spec.name} has 0 to "
                        f"{setting.spec.n_classes - 1}."
                    )
            alone = method.only(reading)
            if not isinstance(alone, Method):
                found.append(f"only({reading!r}) returned {type(alone).__name__}; it must return a Method.")
            elif alone.eval()(setting.batch().image).shape[2:] != output.shape[2:]:
                found.append(f"only({reading!r}) has outputs of another size than the whole network.")
    return list(dict.fromkeys(found))


def first_reading_is_the_default(setting: Setting) -> list[str]:
    method = setting.trained.method.eval()
    with torch.inference_mode():
        output = method(setting.batch().image).float()
        first = method.readings[0]
        if torch.equal(method.decode(output), method.decode(output, first)):
            return []
    return [
        f"decode(output) is not decode(output, {first!r}); without a name it must be the first of `readings`."
    ]


def predicts_alone(setting: Setting) -> list[str]:
    method = setting.trained.method.eval()
    image = setting.batch(3).image
    with torch.inference_mode():
        together, again = method(image), method(image)
        alone = torch.cat([method(image[i : i + 1]) for i in range(3)])
    if not torch.equal(together, again):
        return [
            f"In eval mode two calls of forward() differ (by up to {apart(together, again):.3g}); nothing may be "
            "random there: use nn.Dropout or `self.training`."
        ]
    scale = float(together.abs().max())
    if apart(together, alone) > 1e-3 * max(scale, 1e-6):
        return [
            f"In eval mode a patch's output depends on the other patches of the batch (by up to "
            f"{apart(together, alone):.3g}, outputs reach {scale:.3g}); take no mean or maximum over dimension 0."
        ]
    return []


def runs_on_cuda(setting: Setting) -> list[str]:
    if not torch.cuda.is_available():
        raise NotChecked("no CUDA device")
    return runs_as_on_the_cpu(setting, torch.device("cuda"))


def runs_as_on_the_cpu(setting: Setting, device: torch.device) -> list[str]:
    """What differs on another device: the outputs in float32 (without TF32), or that it trains in bfloat16."""
    image = setting.batch().image
    trained, found = setting.trained.method.eval(), []
    moved = setting.build().to(device)
    moved.load_state_dict(trained.state_dict())
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        here, there = trained(image), moved.eval()(image.to(device)).cpu()
    scale = float(here.abs().max())
    if apart(here, there) > 1e-2 * scale:
        found.append(
            f"The outputs on the CPU and on {device} differ by up to {apart(here, there):.3g}, where they reach "
            f"{scale:.3g}."
        )
    moved.train()
    for batch in setting.steps(ROUND):
        generator = torch.Generator(device).manual_seed(batch.step)
        tensors = {name: getattr(batch, name).to(device) for name in ("image", "label", "has_lesion")}
        with autocast(device, "bfloat16"):
            losses = moved.losses(replace(batch, generator=generator, **tensors))
        total(losses).backward()
        if bad := [name for name, loss in losses.items() if not torch.isfinite(loss)]:
            found.append(f"{listed(bad)} is not finite on {device} under bfloat16 autocast.")
    return found


def apart(a: Tensor, b: Tensor) -> float:
    """The largest difference."""
    return float((a.float() - b.float()).abs().max())
