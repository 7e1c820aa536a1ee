"""Checkpoints and preprocessed cases of strangers: nothing that nnU-Net loads of a run is run as code."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.files.pickles import CodeInFileError, refuse_code
from benchmark.files.writing import write_json
from benchmark.merging import carry_out, planned
from benchmark.nnunet import predicting, trainer
from benchmark.nnunet.loading import load_checkpoint, nnunet_dataset, read_plans
from benchmark.nnunet.task import FINAL, LATEST, Prediction
from benchmark.results.runs import RunFolder, RunRecord

CPU = torch.device("cpu")


class Command:
    """Unpickled, it makes a file: what a stranger's checkpoint would do, or worse."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch '{self.ran}'",)


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    return tmp_path / "ran"


def planted(path: Path, ran: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"network_weights": {"a": torch.ones(2)}, "init_args": {}, "logging": Command(ran)}, path)
    return path


def sound(path: Path) -> dict[str, Any]:
    content = {
        "network_weights": OrderedDict(a=torch.arange(3.0), b=torch.ones(2, dtype=torch.float16)),
        "logging": {"mean_fg_dice": [np.float64(0.5)], "losses": [np.float32(0.25)], "n": [np.int64(3)]},
        "_best_ema": np.float64(0.75),
        "init_args": {"configuration": "3d_fullres", "device": CPU, "progress": {"step": 3}},
    }
    torch.save(content, path)
    return content


def test_the_plant_works_where_it_is_unpickled(tmp_path: Path, ran: Path) -> None:
    torch.load(planted(tmp_path / "a.pth", ran), weights_only=False)
    assert ran.exists()


def test_what_nnunet_stores_is_loaded_bit_for_bit(tmp_path: Path) -> None:
    written = sound(tmp_path / "a.pth")
    loaded = load_checkpoint(tmp_path / "a.pth", device=CPU)
    for name, tensor in written["network_weights"].items():
        assert loaded["network_weights"][name].dtype == tensor.dtype
        assert torch.equal(loaded["network_weights"][name], tensor)
    assert loaded["logging"] == written["logging"]
    assert [type(value) for values in loaded["logging"].values() for value in values] == [
        np.float64, np.float32, np.int64,
    ]  # fmt: skip
    assert (loaded["_best_ema"], loaded["init_args"]) == (0.75, written["init_args"])
    refuse_code(tmp_path / "a.pth")


def test_predicting_and_evaluating_refuse_a_planted_checkpoint(tmp_path: Path, ran: Path) -> None:
    model = tmp_path / "model"
    planted(model / "fold_0" / FINAL, ran)
    task = Prediction(str(model), "last", {"case": ()}, str(tmp_path / "out"), False, "cpu", 1)
    with pytest.raises(
        CodeInFileError, match=r"holds more than weights \((posix|nt)\.system\), and would run it"
    ):
        predicting.predict(task, CPU, lambda *_: None)
    assert not ran.exists()


@pytest.mark.parametrize("name", [LATEST, FINAL])
def test_a_continued_run_refuses_a_planted_checkpoint_and_keeps_it(
    tmp_path: Path, ran: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = planted(tmp_path / name, ran)
    interrupted = trainer.BudgetTrainer.__new__(trainer.BudgetTrainer)
    interrupted.__dict__ |= {
        "settings": SimpleNamespace(seed=0),
        "output_folder": str(tmp_path),
        "device": CPU,
        "was_initialized": True,
        "initialize": lambda: None,
    }
    with pytest.raises(CodeInFileError, match=r"Remove the run's folder and start its grid again"):
        interrupted.begin()
    assert not ran.exists()
    assert path.exists()
    # Nothing is left replaced.
    assert torch.load.__module__ == "torch.serialization"


@pytest.mark.parametrize("name", ["checkpoint.pt", "external/results/d/t/fold_0/checkpoint_final.pth"])
def test_merging_leaves_a_planted_checkpoint_where_it_is(tmp_path: Path, ran: Path, name: str) -> None:
    folder = RunFolder(tmp_path / "a", "r")
    folder.write_record(RunRecord("r", "failed", "interrupted"))
    planted(folder.path / name, ran)
    sound(folder.path / "sound.pth")
    plan = planned([tmp_path / "a"], tmp_path / "c")
    carry_out(plan)
    (words,) = plan.damaged
    assert f"{folder.path / name} is not loaded: it holds more than weights (posix.system)" in words
    assert not plan.is_complete
    assert not (tmp_path / "c" / "runs" / "r" / name).exists()
    assert (tmp_path / "c" / "runs" / "r" / "sound.pth").exists()
    assert not ran.exists()


def test_the_properties_of_a_planted_case_are_refused(tmp_path: Path, ran: Path) -> None:
    path = tmp_path / "shared" / "preprocessed" / "data" / "case.pkl"
    path.parent.mkdir(parents=True)
    honest = {"spacing": [1.0, np.float64(2.0)], "class_locations": {1: np.arange(6).reshape(2, 3)}}
    path.write_bytes(pickle.dumps(honest))
    read = nnunet_dataset.load_pickle(str(path))
    assert read["spacing"] == honest["spacing"]
    assert (read["class_locations"][1] == np.arange(6).reshape(2, 3)).all()
    path.write_bytes(pickle.dumps({"spacing": Command(ran)}))
    with pytest.raises(CodeInFileError, match=r"posix\.system.*Remove .*shared"):
        nnunet_dataset.load_pickle(str(path))
    assert not ran.exists()


@pytest.mark.parametrize(
    ("network", "layer"),
    [("subprocess.Popen", "torch.nn.Conv3d"), ("dynamic_network_architectures.x.Y", "os.system")],
)
def test_a_plan_that_would_build_something_else_is_refused(tmp_path: Path, network: str, layer: str) -> None:
    architecture = {
        "network_class_name": network,
        "arch_kwargs": {"conv_op": layer},
        "_kw_requires_import": ["conv_op"],
    }
    write_json(tmp_path / "plans.json", {"configurations": {"3d_fullres": {"architecture": architecture}}})
    with pytest.raises(CodeInFileError, match=r"would build '(subprocess\.Popen|os\.system)'"):
        read_plans(tmp_path / "plans.json")
