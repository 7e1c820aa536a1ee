"""The peer of the network figures: Mirror U-Net v3 put together plainly from MONAI's blocks and losses.

Written from the paper's description, with nothing from `baselines` or `benchmark.nn` but the corruption,
whose random draws must be the same for losses to be compared. Module names are those of
`baselines.mirror_unet`, so that one state dict fits both.
"""

from __future__ import annotations

import torch
from monai.losses import DiceCELoss
from monai.networks.blocks import Convolution, ResidualUnit
from torch import Tensor, nn

from benchmark.nn.corruption import default_cubes, shuffle_cubes
from benchmark.protocols import Batch


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

    def __init__(self, channels_out: int) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(
            {
                "1": _down(1, 16, 2),
                "2": _down(16, 32, 2),
                "3": _down(32, 64, 2),
                "4": _down(64, 128, 2),
                "5": _down(128, 256, 1),
                "6": _up(256 + 128, 64),
                "7": _up(64 + 64, 32),
                "8": _up(32 + 32, 16),
                "output": _up(16 + 16, channels_out, last=True),
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
    def __init__(self) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv3d(512, 1, 1), nn.BatchNorm3d(1), nn.PReLU())
        self.dense = nn.Sequential(nn.Linear(6**3, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(nn.functional.adaptive_avg_pool3d(self.squeeze(x), 6).flatten(1)).squeeze(1)


class PlainMirrorUNetV3(nn.Module):
    """v3 with a shared bottleneck, L = {5}; one modality a branch, CT first."""

    def __init__(self) -> None:
        super().__init__()
        self.ct = PlainBranch(1)
        self.pet = PlainBranch(2)
        self.pet.layers["5"] = self.ct.layers["5"]
        self.bottleneck_decoder = nn.Sequential(_up(512, 64), _up(64, 32), _up(32, 16), _up(16, 1))
        self.classifier = PlainClassifier()
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
