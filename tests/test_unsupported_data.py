"""Data that a grid cannot be run on: what is said of it, and that it is said before anything is prepared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from baselines.late_fusion import LateFusion
from baselines.mirror_unet import MirrorUNet
from baselines.valindria import Valindria
from benchmark.cli import main
from benchmark.contract import BRAIN_MRI
from benchmark.data.readers.autopet import SPEC
from benchmark.data.splits import make_splits
from benchmark.registry import build_method
from benchmark.vocabulary import CaseSummary, DataError, DatasetSpec, UnsupportedDatasetError, same_modality


def channels(root: Path, *names: str) -> Path:
    """A raw data set of nnU-Net with these channels, of two cases."""
    for part in ("imagesTr", "labelsTr"):
        (root / part).mkdir(parents=True)
    image = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    for case in "ab":
        for k in range(len(names)):
            nib.save(nib.Nifti1Image(image, np.eye(4)), root / "imagesTr" / f"{case}_{k:04d}.nii.gz")
        label = (image > 1).astype(np.uint8)
        nib.save(nib.Nifti1Image(label, np.eye(4)), root / "labelsTr" / f"{case}.nii.gz")
    described = {
        "channel_names": {str(k): name for k, name in enumerate(names)},
        "labels": {"background": 0, "tumor": 1},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(described))
    return root


def bench(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


def planned(root: Path, grid: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    words = ["run", "--grid", grid, "--profile", "demo", "--data", f"nnunet={root}", "--dry-run", "--json"]
    assert bench(*words, "--results", str(root.parent / "results")) == 0
    rows: list[dict[str, str]] = json.loads(capsys.readouterr().out)
    return rows


def test_a_grid_that_no_run_can_do_is_refused_before_anything_is_prepared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = channels(tmp_path / "three", "A", "B", "C")
    words = ["run", "--grid", "table2", "--profile", "demo", "--data", f"nnunet={root}", "--no-mlflow"]
    words += ["--results", str(tmp_path / "results")]
    assert bench(*words, "--dry-run") == 0
    out = capsys.readouterr().out
    reason = "three declares no pair of branches; write branches: [A, B], with modalities of A, B, C."
    assert f"105 of 105 runs of table2 cannot be done on these data: {reason}" in " ".join(out.split())
    assert "pending" not in out
    assert out.count("unsupported ") == 105
    assert bench(*words) == 2
    assert reason in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "results" / "stores").exists()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("CT",), "takes two modalities, one a branch, and data has CT alone"),
        (("A", "B", "C", "D"), "declares no pair of branches; write branches: [A, B]"),
    ],
)
def test_rows_of_table3_that_one_or_four_channels_have_no_use_for_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], names: tuple[str, ...], words: str
) -> None:
    rows = planned(channels(tmp_path / "data", *names), "table3", capsys)
    by_cell = {row["cell"].split("method=")[1].split(" fold")[0]: row for row in rows}
    for cell in ("CT", "PET", "LF-Union"):
        assert by_cell[cell]["state"] == "unsupported"
        assert "late_fusion has a loss for each modality" in by_cell[cell]["reason"]
        assert f"for data with other modalities than {', '.join(names)}" in by_cell[cell]["reason"]
    assert words in by_cell["Mirror U-Net v4"]["reason"]
    assert [by_cell[cell]["state"] for cell in ("EF", "MF")] == ["pending"] * 2
    assert "reason" not in by_cell["EF"]


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (MirrorUNet, {"branches": ["T1Gd", "FLAIR"]}),
        (LateFusion, {"members": ["T1Gd", "FLAIR"]}),
        (Valindria, {"modalities": ["T1Gd", "FLAIR"]}),
    ],
)
def test_another_name_of_a_modality_is_told_with_what_to_do(
    kind: type[MirrorUNet], arguments: dict[str, list[str]]
) -> None:
    names = tuple({"T1Gd": "T1c"}.get(name, name) for name in BRAIN_MRI.modalities)
    spec = replace(BRAIN_MRI, modalities=names)
    message = (
        r"T1c is another name of T1Gd: call the channel T1Gd in dataset.json, or write T1c in the study\."
    )
    with pytest.raises(UnsupportedDatasetError, match=message):
        kind(spec, (32, 32, 32), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "known", "other"),
    [
        ("T1Gd", ("FLAIR", "T1", "T1ce"), "T1ce"),
        ("T1w", ("FLAIR", "T1", "T1ce"), "T1"),
        ("FLAIR", ("t2f", "t1n"), "t2f"),
        ("PET", ("CT", "SUV"), "SUV"),
        ("PET", ("CT", "T2w"), ""),
        ("A", ("B",), ""),
    ],
)
def test_names_of_one_modality_are_known(name: str, known: tuple[str, ...], other: str) -> None:
    assert same_modality(name, known) == other


def test_weights_of_another_data_set_s_losses_are_no_fault_of_the_study() -> None:
    def built(spec: DatasetSpec, method: str, weights: dict[str, float]) -> object:
        return build_method(method, {}, spec=spec, patch_size=(32, 32, 32), loss_weights=weights)

    for_pet_ct = {"seg_ct": 1.0, "seg_pet": 1.0}
    built(SPEC, "late_fusion", for_pet_ct)
    with pytest.raises(UnsupportedDatasetError, match="has a loss for each modality"):
        built(BRAIN_MRI, "late_fusion", for_pet_ct)
    with pytest.raises(Exception, match="they must be the same") as fault:
        built(SPEC, "early_fusion", for_pet_ct)
    assert not isinstance(fault.value, UnsupportedDatasetError)


def test_too_few_patients_are_told_where_fewer_folds_are_asked_for() -> None:
    cases = [CaseSummary(f"c{i}", f"p{i}", 1.0) for i in range(4)]
    with pytest.raises(
        DataError, match=r"fewer folds \(n_folds in a profile, --n-folds of `bench data prepare`"
    ):
        make_splits(cases, n_folds=5)
    assert len(make_splits(cases, n_folds=4).folds) == 4
