"""nnU-Net: the data it is given, its budget, and, where the package is installed, real trainings of a tiny plan."""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
from drawn import BRAIN, PET_CT
from written_decathlon import write_decathlon
from written_partly import write_partly_annotated
from written_studies import write_study

from baselines.blackbean import Blackbean
from baselines.nnunet import NnUNet
from benchmark.data.readers import msd
from benchmark.data.readers import nnunet as nnunet_reader
from benchmark.data.readers.autopet import discover
from benchmark.nnunet import launch
from benchmark.nnunet.method import NnUNetMethod
from benchmark.nnunet.plan import Plan, Schedule, shrunk_patch
from benchmark.nnunet.raw import ImageFile, RawDataset, case_images, raw_dataset, write_raw, write_splits
from benchmark.nnunet.task import Prediction, read_task, write_task
from benchmark.protocols import ExternalJob, ExternalTraining
from benchmark.training.progress import DivergedError
from benchmark.vocabulary import (
    BenchError,
    Case,
    DataError,
    DatasetSpec,
    MissingPackageError,
)

installed = pytest.mark.skipif(
    importlib.util.find_spec("nnunetv2") is None, reason="the extra [nnunet] is not installed"
)
TINY: dict[str, Any] = {"features": [4, 8, 8], "plan_patch_size": [16, 16, 16], "batch_size": 2}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Eight studies of 24 x 22 x 20 voxels of 4 x 4 x 5 mm, every third without a lesion.

    In a folder whose name holds a space; every other image is a link to a file without an ending.
    """
    root = tmp_path_factory.mktemp("all studies")
    (root / "blobs").mkdir()
    for i in range(8):
        study = root / "PET and CT" / f"PETCT_{i:02d}" / "study"
        write_study(study, seed=i, lesion=i % 3 != 2)
        if i % 2 == 0:
            into_blob(study / "CTres.nii.gz", root / "blobs" / f"ab{i}")
    return discover(root / "PET and CT")


def into_blob(file: Path, blob: Path) -> None:
    """Move a file, and leave a link under its name."""
    file.rename(blob)
    file.symlink_to(blob)


class Told:
    """Keeps what a run is told, and answers when asked whether to stop."""

    def __init__(self, answer: Callable[[Told], bool] = lambda told: False) -> None:
        self.answer = answer
        self.progress: list[tuple[str, int, int]] = []
        self.numbers: list[tuple[float | None, float | None]] = []
        self.lines: list[str] = []

    def tell(
        self, phase: str, done: int, total: int, *, loss: float | None = None, val_dice: float | None = None
    ) -> None:
        self.progress.append((phase, done, total))
        self.numbers.append((loss, val_dice))

    @property
    def steps(self) -> int:
        return max((done for phase, done, _ in self.progress if phase == "train"), default=0)

    @property
    def process(self) -> int:
        return int(next(line for line in self.lines if "process" in line).split("process ")[1].split(";")[0])


def job_in(
    folder: Path,
    cases: Sequence[Case],
    told: Told | None = None,
    *,
    work: str = "work",
    steps: int = 30,
    **settings: Any,
) -> ExternalJob:
    told = told or Told()
    (folder / work).mkdir(parents=True, exist_ok=True)
    usual: dict[str, Any] = {"seed": 0, "checkpoint": "last", "device": "cpu", "threads": 1}
    return ExternalJob(
        train=cases[:4],
        validation=cases[4:6],
        work=folder / work,
        shared=folder / "shared",
        steps=steps,
        tell=told.tell,
        log=told.lines.append,
        asked_to_stop=lambda: told.answer(told),
        **{**usual, "checkpoint_seconds": 0.0, **settings},
    )


# The budget.


@pytest.mark.parametrize(
    ("steps", "per_epoch", "epochs", "last", "validations"),
    [
        (1, 1, 1, 1, 1),
        (7, 1, 7, 1, 1),
        (251, 12, 21, 11, 2),
        (1003, 50, 21, 3, 10),
        (250_000, 250, 1000, 250, 50),
    ],
)
def test_epochs_add_up_to_exactly_the_budget(
    steps: int, per_epoch: int, epochs: int, last: int, validations: int
) -> None:
    schedule = Schedule.of(steps)
    assert (schedule.iterations_per_epoch, schedule.epochs) == (per_epoch, epochs)
    assert schedule.iterations(epochs - 1) == last
    assert sum(schedule.iterations(epoch) for epoch in range(epochs)) == steps
    assert schedule.validation_iterations == validations


def test_an_epoch_longer_than_the_budget_is_the_budget() -> None:
    assert Schedule.of(7, 250) == Schedule(7, 7)
    assert [Schedule.of(7, 3).iterations(epoch) for epoch in range(3)] == [3, 3, 1]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ((300, 400, 400), (192, 192, 192)),
        ((155, 240, 240), (144, 144, 144)),
        ((192, 100, 400), (96, 96, 96)),
        ((24, 22, 20), (32, 32, 32)),
    ],
)
def test_a_patch_shrinks_in_proportion_to_multiples_of_16(
    image: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert shrunk_patch((192, 192, 192), image) == expected


def test_sides_keep_their_proportion() -> None:
    assert shrunk_patch((64, 192, 192), (400, 96, 400)) == (32, 96, 96)


# The data set.


def test_the_raw_data_set_is_links_to_the_cases_of_training_and_validation_alone(
    cases: list[Case], tmp_path: Path
) -> None:
    dataset = raw_dataset(PET_CT, ("PET", "CT"), train=cases[:4], validation=cases[4:6])
    write_raw(dataset, tmp_path, split=tmp_path / "split")
    ids = [case.case_id for case in cases]
    images, labels = tmp_path / "imagesTr", tmp_path / "labelsTr"
    assert sorted(path.name for path in images.iterdir()) == [
        f"{case_id}_{k:04d}.nii.gz" for case_id in ids[:6] for k in range(2)
    ]
    assert sorted(path.name for path in labels.iterdir()) == [f"{case_id}.nii.gz" for case_id in ids[:6]]
    assert all(path.is_symlink() for folder in (images, labels) for path in folder.iterdir())
    assert (images / f"{ids[0]}_0000.nii.gz").resolve() == cases[0].images["PET"].resolve()
    assert (images / f"{ids[0]}_0001.nii.gz").resolve() == cases[0].images["CT"].resolve()
    description = json.loads((tmp_path / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "PET", "1": "CT"}
    assert description["labels"] == {"background": 0, "tumor": 1}
    assert description["numTraining"] == 6


def test_the_split_file_holds_our_fold_and_no_other(cases: list[Case], tmp_path: Path) -> None:
    write_splits(raw_dataset(PET_CT, ("CT", "PET"), train=cases[:4], validation=cases[4:6]), tmp_path)
    ids = [case.case_id for case in cases]
    splits = json.loads((tmp_path / "splits_final.json").read_text())
    assert splits == [{"train": ids[:4], "val": ids[4:6]}]


def test_preprocessed_data_are_shared_by_seeds_and_by_nothing_that_would_change_them(
    cases: list[Case], tmp_path: Path
) -> None:
    def shared(method: NnUNetMethod, cases: Sequence[Case] = cases, **settings: Any) -> str:
        return method.training_task(job_in(tmp_path, cases, **settings)).shared

    tiny = NnUNet(PET_CT, (96, 96, 96), **TINY)
    usual = shared(tiny)
    assert shared(tiny, seed=1, steps=99) == usual
    assert shared(NnUNet(PET_CT, (64, 64, 64), **TINY, initial_lr=1e-3, mirror_tta=False)) == usual
    assert shared(NnUNet(PET_CT, (96, 96, 96), **{**TINY, "batch_size": 3})) != usual
    assert shared(tiny, cases[1:]) != usual
    assert shared(tiny, [*cases[:3], cases[4], cases[3], *cases[5:]]) != usual
    copy = tmp_path / "CTres.nii.gz"
    copy.write_bytes(cases[0].images["CT"].read_bytes())
    moved = replace(cases[0], images={**cases[0].images, "CT": copy})
    once = shared(tiny, [moved, *cases[1:]])
    os.utime(copy, (1, 1))
    assert shared(tiny, [moved, *cases[1:]]) not in (once, usual)


@pytest.mark.parametrize("ending", [".nii", ".mha", ".nrrd"])
def test_files_of_another_format_are_written_as_nnunet_wants_them(
    cases: list[Case], tmp_path: Path, ending: str
) -> None:
    files = {}
    for role, path in cases[0].files.items():
        files[role] = tmp_path / f"{role}{ending}"
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(path)), str(files[role]))
    label = files.pop("label")
    other = replace(cases[0], images=files, label=label)
    raw = raw_dataset(PET_CT, ("CT", "PET"), train=[other], validation=cases[4:6])
    write_raw(raw, tmp_path / "raw", split=tmp_path / "split")
    for name, path in (
        (f"imagesTr/{other.case_id}_0000", cases[0].images["CT"]),
        (f"imagesTr/{other.case_id}_0001", cases[0].images["PET"]),
        (f"labelsTr/{other.case_id}", cases[0].label),
    ):
        written, original = nib.load(tmp_path / "raw" / f"{name}.nii.gz"), nib.load(path)
        np.testing.assert_array_equal(written.get_fdata(), original.get_fdata())
        np.testing.assert_allclose(written.affine, original.affine)


def test_the_name_of_a_file_decides_and_not_the_one_its_link_leads_to(
    cases: list[Case], tmp_path: Path
) -> None:
    def dataset(first: Case) -> RawDataset:
        return raw_dataset(PET_CT, ("CT", "PET"), train=[first], validation=cases[4:6])

    given = cases[0].images["CT"]
    assert given.resolve().name == "ab0"
    assert dataset(cases[0]).cases[cases[0].case_id].images[0] == ImageFile(str(given))
    write_raw(dataset(cases[0]), tmp_path / "raw", split=tmp_path / "split")
    link = tmp_path / "raw" / "imagesTr" / f"{cases[0].case_id}_0000.nii.gz"
    assert link.resolve() == given.resolve()
    # The same file by another link makes no other data set.
    other = tmp_path / "again.nii.gz"
    other.symlink_to(given)
    moved = replace(cases[0], images={**cases[0].images, "CT": other})
    assert dataset(moved).identity(Plan(), "2.6") == dataset(cases[0]).identity(Plan(), "2.6")


def test_two_channels_in_one_file_are_refused(cases: list[Case]) -> None:
    both = replace(cases[0], images=dict.fromkeys(("CT", "PET"), cases[0].images["CT"]))
    with pytest.raises(DataError, match="several channels lie in one file"):
        raw_dataset(PET_CT, ("CT", "PET"), train=[both], validation=cases[4:6])


def test_channels_of_a_shared_file_are_written_once_and_linked(tmp_path: Path) -> None:
    """The file's name may end in .nii: what nnU-Net sees is written again."""
    root = write_decathlon(tmp_path / "data", ["a", "b", "c"])
    cases = msd.discover(root)
    packed = gzip.decompress(cases[0].images["FLAIR"].read_bytes())
    (tmp_path / "plain.nii").write_bytes(packed)
    cases[0] = replace(cases[0], images=dict.fromkeys(msd.SPEC.modalities, tmp_path / "plain.nii"))
    written = []
    for fold in range(2):
        dataset = raw_dataset(msd.SPEC, ("T2w", "FLAIR"), train=cases[:2], validation=cases[2:])
        write_raw(dataset, tmp_path / f"raw{fold}", split=tmp_path / "split")
        written.append({path.name: path.stat().st_mtime_ns for path in (tmp_path / "split").iterdir()})
    assert written[0] == written[1]
    assert len(written[0]) == 6
    image = nib.load(cases[1].images["FLAIR"])
    for k, index in enumerate((3, 0)):
        link = tmp_path / "raw1" / "imagesTr" / f"b_{k:04d}.nii.gz"
        assert link.resolve().parent == tmp_path / "split"
        np.testing.assert_array_equal(nib.load(link).get_fdata(), image.get_fdata()[..., index])
        np.testing.assert_array_equal(nib.load(link).affine, image.affine)
    swapped = replace(cases[1], channels={**cases[1].channels, "T2w": 0, "FLAIR": 3})
    other = raw_dataset(msd.SPEC, ("T2w", "FLAIR"), train=[cases[0], swapped], validation=cases[2:])
    assert other.identity(Plan(), "2.6") != dataset.identity(Plan(), "2.6")


