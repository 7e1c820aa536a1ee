"""Soft Dice without cross-entropy, and sigmoid outputs read as classes: the habits of networks from other suites.

As in `benchmark.nn.losses`, voxels that nobody annotated take no part.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Integer, UInt8
from torch import Tensor
from torch.nn import functional as F

from benchmark.vocabulary import IGNORED


def soft_dice(
    probability: Float[Tensor, "b r x y z"],
    reference: Integer[Tensor, "b r x y z"] | Bool[Tensor, "b r x y z"],
    *,
    squared: bool = False,
) -> Float[Tensor, ""]:
    """One minus the Dice of every channel, summed over the batch like that of `dice_ce`, and averaged over channels.

    `reference`: see `masks`. `squared`: the sizes in the denominator are sums of squares (Milletari et al., V-Net,
    2016). In float32.
    """
    probability, mask = probability.float() * (reference != IGNORED).float(), (reference == 1).float()
    over = (0, 2, 3, 4)
    size = (probability.square() if squared else probability).sum(over) + mask.sum(over)
    smooth = 1e-5
    return (1 - (2 * (probability * mask).sum(over) + smooth) / (size + smooth)).mean()


def sigmoid_dice(
    logits: Float[Tensor, "b c x y z"], label: Integer[Tensor, "b 1 x y z"]
) -> Float[Tensor, ""]:
    """Soft Dice of the foreground classes, a sigmoid each; the background's logit takes no part."""
    return _foreground_dice(logits.float().sigmoid(), label)


def softmax_dice(
    logits: Float[Tensor, "b c x y z"], label: Integer[Tensor, "b 1 x y z"]
) -> Float[Tensor, ""]:
    """Soft Dice of the foreground classes, of the softmax over all classes."""
    return _foreground_dice(logits.float().softmax(dim=1), label)


def _foreground_dice(
    probability: Float[Tensor, "b c x y z"], label: Integer[Tensor, "b 1 x y z"]
) -> Float[Tensor, ""]:
    classes = [(k,) for k in range(1, probability.shape[1])]
    return soft_dice(probability[:, 1:], masks(label, classes))


def masks(
    label: Integer[Tensor, "b 1 x y z"], regions: Sequence[Sequence[int]]
) -> UInt8[Tensor, "b r x y z"]:
    """One mask a region, a region being labels: [[1], [2], [3]] are the classes, [[1, 2, 3]] is their union.

    1 inside, 0 outside, and `IGNORED` where the label has it: a label map of one class, for any loss that takes one.
    """
    inside = torch.cat([torch.isin(label, label.new_tensor(labels)) for labels in regions], dim=1)
    return inside.to(torch.uint8).masked_fill(label == IGNORED, IGNORED)


def with_background(scores: Float[Tensor, "b f x y z"]) -> Float[Tensor, "b c x y z"]:
    """Scores meant for a sigmoid, one a foreground class, as logits whose argmax is the label.

    The background's is 0: a voxel has the class of the largest score, if its sigmoid is above one half.
    """
    return F.pad(scores, (0, 0, 0, 0, 0, 0, 1, 0))
