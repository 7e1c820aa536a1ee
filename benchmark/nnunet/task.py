"""What the process that runs nnU-Net is told, and what it says: one JSON file, and lines of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmark.files.writing import write_json
from benchmark.nnunet.plan import Plan, Schedule
from benchmark.nnunet.raw import CaseFiles, ImageFile, RawDataset

LATEST, FINAL, BEST = "checkpoint_latest.pth", "checkpoint_final.pth", "checkpoint_best.pth"
"""nnU-Net's names of the files with its weights."""
FAILED = 1
STOPPED = 3
"""Exit codes of the process."""

FailureKind = Literal["memory", "data", "diverged", "code"]


def weights_file(model: str, checkpoint: Literal["last", "best"]) -> Path:
    """What is predicted with; `model` is the folder of a trained nnU-Net."""
    return Path(model) / "fold_0" / (BEST if checkpoint == "best" else FINAL)


class StoppedError(Exception):
    """The training was asked to stop, and has saved what it needs to go on."""


class DivergedLossError(Exception):
    """No loss of an epoch was finite."""


@dataclass(frozen=True)
class Training:
    """`work` belongs to the run; `shared` is the folder of the preprocessed data, which runs may share."""

    dataset: RawDataset
    plan: Plan
    schedule: Schedule
    shared: str
    work: str
    initial_lr: float
    seed: int
    checkpoint: Literal["last", "best"]
    checkpoint_seconds: float
    device: str
    threads: int
    workers: int
    """Processes that augment; 0: the training process does it between its steps."""


@dataclass(frozen=True)
class Prediction:
    """`model` is the trained folder; the masks of `cases` go to `out`, with the seconds each took.

    `values`: what nnU-Net's classes are called in the masks; empty: the same.
    """

    model: str
    checkpoint: Literal["last", "best"]
    cases: dict[str, tuple[ImageFile, ...]]
    out: str
    mirror_tta: bool
    device: str
    threads: int
    values: tuple[int, ...] = ()


def write_task(path: Path, task: Training | Prediction) -> None:
    write_json(path, {"kind": type(task).__name__, **asdict(task)})


def read_task(path: Path) -> Training | Prediction:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if content.pop("kind") == "Prediction":
        content["cases"] = {case_id: _images(images) for case_id, images in content["cases"].items()}
        content["values"] = tuple(content["values"])
        return Prediction(**content)
    raw, plan = content["dataset"], content["plan"]
    raw["cases"] = {k: CaseFiles(_images(v["images"]), v["label"]) for k, v in raw["cases"].items()}
    for key in ("channels", "train", "validation"):
        raw[key] = tuple(raw[key])
    for key in ("patch_size", "features"):
        plan[key] = None if plan[key] is None else tuple(plan[key])
    content |= {"dataset": RawDataset(**raw), "plan": Plan(**plan)}
    content["schedule"] = Schedule(**content["schedule"])
    return Training(**content)


def _images(content: list[dict[str, Any]]) -> tuple[ImageFile, ...]:
    return tuple(ImageFile(**image) for image in content)