def test_a_case_without_a_label_is_predicted_and_not_trained_on(cases: list[Case]) -> None:
    unlabelled = replace(cases[0], label=None)
    assert len(case_images(unlabelled, ("CT", "PET"))) == 2
    with pytest.raises(DataError, match="has no label"):
        raw_dataset(PET_CT, ("CT", "PET"), train=[unlabelled], validation=cases[4:6])


def test_a_task_comes_back_as_it_was_written(tmp_path: Path) -> None:
    images = (ImageFile("/a.nii.gz", 2), ImageFile("/b.nii.gz"))
    task = Prediction("model", "last", {"a": images}, str(tmp_path), True, "cpu", 1)
    write_task(tmp_path / "task.json", task)
    assert read_task(tmp_path / "task.json") == task


def test_a_fold_without_a_lesion_is_refused(cases: list[Case]) -> None:
    healthy = [replace(case, has_lesion=False) for case in cases[:4]]
    with pytest.raises(DataError, match="No training case"):
        raw_dataset(PET_CT, ("CT", "PET"), train=healthy, validation=cases[4:6])


def partly_annotated(folder: Path) -> tuple[DatasetSpec, list[Case]]:
    """Labels 1, 2, 4 and `ignore` 5; five cases, the last without any annotated voxel."""
    root = write_partly_annotated(folder, 4, nothing=1)
    return nnunet_reader.spec_of(root), nnunet_reader.discover(root)


