"""SegResNet: a residual encoder with a light decoder, and the autoencoder that regularised the winner of BraTS 2018."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from monai.networks import nets
from torch import Tensor, nn

from benchmark.nn.branches import title
from benchmark.nn.convolution import Conv3d
from benchmark.nn.losses import dice_ce
from benchmark.nn.upsampling import LinearUpsample
from benchmark.protocols import Batch, DatasetSpec, Method, OutputKind, Size3
from benchmark.vocabulary import BenchError, did_you_mean

UPSAMPLE_MODES = ("linear", "deconv")
GROUPS = 8
"""Of the group normalisation."""
STEPS_DOWN = 3
NOISE_STD = 0.3
"""Of what is added to the code of a patch before the autoencoder rebuilds it."""


class SegResNet(Method):
    """MONAI's SegResNet on all modalities, with a softmax over the labels.

    Residual blocks with group normalisation (1, 2, 2 and 4 at widths of 1, 2, 4 and 8 times `init_filters`), a decoder
    of one block a level whose skips are added, and `dropout` of whole channels behind the first convolution.

    With `autoencoder` it is MONAI's SegResNetVAE: in training the coarsest features become a code of 256 numbers, from
    which the image is rebuilt. The loss `vae` is the mean squared error of the image plus the mean square of the code.
    Inference runs the segmentation alone.

    Decisions:

    * The paper says "SegResNet" and no more. 16 filters and dropout 0.2, without the autoencoder, are what its code
      has; with two modalities they make 4.7 million weights, as many as a branch of Mirror U-Net has. The original
      begins with 32 filters.
    * Dice of the foreground and cross-entropy over a softmax, as for every method here. The original has squared Dice
      on a sigmoid a region. Optimiser, schedule and patches are the study's, and the original's augmentation (shifts,
      scales and flips) is left out.
    * The autoencoder is MONAI's: the code's spread is fixed at 0.3 instead of learned, and the rebuilding decoder is
      the segmentation's own, without skips. Its weight is the original's 0.1. It is bound to the run's patch size. Its
      noise comes from the batch's generator, so a resumed training goes on exactly.
    * `upsample_mode="linear"` is MONAI's "nontrainable" in operations that are deterministic on CUDA; torch's own is
      not. `"deconv"` learns the upsampling. MONAI's "pixelshuffle" averages with a kernel that is not deterministic.
    """

    paper: ClassVar[str] = (
        "Myronenko, 3D MRI Brain Tumor Segmentation Using Autoencoder Regularization, BrainLes 2018"
    )
    examples: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "autoencoder": {"autoencoder": True},
        "learned upsampling": {"upsample_mode": "deconv"},
    }
    small: ClassVar[Mapping[str, Any]] = {"init_filters": 8}

    def __init__(
        self,
        dataset: DatasetSpec,
        patch_size: Size3,
        *,
        init_filters: int = 16,
        autoencoder: bool = False,
        dropout: float = 0.2,
        upsample_mode: str = "linear",
    ) -> None:
        super().__init__(dataset, patch_size)
        if init_filters < 1 or init_filters % GROUPS:
            raise BenchError(f"init_filters is {init_filters}; it must be a multiple of {GROUPS}.")
        if not 0 <= dropout < 1:
            raise BenchError(f"dropout is {dropout}; it must lie from 0 to below 1.")
        if upsample_mode not in UPSAMPLE_MODES:
            raise BenchError(
                f"There is no upsample_mode {upsample_mode!r}. {did_you_mean(upsample_mode, UPSAMPLE_MODES)}"
            )
        stride = 2 ** (STEPS_DOWN + autoencoder)
        if any(side % stride for side in patch_size):
            raise BenchError(f"The sides of patch_size {tuple(patch_size)} must be multiples of {stride}.")
        self.autoencoder = autoencoder
        settings: dict[str, Any] = {
            "init_filters": init_filters,
            "in_channels": len(dataset.modalities),
            "out_channels": dataset.n_classes,
            "dropout_prob": dropout or None,
            "upsample_mode": "nontrainable" if upsample_mode == "linear" else upsample_mode,
        }
        if autoencoder:
            settings |= {"input_image_size": tuple(patch_size), "vae_default_std": NOISE_STD}
        self.net: Any = (nets.SegResNetVAE if autoencoder else nets.SegResNet)(**settings)
        _with_own_layers(self.net)
        self.loss_names = ("seg", "vae") if autoencoder else ("seg",)
        self.tasks = ("Seg", "Rec") if autoencoder else ("Seg",)

    def default_loss_weights(self) -> dict[str, float]:
        return {"seg": 1.0, "vae": 0.1} if self.autoencoder else {"seg": 1.0}

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        outputs = self.named_outputs(batch.image, generator=batch.generator, with_code=True)
        losses = {"seg": dice_ce(outputs["output"], batch.label)}
        if self.autoencoder:
            error = (outputs["rebuilt"].float() - batch.image.float()).square().mean()
            losses["vae"] = error + outputs["code"].float().square().mean()
        return losses

    def named_outputs(
        self,
        image: Float[Tensor, "b m x y z"],
        *,
        generator: torch.Generator | None = None,
        with_code: bool = False,
    ) -> dict[str, Tensor]:
        """The logits, and with the autoencoder the `rebuilt` image, of patches of the run's size.

        With a generator it is rebuilt from a noisy code, as in training. `with_code`: what the noise is added to, as
        `code` (`b 256`).
        """
        features, skips = self.net.encode(image)
        outputs = {"output": self._segment(features, skips)}
        if self.autoencoder:
            code, outputs["rebuilt"] = self._rebuild(features, generator)
            if with_code:
                outputs["code"] = code
        return outputs

    def output_kinds(self) -> dict[str, tuple[OutputKind, str]]:
        kinds: dict[str, tuple[OutputKind, str]] = {"output": ("segmentation", "")}
        if self.autoencoder:
            kinds["rebuilt"] = ("reconstruction", title(self.dataset.modalities))
        return kinds

    def forward(self, image: Float[Tensor, "b m x y z"]) -> Float[Tensor, "b c x y z"]:
        return self._segment(*self.net.encode(image))

    def _segment(self, features: Tensor, skips: list[Tensor]) -> Tensor:
        return self.net.decode(features, skips[::-1])

    def _rebuild(self, features: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """The code of the coarsest features, and the image rebuilt from it; MONAI's steps, with noise of our own."""
        net = self.net
        code = net.vae_fc1(net.vae_down(features).flatten(1))
        noisy = code if generator is None else code + NOISE_STD * _noise_like(code, generator)
        maps = net.act_mod(net.vae_fc3(noisy)).reshape(-1, net.smallest_filters, *net.fc_insize)
        maps = net.vae_fc_up_sample(maps)
        for up, block in zip(net.up_samples, net.up_layers, strict=True):
            maps = block(up(maps))
        return code, net.vae_conv_final(maps)

    def unused_parameters(self) -> dict[str, str]:
        if not self.autoencoder:
            return {}
        reason = "MONAI makes it for a learned spread of the code; here the spread is fixed"
        return {"net.vae_fc2.weight": reason, "net.vae_fc2.bias": reason}


# Random numbers come from a generator, which a compiled graph cannot hold.
@torch.compiler.disable
def _noise_like(code: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(code.shape, generator=generator, device=code.device, dtype=torch.float32)
    return noise.to(code.dtype)


def _with_own_layers(net: nn.Module) -> None:
    """Convolutions of tiny maps in float32 on a CPU, and upsampling that is deterministic on CUDA."""
    for module in net.modules():
        if type(module) is nn.Conv3d:
            module.__class__ = Conv3d
        for name, child in module.named_children():
            if isinstance(child, nn.Upsample):
                setattr(module, name, LinearUpsample())
