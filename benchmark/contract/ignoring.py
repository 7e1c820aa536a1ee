"""What a method promises of voxels that nobody annotated: what is segmented does not learn from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from benchmark.contract.setting import Setting
from benchmark.contract.training import seeded_losses, total
from benchmark.contract.words import listed, words_of
from benchmark.protocols import Batch, Method
from benchmark.vocabulary import IGNORED

USE = "Use benchmark.nn.losses and benchmark.nn.dice, or leave out the voxels whose label is IGNORED"


def ignores(setting: Setting) -> list[str]:
    """Segmentation losses are those that see a difference when half of a lesion's voxels lose their label.

    Where `named_outputs` shows the logits, their gradient at these voxels must be 0; and where no voxel of the batch
    has a label, that of every parameter, which needs nothing but `losses`.
    """
    method, batch = setting.build(), setting.batch()
    half = torch.zeros_like(batch.label, dtype=torch.bool)
    half[..., 1::2] = True
    partly = replace(batch, label=batch.label.masked_fill(half, IGNORED))
    nothing = replace(batch, label=torch.full_like(batch.label, IGNORED))
    with torch.no_grad():
        known = seeded_losses(method, batch)
    try:
        shown, losses = _recorded(method, partly)
        unlabelled = seeded_losses(method, nothing)
    except Exception as error:
        return [
            f"losses() fails where nobody annotated, with the label {IGNORED}: {words_of(error, setting.file)} {USE}."
        ]
    segmenting = [name for name, loss in losses.items() if not torch.equal(loss, known[name])]
    found = [
        f"The loss {name} is {float(loss.detach())} where nobody annotated; it must be finite. {USE}."
        for name, loss in (*losses.items(), *unlabelled.items())
        if not torch.isfinite(loss)
    ]
    if found or not segmenting:
        return list(dict.fromkeys(found))
    seen = [
        name for name, at in _gradients(losses, segmenting, shown).items() if at[half.expand_as(at)].any()
    ]
    if seen:
        found.append(f"{listed(segmenting)} looks at voxels of {listed(seen)} that nobody annotated. {USE}.")
    parameters = {name: value for name, value in method.named_parameters() if value.requires_grad}
    if any(at.any() for at in _gradients(unlabelled, segmenting, parameters).values()):
        found.append(
            f"Where nobody annotated a single voxel, {listed(segmenting)} has a gradient. {USE}; what does not come "
            "from the label is a loss of its own."
        )
    return found


def _recorded(method: Method, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The segmentations that `losses` got from `named_outputs`, if it asks it, and the losses."""
    shown: dict[str, Tensor] = {}
    outputs, kinds = method.named_outputs, method.output_kinds()

    def recording(image: Tensor, **settings: object) -> dict[str, Tensor]:
        named = outputs(image, **settings)  # type: ignore[arg-type]
        shown.update(
            {name: output for name, output in named.items() if kinds.get(name, ("", ""))[0] == "segmentation"}
        )
        return named

    vars(method)["named_outputs"] = recording
    try:
        return shown, seeded_losses(method, batch)
    finally:
        del vars(method)["named_outputs"]


def _gradients(losses: Mapping[str, Tensor], of: list[str], to: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of the sum of some losses; without what they do not depend on."""
    summed = total({name: losses[name] for name in of})
    if not to or not summed.requires_grad:
        return {}
    gradients = torch.autograd.grad(summed, list(to.values()), allow_unused=True)
    return {name: at for name, at in zip(to, gradients, strict=True) if at is not None}