def test_labels_with_gaps_and_ignore_are_renumbered_in_files_of_their_own(tmp_path: Path) -> None:
    spec, cases = partly_annotated(tmp_path / "data")
    dataset = raw_dataset(spec, ("CT",), train=cases[:3], validation=cases[3:])
    write_raw(dataset, tmp_path / "raw", split=tmp_path / "split")
    description = json.loads((tmp_path / "raw" / "dataset.json").read_text())
    assert list(description["labels"].items()) == [
        ("background", 0), ("edema", 1), ("core", 2), ("enhancing", 3), ("ignore", 4),
    ]  # fmt: skip
    becomes = np.array([0, 1, 2, 0, 3, 4])
    for case in cases:
        written = nib.load(tmp_path / "raw" / "labelsTr" / f"{case.case_id}.nii.gz")
        assert not Path(written.get_filename()).is_symlink()
        np.testing.assert_array_equal(written.dataobj, becomes[np.asarray(nib.load(case.label).dataobj)])
        np.testing.assert_array_equal(written.affine, nib.load(case.label).affine)
    assert all(path.is_symlink() for path in (tmp_path / "raw" / "imagesTr").iterdir())
    assert not (tmp_path / "split").exists()
    other = raw_dataset(replace(spec, ignore=None), ("CT",), train=cases[:3], validation=cases[3:])
    assert other.identity(Plan(), "2.6") != dataset.identity(Plan(), "2.6")


