"""Histories of trainings as numbers: read to the last bit, or refused."""

from __future__ import annotations

import csv
import gc
from pathlib import Path

import numpy as np
import pytest

from benchmark.files.places import DamagedFileError
from benchmark.files.tables import read_history
from benchmark.results.runs import RunFolder


def read(folder: Path, text: str) -> dict[str, list[float]]:
    path = folder / "history.csv"
    path.write_text(text, encoding="utf-8")
    return {name: column.tolist() for name, column in read_history(path, below=folder).items()}


def test_every_number_is_the_one_that_was_written(tmp_path: Path) -> None:
    """pandas' own reader is off by a bit in one of some hundred."""
    values = np.random.default_rng(0).normal(size=2000) * 10.0 ** np.arange(-1000, 1000, dtype=float).clip(
        -30, 30
    )
    folder = RunFolder(tmp_path, "run")
    folder.path.mkdir(parents=True)
    folder.write_history([{"step": step, "seg": float(value)} for step, value in enumerate(values)])
    with folder.history_file.open(encoding="utf-8") as file:
        written = [float(row["seg"]) for row in csv.DictReader(file)]
    assert folder.curves()["seg"].tolist() == values.tolist() == written
    assert folder.history()["step"].tolist() == list(range(2000))


def test_what_is_not_there_is_nan_and_what_diverged_infinite(tmp_path: Path) -> None:
    read_back = read(tmp_path, "step,seg,val_dice,never\n1,inf,,\n2,nan,0.5,\n3,-Infinity,,\n")
    assert str(read_back) == str(
        {
            "step": [1, 2, 3],
            "seg": [float("inf"), float("nan"), float("-inf")],
            "val_dice": [float("nan"), 0.5, float("nan")],
            "never": [float("nan")] * 3,
        }
    )
    assert read(tmp_path, "step,seg\n") == {"step": [], "seg": []}
    assert read(tmp_path, "") == read(tmp_path, "\n\n") == {}


def test_a_column_s_type_is_that_of_all_its_rows(tmp_path: Path) -> None:
    rows = "".join(f"{step},1\n" for step in range(200_000))
    assert read(tmp_path, f"step,seg\n{rows}200000,0.5\n")["seg"][-1] == 0.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("step,seg\n1,2,3\n", "cannot be read"),
        ("step,seg\n1\n", "cannot be read"),
        ("seg,seg\n1,2\n", "two columns have one name"),
        ("step,seg\n1,True\n", "'seg' is not of numbers"),
        ("step,seg\n1,2020-01-01\n", "'seg' is not of numbers"),
        ("step,seg\n-1,2\n", "step is not finite, or negative"),
        ("step,seg\n,2\n", "step is not finite, or negative"),
        ("step,seg\n99999999999999999999,2\n", "step is not finite, or negative"),
    ],
)
def test_what_no_training_writes_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """Among it rows of other lengths, which pandas would shift by a column, or fill up."""
    with pytest.raises(DamagedFileError, match=said):
        read(tmp_path, text)


def test_python_collects_as_before_when_nothing_is_kept_any_more() -> None:
    from reports.ground.remembering import remembering

    usual = gc.get_threshold()
    with remembering():
        assert gc.get_threshold()[0] > usual[0]
    assert gc.get_threshold() == usual
