"""AAHN: its size part by part, what its parts compute, and that it looks at one slice at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from drawn import BRAIN, PET_CT, batch, parameters
from torch import Tensor, nn

from baselines.aahn import AAHN
from benchmark.nn.blocks2d import ResidualStage
from benchmark.nn.heterogeneous import ChannelAttention, CrossAttention, FeatureAlignment, GraphFusion
from benchmark.nn.losses import dice_ce
from benchmark.nn.slices import slices_of, volumes_of
from benchmark.nn.vit import TransformerBlock, VisionTransformer, interleaved_tokens, maps_of_tokens
from benchmark.planning.grid import load_profile, load_study
from benchmark.training.costs import forward_gflops
from benchmark.vocabulary import BenchError, DatasetSpec, Size3

SLICE: Size3 = (128, 128, 1)
NEVER_USED = (
    66_496  # The cross attention of the first scale.
    + sum(
        2 * c * c + c + 2 * c for c in (256, 512, 1024)
    )  # A last 1^2 convolution in the others, with its norm.
    + (64 * 32 + 32)
    + (32 * 64 + 64)
    + 64  # The graph's answer to the Transformer's stream: value, output, scale.
)


def small(spec: DatasetSpec = PET_CT, patch: Size3 = (32, 32, 2), **settings: Any) -> AAHN:
    torch.manual_seed(0)
    return AAHN(spec, patch, **{**AAHN.small, **settings})


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def softmax(energy: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    powers = np.exp(energy - energy.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def arrays(module: nn.Module) -> dict[str, np.ndarray]:
    """Its parameters as matrices and vectors of float64."""
    return {
        name: p.detach().double().numpy().reshape(p.shape[:2] if p.ndim == 4 else p.shape)
        for name, p in module.named_parameters()
    }


@torch.no_grad()
def redrawn(module: nn.Module) -> None:
    """New values for all parameters, also for those that start at 0."""
    for i, parameter in enumerate(module.parameters()):
        parameter.copy_(0.5 * drawn(*parameter.shape, seed=i))


@pytest.fixture(scope="module")
def full() -> AAHN:
    with torch.device("meta"):
        return AAHN(BRAIN, SLICE)


def test_with_the_layers_that_the_published_code_never_uses_it_has_its_size(full: AAHN) -> None:
    assert NEVER_USED == 2_828_640
    assert parameters(full) == 410_521_332 - NEVER_USED
    with torch.device("meta"):
        assert parameters(AAHN(PET_CT, SLICE)) == 410_508_754 - NEVER_USED


def test_every_part_has_the_published_size(full: AAHN) -> None:
    net = full.net
    assert [parameters(part) for part in (net.transformer_stem, net.stem)] == [25_344, 19_072]
    assert [
        [parameters(part) for part in (stage.down, stage.vit, stage.back, stage.smooth)]
        for stage in net.transformer_stages
    ] == [
        [722_944, 37_798_144, 12_599_296, 590_592],
        [2_887_680, 50_371_840, 25_198_592, 2_360_832],
        [11_542_528, 75_535_360, 50_397_184, 9_440_256],
    ]
    assert [[parameters(part) for part in fusion.children()] for fusion in net.fusions] == [
        [16_672, 1_363_072],
        [66_112, 131_328, 264_064 - (2 * 256**2 + 3 * 256)],
        [263_296, 524_800, 1_052_416 - (2 * 512**2 + 3 * 512)],
        [1_050_880, 2_098_176, 4_201_984 - (2 * 1024**2 + 3 * 1024)],
    ]
    assert [parameters(stage) for stage in net.stages] == [1_199_232, 5_971_712, 33_314_304, 57_691_136]
    assert [parameters(down) for down in net.downs] == [295_680, 1_181_184, 4_721_664]
    assert net.graph_fusion is not None
    assert parameters(net.graph_fusion) == 29_312 - (64 * 32 + 32 + 32 * 64 + 64 + 64)
    assert [parameters(up) for up in net.ups] == [11_800_064, 2_950_912, 738_176]
    assert [parameters(part) for part in (net.last_up, *net.head)] == [15_744, 18_528, 4_656, 68]


def test_a_slice_costs_86_9_billion_operations(full: AAHN) -> None:
    assert forward_gflops(full) == pytest.approx(86.9, abs=0.05)


def test_modalities_and_classes_need_not_be_as_many() -> None:
    """A modality more is 7^2 weights for each of the 128 maps of the stem."""
    with torch.device("meta"):
        assert parameters(AAHN(BRAIN, SLICE).net.transformer_stem) == 4 * 49 * 128 + 2 * 128
        assert parameters(AAHN(PET_CT, SLICE).net.transformer_stem) == 2 * 49 * 128 + 2 * 128
    assert small(BRAIN)(batch(BRAIN, (32, 32, 2)).image).shape == (2, 4, 32, 32, 2)


def test_an_ablation_leaves_out_its_part_and_nothing_else(full: AAHN) -> None:
    with torch.device("meta"):
        no_attention, no_graph = AAHN(BRAIN, SLICE, t_cfaf=False), AAHN(BRAIN, SLICE, cmhgf=False)
    attention = [(f.channel_attention, f.cross_attention) for f in full.net.fusions]
    removed = sum(parameters(part) for parts in attention for part in parts if part is not None)
    assert removed == 16_672 + (66_112 + 132_224) + (263_296 + 526_592) + (1_050_880 + 2_101_760)
    assert parameters(no_attention) == parameters(full) - removed
    assert parameters(no_graph) == parameters(full) - 25_056
    kept = {name: p.shape for name, p in full.named_parameters() if "_attention" not in name}
    assert {name: p.shape for name, p in no_attention.named_parameters()} == kept


def test_tokens_are_dilated_grids_of_pixels() -> None:
    r"""0  1  2  3
    4  5  6  7     with two tokens a side, the first has every second pixel of every second row.
    8  9 10 11
    12 13 14 15"""
    maps = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert interleaved_tokens(maps, side=2).tolist() == [
        [[0, 2, 8, 10], [1, 3, 9, 11], [4, 6, 12, 14], [5, 7, 13, 15]]
    ]
    both = torch.cat([maps, -maps], dim=1)
    assert interleaved_tokens(both, side=2)[0, 0].tolist() == [0, 0, 2, -2, 8, -8, 10, -10]


def test_tokens_become_the_maps_they_were_made_of() -> None:
    maps = drawn(2, 3, 4, 12)
    tokens = interleaved_tokens(maps, side=4)
    assert tokens.shape == (2, 1 * 3, 4 * 4 * 3)
    assert torch.equal(maps_of_tokens(tokens, side=4, size=(4, 12)), maps)


def test_a_block_is_torch_s_encoder_layer_without_the_biases_of_its_attention() -> None:
    ours = TransformerBlock(12, heads=3, hidden=10)
    theirs = nn.TransformerEncoderLayer(12, 3, 10, dropout=0, activation="gelu", batch_first=True)
    for layer in (ours.norms[0], ours.norms[1]):
        nn.init.uniform_(layer.weight)
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(ours.attention.project.weight)
        theirs.self_attn.in_proj_bias.zero_()
        theirs.self_attn.out_proj.weight.copy_(ours.attention.output.weight)
        theirs.self_attn.out_proj.bias.zero_()
    theirs.linear1, theirs.linear2 = ours.perceptron[0], ours.perceptron[2]
    theirs.norm1, theirs.norm2 = ours.norms[0], ours.norms[1]
    tokens = drawn(2, 5, 12)
    torch.testing.assert_close(ours(tokens), theirs(tokens))


def test_the_class_token_takes_part_and_is_left_out() -> None:
    maps = drawn(2, 3, 4, 4)
    plain = VisionTransformer(3, (4, 4), side=2, dim=8, blocks=0, heads=2, hidden=8)
    embedded = plain.embed(interleaved_tokens(maps, side=2))
    torch.testing.assert_close(plain(maps), embedded + plain.positions[1:])

    vit = VisionTransformer(3, (4, 4), side=2, dim=8, blocks=1, heads=2, hidden=8)
    before = vit(maps)
    assert before.shape == (2, 4, 8)
    with torch.no_grad():
        vit.class_token.add_(1)
    assert not torch.allclose(vit(maps), before)


def test_channel_attention_multiplies_every_map_with_its_gate() -> None:
    module, x = ChannelAttention(8, ratio=4), drawn(2, 8, 3, 5)
    p, values = arrays(module), x.double().numpy()
    hidden = np.maximum(values.mean((2, 3)) @ p["squeeze.weight"].T + p["squeeze.bias"], 0)
    gate = 1 / (1 + np.exp(-(hidden @ p["excite.weight"].T + p["excite.bias"])))
    np.testing.assert_allclose(module(x).detach(), values * gate[:, :, None, None], rtol=1e-5, atol=1e-6)


def test_cross_attention_takes_values_from_its_own_stream_and_keys_from_the_fused_maps() -> None:
    module = CrossAttention(4).eval()
    redrawn(module)
    own, fused = drawn(2, 4, 2, 3, seed=1), drawn(2, 4, 2, 3, seed=2)
    p, x, f = arrays(module), own.double().numpy().reshape(2, 4, 6), fused.double().numpy().reshape(2, 4, 6)

    def projected(name: str, maps: np.ndarray) -> np.ndarray:
        return np.einsum("oc,bcn->bon", p[f"{name}.weight"], maps) + p[f"{name}.bias"][:, None]

    attention = softmax(np.einsum("bcq,bck->bqk", projected("query", x), projected("key", f)))
    found = np.einsum("bqk,bck->bcq", attention, projected("value", x))
    normed = projected("output", found) / np.sqrt(1 + module.norm.eps)
    expected = x + p["norm.weight"][:, None] * normed + p["norm.bias"][:, None]
    np.testing.assert_allclose(module(own, fused).detach().flatten(2), expected, rtol=1e-4, atol=1e-5)


def test_an_untrained_t_cfaf_hands_the_convolutional_stream_on() -> None:
    own, other = drawn(2, 8, 4, 4, seed=1), drawn(2, 8, 4, 4, seed=2)
    narrow = nn.Conv2d(16, 8, 1)
    assert torch.equal(FeatureAlignment(8, narrow, channel=True, cross=True)(own, other), own)
    plain = FeatureAlignment(8, narrow, channel=False, cross=False)(own, other)
    torch.testing.assert_close(plain, own + narrow(torch.cat([own, other], dim=1)))


def test_cmhgf_answers_the_convolutional_graph_from_the_transformer_s() -> None:
    """Written out: nodes are the 4 positions, 3 channels are their states, 2 nodes attend."""
    module = GraphFusion(4)
    redrawn(module)
    own, other = drawn(2, 3, 2, 2, seed=1), drawn(2, 3, 2, 2, seed=2)
    p = arrays(module)

    def mapped(name: str, nodes: np.ndarray) -> np.ndarray:
        return p[f"{name}.weight"] @ nodes + p[f"{name}.bias"][:, None]

    def reasoned(name: str, nodes: np.ndarray) -> np.ndarray:
        return mapped(f"{name}.second", np.maximum(nodes + mapped(f"{name}.first", nodes), 0))

    for x, y, got in zip(own.double().numpy(), other.double().numpy(), module(own, other), strict=True):
        asking = reasoned("convolutional", x.reshape(3, 4).T)
        answering = reasoned("transformed", y.reshape(3, 4).T)
        # Numbers of [2 nodes, 3 channels] in their order in memory, read as [3, 2].
        query, key, value = (
            mapped(name, nodes).reshape(3, 2)
            for name, nodes in (("query", asking), ("key", answering), ("value", answering))
        )
        found = value @ softmax(query.T @ key).T
        answer = mapped("output", found.T)
        expected = x.reshape(3, 4) + (p["scale"][:, None] * asking + answer).T
        np.testing.assert_allclose(got.detach().flatten(1), expected, rtol=1e-4, atol=1e-4)


def test_volumes_become_slices_and_volumes_again() -> None:
    volumes = drawn(2, 3, 4, 5, 6)
    slices = slices_of(volumes)
    assert slices.shape == (12, 3, 4, 5)
    assert torch.equal(slices[6 + 4], volumes[1, ..., 4])
    assert torch.equal(volumes_of(slices, n=2), volumes)


def test_every_residual_block_adds_to_what_it_sees_and_the_shortcut_to_the_sum() -> None:
    """Layers that output 1 everywhere: 1 of the first two, 1 of each block, and the shortcut."""
    stage = ResidualStage(2, 4, n_blocks=3)
    for layers in (stage.first, stage.blocks):
        for module in layers.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.zeros_(module.weight)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.zeros_(module.weight)
                nn.init.ones_(module.bias)
    x = drawn(2, 2, 3, 3)
    torch.testing.assert_close(stage(x), 1 + 3 + stage.shortcut(x))


def test_the_streams_meet_at_each_scale_and_the_decoder_goes_back_through_the_convolutional_one() -> None:
    method = small().eval()
    seen: dict[str, tuple[Tensor, ...]] = {}
    gave: dict[str, Tensor] = {}

    def record(name: str, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[name], gave[name] = inputs, output

    for name, module in method.net.named_modules():
        module.register_forward_hook(lambda _, inputs, output, name=name: record(name, inputs, output))
    with torch.inference_mode():
        method(batch(size=(32, 32, 2)).image)
    transformed = ["transformer_stem", *(f"transformer_stages.{i}" for i in range(3))]
    convolutional = ["stem", *(f"downs.{i}" for i in range(3))]
    wiring = {f"fusions.{i}": (convolutional[i], transformed[i]) for i in range(4)}
    wiring |= {f"transformer_stages.{i}": (transformed[i],) for i in range(3)}
    wiring |= {f"stages.{i}": (f"fusions.{i}",) for i in range(4)}
    wiring |= {f"downs.{i}": (f"stages.{i}",) for i in range(3)}
    wiring |= {"graph_fusion": ("stages.3", "transformer_stages.2")}
    wiring |= {
        "ups.0": ("graph_fusion", "stages.2"),
        "ups.1": ("ups.0", "stages.1"),
        "ups.2": ("ups.1", "stages.0"),
    }
    wiring |= {"last_up": ("ups.2",), "head": ("last_up",)}
    for name, sources in wiring.items():
        assert len(seen[name]) == len(sources)
        for tensor, source in zip(seen[name], sources, strict=True):
            assert tensor is gave[source], (name, source)


def test_slices_do_not_see_each_other() -> None:
    method = small(patch=(32, 64, 4)).eval()
    image = batch(size=(32, 64, 4)).image
    changed = image.clone()
    changed[..., 2] = 0
    with torch.inference_mode():
        logits, permuted, after = method(image), method(image[..., [3, 1, 0, 2]]), method(changed)
        alone = method(image[..., 1:2])
    assert logits.shape == (2, 2, 32, 64, 4)
    torch.testing.assert_close(permuted, logits[..., [3, 1, 0, 2]])
    torch.testing.assert_close(alone, logits[..., 1:2])
    torch.testing.assert_close(after[..., [0, 1, 3]], logits[..., [0, 1, 3]])
    assert not torch.allclose(after[..., 2], logits[..., 2])


@pytest.mark.parametrize(
    ("spec", "settings", "leader"),
    [
        (PET_CT, {}, "CT"),
        (PET_CT, {"leading_modality": "PET"}, "PET"),
        (BRAIN, {}, "T1Gd"),
        (BRAIN, {"leading_modality": "T2w"}, "T2w"),
    ],
)
def test_the_convolutional_stream_sees_the_leading_modality_alone(
    spec: DatasetSpec, settings: dict[str, str], leader: str
) -> None:
    method = small(spec, **settings).eval()
    assert method.leading_modality == leader
    assert f"{leader} leads" in method.remarks
    image = batch(spec, (32, 32, 2)).image
    with torch.no_grad():
        # With these weights the Transformer's stream is the same for all images.
        method.net.transformer_stem[0].weight.zero_()
        logits = method(image)
        for channel, name in enumerate(spec.modalities):
            other = image.clone()
            other[:, channel] = 0
            assert torch.allclose(method(other), logits) == (name != leader)


@pytest.mark.parametrize(
    "settings", [{}, {"t_cfaf": False}, {"cmhgf": False}, {"t_cfaf": False, "cmhgf": False}]
)
def test_every_modality_moves_the_logits(settings: dict[str, bool]) -> None:
    method = small(BRAIN, **settings).eval()
    image = batch(BRAIN, (32, 32, 2)).image
    with torch.no_grad():
        logits = method(image)
        for channel in range(4):
            other = image.clone()
            other[:, channel] = 0
            assert not torch.allclose(method(other), logits)


def test_the_loss_is_dice_and_cross_entropy_of_the_volumes() -> None:
    method, asked = small().eval(), batch(size=(32, 32, 2))
    assert torch.equal(method.losses(asked)["seg"], dice_ce(method(asked.image), asked.label))


def test_channels_last_is_that_of_images() -> None:
    """Its weights have four axes, and torch has no channels-last of volumes for these."""
    method, image = small().eval(), batch(size=(32, 32, 2)).image
    with torch.no_grad():
        before = method(image)
        method.to(memory_format=torch.channels_last_3d)
        after = method(image.contiguous(memory_format=torch.channels_last_3d))
    assert method.net.stem[0].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize(
    ("patch", "settings", "message"),
    [
        ((96, 96, 96), {"token_side": 8}, r"\(96, 96, 96\) must be multiples of 128"),
        ((32, 48, 1), {}, "multiples of 32"),
        ((32, 32, 1), {"leading_modality": "MRI"}, "no modality 'MRI' here; there are"),
        ((32, 32, 1), {"width": 12}, "multiple of 8, not 12"),
        ((32, 32, 1), {"res_blocks": [3, 4, 6]}, "4 scales"),
        ((32, 32, 1), {"vit_heads": 3}, "16 dimensions cannot have 3 heads"),
        ((16, 16, 1), {"token_side": 1}, "token_side must be at least 2"),
    ],
)
def test_what_cannot_be_built_is_refused_in_words(
    patch: Size3, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        small(patch=patch, **settings)


def test_the_study_has_a_row_for_each_leader_and_none_twice() -> None:
    """The ablations leave the leader to the data set: the full network beside them is the row of that leader."""
    study = load_study("aahn")
    for modalities in (PET_CT.modalities, BRAIN.modalities):
        cells = {cell.factors["method"]: cell.question for cell in study.on(modalities).cells()}
        aahn = {name: question for name, question in cells.items() if name.startswith("AAHN")}
        led = [f"AAHN led by {modality}" for modality in modalities]
        assert list(aahn) == ["AAHN without T-CFAF", "AAHN without CMHGF", *led]
        assert [aahn[name]["method_args"] for name in led] == [{"leading_modality": m} for m in modalities]
        assert {"nnUNet", "SegResNet", "Early fusion U-Net"} < set(cells)


@pytest.mark.parametrize("profile", ["small", "paper"])
def test_a_step_of_the_study_shows_aahn_16_slices_of_128_x_128(profile: str) -> None:
    for cell in load_study("aahn").on(BRAIN.modalities).cells():
        training = cell.settings(load_profile(profile), "msd")["training"]
        if cell.factors["method"].startswith("AAHN"):
            x, y, z = training["patch_size"]
            assert (x, y, z * training["batch_size"]) == (128, 128, 16)
