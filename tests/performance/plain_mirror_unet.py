"""The peers of the network figures: Mirror U-Net v3 put together plainly from MONAI's blocks and losses.

Written from the paper's description, with nothing from `baselines` or `benchmark.nn` but the corruption,
whose random draws must be the same for losses to be compared. Module names are those of
`baselines.mirror_unet`, so that one state dict fits both.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses import DiceCELoss
from monai.networks.blocks import Convolution, ResidualUnit
from torch import Tensor, nn

from benchmark.nn.corruption import default_cubes, shuffle_cubes
from benchmark.protocols import Batch

CHANNELS = (16, 32, 64, 128, 256)


def _down(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    return ResidualUnit(3, channels_in, channels_out, strides=stride, subunits=2, norm="batch", act="prelu")


def _up(channels_in: int, channels_out: int, *, last: bool = False) -> nn.Module:
    return nn.Sequential(
        Convolution(3, channels_in, channels_out, strides=2, norm="batch", act="prelu", is_transposed=True),
        ResidualUnit(
            3, channels_out, channels_out, subunits=1, norm="batch", act="prelu", last_conv_only=last
        ),
    )


class PlainBranch(nn.Module):
    """One U-Net of five levels."""

    def __init__(self, channels_out: int, channels: Sequence[int] = CHANNELS) -> None:
        super().__init__()
        a, b, c, d, e = channels
        self.layers = nn.ModuleDict(
            {
                "1": _down(1, a, 2),
                "2": _down(a, b, 2),
                "3": _down(b, c, 2),
                "4": _down(c, d, 2),
                "5": _down(d, e, 1),
                "6": _up(e + d, c),
                "7": _up(c + c, b),
                "8": _up(b + b, a),
                "output": _up(a + a, channels_out, last=True),
            }
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x1 = self.layers["1"](x)
        x2 = self.layers["2"](x1)
        x3 = self.layers["3"](x2)
        x4 = self.layers["4"](x3)
        bottleneck = self.layers["5"](x4)
        y = self.layers["6"](torch.cat([x4, bottleneck], 1))
        y = self.layers["7"](torch.cat([x3, y], 1))
        y = self.layers["8"](torch.cat([x2, y], 1))
        return bottleneck, self.layers["output"](torch.cat([x1, y], 1))


class PlainClassifier(nn.Module):
    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv3d(channels_in, 1, 1), nn.BatchNorm3d(1), nn.PReLU())
        self.dense = nn.Sequential(nn.Linear(6**3, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(nn.functional.adaptive_avg_pool3d(self.squeeze(x), 6).flatten(1)).squeeze(1)


class PlainMirrorUNetV3(nn.Module):
    """v3 with a shared bottleneck, L = {5}; one modality a branch, CT first."""

    def __init__(self, channels: Sequence[int] = CHANNELS) -> None:
        super().__init__()
        self.ct = PlainBranch(1, channels)
        self.pet = PlainBranch(2, channels)
        self.pet.layers["5"] = self.ct.layers["5"]
        a, b, c, _, e = channels
        self.bottleneck_decoder = nn.Sequential(_up(2 * e, c), _up(c, b), _up(b, a), _up(a, 1))
        self.classifier = PlainClassifier(2 * e)
        self.dice_ce = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
        self.bce = nn.BCEWithLogitsLoss()

    def forward(self, ct: Tensor, pet: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        ct_bottleneck, ct_again = self.ct(ct)
        pet_bottleneck, logits = self.pet(pet)
        both = torch.cat([ct_bottleneck, pet_bottleneck], 1)
        return ct_again, self.bottleneck_decoder(both), logits, self.classifier(both)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The unweighted losses under the names the suite gives them."""
        ct, pet = batch.image[:, :1], batch.image[:, 1:]
        size = (ct.shape[2], ct.shape[3], ct.shape[4])
        corrupted = shuffle_cubes(ct, n_cubes=default_cubes(size), generator=batch.generator)
        ct_again, pet_again, logits, lesion = self(corrupted, pet)
        scale = (96**3 / ct[0].numel()) ** 0.5
        return {
            "rec_ct": scale * torch.linalg.vector_norm((ct_again - ct).flatten(1), dim=1).mean(),
            "rec_pet": scale * torch.linalg.vector_norm((pet_again - pet).flatten(1), dim=1).mean(),
            "seg": self.dice_ce(logits, batch.label),
            "class": self.bce(lesion, batch.has_lesion.float()),
        }


class AuthorsMirrorUNetV3(PlainMirrorUNetV3):
    """The same network, with what the authors' training does otherwise, told from its description.

    The classifier sees the PET's bottleneck alone, and its probability goes into a map beside the other outputs, from
    which the loss averages it again; one mean squared error for both reconstructions.
    """

    def __init__(self, channels: Sequence[int] = CHANNELS) -> None:
        super().__init__(channels)
        self.classifier = PlainClassifier(channels[-1])

    def outputs(self, ct: Tensor, pet: Tensor) -> Tensor:
        """Channels: the CT again, the PET again, two of logits, the probability of a lesion."""
        ct_bottleneck, ct_again = self.ct(ct)
        pet_bottleneck, logits = self.pet(pet)
        pet_again = self.bottleneck_decoder(torch.cat([ct_bottleneck, pet_bottleneck], 1))
        probability = torch.sigmoid(self.classifier(pet_bottleneck)).view(-1, 1, 1, 1, 1)
        return torch.cat([ct_again, pet_again, logits, probability.expand_as(ct_again)], 1)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The unweighted losses; the reconstructions are one, `rec_ct`, and `rec_pet` is 0."""
        ct, pet = batch.image[:, :1], batch.image[:, 1:]
        size = (ct.shape[2], ct.shape[3], ct.shape[4])
        corrupted = shuffle_cubes(ct, n_cubes=default_cubes(size), generator=batch.generator)
        outputs = self.outputs(corrupted, pet)
        probability = outputs[:, 4:].mean(dim=(1, 2, 3, 4))
        return {
            "rec_ct": nn.functional.mse_loss(outputs[:, :2], batch.image),
            "rec_pet": outputs.new_zeros(()),
            "seg": self.dice_ce(outputs[:, 2:4], batch.label),
            "class": nn.functional.binary_cross_entropy(probability, batch.has_lesion.float()),
        }
