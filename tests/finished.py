"""Runs that are done, for the tests of what is asked of them afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from orders import order_of
from safetensors.torch import load_file, save_file

from benchmark.datasets.pipeline import ReadyData, ready_data
from benchmark.datasets.registry import dataset
from benchmark.execution.run import execute_run
from benchmark.finished.reopened import ReopenedRun, reopen
from benchmark.protocols import Method
from benchmark.registry import method_digest

SPACING = (4.0, 4.0, 5.0)
TRAINING = {"steps": 2, "batch_size": 2, "patch_size": [16, 16, 16], "validations": 0}


def prepared(root: Path, results: Path, name: str = "autopet") -> ReadyData:
    spacing = SPACING if name == "autopet" else None
    return ready_data(
        name, root, results=results, preparation=dataset(name).spec_of(root).preparation_at(spacing)
    )


def finished(
    root: Path,
    results: Path,
    method: str,
    weights: dict[str, float],
    *,
    name: str = "autopet",
    training: dict[str, Any] | None = None,
    **arguments: Any,
) -> ReopenedRun:
    """A run of a few steps on the data set `name` in `root`, done and opened again; `arguments` are the method's."""
    settings: dict[str, Any] = {
        "dataset": name,
        "spacing_mm": SPACING if name == "autopet" else None,
        "method": method,
        "method_args": arguments,
        "method_digest": method_digest(method),
        "loss_weights": weights,
        "training": {**TRAINING, **(training or {})},
    }
    record = execute_run(order_of(settings, prepared(root, results, name), results, root=root))
    assert (record.state, record.error) == ("done", None)
    return reopen(results, record.run_id)


def split_evenly(run: ReopenedRun, *branches: str) -> ReopenedRun:
    """Shift the last biases in the stored weights until a branch calls about half of the first test case foreground:
    masks of one value would be the same whatever is missing."""
    method = run.method
    assert isinstance(method, Method)
    window = run.data.test[0].image()[:, :16, :16, :16]
    image = torch.zeros((1, len(window), *method.patch_size))
    x, y, z = window.shape[1:]
    image[0, :, :x, :y, :z] = torch.from_numpy(window.astype("float32"))
    weights = load_file(run.folder.weights_file)
    for branch, modality in (("ct", "CT"), ("pet", "PET")):
        if branch in branches:
            net = getattr(method, branch)
            with torch.inference_mode():
                logits = net(method.modality(image, modality))
            bias = [f"{branch}.{name}" for name, _ in net.named_parameters() if name.endswith("bias")][-1]
            weights[bias][1] -= (logits[:, 1] - logits[:, 0]).flatten().median()
    save_file(weights, run.folder.weights_file)
    return reopen(run.order.results, run.folder.run_id)