def test_only_files_that_nnunet_would_misread_are_written_anew(cases: list[Case], tmp_path: Path) -> None:
    """A label whose ones are 0.99999997, which nnU-Net cuts off to 0; image and label with a fourth axis of one."""
    float_label, long_label, long_image = (tmp_path / f"{name}.nii.gz" for name in ("f", "l", "i"))
    label, image = nib.load(cases[0].label), nib.load(cases[1].images["PET"])
    nib.save(nib.Nifti1Image(np.asarray(label.dataobj) * 0.99999997, label.affine), float_label)
    nib.save(
        nib.Nifti1Image(np.asarray(nib.load(cases[1].label).dataobj)[..., None], image.affine), long_label
    )
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[..., None], image.affine), long_image)
    odd = [
        replace(cases[0], label=float_label),
        replace(cases[1], label=long_label, images={**cases[1].images, "PET": long_image}),
    ]
    for fold in range(2):
        raw, split = tmp_path / f"raw{fold}", tmp_path / "split"
        write_raw(raw_dataset(PET_CT, ("CT", "PET"), train=odd, validation=cases[4:6]), raw, split=split)
    assert len(list(split.iterdir())) == 1
    files = {path.name: path for part in ("imagesTr", "labelsTr") for path in (raw / part).iterdir()}
    first, second = (case.case_id for case in odd)
    assert {name for name, path in files.items() if not path.is_symlink()} == {
        f"{first}.nii.gz", f"{second}.nii.gz",
    }  # fmt: skip
    assert files[f"{second}_0001.nii.gz"].resolve().parent == split
    for name, before in ((f"{first}.nii.gz", label), (f"{second}_0001.nii.gz", image)):
        assert nib.load(files[name]).shape == before.shape
        np.testing.assert_array_equal(nib.load(files[name]).dataobj, before.dataobj)
    assert np.asarray(nib.load(files[f"{first}.nii.gz"]).dataobj).any()


def test_a_label_of_half_a_value_is_refused_by_name(cases: list[Case], tmp_path: Path) -> None:
    label = nib.load(cases[0].label)
    nib.save(nib.Nifti1Image(np.asarray(label.dataobj) * 0.5, label.affine), tmp_path / "half.nii.gz")
    odd = raw_dataset(
        PET_CT, ("CT",), train=[replace(cases[0], label=tmp_path / "half.nii.gz")], validation=cases[4:6]
    )
    with pytest.raises(DataError, match=r"half\.nii\.gz holds the values \[0\.5\]"):
        write_raw(odd, tmp_path / "raw", split=tmp_path / "split")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"configuration": "2d"}, "3d_fullres"),
        ({"plan_patch_size": [32, 32]}, "three positive sides"),
        ({"features": [4, 8]}, "3 stages"),
        ({"batch_size": 0}, "positive"),
        ({"initial_lr": 0.0}, "positive"),
        ({"iterations_per_epoch": 0}, "positive"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        NnUNet(PET_CT, (96, 96, 96), **settings)


def test_the_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "nnunetv2", None)
    with pytest.raises(MissingPackageError, match=re.escape("pip install 'mirror-bench[nnunet]'")):
        NnUNet(PET_CT, (96, 96, 96)).check_installed()


def test_a_reader_of_the_table_is_told_what_nnunet_does_otherwise() -> None:
    augmented, windows, costs = NnUNet(PET_CT, (96, 96, 96)).remarks
    assert augmented == "trained with nnU-Net's augmentation"
    assert windows.endswith("windows and averaged over mirrored images")
    assert costs.startswith("seconds a case include reading")
    plain = Blackbean(PET_CT, (96, 96, 96), mirror_tta=False).remarks
    assert plain[1] == "predicted with half-overlapping Gaussian-weighted windows"


# The process: scripts in nnU-Net's place.


def a_task(folder: Path) -> Prediction:
    return Prediction("model", "last", {"a": (ImageFile("a_0000.nii.gz"),)}, str(folder), True, "cpu", 1)


def run_script(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch, told: Told | None = None) -> None:
    """Run a script where nnU-Net's process would run; it sees `say(**message)` and `threading`, `time`, `os`, `sys`."""
    head = "import json, os, signal, subprocess, sys, threading, time\n"
    head += "def say(**message): print(json.dumps(message), flush=True)\n"
    (folder / "script.py").write_text(head + script)
    monkeypatch.setattr(launch, "COMMAND", (sys.executable, str(folder / "script.py")))
    job = job_in(folder, [], told)
    launch.run_process(a_task(folder), job, name="fake", settings={"nnUNet_compile": "f"})


def test_a_task_survives_its_file(cases: list[Case], tmp_path: Path) -> None:
    training = Blackbean(PET_CT, (96, 96, 96)).training_task(job_in(tmp_path, cases))
    for task in (training, a_task(tmp_path)):
        write_task(tmp_path / "task.json", task)
        assert read_task(tmp_path / "task.json") == task


