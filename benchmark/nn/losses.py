"""The paper's losses, unweighted. All are computed in float32, whatever the network runs in.

Voxels that nobody annotated (`IGNORED` in the label) take no part in what is segmented: neither in a sum of Dice nor in
the mean of the cross-entropy, as in nnU-Net's `DC_and_CE_loss`. A batch without any other voxel has the loss 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from benchmark.vocabulary import IGNORED, BenchError, did_you_mean

REC_NORMS = ("l2", "mse")
REFERENCE_VOXELS = 96**3


def dice_ce(logits: Float[Tensor, "b c x y z"], label: Integer[Tensor, "b 1 x y z"]) -> Float[Tensor, ""]:
    """Soft Dice of the foreground classes, summed over the batch, plus cross-entropy (Section 3.1).

    Where all is annotated it equals `monai.losses.DiceCELoss(include_background=False, to_onehot_y=True, softmax=True,
    batch=True)` without its one-hot volumes.
    """
    log_probability = F.log_softmax(logits.float(), dim=1)
    target = label.squeeze(1).long()
    annotated = (target != IGNORED).float()
    # Not torch's own mean, which is NaN where nothing is annotated.
    ce = F.nll_loss(log_probability, target, ignore_index=IGNORED, reduction="sum")
    ce = ce / annotated.sum().clamp(min=1)
    smooth = 1e-5
    dice = []
    for k in range(1, logits.shape[1]):
        probability, reference = log_probability[:, k].exp() * annotated, (target == k).float()
        overlap = (probability * reference).sum()
        dice.append(1 - (2 * overlap + smooth) / (probability.sum() + reference.sum() + smooth))
    return torch.stack(dice).mean() + ce


def check_rec_norm(norm: str, known: Sequence[str] = REC_NORMS) -> None:
    """BenchError for a norm that is not one of these; without them, of those that `reconstruction` has."""
    if norm not in known:
        raise BenchError(f"There is no reconstruction norm {norm!r}. {did_you_mean(norm, known)}")


def reconstruction(
    prediction: Float[Tensor, "b 1 x y z"], target: Float[Tensor, "b 1 x y z"], *, norm: str = "l2"
) -> Float[Tensor, ""]:
    """How far a reconstruction is from the clean image, averaged over the batch.

    `l2`: the norm of Equations 1 and 2 over each patch, times sqrt(96^3 / voxels), so that a weight chosen
    for 96^3 patches holds for every patch size. `mse`: the mean squared error.
    """
    check_rec_norm(norm)
    difference = (prediction.float() - target.float()).flatten(1)
    if norm == "mse":
        return difference.square().mean()
    scale = (REFERENCE_VOXELS / difference.shape[1]) ** 0.5
    return scale * torch.linalg.vector_norm(difference, dim=1).mean()


def reconstructions(
    prediction: Float[Tensor, "b m x y z"], target: Float[Tensor, "b m x y z"], *, norm: str = "l2"
) -> Float[Tensor, ""]:
    """The sum of `reconstruction` over several modalities: a weight chosen for one holds for each."""
    pairs = zip(prediction.split(1, dim=1), target.split(1, dim=1), strict=True)
    return torch.stack([reconstruction(ours, image, norm=norm) for ours, image in pairs]).sum()


def lesion_presence(logit: Float[Tensor, "b"], has_lesion: Bool[Tensor, "b"]) -> Float[Tensor, ""]:
    """Binary cross-entropy of "there is a lesion" (Equation 3)."""
    return F.binary_cross_entropy_with_logits(logit.float(), has_lesion.float())
