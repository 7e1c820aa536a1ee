"""The contract, for every file in `baselines/` by itself: what `benchmark.protocols.Method` promises."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from benchmark.data.autopet import SPEC
from benchmark.protocols import Batch, Method
from benchmark.registry import method_class, method_names
from benchmark.train import load_weights, save_weights

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "mirror_unet": [
        *({"version": v, "corruption": c} for v in ("v1", "v2", "v3") for c in ("none", "noise", "shuffle")),
        {"version": "v4"},
        {"version": "v4", "theta": "learnable"},
        {"version": "v3", "branches": ["CT", "CT"]},
        {"version": "v3", "branches": ["PET", "PET"]},
        {"version": "v3", "shared_layers": [1, 2, 3, 4, 5, 6, 7, 8]},
        {"version": "v3", "shared_layers": []},
    ],
}
"""The variants of each method that must keep the contract; a method that is not named is tested with its defaults."""
SMALL: dict[str, dict[str, Any]] = {"mirror_unet": {"channels": [4, 8, 8, 8, 8]}}
CASES = [(name, variant) for name in method_names() for variant in VARIANTS.get(name, [{}])]


def build(name: str, variant: dict[str, Any], patch: tuple[int, int, int] = (32, 32, 32)) -> Method:
    torch.manual_seed(0)
    return method_class(name)(SPEC, patch, **SMALL.get(name, {}), **variant)


def batch(n: int = 2, patch: tuple[int, int, int] = (32, 32, 32)) -> Batch:
    drawn = torch.Generator().manual_seed(0)
    image = torch.rand((n, len(SPEC.modalities), *patch), generator=drawn)
    label = torch.zeros((n, 1, *patch), dtype=torch.uint8)
    label[0, :, 4:12, 4:12, 4:12] = 1
    image[0, :, 4:12, 4:12, 4:12] += 1
    ids = tuple(f"case{i}" for i in range(n))
    return Batch(
        image,
        label,
        label.flatten(1).bool().any(1),
        SPEC.modalities,
        ids,
        0,
        torch.Generator().manual_seed(0),
    )


def total(method: Method, asked: Batch) -> torch.Tensor:
    asked.generator.manual_seed(0)
    # Equal shares: the paper's weights would hide a small loss behind a large one.
    return torch.stack(
        [loss / loss.detach().abs().clamp(min=1e-6) for loss in method.losses(asked).values()]
    ).sum()


each_variant = pytest.mark.parametrize(("name", "variant"), CASES, ids=[f"{n}-{v}" for n, v in CASES])


@pytest.mark.parametrize("name", method_names())
def test_a_method_is_documented_and_takes_its_arguments_by_keyword(name: str) -> None:
    kind = method_class(name)
    assert kind.paper
    assert inspect.getdoc(kind)
    parameters = list(inspect.signature(kind).parameters.values())
    assert [p.name for p in parameters[:2]] == ["dataset", "patch_size"]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[2:])


@each_variant
def test_the_losses_are_those_that_were_announced_and_finite(name: str, variant: dict[str, Any]) -> None:
    method = build(name, variant)
    losses = method.losses(batch())
    assert set(losses) == set(method.loss_names)
    assert all(torch.isfinite(loss) for loss in losses.values())


@each_variant
def test_every_parameter_gets_a_gradient_or_is_listed_with_a_reason(
    name: str, variant: dict[str, Any]
) -> None:
    method = build(name, variant)
    total(method, batch()).backward()
    without = {n for n, p in method.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert without == set(method.unused_parameters())


@each_variant
def test_the_losses_fall_on_one_batch(name: str, variant: dict[str, Any]) -> None:
    method, asked = build(name, variant), batch()
    weights = {n: 1 / max(float(v.detach()), 1e-6) for n, v in method.losses(asked).items()}
    optimiser = torch.optim.Adam(method.parameters(), lr=3e-3)
    values = []
    for _ in range(12):
        optimiser.zero_grad()
        asked.generator.manual_seed(0)
        loss = torch.stack([weights[n] * v for n, v in method.losses(asked).items()]).sum()
        loss.backward()
        optimiser.step()
        values.append(float(loss.detach()))
    assert sum(values[-3:]) < 0.9 * sum(values[:3])


@each_variant
def test_odd_patches_and_odd_batches_work_and_decode_gives_labels(name: str, variant: dict[str, Any]) -> None:
    patch = (32, 16, 48)
    method = build(name, variant, patch)
    asked = batch(3, patch)
    assert torch.isfinite(total(method, asked))
    with torch.no_grad():
        output = method.eval()(asked.image)
        labels = method.decode(output)
    assert output.shape[0] == 3
    assert output.shape[2:] == patch
    assert labels.shape == (3, 1, *patch)
    assert set(labels.unique().tolist()) <= set(range(SPEC.n_classes))


def test_decoding_is_argmax() -> None:
    output = torch.randn(2, 5, 6, 7, 8).round()
    assert torch.equal(build("mirror_unet", {}).decode(output).long(), output.argmax(dim=1, keepdim=True))


@each_variant
def test_saved_weights_predict_the_same(name: str, variant: dict[str, Any], tmp_path: Any) -> None:
    saved, loaded = build(name, variant).eval(), build(name, variant).eval()
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.add_(1)
    save_weights(saved, tmp_path / "weights")
    load_weights(loaded, tmp_path / "weights")
    with torch.no_grad():
        assert torch.equal(saved(batch().image), loaded(batch().image))


@each_variant
def test_bfloat16_gives_the_losses_of_float32(name: str, variant: dict[str, Any]) -> None:
    method, asked = build(name, variant), batch()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exact = {n: float(v.detach()) for n, v in method.losses(asked).items()}
        asked.generator.manual_seed(0)
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = method.losses(asked)
    for loss_name, value in exact.items():
        assert float(rounded[loss_name].detach()) == pytest.approx(value, rel=0.1, abs=0.05)


@each_variant
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_cpu_and_cuda_agree(name: str, variant: dict[str, Any]) -> None:
    method = build(name, variant).eval()
    image = batch().image
    with torch.no_grad():
        on_cpu = method(image)
        on_cuda = method.cuda()(image.cuda()).cpu()
    torch.testing.assert_close(on_cpu, on_cuda, rtol=1e-2, atol=1e-2)