def test_progress_is_forwarded_and_chatter_goes_to_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    script = 'print("chatter", os.environ["nnUNet_compile"], file=sys.stderr)\n'
    script += (
        'say(phase="train", done=1, total=2, loss=0.5, val_dice=None)\nsay(phase="train", done=2, total=2)'
    )
    run_script(script, tmp_path, monkeypatch, told)
    assert told.progress == [("train", 1, 2), ("train", 2, 2)]
    assert told.numbers == [(0.5, None), (None, None)]
    assert (tmp_path / "work" / "fake.log").read_text() == "chatter f\n"


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        ('say(failed="memory", text="CUDA out of memory"); sys.exit(1)', MemoryError, "CUDA out of memory"),
        ("os.kill(os.getpid(), signal.SIGKILL)", MemoryError, "memory runs out"),
        ('say(failed="data", text="damaged."); sys.exit(1)', DataError, r"damaged\. Its log is .*fake.log"),
        ('say(failed="diverged", text="no loss is finite"); sys.exit(1)', DivergedError, "no loss"),
        ('raise ValueError("odd")', BenchError, "nnU-Net failed: ValueError: odd"),
        ("sys.exit(5)", BenchError, "printed nothing"),
    ],
)
def test_a_failure_keeps_its_kind_and_its_last_words(
    script: str, kind: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(kind, match=message):
        run_script(script, tmp_path, monkeypatch)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


WORKER = 'worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])\n'
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


@linux
def test_a_process_that_dies_takes_its_workers_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = WORKER + f'open("{tmp_path}/worker", "w").write(str(worker.pid))\n'
    with pytest.raises(MemoryError):
        run_script(script + "os.kill(os.getpid(), signal.SIGKILL)", tmp_path, monkeypatch)
    assert wait_for(lambda: not alive(int((tmp_path / "worker").read_text())))


@linux
def test_a_run_that_is_stopped_while_it_prepares_ends_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(lambda told: bool(told.progress))
    with pytest.raises(InterruptedError):
        run_script('say(phase="prepare", done=1, total=9)\ntime.sleep(600)', tmp_path, monkeypatch, told)
    assert wait_for(lambda: not alive(told.process))


@linux
def test_nothing_outlives_a_killed_parent() -> None:
    """The test is the parent: it closes the pipe, as the kernel does for the dead, and process and worker are gone."""
    script = "import os, subprocess, sys, threading, time\n"
    script += "from benchmark.nnunet.lifeline import watch_parent\n"
    script += f"watch_parent(threading.Event())\n{WORKER}print(worker.pid, flush=True)\ntime.sleep(600)"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout:
        worker = int(process.stdout.readline())
        assert alive(worker)
        process.stdin.close()
        assert process.wait(timeout=20) == -signal.SIGKILL
    assert wait_for(lambda: not alive(worker))


def test_a_run_on_the_second_gpu_shows_nnunet_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert launch._visible_device("cuda:1") == {"CUDA_VISIBLE_DEVICES": "1"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert launch._visible_device("cuda:1") == {"CUDA_VISIBLE_DEVICES": "6"}
    assert launch._visible_device("cuda") == {"CUDA_VISIBLE_DEVICES": "4"}
    assert launch._visible_device("cpu") == {}


# The package itself.


def configuration(features: list[int], *, convolutions: int = 2, patch: int = 32) -> dict[str, Any]:
    """A plan's part that describes a plain network, as nnU-Net's planner writes it."""
    stages = len(features)
    arguments = {
        "n_stages": stages,
        "features_per_stage": features,
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [[1, 1, 1], *[[2, 2, 2]] * (stages - 1)],
        "n_conv_per_stage": [convolutions] * stages,
        "n_conv_per_stage_decoder": [convolutions] * (stages - 1),
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    return {
        "patch_size": [patch] * 3,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": arguments,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }


def size_of(**settings: Any) -> tuple[int, float]:
    from benchmark.nnunet.network import network_size

    plans = {"configurations": {"3d_fullres": configuration(**settings)}}
    description = {"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "tumor": 1}}
    return network_size(plans, "3d_fullres", description)


@installed
def test_the_networks_have_their_known_sizes() -> None:
    assert size_of(features=[32, 64, 128, 256, 320, 320], patch=64)[0] == 31_196_458
    assert size_of(features=[32, 64, 128, 256, 512])[0] == 22_583_016


@installed
def test_operations_are_two_a_multiply_add() -> None:
    """Two stages, one convolution each: 2 -> 4 on 16^3, 4 -> 8 on 8^3, up 8 -> 4, 8 -> 4 and 4 -> 2 on 16^3."""
    fine, coarse = 16**3, 8**3
    multiply_adds = (
        27 * 2 * 4 * fine + 27 * 4 * 8 * coarse + 8 * 8 * 4 * coarse + 27 * 8 * 4 * fine + 4 * 2 * fine
    )
    assert size_of(features=[4, 8], convolutions=1, patch=16)[1] == 2 * multiply_adds


@installed
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"planner": "NoSuchPlanner"}, "no planner 'NoSuchPlanner'"),
        ({"planner": "Plan"}, "no planner 'Plan'"),
        ({"features": [4] * 6}, "features names 6"),
        ({"features": [4] * 4, "plan_patch_size": [20, 20, 20]}, r"multiples of \[8, 8, 8\]"),
    ],
)
def test_a_plan_that_cannot_work_is_refused_before_any_voxel_is_read(
    settings: dict[str, Any], message: str, cases: list[Case], tmp_path: Path
) -> None:
    from benchmark.nnunet.preparing import prepare

    told: list[int] = []
    task = NnUNet(PET_CT, (96, 96, 96), **{**TINY, **settings}).training_task(job_in(tmp_path, cases))
    with pytest.raises(BenchError, match=message):
        prepare(task, lambda done, total: told.append(done))
    assert not told
    assert not Path(task.shared).exists()


@installed
def test_stages_are_foreseen_in_nnunet_s_order_of_axes(cases: list[Case], tmp_path: Path) -> None:
    """Voxels of 1 x 1 x 4 mm are halved three times in the plane and once, the last time, across it."""
    from benchmark.nnunet.preparing import _check_stages

    for name in ("CT", "PET"):
        image = nib.Nifti1Image(np.zeros((40, 40, 20), np.float32), np.diag([1.0, 1.0, 4.0, 1.0]))
        nib.save(image, tmp_path / f"{name}.nii.gz")
    thick = replace(cases[0], images={name: tmp_path / f"{name}.nii.gz" for name in ("CT", "PET")})
    dataset = raw_dataset(PET_CT, ("CT", "PET"), train=[thick], validation=[replace(thick, case_id="other")])
    plan = Plan(spacing="finest", patch_size=(18, 32, 32), features=(4, 4, 4, 4))
    _check_stages(plan, dataset)
    with pytest.raises(BenchError, match=r"multiples of \[2, 8, 8\]"):
        _check_stages(replace(plan, patch_size=(17, 32, 32)), dataset)
    # The planner may choose another spacing for these, by what cropping leaves of them.
    _check_stages(replace(plan, spacing="planned", patch_size=(17, 32, 32)), dataset)


@installed
def test_a_batch_depends_on_its_number_and_not_on_who_makes_it() -> None:
    from benchmark.nnunet.trainer import SeededBatches

    class Loader:
        def __next__(self) -> tuple[float, float, float]:
            return random.random(), float(np.random.rand()), float(torch.rand(()))

    def batches(workers: int, worker: int, first: int = 0, seed: int = 0) -> list[tuple[float, ...]]:
        made = SeededBatches(Loader(), seed=seed, stream=0, first=first + worker, workers=workers)
        return [tuple(next(made)) for _ in range(6 // workers)]

    alone = batches(1, 0)
    shared = [batches(3, worker) for worker in range(3)]
    assert [batch for turn in zip(*shared, strict=True) for batch in turn] == alone
    assert batches(1, 0, first=2)[:4] == alone[2:]
    assert len(set(alone)) == 6
    assert batches(1, 0, seed=1) != alone


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("my results")


@pytest.fixture(scope="module")
def broken_torchvision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("path")
    (root / "torchvision").mkdir()
    (root / "torchvision" / "__init__.py").write_text(
        'raise RuntimeError("operator torchvision::nms does not exist")\n'
    )
    return root


VALIDATES_UNTIL_IT_IS_ASKED_TO_STOP = """
import sys, time
from benchmark.nnunet import process
from benchmark.nnunet.trainer import BudgetTrainer

validate = BudgetTrainer.validation_step

def validate_slowly(self, batch):
    while not self.settings.stop():
        time.sleep(0.01)
    return validate(self, batch)

BudgetTrainer.validation_step = validate_slowly
sys.exit(process.main())
"""


@pytest.fixture(scope="module")
def interrupted(
    cases: list[Case], folder: Path, broken_torchvision: Path
) -> tuple[ExternalJob, ExternalTraining, list[int]]:
    """A training of 30 steps that is stopped, killed, stopped while it validates, and finished; and the steps at
    which it went on.

    With a torchvision that cannot be imported, as where its build does not fit torch's.
    """
    if importlib.util.find_spec("nnunetv2") is None:
        pytest.skip("the extra [nnunet] is not installed")
    method = NnUNet(PET_CT, (96, 96, 96), **TINY, iterations_per_epoch=12)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(broken_torchvision))
        stopped = Told(lambda told: told.steps >= 1)
        with pytest.raises(InterruptedError):
            method.train(job_in(folder, cases, stopped))

        def kill_it(told: Told) -> bool:
            # It is asked once more when the process has ended.
            if any(phase == "validate" for phase, _, _ in told.progress):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(told.process, signal.SIGKILL)
            return False

        killed = Told(kill_it)
        with pytest.raises(MemoryError):
            method.train(job_in(folder, cases, killed))

        validating = Told(lambda told: any(phase == "validate" for phase, _, _ in told.progress))
        script = folder / "script.py"
        script.write_text(VALIDATES_UNTIL_IT_IS_ASKED_TO_STOP)
        with pytest.MonkeyPatch.context() as slowed:
            slowed.setattr(launch, "COMMAND", (sys.executable, str(script)))
            with pytest.raises(InterruptedError):
                method.train(job_in(folder, cases, validating))
        latest = checkpoint(job_in(folder, cases), "latest")
        assert latest["current_epoch"] == 0
        assert latest["init_args"]["progress"]["step"] == 12

        last = Told()
        job = job_in(folder, cases, last)
        trained = method.train(job)
    first_steps = [
        min(done for phase, done, _ in told.progress if phase == "train") for told in (killed, last)
    ]
    return job, trained, first_steps


@pytest.fixture(scope="module")
def straight(cases: list[Case], folder: Path, interrupted: Any) -> tuple[ExternalJob, ExternalTraining]:
    """The same training without an interruption, on the same preprocessed data."""
    job = job_in(folder, cases, work="straight", checkpoint_seconds=1e6)
    return job, NnUNet(PET_CT, (96, 96, 96), **TINY, iterations_per_epoch=12).train(job)


def checkpoint(job: ExternalJob, name: str = "final") -> dict[str, Any]:
    (path,) = job.work.glob(f"results/*/*/fold_0/checkpoint_{name}.pth")
    content: dict[str, Any] = torch.load(path, weights_only=False)
    return content


@installed
def test_a_training_that_was_stopped_and_killed_takes_the_steps_it_was_given(
    interrupted: tuple[ExternalJob, ExternalTraining, list[int]],
) -> None:
    job, trained, first_steps = interrupted
    assert all(step > 1 for step in first_steps)
    assert [row["step"] for row in trained.history] == [12, 24, 30]
    assert checkpoint(job)["current_epoch"] == 3
    seconds = [row["seconds"] for row in trained.history]
    assert seconds == sorted(seconds)
    assert trained.seconds == pytest.approx(seconds[-1], abs=1e-3)
    assert seconds[0] > 0


@pytest.mark.slow
@installed
def test_interruptions_change_no_bit_of_the_weights(
    interrupted: tuple[ExternalJob, ExternalTraining, list[int]],
    straight: tuple[ExternalJob, ExternalTraining],
) -> None:
    ours, other = checkpoint(interrupted[0])["network_weights"], checkpoint(straight[0])["network_weights"]
    assert ours.keys() == other.keys()
    assert all(torch.equal(ours[name], other[name]) for name in ours)
    losses = [[row["loss"] for row in trained.history] for trained in (interrupted[1], straight[1])]
    assert losses[0] == losses[1]


@pytest.mark.slow
@installed
def test_workers_that_augment_change_no_bit_of_the_weights(
    cases: list[Case], folder: Path, straight: tuple[ExternalJob, ExternalTraining]
) -> None:
    method = NnUNet(PET_CT, (96, 96, 96), **TINY, iterations_per_epoch=12)
    job = job_in(folder, cases, work="workers", checkpoint_seconds=1e6)
    task = replace(method.training_task(job), workers=2)
    launch.run_process(task, job, name="nnunet-train", settings=method._settings(job, task))
    ours, other = checkpoint(job)["network_weights"], checkpoint(straight[0])["network_weights"]
    assert all(torch.equal(ours[name], other[name]) for name in other)
    assert method.train(job).facts["nnunet"]["workers"] == 2


@pytest.mark.slow
@installed
def test_a_finished_training_keeps_what_predicts_and_nothing_that_trains(
    cases: list[Case], folder: Path, straight: tuple[ExternalJob, ExternalTraining]
) -> None:
    job, trained = straight
    assert checkpoint(job)["optimizer_state"] == {}
    assert not list(job.work.glob("results/*/*/fold_0/checkpoint_latest.pth"))
    # A process that was killed between its last checkpoint and its report trains no step more.
    (job.work / "training.json").unlink()
    told = Told()
    again = NnUNet(PET_CT, (96, 96, 96), **TINY, iterations_per_epoch=12).train(replace(job, tell=told.tell))
    assert told.steps == 0
    assert replace(again, peak_memory_mb=0) == replace(trained, peak_memory_mb=0)


@pytest.mark.slow
@installed
def test_two_runs_share_one_preprocessing(
    folder: Path, straight: tuple[ExternalJob, ExternalTraining]
) -> None:
    (shared,) = [path for path in (folder / "shared").iterdir() if path.is_dir()]
    (preprocessed,) = (shared / "preprocessed").glob("*/nnUNetPlans_3d_fullres")
    assert len(list(preprocessed.glob("*.pkl"))) == 6
    facts = straight[1].facts["nnunet"]
    assert facts["data_folder"] == str(shared)
    files = [path for path in shared.rglob("*") if path.is_file() and not path.is_symlink()]
    # Folders have a size of their own, which depends on the file system.
    assert facts["data_bytes"] == sum(len(path.read_bytes()) for path in files)


@installed
def test_nnunet_trains_the_plan_that_was_asked_for(
    interrupted: tuple[ExternalJob, ExternalTraining, list[int]],
) -> None:
    job, trained, _ = interrupted
    (file,) = job.work.glob("results/*/*/plans.json")
    planned = json.loads(file.read_text())["configurations"]["3d_fullres"]
    assert planned["patch_size"] == [16, 16, 16]
    assert planned["architecture"]["arch_kwargs"]["features_per_stage"] == [4, 8, 8]
    assert planned["normalization_schemes"] == ["CTNormalization", "ZScoreNormalization"]
    assert trained.patch_size == (16, 16, 16)
    weights = checkpoint(job)["network_weights"]
    # nnU-Net's decoder refers to its encoder, whose weights therefore stand twice.
    own = {name: w for name, w in weights.items() if not name.startswith("decoder.encoder.")}
    assert trained.parameters == sum({w.data_ptr(): w.numel() for w in own.values()}.values())
    assert trained.facts["nnunet"]["epochs"] == 3
    assert trained.peak_memory_mb > 50


@installed
def test_masks_lie_on_the_original_grids_and_are_not_made_twice(
    interrupted: tuple[ExternalJob, ExternalTraining, list[int]],
    cases: list[Case],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Told()
    job = replace(interrupted[0], tell=told.tell)
    method = NnUNet(PET_CT, (96, 96, 96), **TINY, mirror_tta=False)
    seconds = method.predict(job, cases[6:], tmp_path)
    for case in cases[6:]:
        mask, image = nib.load(tmp_path / f"{case.case_id}.nii.gz"), nib.load(case.images["PET"])
        assert mask.shape == image.shape
        np.testing.assert_allclose(mask.affine, image.affine, atol=1e-4)
        assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 1}
    assert told.progress[-1] == ("evaluate", 2, 2)
    own = [json.loads((tmp_path / f"{case.case_id}.json").read_text())["seconds"] for case in cases[6:]]
    assert seconds == pytest.approx(sum(own) / 2)
    assert not list(tmp_path.glob(".*"))

    monkeypatch.setattr(launch, "COMMAND", (sys.executable, "-c", "raise SystemExit(9)"))
    assert method.predict(job, cases[6:], tmp_path) == seconds
    assert method.train(job) == interrupted[1]


@pytest.mark.slow
@installed
def test_blackbean_is_what_nnunet_really_trained(cases: list[Case], tmp_path: Path) -> None:
    """The plan and the learning rate of one step, read back from nnU-Net's own files."""
    job = job_in(tmp_path, cases, steps=1, checkpoint="best")
    trained = Blackbean(PET_CT, (96, 96, 96)).train(job)
    (file,) = job.work.glob("results/*/*/plans.json")
    planned = json.loads(file.read_text())["configurations"]["3d_fullres"]
    network = planned["architecture"]["arch_kwargs"]
    assert network["n_stages"] == 5
    assert network["features_per_stage"] == [32, 64, 128, 256, 512]
    assert network["n_conv_per_stage"] == [2] * 5
    assert network["strides"] == [[1, 1, 1]] + [[2, 2, 2]] * 4
    assert planned["batch_size"] == 2
    assert planned["spacing"] == [5.0, 4.0, 4.0]
    assert planned["normalization_schemes"] == ["ZScoreNormalization", "CTNormalization"]
    assert checkpoint(job)["logging"]["lrs"] == [1e-4]
    assert trained.parameters == 22_583_016
    # Images of 20 x 22 x 24 voxels hold no patch of 192^3.
    assert trained.patch_size == (32, 32, 32)
    assert trained.facts["nnunet"]["patch_size_shrunk_from"] == [192, 192, 192]
    assert list(job.work.glob("results/*/*/fold_0/checkpoint_best.pth"))


@pytest.mark.slow
@installed
def test_labels_with_gaps_and_ignore_are_trained_and_the_masks_have_the_data_set_s_values(
    tmp_path: Path,
) -> None:
    """With gaps and without nnU-Net sees the same, and trains the same network."""
    spec, cases = partly_annotated(tmp_path / "data")
    masks = {}
    for name, values in {"gaps": (1, 2, 4, 5), "none": (1, 2, 3, 4)}.items():
        own = dict(zip((1, 2, 4, 5), values, strict=True))
        written = [relabelled(case, own, tmp_path / name) for case in cases]
        labels = {label: own[value] for label, value in spec.labels.items()}
        job = job_in(tmp_path / name, written, steps=30)
        job = replace(job, train=[*written[:3], written[4]], validation=written[3:4])
        method = NnUNet(replace(spec, labels=labels, ignore=own[5]), (96, 96, 96), **TINY, mirror_tta=False)
        trained = method.train(job)
        assert np.isfinite([row["loss"] for row in trained.history]).all()
        method.predict(job, [replace(written[3], label=None)], tmp_path / name / "masks")
        mask = nib.load(tmp_path / name / "masks" / f"{cases[3].case_id}.nii.gz")
        np.testing.assert_array_equal(mask.affine, nib.load(cases[3].images["CT"]).affine)
        masks[name] = np.asarray(mask.dataobj)
    assert mask.get_data_dtype() == np.uint8
    assert {4} <= set(np.unique(masks["gaps"])) <= {0, 1, 2, 4}
    np.testing.assert_array_equal(masks["gaps"], np.array([0, 1, 2, 4])[masks["none"]])


def relabelled(case: Case, values: dict[int, int], folder: Path) -> Case:
    """The case with other values in a label file of its own."""
    folder.mkdir(exist_ok=True)
    label = nib.load(case.label)
    table = np.zeros(256, np.uint8)
    table[list(values)] = list(values.values())
    path = folder / f"{case.case_id}.nii.gz"
    nib.save(nib.Nifti1Image(table[np.asarray(label.dataobj)], label.affine), path)
    return replace(case, label=path)


@pytest.mark.slow
@installed
def test_four_modalities_and_three_labels_are_trained_and_predicted_on_patches_larger_than_the_images(
    tmp_path: Path,
) -> None:
    cases = [write_brain(tmp_path / f"brain {i}", seed=i) for i in range(4)]
    job = replace(job_in(tmp_path, cases, steps=2), train=cases[:2], validation=cases[2:3], checkpoint="best")
    method = Blackbean(
        BRAIN,
        (96, 96, 96),
        **{**Blackbean.small, "plan_patch_size": [48, 48, 48], "shrink_patch": False},
    )
    trained = method.train(job)
    assert trained.patch_size == (48, 48, 48)
    assert "patch_size_shrunk_from" not in trained.facts["nnunet"]
    assert trained.facts["nnunet"]["channels"] == list(BRAIN.modalities)
    assert trained.facts["nnunet"]["normalization_schemes"] == ["ZScoreNormalization"] * 4
    weights = checkpoint(job)["network_weights"]
    assert [weights[f"decoder.seg_layers.0.{kind}"].shape[0] for kind in ("weight", "bias")] == [4, 4]
    assert len(list((job.shared / "nnunet-images").iterdir())) == 3 * 4
    method.predict(job, [replace(cases[3], label=None)], tmp_path / "masks")
    mask = nib.load(tmp_path / "masks" / f"{cases[3].case_id}.nii.gz")
    assert mask.shape == (24, 26, 22)
    assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 1, 2, 3}


def write_brain(folder: Path, *, seed: int) -> Case:
    """Four modalities in one file, 24 x 26 x 22 voxels of 1 mm; three nested cuboids, brighter the deeper they lie."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    label = np.zeros((24, 26, 22), np.uint8)
    for value in (1, 2, 3):
        label[(slice(4 + value, 16 - value),) * 3] = value
    image = label[..., None] + rng.random((*label.shape, len(BRAIN.modalities))).astype(np.float32)
    for name, volume in {"image": image, "label": label}.items():
        nib.save(nib.Nifti1Image(volume, np.eye(4)), folder / f"{name}.nii.gz")
    return Case(
        f"brain{seed}",
        f"patient{seed}",
        dict.fromkeys(BRAIN.modalities, folder / "image.nii.gz"),
        folder / "label.nii.gz",
        has_lesion=True,
        channels={name: k for k, name in enumerate(BRAIN.modalities)},
    )
