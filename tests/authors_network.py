"""Mirror U-Net once more, in plain torch and from its description: what `baselines.mirror_unet` is held against.

Nothing here comes from the suite or from MONAI. The CT branch runs from its input to its output before the PET branch
begins, as in the authors' code; both update the running statistics of shared layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Normalised(nn.Module):
    """Batch normalisation, then PReLU with one slope."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.act = nn.BatchNorm3d(width), nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(x))


class Down(nn.Module):
    """Two convolutions, each normalised, beside a shortcut that is a convolution where the size or width changes."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.first, self.first_end = nn.Conv3d(before, width, 3, stride, 1), Normalised(width)
        self.second, self.second_end = nn.Conv3d(width, width, 3, 1, 1), Normalised(width)
        kernel = 3 if stride > 1 else 1
        self.shortcut = nn.Conv3d(before, width, kernel, stride, kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second_end(self.second(self.first_end(self.first(x)))) + self.shortcut(x)


class Up(nn.Module):
    """A transposed convolution, normalised, then one residual convolution, which in the last layer is bare."""

    def __init__(self, before: int, width: int, *, last: bool = False) -> None:
        super().__init__()
        self.wider = nn.ConvTranspose3d(before, width, 3, 2, padding=1, output_padding=1)
        self.wider_end = Normalised(width)
        self.unit = nn.Conv3d(width, width, 3, 1, 1)
        self.unit_end = nn.Identity() if last else Normalised(width)

    def forward(self, x: Tensor) -> Tensor:
        z = self.wider_end(self.wider(x))
        return self.unit_end(self.unit(z)) + z


def u_net(outputs: int, widths: tuple[int, ...]) -> nn.ModuleDict:
    """Layers 1 to 8 and the output, of one modality."""
    a, b, c, d, e = widths
    return nn.ModuleDict(
        {
            "1": Down(1, a, 2),
            "2": Down(a, b, 2),
            "3": Down(b, c, 2),
            "4": Down(c, d, 2),
            "5": Down(d, e, 1),
            "6": Up(e + d, c),
            "7": Up(2 * c, b),
            "8": Up(2 * b, a),
            "output": Up(2 * a, outputs, last=True),
        }
    )


def run(net: nn.ModuleDict, image: Tensor) -> tuple[Tensor, Tensor]:
    """A branch from its input to its output, and its bottleneck."""
    skips = [image]
    for number in "1234":
        skips.append(net[number](skips[-1]))
    bottleneck = x = net["5"](skips[-1])
    for name in ("6", "7", "8", "output"):
        x = net[name](torch.cat([skips.pop(), x], dim=1))
    return x, bottleneck


class AuthorsNetwork(nn.Module):
    """v1 to v4; the classifier sees the PET bottleneck alone, over a grid of 6^3."""

    def __init__(self, version: str, shared: Sequence[int], widths: tuple[int, ...]) -> None:
        super().__init__()
        self.version = version
        self.ct, self.pet = u_net(2 if version == "v4" else 1, widths), u_net(2, widths)
        for number in map(str, shared):
            self.pet[number] = self.ct[number]
        a, b, c, _, e = widths
        self.rebuild = nn.Sequential(Up(2 * e, c), Up(c, b), Up(b, a), Up(a, 1))
        self.squeeze = nn.Sequential(nn.Conv3d(e, 1, 1), Normalised(1))
        self.judge = nn.Sequential(nn.Linear(216, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 1))
        self.theta = nn.Parameter(torch.tensor(0.5))

    def forward(self, ct: Tensor, pet: Tensor) -> dict[str, Tensor]:
        from_ct, ct_bottleneck = run(self.ct, ct)
        from_pet, pet_bottleneck = run(self.pet, pet)
        if self.version == "v4":
            theta = self.theta.clamp(0, 1)
            return {"output": theta * from_ct + (1 - theta) * from_pet}
        said = {"ct": from_ct, "pet": from_pet}
        if self.version != "v1":
            said["bottleneck"] = self.rebuild(torch.cat([ct_bottleneck, pet_bottleneck], dim=1))
        if self.version == "v3":
            grid = F.adaptive_avg_pool3d(self.squeeze(pet_bottleneck), 6)
            said["class"] = self.judge(grid.flatten(1))[:, 0]
        return said


def loss(
    said: dict[str, Tensor], image: Tensor, label: Tensor, present: Tensor, weights: dict[str, float]
) -> Tensor:
    """One mean squared error over all reconstructions, Dice over the batch and cross-entropy, and the classifier's."""
    logits = said["output" if "output" in said else "pet"]
    probability, mask = logits.softmax(dim=1)[:, 1], label[:, 0].to(logits.dtype)
    overlap = 2 * (probability * mask).sum() + 1e-5
    total = weights["seg"] * (1 - overlap / (probability.sum() + mask.sum() + 1e-5))
    total = total + weights["seg"] * F.cross_entropy(logits, label[:, 0].long())
    if "output" in said:
        return total
    rebuilt = torch.cat([said[name] for name in ("ct", "bottleneck") if name in said], dim=1)
    total = total + weights["rec"] * ((rebuilt - image[:, : rebuilt.shape[1]]) ** 2).mean()
    if "class" in said:
        right = torch.where(present, said["class"].sigmoid(), 1 - said["class"].sigmoid())
        total = total - weights["class"] * right.log().mean()
    return total
