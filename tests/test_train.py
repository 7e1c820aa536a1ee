"""Training: exact resume, divergence, accumulation, and that it learns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from slow_tests import slow_after

from baselines.mirror_unet import MirrorUNet
from benchmark.config import TrainingConfig
from benchmark.data.patches import PatchSampler
from benchmark.data.readers.autopet import SPEC
from benchmark.data.store import PreparedCase, Store
from benchmark.datasets.pipeline import ready_data
from benchmark.protocols import Method
from benchmark.results.runs import RunFolder
from benchmark.training.checkpoint import load_weights, save_weights
from benchmark.training.progress import DivergedError, InterruptedRunError, Progress
from benchmark.training.train import Hooks, train

CPU = torch.device("cpu")
WEIGHTS = {"rec_ct": 1e-4, "rec_pet": 1e-4, "seg": 0.5, "class": 1e-3}


@pytest.fixture(scope="module")
def cases(tcia_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[PreparedCase]:
    data = ready_data(
        "autopet",
        tcia_root,
        results=tmp_path_factory.mktemp("results"),
        preparation=SPEC.preparation_at((4.0, 4.0, 5.0)),
    )
    return list(Store(data.store).cases.values())


def method(**settings: Any) -> MirrorUNet:
    torch.manual_seed(0)
    return MirrorUNet(SPEC, (16, 16, 16), channels=(4, 8, 8, 8, 8), **{"version": "v3", **settings})


def run(
    cases: list[PreparedCase], folder: RunFolder, network: Method | None = None, **settings: Any
) -> Progress:
    names = ("config", "loss_weights", "accumulation", "checkpoint_seconds")
    passed = {name: settings.pop(name) for name in names if name in settings}
    hooks = {name: settings.pop(name) for name in ("validate", "asked_to_stop") if name in settings}
    config = TrainingConfig(patch_size=(16, 16, 16), **{"steps": 12, "validations": 3, **settings})
    network = network or method()
    torch.use_deterministic_algorithms(True)
    return train(
        network,
        PatchSampler(cases, (16, 16, 16), config.batch_size, config.lesion_fraction, seed=0),
        config=config,
        device=CPU,
        folder=folder,
        hooks=Hooks(**{"validate": lambda: 0.5, **hooks}),
        **{"loss_weights": WEIGHTS, **passed},
    )


def after(n: int) -> Callable[[], bool]:
    """Asks to stop once it was called n times."""
    calls = iter(range(10**6))
    return lambda: next(calls) + 1 >= n


def test_a_run_stopped_three_times_ends_with_the_same_weights_bit_for_bit(
    cases: list[PreparedCase], tmp_path: Path
) -> None:
    whole, pieces = RunFolder(tmp_path, "whole"), RunFolder(tmp_path, "pieces")
    undisturbed = run(cases, whole)
    for _ in range(3):
        with pytest.raises(InterruptedRunError, match="continues"):
            run(cases, pieces, asked_to_stop=after(3))
    continued = run(cases, pieces)
    assert whole.weights_file.read_bytes() == pieces.weights_file.read_bytes()
    losses = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in p.history]
        for p in (undisturbed, continued)
    ]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_another_seed_would_have_been_noticed(cases: list[PreparedCase], tmp_path: Path) -> None:
    """The comparison above can fail: with other patches the weights differ."""
    run(cases, RunFolder(tmp_path, "a"))
    run(cases[:-1], RunFolder(tmp_path, "b"))
    assert (
        RunFolder(tmp_path, "a").weights_file.read_bytes()
        != RunFolder(tmp_path, "b").weights_file.read_bytes()
    )


@pytest.mark.parametrize("precision", slow_after(1, ["float32", "bfloat16"]))
def test_the_loss_falls(cases: list[PreparedCase], tmp_path: Path, precision: str) -> None:
    progress = run(
        cases, RunFolder(tmp_path, "r"), steps=40, learning_rate=1e-2, precision=precision, channels_last=True
    )
    first, last = progress.history[0], progress.history[-1]
    assert last["loss"] < 0.8 * first["loss"]
    assert last["seg"] < first["seg"]


def test_augmentation_is_of_every_step_and_ends_the_same_after_an_interruption(
    cases: list[PreparedCase], tmp_path: Path
) -> None:
    """The network is shown mirrored patches of other intensities, the same ones when a training goes on."""
    shown: dict[str, list[torch.Tensor]] = {}

    def network(name: str) -> MirrorUNet:
        class Watched(MirrorUNet):
            def losses(self, batch: Any) -> dict[str, torch.Tensor]:
                shown.setdefault(name, []).append(batch.image.clone())
                return super().losses(batch)

        made = method()
        made.__class__ = Watched
        return made

    for name, augmentation in (("plain", "none"), ("whole", "flip_scale_shift")):
        run(cases, RunFolder(tmp_path, name), network(name), augmentation=augmentation, steps=4)
    pieces = RunFolder(tmp_path, "pieces")
    with pytest.raises(InterruptedRunError):
        run(cases, pieces, augmentation="flip_scale_shift", steps=4, asked_to_stop=after(2))
    run(cases, pieces, augmentation="flip_scale_shift", steps=4)
    assert pieces.weights_file.read_bytes() == RunFolder(tmp_path, "whole").weights_file.read_bytes()
    for usual, changed in zip(shown["plain"], shown["whole"], strict=True):
        means = [patch.mean(dim=(1, 2, 3)) for patch in changed - usual]
        assert all(float(mean.abs().max()) > 0 for mean in means)
        assert float((changed - usual).abs().max()) < 0.1 + 1.1 * float(usual.abs().max())


def test_a_loss_that_is_not_finite_stops_with_step_and_cases(
    cases: list[PreparedCase], tmp_path: Path
) -> None:
    network = method()

    class Poisoned(MirrorUNet):
        def losses(self, batch: Any) -> dict[str, torch.Tensor]:
            found = super().losses(batch)
            return found | {"seg": found["seg"] * float("nan")} if batch.step == 4 else found

    network.__class__ = Poisoned
    with pytest.raises(DivergedError, match=r"step 4: .*seg = nan.*cases PETCT_\d\d_study"):
        run(cases, RunFolder(tmp_path, "r"), network)


def test_accumulation_gives_the_gradients_of_the_whole_batch(
    cases: list[PreparedCase], tmp_path: Path
) -> None:
    """For a loss that is a mean over patches, of a network without batch statistics, the steps agree."""
    whole, parts = method(version="v1", corruption="none"), method(version="v1", corruption="none")
    for network, name, accumulation in ((whole, "whole", 1), (parts, "parts", 2)):
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                module.forward = lambda x: x  # type: ignore[method-assign]
        weights = {"rec_ct": 1e-4, "seg": 0.0}
        run(
            cases,
            RunFolder(tmp_path, name),
            network,
            loss_weights=weights,
            accumulation=accumulation,
            steps=3,
        )
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_the_best_weights_are_those_of_the_best_validation(cases: list[PreparedCase], tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "r")
    dice = iter([0.2, 0.9, 0.4])
    seen: list[dict[str, torch.Tensor]] = []

    network = method()

    def validate() -> float:
        seen.append({name: p.detach().clone() for name, p in network.named_parameters()})
        return next(dice)

    progress = run(cases, folder, network, validate=validate, checkpoint="best")
    assert (progress.best_step, progress.best_dice) == (8, 0.9)
    best = safetensors.torch.load_file(folder.best_weights_file)
    assert all(torch.equal(best[name], value) for name, value in seen[1].items())


@pytest.mark.parametrize(("every", "steps"), [(5, [5, 10]), (4, [4, 8, 12]), (13, [12])])
def test_validations_come_after_so_many_steps_or_once_at_the_end(
    cases: list[PreparedCase], tmp_path: Path, every: int, steps: list[int]
) -> None:
    """Of 12 steps, where `validations` would ask for one after each."""
    progress = run(cases, RunFolder(tmp_path, "r"), checkpoint="best", validations=12, validate_every=every)
    assert [row["step"] for row in progress.history if "val_dice" in row] == steps


def test_of_equal_validations_the_first_is_kept(cases: list[PreparedCase], tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "even")
    progress = run(cases, folder, validate=lambda: 0.5, checkpoint="best", steps=2, validations=2)
    assert (progress.best_step, progress.best_dice) == (1, 0.5)


def test_saved_weights_give_the_same_output_and_store_shared_layers_once(tmp_path: Path) -> None:
    saved, loaded = method().eval(), method(shared_layers=[5]).eval()
    for parameter in loaded.parameters():
        torch.nn.init.zeros_(parameter)
    path = tmp_path / "weights.safetensors"
    save_weights(saved, path)
    load_weights(loaded, path)
    image = torch.rand(1, 2, 16, 16, 16)
    assert torch.equal(saved(image), loaded(image))
    stored = sum(t.numel() for t in safetensors.torch.load_file(path).values())
    buffers = sum(b.numel() for b in saved.buffers())
    assert stored == sum(p.numel() for p in saved.parameters()) + buffers


def test_the_learning_rate_falls_to_a_tenth_after_five_eighths(
    cases: list[PreparedCase], tmp_path: Path
) -> None:
    """The first five of eight steps are those of a constant rate; the last are not."""
    constant = run(cases, RunFolder(tmp_path, "a"), steps=8)
    stepped = run(cases, RunFolder(tmp_path, "b"), steps=8, schedule="step")
    same = [row["loss"] for row in constant.history][:5], [row["loss"] for row in stepped.history][:5]
    assert same[0] == same[1]
    assert constant.history[-1]["loss"] != stepped.history[-1]["loss"]


def test_statistics_of_normalisation_are_those_of_the_last_weights(
    cases: list[PreparedCase], tmp_path: Path
) -> None:
    """The first layer's, by hand over the batches that would have followed; nothing that was learned changes."""
    left, again = method(), method()
    run(cases, RunFolder(tmp_path, "left"), left, batch_size=2)
    run(cases, RunFolder(tmp_path, "again"), again, batch_size=2, norm_batches=3)
    assert all(torch.equal(a, b) for a, b in zip(left.parameters(), again.parameters(), strict=True))

    convolution, norm = again.pet.layers["1"].conv.unit0.conv, again.pet.layers["1"].conv.unit0.adn.N
    sampler = PatchSampler(cases, (16, 16, 16), 2, TrainingConfig().lesion_fraction, seed=0)
    pet = [torch.from_numpy(sampler.batch(step).image[:, 1:]).float() for step in (12, 13, 14)]
    with torch.no_grad():
        maps = [convolution(image).transpose(0, 1).flatten(1) for image in pet]
    torch.testing.assert_close(norm.running_mean, torch.stack([each.mean(1) for each in maps]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([each.var(1) for each in maps]).mean(0))
    assert norm.momentum == 0.1
    usual = left.pet.layers["1"].conv.unit0.adn.N
    assert not torch.allclose(usual.running_var, norm.running_var, rtol=0.05)


def test_recomputed_statistics_survive_a_stop_bit_for_bit(cases: list[PreparedCase], tmp_path: Path) -> None:
    whole, pieces = RunFolder(tmp_path, "whole"), RunFolder(tmp_path, "pieces")
    run(cases, whole, norm_batches=2)
    with pytest.raises(InterruptedRunError, match="continues"):
        run(cases, pieces, norm_batches=2, asked_to_stop=after(3))
    run(cases, pieces, norm_batches=2)
    assert whole.weights_file.read_bytes() == pieces.weights_file.read_bytes()


def test_statistics_of_the_last_weights_are_not_those_of_the_best() -> None:
    with pytest.raises(ValueError, match="norm_batches are of the last weights"):
        TrainingConfig(norm_batches=2, checkpoint="best")
