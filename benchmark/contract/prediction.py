"""What a method promises once it is trained."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from benchmark.contract.setting import ROUND, Setting
from benchmark.contract.training import total
from benchmark.contract.words import NotChecked, listed
from benchmark.protocols import Method, OutputKind
from benchmark.training.checkpoint import load_weights, save_weights
from benchmark.training.inference import autocast, decodes_voxelwise
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
            if decodes_voxelwise(method):
                parts = [method.decode(half, reading) for half in drawn.chunk(2, dim=2)]
                if not torch.equal(torch.cat(parts, dim=2), method.decode(drawn, reading)):
                    found.append(
                        f"{which} of two halves of a volume is not that of the whole; leave `decodes_voxelwise` out."
                    )
            alone = method.only(reading)
            if not isinstance(alone, Method):
                found.append(f"only({reading!r}) returned {type(alone).__name__}; it must return a Method.")
            elif alone.eval()(setting.batch().image).shape[2:] != output.shape[2:]:
                found.append(f"only({reading!r}) has outputs of another size than the whole network.")
    return list(dict.fromkeys(found))


def shows_outputs(setting: Setting) -> list[str]:
    method, image = setting.trained.method.eval(), setting.batch().image
    kinds = method.output_kinds()
    without_inputs = {name for name, (kind, _) in kinds.items() if kind != "input"}
    found = []
    for seed, wanted in ((None, without_inputs), (0, set(kinds))):
        how = "named_outputs(image)" if seed is None else "named_outputs(image, generator=...)"
        with torch.inference_mode():
            shown, again = (
                method.named_outputs(
                    image, generator=None if seed is None else torch.Generator().manual_seed(seed)
                )
                for _ in range(2)
            )
            output = method(image)
        if set(shown) != wanted:
            found.append(f"{how} has {listed(shown)}; output_kinds() names {listed(sorted(wanted))}.")
            continue
        for name, tensor in shown.items():
            found += _wrong_output(setting, name, tensor, kinds[name])
            if not torch.equal(tensor, again[name]):
                found.append(f"In eval mode two calls of {how} differ in {name}.")
        if seed is None and not all(_told(channel, shown) for channel in output.split(1, dim=1)):
            found.append(
                "forward() has a channel that is none of those of named_outputs(image); what is predicted from must be "
                "among what is shown."
            )
    return list(dict.fromkeys(found))


def _wrong_output(setting: Setting, name: str, tensor: Tensor, said: tuple[str, str]) -> list[str]:
    """What is wrong with one output of two patches."""
    kind, of = said
    spec, found = setting.spec, []
    if kind not in get_args(OutputKind):
        return [
            f"output_kinds()[{name!r}] is of the kind {kind!r}; choose of {listed(get_args(OutputKind))}."
        ]
    regions = [region.name for region in spec.regions]
    unknown = {
        "classification": [of] if of else [],
        "segmentation": [of] if of and of not in regions else [],
    }.get(kind, [part for part in of.split(" + ") if part not in spec.modalities])
    if unknown:
        found.append(f"output_kinds()[{name!r}] is a {kind} of {of!r}, which {spec.name} has not.")
    channels = len(of.split(" + "))
    if kind == "segmentation":
        channels = 2 if of else spec.n_classes
    wanted = (2,) if kind == "classification" else (2, channels, *setting.patch_size)
    if tuple(tensor.shape) != wanted:
        found.append(f"The output {name} has the shape {list(tensor.shape)}; it must be {list(wanted)}.")
    if not torch.isfinite(tensor).all():
        found.append(f"The output {name} has values that are not finite.")
    return found


def _told(channel: Tensor, shown: Mapping[str, Tensor]) -> bool:
    """Whether a channel of forward() is one of a map that is shown, or a probability spread over the patch."""
    for tensor in shown.values():
        if tensor.ndim == 1:
            spread = tensor.float().sigmoid().reshape(-1, 1, 1, 1, 1).expand_as(channel)
            if torch.allclose(channel.float(), spread):
                return True
        elif any(torch.equal(channel, own) for own in tensor.split(1, dim=1)):
            return True
    return False


def does_without(setting: Setting) -> list[str]:
    method, batch = setting.trained.method.eval(), setting.batch()
    found = []
    with torch.inference_mode():
        before = method(batch.image)
        for channel, name in enumerate(setting.spec.modalities):
            alone = method.without(name)
            if alone is None:
                continue
            if not isinstance(alone, Method):
                found.append(
                    f"without({name!r}) returned {type(alone).__name__}; it must return a Method or None."
                )
                continue
            other = batch.image.clone()
            other[:, channel] = 3 * torch.randn(other[:, channel].shape, generator=batch.generator)
            output = alone.eval()(batch.image)
            if not torch.equal(output, alone(other)):
                found.append(f"without({name!r}) is a network that looks at {name}.")
            if alone.readings != method.readings:
                found.append(
                    f"without({name!r}) has the readings {alone.readings}; it must keep {method.readings}."
                )
                continue
            for reading in method.readings:
                labels = alone.decode(output.float(), reading)
                if (
                    tuple(labels.shape) != (2, 1, *setting.patch_size)
                    or int(labels.max()) >= setting.spec.n_classes
                ):
                    found.append(f"without({name!r}) does not decode to labels in its reading {reading!r}.")
        if not torch.equal(method(batch.image), before):
            found.append("without() changed the network it was asked of; it must leave it as it was.")
    return found


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
