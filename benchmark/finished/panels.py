"""What every part of a trained network says of whole cases, for figures of its branches.

    <run>/panels/<case_id>.npz    float16 [c, X, Y, Z] by the output's name, on the full grid of the method's
                                  preparation: probabilities, reconstructions in prepared units, corrupted inputs as
                                  they were shown; `image` [m, X, Y, Z], and `reference` and `prediction` (uint8
                                  labels, as they are scored: background where nobody annotated)
    <run>/panels/<case_id>.json   what they are, for who draws them without knowing the method

The outputs come from `named_outputs`, from which training computes its losses, by the windows of the run's inference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float16

from benchmark.data.prepare import Geometry
from benchmark.data.store import PreparedCase
from benchmark.files.writing import write_json, written_whole
from benchmark.finished.reopened import ReopenedRun
from benchmark.protocols import Method, OutputKind
from benchmark.scoring.evaluate import annotated_only
from benchmark.training.environment import step_seed
from benchmark.training.inference import as_inferred, autocast
from benchmark.training.stitching import stitched
from benchmark.vocabulary import BenchError, Intensity, Size3, did_you_mean

TAKEN = ("image", "reference", "prediction")
Kinds = Mapping[str, tuple[OutputKind, str]]


@dataclass(frozen=True)
class PanelData:
    """The arrays of a case by name, and what stands of them in the JSON file."""

    arrays: Mapping[str, np.ndarray]
    description: Mapping[str, Any]


def write_panels_data(run: ReopenedRun, case_ids: Sequence[str], *, reading: str | None = None) -> list[Path]:
    """Write the arrays and their description for these test cases; returns the files of arrays."""
    method, cases = _panel_method(run), _test_cases(run, case_ids)
    return [_write(run, panel_data(run, method, case, reading=reading)) for case in cases]


def panels_data(
    run: ReopenedRun, case_ids: Sequence[str], *, reading: str | None = None
) -> Iterator[PanelData]:
    """The same without files, one case after the other: at full size they take hundreds of megabytes each."""
    method, cases = _panel_method(run), _test_cases(run, case_ids)
    for case in cases:
        yield panel_data(run, method, case, reading=reading)


def _panel_method(run: ReopenedRun) -> Method:
    if not isinstance(run.method, Method):
        raise BenchError(
            f"{run.config.method} trains itself and shows no branches; there are no panels of it."
        )
    return run.method


def _test_cases(run: ReopenedRun, case_ids: Sequence[str]) -> list[PreparedCase]:
    test = {case.case_id: case for case in run.data.test}
    if unknown := [case_id for case_id in case_ids if case_id not in test]:
        raise BenchError(
            f"The test part of run {run.folder.run_id} has no case {unknown[0]!r}. {did_you_mean(unknown[0], test)}"
        )
    return [test[case_id] for case_id in case_ids]


def _write(run: ReopenedRun, data: PanelData) -> Path:
    path = run.folder.panels / f"{data.description['case_id']}.npz"
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **data.arrays)  # type: ignore[arg-type]
    write_json(path.with_suffix(".json"), data.description)
    return path


def panel_data(run: ReopenedRun, method: Method, case: PreparedCase, *, reading: str | None) -> PanelData:
    """What every branch says of a case, with the mask of a reading (None: the method's first)."""
    seed = step_seed(run.config.seed, 0)
    arrays, kinds = branch_outputs(run, method, case, seed=seed)
    geometry, reading = case.geometry, method.readings[0] if reading is None else reading
    prediction, reference = annotated_only(run.predictor(case, [reading])[reading], np.asarray(case.label()))
    arrays["image"] = _on_full_grid(np.asarray(case.image()), geometry)
    return PanelData(
        {
            **arrays,
            "reference": reference,
            "prediction": prediction,
        },
        {
            "case_id": case.case_id,
            "spacing_mm": list(geometry.spacing_mm),
            "modalities": list(run.spec.modalities),
            "intensities": {name: rule_json(rule) for name, rule in run.preparation.intensities.items()},
            "branches": [list(group) for group in branches_of(run)],
            "outputs": {name: {"kind": kind, "of": of} for name, (kind, of) in kinds.items()},
            "labels": dict(run.spec.labels),
            "regions": {region.name: list(region.labels) for region in run.spec.regions},
            "predicted_regions": list(method.predicted_regions)
            if method.predicted_regions is not None
            else None,
            "dataset": run.spec.name,
            "method": run.config.method,
            "method_args": run.config.method_args,
            "reading": reading,
            "run_id": run.folder.run_id,
            "seed": run.config.seed,
            "fold": run.config.fold,
            "corruption_seed": seed,
        },
    )


@torch.inference_mode()
def branch_outputs(
    run: ReopenedRun, method: Method, case: PreparedCase, *, seed: int
) -> tuple[dict[str, Float16[np.ndarray, "c X Y Z"]], dict[str, tuple[OutputKind, str]]]:
    """Every named output on the full grid, and what it is. Corruption is drawn from `seed`, window after window.

    Where windows overlap, maps are averaged as in inference; of corrupted inputs, which are drawn again in each, the
    last window's is shown.
    """
    kinds = method.output_kinds()
    training, generator = run.config.training, torch.Generator(run.device).manual_seed(seed)

    def windows(patch: Float[torch.Tensor, "b m x y z"]) -> dict[str, torch.Tensor]:
        patch = as_inferred(patch, case)
        if training.channels_last:
            patch = patch.contiguous(memory_format=torch.channels_last_3d)
        with autocast(run.device, training.precision):
            named = method.named_outputs(patch, generator=generator)
        _check_names(method, named, kinds)
        return {name: _as_map(output.float(), method.patch_size) for name, output in named.items()}

    shape = case.geometry.crop_shape
    cropped: dict[str, np.ndarray] = {}
    slabs = stitched(
        case.image(),
        windows,
        window_size=method.patch_size,
        overlap=run.config.inference.overlap,
        windows_per_batch=run.config.inference.windows_per_batch,
        device=run.device,
        replaced=[name for name, (kind, _) in kinds.items() if kind == "input"],
    )
    for place, outputs in slabs:
        for name, output in outputs.items():
            values = _shown(output, kinds[name][0])[0].cpu().numpy().astype(np.float16)
            whole = cropped.setdefault(name, np.empty((len(values), *shape), np.float16))
            whole[:, place] = values
    full = {}
    for name in list(cropped):
        segments = kinds[name][0] == "segmentation" and len(cropped[name]) > 1
        full[name] = _on_full_grid(cropped.pop(name), case.geometry, background=segments)
    return full, {name: kinds[name] for name in full}


def _check_names(method: Method, named: Mapping[str, torch.Tensor], kinds: Kinds) -> None:
    name = type(method).__name__
    if unknown := [output for output in named if output not in kinds]:
        raise BenchError(f"{name}.output_kinds() does not say what {unknown[0]!r} of named_outputs() is.")
    if taken := [output for output in named if output in TAKEN]:
        raise BenchError(f"{name}.named_outputs() has an output called {taken[0]!r}; name it otherwise.")


def _as_map(output: torch.Tensor, patch_size: Size3) -> Float[torch.Tensor, "b c x y z"]:
    """What is said of a whole patch, as a constant map."""
    if output.ndim == 5:
        return output
    return output.reshape(len(output), -1, 1, 1, 1).expand(-1, -1, *patch_size)


def _shown(output: Float[torch.Tensor, "b c x y z"], kind: OutputKind) -> Float[torch.Tensor, "b c x y z"]:
    """Logits as probabilities; images as they are."""
    if kind == "segmentation" and output.shape[1] > 1:
        return output.softmax(dim=1)
    return output.sigmoid() if kind in ("segmentation", "classification") else output


def _on_full_grid(
    cropped: Float16[np.ndarray, "c x y z"], geometry: Geometry, *, background: bool = False
) -> Float16[np.ndarray, "c X Y Z"]:
    """Outside the crop there are zeros, and of a segmentation the background's probability is one."""
    full = np.zeros((len(cropped), *geometry.grid_shape), np.float16)
    if background:
        full[0] = 1
    full[(slice(None), *geometry.crop)] = cropped
    return full


def rule_json(rule: Intensity | None) -> dict[str, Any] | None:
    """What was done to a modality's values, for who brings them back to their unit."""
    return None if rule is None else {"rule": type(rule).__name__, **asdict(rule)}


def branches_of(run: ReopenedRun) -> Sequence[Sequence[str]]:
    """The modalities of the two branches, where the method has two."""
    groups = (
        getattr(run.method, "branches", None) or run.config.method_args.get("branches") or run.spec.branches
    )
    return [[group] if isinstance(group, str) else list(group) for group in groups or ()]
